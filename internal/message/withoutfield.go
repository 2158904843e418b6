package message

import (
	"bufio"
	"io"
	"strings"
)

// StoreAsIs writes a message as it came, with LF line ends, but for the header
// fields of one name, which only its reader may add: who sent it could have
// written them as well (RFC 8601, section 5, is of such a field).
func StoreAsIs(w io.Writer, r io.Reader, without string) error {
	out := bufio.NewWriter(w)
	f := &fieldFilter{w: out, name: without, last: '\n'}
	lines := &lfWriter{w: f}
	if _, err := io.Copy(lines, r); err != nil {
		return err
	}
	if err := lines.Close(); err != nil {
		return err
	}
	f.flush()
	return out.Flush() // it has the error of the writes before
}

// fieldFilter leaves the fields of a name out of a header with LF line ends. A
// bare CR may begin a line, too: some programs take it so.
type fieldFilter struct {
	w      *bufio.Writer
	name   string
	last   byte   // the octet before; LF at the beginning
	held   []byte // the beginning of a line, as long as it may be the field's
	drop   bool   // the line is the field's
	inBody bool
}

func (f *fieldFilter) Write(p []byte) (int, error) {
	for i, c := range p {
		if f.inBody {
			_, err := f.w.Write(p[i:])
			return len(p), err
		}
		f.octet(c)
	}
	return len(p), nil
}

func (f *fieldFilter) octet(c byte) {
	begins := f.last == '\n' || f.last == '\r'
	if begins && c != ' ' && c != '\t' { // no fold (RFC 5322, section 2.2.3)
		f.drop = false
	}
	f.inBody = c == '\n' && f.last == '\n'
	f.last = c
	if f.drop {
		return
	}
	if !begins && f.held == nil || c == '\n' || c == '\r' || begins && (c == ' ' || c == '\t') {
		f.flush()
		f.w.WriteByte(c)
		return
	}
	f.held = append(f.held, c)
	switch {
	case len(f.held) <= len(f.name):
		if !strings.EqualFold(string(f.held), f.name[:len(f.held)]) {
			f.flush()
		}
	case c == ':' || c == ' ' || c == '\t':
		f.drop, f.held = true, nil
	default:
		f.flush()
	}
}

// flush writes what turned out to be another field.
func (f *fieldFilter) flush() {
	f.w.Write(f.held)
	f.held = nil
}
