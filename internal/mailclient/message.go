// Package mailclient sends and fetches mail: it builds and reads encrypted
// messages, submits over SMTP (RFC 5321) and fetches over POP3 (RFC 1939).
//
// # The encrypted message
//
// A MIME message (RFC 2045, 2046) with a neutral subject: multipart/mixed of a
// text that tells a person what to do, and an attachment that is named "enc" and
// holds a Signed payload of package hybrid, octet for octet. Its type is
// application/octet-stream and its encoding quoted-printable, which leaves hex
// digits as they are and costs 3 octets for each 73. Any mail program can save
// it as the file that `xm decrypt SENDER` reads.
//
// When reading, any part that is named "enc" is taken for the payload, and so is
// a body that begins with one in a line of its own, as the original sent it.
package mailclient

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"regexp"
	"strings"
	"time"
)

// payloadName is the attachment's file name.
const payloadName = "enc"

const subject = "Encrypted message"

// Compose builds the encrypted message that carries a payload. from and to are
// addresses.
func Compose(from, to string, payload []byte, now time.Time) ([]byte, error) {
	_, domain, _ := strings.Cut(from, "@")
	var b bytes.Buffer
	parts := multipart.NewWriter(&b)
	if err := parts.SetBoundary(rand.Text()); err != nil { // the default makes a long header line
		return nil, err
	}
	for _, field := range [][2]string{
		{"From", from}, {"To", to}, {"Subject", subject},
		{"Date", now.Format("Mon, 2 Jan 2006 15:04:05 -0700")}, // RFC 5322, section 3.3
		{"Message-ID", fmt.Sprintf("<%s@%s>", rand.Text(), domain)},
		{"MIME-Version", "1.0"},
		{"Content-Type", mime.FormatMediaType("multipart/mixed", map[string]string{"boundary": parts.Boundary()})},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", field[0], field[1])
	}
	b.WriteString("\r\n")
	text, err := parts.CreatePart(textproto.MIMEHeader{"Content-Type": {"text/plain; charset=us-ascii"}})
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(text, "This message is encrypted. `xm read` shows it; or save the attachment\r\n"+
		"%q and run: xm decrypt %s\r\n", payloadName, from)
	enc, err := parts.CreatePart(textproto.MIMEHeader{
		"Content-Type":              {fmt.Sprintf("application/octet-stream; name=%q", payloadName)},
		"Content-Disposition":       {fmt.Sprintf("attachment; filename=%q", payloadName)},
		"Content-Transfer-Encoding": {"quoted-printable"},
	})
	if err != nil {
		return nil, err
	}
	qp := quotedprintable.NewWriter(enc)
	if _, err := qp.Write(payload); err != nil {
		return nil, err
	}
	if err := errors.Join(qp.Close(), parts.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Message is what a message says of itself. Nothing in it is verified, and its
// text may hold anything, control characters included.
type Message struct {
	From    string // as a person reads it; the return path if there is no From
	Sender  string // the address in From; "" if there is none
	Subject string
	Date    time.Time // zero if there is none
	// Encrypted says that there is a payload, and Payload is what was found of
	// it: all of it, if all of the message was read.
	Encrypted bool
	Payload   []byte
}

// Read takes a message, or the beginning of one, apart.
func Read(raw []byte) (Message, error) {
	header, body := splitHeader(raw)
	var m Message
	m.From = decodeWords(header.Get("From"))
	if m.From == "" {
		m.From = strings.Trim(header.Get("Return-Path"), "<> ")
	}
	m.Sender = addressIn(m.From)
	if a, err := mail.ParseAddress(header.Get("From")); err == nil {
		m.Sender = a.Address
	}
	m.Subject = decodeWords(header.Get("Subject"))
	if d, err := mail.ParseDate(header.Get("Date")); err == nil {
		m.Date = d
	}
	var err error
	m.Payload, m.Encrypted, err = findPayload(header, body, maxDepth)
	return m, err
}

// addressIn finds the address in a From that is not as RFC 5322 has it.
func addressIn(from string) string {
	if open := strings.LastIndexByte(from, '<'); open >= 0 {
		from, _, _ = strings.Cut(from[open+1:], ">")
	}
	if strings.ContainsAny(from, " \t") {
		return ""
	}
	return from
}

func decodeWords(s string) string {
	if d, err := new(mime.WordDecoder).DecodeHeader(s); err == nil {
		return d
	}
	return s
}

// splitHeader reads header fields up to an empty line, or to the first line that
// is no field. It is lenient, as net/mail is not: a broken line must not hide a
// message.
func splitHeader(raw []byte) (textproto.MIMEHeader, []byte) {
	header := textproto.MIMEHeader{}
	last, folded := "", []string(nil)
	unfold := func() {
		if values := header[last]; len(folded) > 0 {
			values[len(values)-1] = strings.Join(append(values[len(values)-1:], folded...), " ")
			folded = nil
		}
	}
	defer unfold()
	for len(raw) > 0 {
		l, rest, _ := bytes.Cut(raw, []byte("\n"))
		text := strings.TrimRight(string(l), "\r")
		if text == "" {
			return header, rest
		}
		name, value, found := strings.Cut(text, ":")
		switch {
		case last != "" && (text[0] == ' ' || text[0] == '\t'): // RFC 5322, section 2.2.3
			folded = append(folded, strings.TrimSpace(text))
		case !found || name == "" || strings.ContainsAny(name, " \t"):
			return header, raw
		default:
			unfold()
			last = textproto.CanonicalMIMEHeaderKey(name)
			header[last] = append(header[last], strings.TrimSpace(value))
		}
		raw = rest
	}
	return header, nil
}

// maxDepth limits how deep parts within parts are looked into.
const maxDepth = 10

// barePayload begins a payload in a line of its own: a signature of a key of
// 2048 bits or more.
var barePayload = regexp.MustCompile(`^[0-9a-f]{512,}\$`)

func findPayload(header textproto.MIMEHeader, body []byte, depth int) ([]byte, bool, error) {
	kind, params, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		kind, params = "text/plain", nil // RFC 2045, section 5.2: the default
	}
	_, disposition, _ := mime.ParseMediaType(header.Get("Content-Disposition"))
	if disposition["filename"] == payloadName || params["name"] == payloadName {
		payload, err := io.ReadAll(decoder(header, bytes.NewReader(body)))
		return payload, true, err
	}
	if strings.HasPrefix(kind, "multipart/") && params["boundary"] != "" && depth > 0 {
		return findInParts(multipart.NewReader(bytes.NewReader(body), params["boundary"]), depth-1)
	}
	text := bytes.TrimLeft(body, "\r\n")
	if l, err := bufio.NewReader(decoder(header, bytes.NewReader(text))).ReadBytes('\n'); err == nil || err == io.EOF {
		if barePayload.Match(l) {
			return bytes.TrimRight(l, "\r\n"), true, nil
		}
	}
	return nil, false, nil
}

func findInParts(parts *multipart.Reader, depth int) ([]byte, bool, error) {
	for {
		part, err := parts.NextRawPart()
		if err != nil { // the end, or what was read of the message is
			return nil, false, nil
		}
		body, err := io.ReadAll(part)
		payload, found, derr := findPayload(part.Header, body, depth)
		if found {
			return payload, true, errors.Join(err, derr)
		}
	}
}

// decoder undoes a Content-Transfer-Encoding (RFC 2045, section 6).
func decoder(header textproto.MIMEHeader, r io.Reader) io.Reader {
	switch strings.ToLower(header.Get("Content-Transfer-Encoding")) {
	case "quoted-printable":
		return quotedprintable.NewReader(r)
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, r)
	}
	return r
}
