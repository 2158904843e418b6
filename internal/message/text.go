package message

import (
	"fmt"
	"io"
	"strings"
)

const (
	// maxText bounds the text of one part that is shown, and maxAllText that of
	// a message, in octets.
	maxText    = 1 << 20
	maxAllText = 4 << 20
)

// Attachment describes a part that is not shown.
type Attachment struct {
	Name   string `json:"name"` // "" if it has none; see FileName
	Type   string `json:"type"`
	Octets int64  `json:"octets"`
}

// Body is what a message holds.
type Body struct {
	Text        string // with LF line ends; it may hold control characters
	Attachments []Attachment
	// Problem is what is wrong with the message itself, if anything: the rest
	// was read all the same.
	Problem error
}

// Keep is called for each attachment; nil counts its octets alone.
type Keep func(a Attachment, content io.Reader) error

// Body reads the rest of the message. Text is the plain one where there are
// alternatives, and is made of HTML where there is nothing else. An error is
// keep's.
func (m *Message) Body(keep Keep) (Body, error) {
	r := renderer{keep: keep}
	err := m.Walk(r.part)
	if r.failed != nil {
		return Body{}, r.failed
	}
	if err == nil {
		err = r.damage
	}
	return Body{r.text(), r.attachments, err}, nil
}

// block is a text in a message.
type block struct {
	text         string
	html         bool
	alternatives []Alternative
}

type renderer struct {
	keep        Keep
	blocks      []block
	attachments []Attachment
	octets      int
	failed      error // keep's
	damage      error // the message's
}

func (r *renderer) part(p *Part) error {
	if p.isText() {
		return r.addText(p)
	}
	a := Attachment{Name: p.Name, Type: p.Type}
	counted := &counter{r: p.Body}
	if r.keep != nil {
		if err := r.keep(a, counted); err != nil {
			r.failed = err
			return err
		}
	}
	r.skip(counted)
	a.Octets = counted.octets
	r.attachments = append(r.attachments, a)
	return nil
}

// skip reads what is left of a part. One that can't be read to its end is no
// reason not to read the next.
func (r *renderer) skip(body io.Reader) {
	if _, err := io.Copy(io.Discard, body); err != nil && r.damage == nil {
		r.damage = err
	}
}

// isText tells what is read from what is kept.
func (p *Part) isText() bool {
	if p.Disposition == "attachment" {
		return false
	}
	switch p.Type {
	case "text/plain", "text/html", "message/delivery-status", "text/rfc822-headers":
		return p.Disposition == "inline" || p.Name == "" || p.Depth == 0
	}
	return false
}

func (r *renderer) addText(p *Part) error {
	limit := max(0, min(maxText, maxAllText-r.octets))
	raw, err := io.ReadAll(io.LimitReader(p.Body, int64(limit)+1))
	text := string(raw)
	if len(raw) > limit {
		text = text[:limit] + "\n[... the rest is left out: it is too long]\n"
	}
	if err != nil {
		text += fmt.Sprintf("\n[the rest can't be read: %v]\n", err)
	}
	r.octets += len(text)
	text = strings.TrimPrefix(strings.ReplaceAll(validUTF8(text), "\r\n", "\n"), "\ufeff")
	r.blocks = append(r.blocks, block{text, p.Type == "text/html", p.Alternatives})
	r.skip(p.Body)
	return nil
}

// text puts together what is to be read.
func (r *renderer) text() string {
	chosen := map[int]int{} // the alternative for each set of them
	for _, wantHTML := range []bool{false, true} {
		for _, b := range r.blocks {
			for _, a := range b.alternatives {
				if _, done := chosen[a.Of]; !done && b.html == wantHTML {
					chosen[a.Of] = a.Number
				}
			}
		}
	}
	var all strings.Builder
	for _, b := range r.blocks {
		if !b.isChosen(chosen) {
			continue
		}
		if all.Len() > 0 {
			all.WriteString("\n")
		}
		text := b.text
		if b.html {
			text = htmlToText(text)
		}
		all.WriteString(text)
		if text != "" && !strings.HasSuffix(text, "\n") {
			all.WriteString("\n")
		}
	}
	return all.String()
}

func (b block) isChosen(chosen map[int]int) bool {
	for _, a := range b.alternatives {
		if chosen[a.Of] != a.Number {
			return false
		}
	}
	return true
}

// counter counts what is read.
type counter struct {
	r      io.Reader
	octets int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.octets += int64(n)
	return n, err
}
