package message

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
)

// Store writes a message that was decrypted so that any mail program can read it
// from a file: with LF line ends, and with binary parts in base64. All else stays as
// its sender wrote it, but for ends of parts that are missing. first are fields that
// are added; what the message says in fields of these names is left out.
func Store(w io.Writer, r io.Reader, first [][2]string) error {
	out := &lfWriter{w: w}
	if err := storeEntity(out, r, first, 0); err != nil {
		return err
	}
	return out.Close()
}

func storeEntity(w io.Writer, r io.Reader, first [][2]string, depth int) error {
	in := bufio.NewReader(r)
	fields, err := readFields(in)
	if err != nil {
		return err
	}
	var head []field
	for _, f := range first {
		added := field{name: f[0], value: f[1]}
		head = append(head, added)
		fields = slices.DeleteFunc(fields, func(f field) bool { return f.key() == added.key() })
	}
	fields, write := bodyWriter(append(head, fields...))
	if err := writeHeader(w, fields); err != nil {
		return err
	}
	return write(w, in, depth)
}

// writeHeader keeps the order of the fields, which tells the way of a message (RFC
// 5322, section 3.6).
func writeHeader(w io.Writer, fields []field) error {
	var head bytes.Buffer
	for _, f := range fields {
		if f.lines == nil {
			head.WriteString(foldField(f.name, oneLine(f.value)))
		}
		for _, l := range f.lines {
			head.WriteString(oneLine(l) + "\r\n")
		}
	}
	head.WriteString("\r\n")
	_, err := head.WriteTo(w)
	return err
}

// bodyWriter tells how the body of an entity is to be written, and changes its
// header accordingly.
func bodyWriter(fields []field) ([]field, func(w io.Writer, body io.Reader, depth int) error) {
	named := byName(fields)
	kind, params := contentType(named)
	binary := strings.EqualFold(named.Get(encodingField), "binary")
	switch {
	case kind == "multipart/signed": // RFC 1847, section 2.1: nothing in it may change
	case strings.HasPrefix(kind, "multipart/"):
		return fields, func(w io.Writer, body io.Reader, depth int) error {
			return storeParts(w, newPartReader(body, params["boundary"]), depth+1)
		}
	case binary && kind == "message/rfc822": // RFC 2046, section 5.2.1: it can't be base64 itself
		return encodedAs("8bit", fields), func(w io.Writer, body io.Reader, depth int) error {
			if depth > maxDepth {
				return errTooDeep
			}
			return storeEntity(w, body, nil, depth+1)
		}
	case binary:
		return encodedAs("base64", fields), func(w io.Writer, body io.Reader, _ int) error { return copyBase64(w, body) }
	}
	return fields, func(w io.Writer, body io.Reader, _ int) error {
		_, err := io.Copy(w, body)
		return err
	}
}

const encodingField = "Content-Transfer-Encoding"

// encodedAs returns the fields with another Content-Transfer-Encoding.
func encodedAs(encoding string, fields []field) (changed []field) {
	for _, f := range fields {
		if f.key() == encodingField {
			f = field{name: f.name, value: encoding}
		}
		changed = append(changed, f)
	}
	return changed
}

var errTooDeep = errors.New("parts within parts are too deep")

// storeParts writes the parts of a multipart. Those that are cut off end where the
// message does: it is what was signed.
func storeParts(w io.Writer, in *partReader, depth int) error {
	if depth > maxDepth {
		return errTooDeep
	}
	before, err := io.Copy(w, in)
	lineEnd := "\r\n"
	if before == 0 {
		lineEnd = ""
	}
	if errors.Is(err, io.ErrUnexpectedEOF) { // there are no parts
		_, err := io.WriteString(w, lineEnd)
		return err
	}
	for err == nil {
		fields, part, headErr := in.next()
		if part == nil {
			err = headErr
			break
		}
		if headErr != nil && !errors.Is(headErr, io.ErrUnexpectedEOF) {
			return headErr
		}
		fields, write := bodyWriter(fields)
		if _, err := io.WriteString(w, lineEnd+in.dashes+"\r\n"); err != nil {
			return err
		}
		if err := writeHeader(w, fields); err != nil {
			return err
		}
		lineEnd = "\r\n"
		if err = write(w, part, depth); errors.Is(err, io.ErrUnexpectedEOF) {
			err = nil // and next tells it again
		}
	}
	if err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	after := "\r\n"
	if in.closed {
		after = string(in.after)
	}
	if _, err := io.WriteString(w, lineEnd+in.dashes+"--"+after); err != nil || !in.closed {
		return err
	}
	_, err = io.Copy(w, in.in)
	return err
}

// lfWriter makes LF of each CRLF. Close writes what it held back; it does not
// close w.
type lfWriter struct {
	w      io.Writer
	heldCR bool
}

func (l *lfWriter) Write(p []byte) (int, error) {
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
	if _, err := l.w.Write(text); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close ends the text.
func (l *lfWriter) Close() error {
	if !l.heldCR {
		return nil
	}
	_, err := io.WriteString(l.w, "\r")
	return err
}
