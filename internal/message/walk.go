package message

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net/textproto"
	"regexp"
	"strings"
)

const (
	// maxDepth limits how deep parts within parts are looked into, and maxParts
	// how many there are.
	maxDepth = 20
	maxParts = 1000
)

// PayloadName is the name of the part that holds a payload.
const PayloadName = "enc"

// Message is one that is being read.
type Message struct {
	Header Header
	body   *bufio.Reader
}

// Read reads a message's header. The rest of r is read by Walk.
func Read(r io.Reader) (*Message, error) {
	in := bufio.NewReader(r)
	fields, err := readHeader(in)
	return &Message{parseHeader(fields), in}, err
}

// IsEntity reports whether a payload's message is one of ours, rather than the
// plain text that payloads held before. in is left as it is; its buffer has 64
// octets or more.
func IsEntity(in *bufio.Reader) bool {
	begin, _ := in.Peek(len(firstLine))
	return string(begin) == firstLine
}

const firstLine = "MIME-Version: 1.0\r\n"

// Part is a part of a message that has no parts itself.
type Part struct {
	Type        string            // as "text/plain", in lower case
	Params      map[string]string // of Type
	Name        string            // the file name that it gives itself; it may be a path, or anything
	Disposition string            // "attachment", "inline" or ""
	Header      textproto.MIMEHeader
	// Body is the content, decoded; that of text to be shown is converted to
	// UTF-8 where the charset is known.
	Body *bufio.Reader
	// Alternatives has the multipart/alternative that the part is in, and which
	// of its alternatives it belongs to.
	Alternatives []Alternative
	// Depth is 0 for a message without parts.
	Depth int
}

// Alternative is one of those of a multipart/alternative.
type Alternative struct{ Of, Number int }

var errTooManyParts = errors.New("the message has too many parts: the rest is left out")

// ErrStop ends a Walk without an error.
var ErrStop = errors.New("enough")

// Walk calls visit for each part. Errors of visit end it; errors of the message
// itself, such as a missing end, are returned after all that can be read.
func (m *Message) Walk(visit func(*Part) error) error {
	w := walker{visit: visit}
	err := w.entity(m.Header.fields, m.body, nil, 0)
	if err == nil {
		err = w.problem
	}
	if errors.Is(err, ErrStop) {
		return nil
	}
	return err
}

// IsPayload reports whether the part is, or is named as, a payload.
func (p *Part) IsPayload() bool {
	if p.Name == PayloadName {
		return true
	}
	begin, _ := p.Body.Peek(barePayloadLook)
	if p.Type != "text/plain" || !barePayload.Match(begin) {
		return false
	}
	for { // the payload begins the body, but for empty lines
		if c, err := p.Body.ReadByte(); err != nil || c != '\r' && c != '\n' {
			return err == nil && p.Body.UnreadByte() == nil
		}
	}
}

// barePayload begins a payload in a line of its own: a signature of a key of
// 2048 bits or more.
var barePayload = regexp.MustCompile(`^[\r\n]*[0-9a-f]{512,}\$`)

const barePayloadLook = 4096/4 + 64

type walker struct {
	visit        func(*Part) error
	parts        int
	alternatives int
	problem      error // with the message
}

func (w *walker) entity(fields textproto.MIMEHeader, body io.Reader, in []Alternative, depth int) error {
	if w.parts++; w.parts > maxParts {
		return errTooManyParts
	}
	kind, params := contentType(fields)
	if strings.HasPrefix(kind, "multipart/") && depth < maxDepth {
		return w.multipart(kind, newPartReader(body, params["boundary"]), in, depth)
	}
	p := &Part{Type: kind, Params: params, Header: fields, Alternatives: in, Depth: depth}
	disposition, dparams := mediaType(fields.Get("Content-Disposition"))
	p.Disposition = disposition
	p.Name = decodeText(dparams["filename"])
	if p.Name == "" {
		p.Name = decodeText(params["name"])
	}
	p.Body = bufio.NewReader(w.decoded(p, body))
	return w.visit(p)
}

// contentType reads the field. What is no type, and a multipart that does not say
// what is between its parts, is plain text, which is the default (RFC 2045,
// section 5.2).
func contentType(fields textproto.MIMEHeader) (kind string, params map[string]string) {
	kind, params = mediaType(fields.Get("Content-Type"))
	switch {
	case !typePattern.MatchString(kind):
		return "text/plain", nil
	case strings.HasPrefix(kind, "multipart/") && params["boundary"] == "":
		return "text/plain", params
	}
	return kind, params
}

var typePattern = regexp.MustCompile("^[-!#$%&'*+.0-9a-z^_`{|}~]+/[-!#$%&'*+.0-9a-z^_`{|}~]+$")

func (w *walker) multipart(kind string, parts *partReader, in []Alternative, depth int) error {
	if text, err := parts.preamble(); err != nil {
		w.note(err)
		return w.entity(nil, bytes.NewReader(text), in, depth+1)
	}
	of := 0
	if kind == "multipart/alternative" {
		w.alternatives++
		of = w.alternatives
	}
	for number := 0; ; number++ {
		list, part, err := parts.next()
		if err != nil && err != io.EOF {
			w.note(err)
		}
		if part == nil {
			return nil
		}
		fields, inner := byName(list), in
		if of > 0 {
			inner = append(in[:len(in):len(in)], Alternative{of, number})
		}
		if kind == "multipart/digest" && fields.Get("Content-Type") == "" { // RFC 2046, section 5.1.5
			fields.Set("Content-Type", "message/rfc822")
		}
		if err := w.entity(fields, part, inner, depth+1); err != nil {
			return err
		}
	}
}

// note keeps the first problem of a message.
func (w *walker) note(err error) {
	if w.problem == nil {
		w.problem = err
	}
}

// decoded undoes a Content-Transfer-Encoding (RFC 2045, section 6) and a
// charset.
func (w *walker) decoded(p *Part, r io.Reader) io.Reader {
	switch strings.ToLower(strings.TrimSpace(p.Header.Get("Content-Transfer-Encoding"))) {
	case "quoted-printable":
		r = newQuotedPrintable(r)
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, &base64Digits{r: r})
	}
	if p.isText() {
		converted, err := charsetReader(p.Params["charset"], r)
		if err != nil {
			w.note(err)
			return r
		}
		return converted
	}
	return r
}
