package message

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"net/textproto"
	"time"
)

const sealedSubject = "Encrypted message"

// Sealed is the outside of an encrypted message. See the package doc.
type Sealed struct {
	From, To string // addresses
	Date     time.Time
}

// Write writes the message; payload gives what it carries.
func (s Sealed) Write(w io.Writer, payload func(io.Writer) error) error {
	var head bytes.Buffer
	for _, field := range [][2]string{
		{"From", s.From}, {"To", s.To}, {"Subject", sealedSubject}, {"Date", formatDate(s.Date)},
		{"Message-ID", NewID(s.From)}, {"MIME-Version", "1.0"},
	} {
		head.WriteString(foldField(field[0], oneLine(field[1])))
	}
	if _, err := head.WriteTo(w); err != nil {
		return err
	}
	parts, err := newMultipart(w)
	if err != nil {
		return err
	}
	text, err := parts.CreatePart(textHeader(Transport))
	if err != nil {
		return err
	}
	hint := quotedprintable.NewWriter(text)
	fmt.Fprintf(hint, "This message is encrypted. `xm read` shows it; or save the attachment\r\n"+
		"%q and run: xm decrypt %s\r\n", PayloadName, s.From)
	if err := hint.Close(); err != nil {
		return err
	}
	enc, err := parts.CreatePart(textproto.MIMEHeader{
		"Content-Type":              {fmt.Sprintf("application/octet-stream; name=%q", PayloadName)},
		"Content-Disposition":       {fmt.Sprintf("attachment; filename=%q", PayloadName)},
		"Content-Transfer-Encoding": {"quoted-printable"},
	})
	if err != nil {
		return err
	}
	qp := quotedprintable.NewWriter(enc)
	return errors.Join(payload(qp), qp.Close(), parts.Close())
}

const (
	lineDigits   = 73 // of a payload, in a line of quoted-printable
	softBreak    = 3
	mostOfHeader = 4096
)

// Octets is the size of the message with a payload of so many octets, or
// somewhat more.
func (s Sealed) Octets(payload int64) int64 {
	return payload + (payload/lineDigits+1)*softBreak + mostOfHeader
}
