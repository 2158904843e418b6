package message

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/textproto"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Draft is a message to be written.
type Draft struct {
	From                  Address
	To, Cc                []Address
	Subject               string
	Date                  time.Time
	MessageID             string // as "<...>": see NewID
	InReplyTo, References string
	Text                  io.Reader // UTF-8, with LF or CRLF
	Files                 []File
}

// File is an attachment to be written.
type File struct {
	Name string
	Type string // "" is guessed by the name
	UTF8 bool   // it is known to be text in UTF-8, if it is text
	Open func() (io.ReadCloser, error)
}

// NewID makes a message id at the domain of an address.
func NewID(address string) string {
	domain := address[strings.LastIndexByte(address, '@')+1:]
	return "<" + rand.Text() + "@" + domain + ">"
}

// Form is what a message is written for.
type Form int

const (
	// Inside is the form of what payloads hold: see the package doc.
	Inside Form = iota
	// Transport is for the way: seven bits, and lines of 76.
	Transport
)

// Write writes the message, with CRLF line ends.
func (d Draft) Write(w io.Writer, form Form) error {
	var head bytes.Buffer
	head.WriteString(firstLine)
	for _, field := range d.fields() {
		if field[1] != "" {
			head.WriteString(foldField(field[0], field[1]))
		}
	}
	if _, err := head.WriteTo(w); err != nil {
		return err
	}
	if len(d.Files) == 0 {
		if err := writeFields(w, textHeader(form)); err != nil {
			return err
		}
		return d.writeText(w, form)
	}
	parts, err := newMultipart(w)
	if err != nil {
		return err
	}
	text, err := parts.CreatePart(textHeader(form))
	if err != nil {
		return err
	}
	if err := d.writeText(text, form); err != nil {
		return err
	}
	for _, f := range d.Files {
		if err := f.write(parts, form); err != nil {
			return err
		}
	}
	return parts.Close()
}

func (d Draft) fields() [][2]string {
	return [][2]string{
		{"From", d.From.Encode()}, {"To", encodeList(d.To)}, {"Cc", encodeList(d.Cc)},
		{"Subject", encodeText(oneLine(d.Subject))},
		{"Date", formatDate(d.Date)}, {"Message-ID", oneLine(d.MessageID)},
		{"In-Reply-To", oneLine(d.InReplyTo)}, {"References", oneLine(d.References)},
	}
}

// formatDate is RFC 5322, section 3.3.
func formatDate(t time.Time) string { return t.Format("Mon, 2 Jan 2006 15:04:05 -0700") }

// newMultipart begins a multipart/mixed: the header's last field, and its end.
func newMultipart(w io.Writer) (*multipart.Writer, error) {
	parts := multipart.NewWriter(w)
	if err := parts.SetBoundary(rand.Text()); err != nil { // the default makes a long header line
		return nil, err
	}
	_, err := fmt.Fprintf(w, "Content-Type: multipart/mixed; boundary=%s\r\n\r\n", parts.Boundary())
	return parts, err
}

func writeFields(w io.Writer, fields textproto.MIMEHeader) error {
	for _, name := range []string{"Content-Type", "Content-Transfer-Encoding"} {
		if _, err := fmt.Fprintf(w, "%s: %s\r\n", name, fields.Get(name)); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, "\r\n")
	return err
}

func textHeader(form Form) textproto.MIMEHeader {
	coding := "8bit"
	if form == Transport {
		coding = "quoted-printable"
	}
	return textproto.MIMEHeader{"Content-Type": {"text/plain; charset=utf-8"}, "Content-Transfer-Encoding": {coding}}
}

func (d Draft) writeText(w io.Writer, form Form) error {
	if form == Transport {
		qp := quotedprintable.NewWriter(w)
		_, err := io.Copy(qp, d.Text)
		return errors.Join(err, qp.Close())
	}
	_, err := io.Copy(&crlfWriter{w: w}, d.Text)
	return err
}

func (f File) write(parts *multipart.Writer, form Form) error {
	kind := f.Type
	if kind == "" {
		kind, _, _ = strings.Cut(mime.TypeByExtension(filepath.Ext(f.Name)), ";")
	}
	// RFC 2045, section 6.4: a multipart or a message can't be base64; and as one it would
	// be read, and its header changed, where a file is to stay what it is.
	if kind == "" || f.Type == "" && (strings.HasPrefix(kind, "multipart/") || strings.HasPrefix(kind, "message/")) {
		kind = "application/octet-stream"
	}
	if f.UTF8 && strings.HasPrefix(kind, "text/") { // RFC 2046, section 4.1.2: else it would be US-ASCII
		kind += "; charset=utf-8"
	}
	coding := "binary"
	if form == Transport {
		coding = "base64"
	}
	w, err := parts.CreatePart(textproto.MIMEHeader{
		"Content-Type":              {kind},
		"Content-Disposition":       {mime.FormatMediaType("attachment", map[string]string{"filename": f.Name})},
		"Content-Transfer-Encoding": {coding},
	})
	if err != nil {
		return err
	}
	content, err := f.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	if form == Inside {
		_, err := io.Copy(w, content)
		return err
	}
	return copyBase64(w, content)
}

// Encode is the form that a header has (RFC 5322, section 3.4).
func (a Address) Encode() string {
	name, address := oneLine(a.Name), oneLine(a.Address)
	switch {
	case name == "":
		return address
	case strings.ContainsFunc(name, isBeyondASCII):
		return encodeWords(name) + " <" + address + ">"
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `" <` + address + ">"
}

func encodeList(list []Address) string {
	var all []string
	for _, a := range list {
		all = append(all, a.Encode())
	}
	return strings.Join(all, ", ")
}

// encodeText makes encoded words of text that needs it (RFC 2047): what is beyond ASCII,
// what would pass as one, and words that no line has room for (RFC 5322, section 2.1.1).
func encodeText(s string) string {
	long := slices.ContainsFunc(strings.Split(s, " "), func(word string) bool { return len(word) > maxWord })
	if long || strings.Contains(s, "=?") || strings.ContainsFunc(s, isBeyondASCII) {
		return encodeWords(s)
	}
	return s
}

func isBeyondASCII(r rune) bool { return r > 126 }

const (
	maxWord    = 900 // of the 998 octets of a line
	maxEncoded = 55  // "Subject: =?utf-8?q?", that and "?=" are 76: RFC 2047, section 2
)

// encodeWords is the Q encoding, with what may stand anywhere (RFC 2047, section 5,
// (3)); no character is split.
func encodeWords(s string) string {
	var words []string
	word := ""
	for _, r := range validUTF8(s) {
		c := string(r)
		switch {
		case r == ' ':
			c = "_"
		case !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'):
			c = strings.ReplaceAll(fmt.Sprintf(" % X", c), " ", "=")
		}
		if len(word)+len(c) > maxEncoded {
			words, word = append(words, word), ""
		}
		word += c
	}
	return "=?utf-8?q?" + strings.Join(append(words, word), "?= =?utf-8?q?") + "?="
}

// oneLine keeps text from adding fields to a header. Octets that are no UTF-8 stay as
// they are: others may know what they mean.
func oneLine(s string) string {
	line := []byte(s)
	for i, c := range line {
		if c < ' ' && c != '\t' || c == 127 {
			line[i] = ' '
		}
	}
	return string(line)
}

const lineLength = 76

// foldField writes a field in lines that are not too long, where it has blanks
// to fold at (RFC 5322, section 2.2.3).
func foldField(name, value string) string {
	var out strings.Builder
	out.WriteString(name + ":")
	length := out.Len()
	for _, word := range strings.Split(value, " ") {
		if length+1+len(word) > lineLength && length > len(name)+1 && word != "" {
			out.WriteString("\r\n")
			length = 0
		}
		out.WriteString(" " + word)
		length += 1 + len(word)
	}
	out.WriteString("\r\n")
	return out.String()
}

// crlfWriter makes CRLF of each LF that has no CR.
type crlfWriter struct {
	w      io.Writer
	heldCR bool
}

func (c *crlfWriter) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		piece, end := p, false
		if i := bytes.IndexByte(p, '\n'); i >= 0 {
			piece, end = p[:i], true
		}
		if len(piece) > 0 {
			if _, err := c.w.Write(piece); err != nil {
				return written, err
			}
			c.heldCR = piece[len(piece)-1] == '\r'
		}
		written += len(piece)
		p = p[len(piece):]
		if !end {
			break
		}
		lineEnd := "\r\n"
		if c.heldCR {
			lineEnd = "\n"
		}
		if _, err := io.WriteString(c.w, lineEnd); err != nil {
			return written, err
		}
		c.heldCR = false
		written++
		p = p[1:]
	}
	return written, nil
}

// copyBase64 writes what it reads as base64 (RFC 2045, section 6.8).
func copyBase64(w io.Writer, r io.Reader) error {
	b64 := base64.NewEncoder(base64.StdEncoding, &lineWriter{w: w})
	_, err := io.Copy(b64, r)
	return errors.Join(err, b64.Close())
}

// lineWriter breaks base64 into lines.
type lineWriter struct {
	w    io.Writer
	used int
}

func (l *lineWriter) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		n := min(len(p), lineLength-l.used)
		if _, err := l.w.Write(p[:n]); err != nil {
			return written, err
		}
		written, p = written+n, p[n:]
		if l.used += n; l.used == lineLength {
			if _, err := io.WriteString(l.w, "\r\n"); err != nil {
				return written, err
			}
			l.used = 0
		}
	}
	return written, nil
}
