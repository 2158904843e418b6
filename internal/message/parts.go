package message

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
)

// partReader reads the parts of a multipart (RFC 2046, section 5.1), as
// mime/multipart does, but for what that gives a whole message up for: a line in the
// header of a part that is no field, or no header at all.
type partReader struct {
	in     *bufio.Reader
	dashes string // a line that begins with it, and has no more, begins a part
	within bool   // a line that has begun
	end    []byte // a line end that has been read; it is the boundary's if one follows
	text   []byte // of the part, to be given out
	err    error  // how the part ended: io.EOF is at a boundary
	closed bool   // that was the last one
	after  []byte // the line end that it has
}

func newPartReader(r io.Reader, boundary string) *partReader {
	return &partReader{in: bufio.NewReader(r), dashes: "--" + strings.TrimRight(boundary, " \t")}
}

// preamble is what stands before the first part. It is of interest where there is
// no part: then err is errNoParts.
func (p *partReader) preamble() ([]byte, error) {
	text, _ := io.ReadAll(io.LimitReader(p, maxText)) // err is kept
	_, err := io.Copy(io.Discard, p)
	if err == io.ErrUnexpectedEOF {
		return text, errNoParts
	}
	return nil, err
}

var errNoParts = errors.New("the parts are not where the message says")

// next begins the next part; the one before is left. Errors in the header are the
// part's alone. The last part is followed by io.EOF, or io.ErrUnexpectedEOF if the
// message ends before.
func (p *partReader) next() (fields []field, body *bufio.Reader, err error) {
	_, _ = io.Copy(io.Discard, p) // err is kept
	if p.closed || p.err != io.EOF {
		return nil, nil, p.err
	}
	p.err, p.within, p.end = nil, false, nil
	body = bufio.NewReader(p)
	fields, err = readFields(body)
	return fields, body, err
}

// Read reads the part, or what stands before the first.
func (p *partReader) Read(b []byte) (int, error) {
	for len(p.text) == 0 {
		if p.err != nil {
			return 0, p.err
		}
		p.more()
	}
	n := copy(b, p.text)
	p.text = p.text[n:]
	return n, nil
}

// more reads a line, or a piece of a long one.
func (p *partReader) more() {
	line, err := p.in.ReadSlice('\n')
	if !p.within && p.isBoundary(line) {
		p.err = io.EOF
		return
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != bufio.ErrBufferFull {
		p.err = err
	}
	if len(line) == 0 {
		return
	}
	text := bytes.TrimSuffix(line, []byte("\n"))
	p.within = len(text) == len(line)
	text = bytes.TrimSuffix(text, []byte("\r"))
	if string(line) != "\n" || string(p.end) != "\r" { // else the piece before ended within a line end
		p.text = append(append(p.text[:0], p.end...), text...)
		p.end = p.end[:0]
	}
	p.end = append(p.end, line[len(text):]...)
}

func (p *partReader) isBoundary(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte(p.dashes))
	rest = bytes.TrimRight(rest, " \t\r\n")
	p.closed = ok && string(rest) == "--"
	p.after = line[len(bytes.TrimRight(line, "\r\n")):]
	return ok && (p.closed || len(rest) == 0)
}
