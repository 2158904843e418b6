package message

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"maps"
	"mime/multipart"
	"net/textproto"
	"slices"
	"strings"
)

// Store writes a message that was decrypted so that any mail program can read it
// from a file: with LF line ends, and with binary parts in base64. first are
// fields that are added; what the message says in fields of these names is left
// out.
func Store(w io.Writer, r io.Reader, first [][2]string) error {
	out := &LFWriter{W: w}
	if err := storeEntity(out, r, first, 0); err != nil {
		return err
	}
	return out.Close()
}

func storeEntity(w io.Writer, r io.Reader, first [][2]string, depth int) error {
	in := bufio.NewReader(r)
	fields, err := readHeader(in)
	if err != nil {
		return err
	}
	var head bytes.Buffer
	for _, f := range first {
		head.WriteString(foldField(f[0], oneLine(f[1])))
		delete(fields, textproto.CanonicalMIMEHeaderKey(f[0]))
	}
	write := bodyWriter(fields)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		for _, value := range fields[name] {
			head.WriteString(foldField(name, oneLine(value)))
		}
	}
	head.WriteString("\r\n")
	if _, err := head.WriteTo(w); err != nil {
		return err
	}
	return write(w, in, depth)
}

// bodyWriter tells how the body of an entity is to be written, and changes its
// header accordingly.
func bodyWriter(fields textproto.MIMEHeader) func(w io.Writer, body io.Reader, depth int) error {
	kind, params := contentType(fields)
	binary := strings.EqualFold(fields.Get("Content-Transfer-Encoding"), "binary")
	switch {
	case kind == "multipart/signed": // RFC 1847, section 2.1: nothing in it may change
	case strings.HasPrefix(kind, "multipart/"):
		return func(w io.Writer, body io.Reader, depth int) error {
			return storeParts(w, newPartReader(body, params["boundary"]), params["boundary"], depth+1)
		}
	case binary && kind == "message/rfc822": // RFC 2046, section 5.2.1: it can't be base64 itself
		fields.Set("Content-Transfer-Encoding", "8bit")
		return func(w io.Writer, body io.Reader, depth int) error {
			if depth > maxDepth {
				return errTooDeep
			}
			return storeEntity(w, body, nil, depth+1)
		}
	case binary:
		fields.Set("Content-Transfer-Encoding", "base64")
		return func(w io.Writer, body io.Reader, _ int) error {
			lines := &lineWriter{w: w}
			b64 := base64.NewEncoder(base64.StdEncoding, lines)
			_, err := io.Copy(b64, body)
			return errors.Join(err, b64.Close())
		}
	}
	return func(w io.Writer, body io.Reader, _ int) error {
		_, err := io.Copy(w, body)
		return err
	}
}

var errTooDeep = errors.New("parts within parts are too deep")

func storeParts(w io.Writer, in *partReader, boundary string, depth int) error {
	out := multipart.NewWriter(w)
	if err := out.SetBoundary(boundary); err != nil {
		return err
	}
	if depth > maxDepth {
		return errTooDeep
	}
	if _, err := in.preamble(); err != nil {
		return err
	}
	for {
		fields, part, err := in.next()
		if err == io.EOF {
			return out.Close()
		}
		if err != nil {
			return err
		}
		write := bodyWriter(fields)
		body, err := out.CreatePart(fields)
		if err != nil {
			return err
		}
		if err := write(body, part, depth); err != nil {
			return err
		}
	}
}

// LFWriter makes LF of each CRLF. Close writes what it held back; it does not
// close W.
type LFWriter struct {
	W      io.Writer
	heldCR bool
}

func (l *LFWriter) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	text := make([]byte, 0, len(p)+1)
	if l.heldCR && p[0] != '\n' {
		text = append(text, '\r')
	}
	text = append(text, bytes.ReplaceAll(p, []byte("\r\n"), []byte("\n"))...)
	l.heldCR = p[len(p)-1] == '\r'
	if l.heldCR {
		text = text[:len(text)-1]
	}
	if _, err := l.W.Write(text); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close ends the text.
func (l *LFWriter) Close() error {
	if !l.heldCR {
		return nil
	}
	_, err := io.WriteString(l.W, "\r")
	return err
}
