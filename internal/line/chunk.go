package line

import (
	"bytes"
	"io"
	"time"
)

// Chunk gives the next n octets, whatever they are (RFC 3030, section 2). Each
// part of them must arrive within timeout after the one before. An error is
// io.ErrUnexpectedEOF if the connection ends early.
func (c *Conn) Chunk(n int64, timeout time.Duration) io.Reader {
	c.readTimeout = timeout
	return &chunk{c, n}
}

type chunk struct {
	c    *Conn
	left int64
}

func (r *chunk) Read(p []byte) (int, error) {
	if r.left == 0 {
		r.c.readTimeout = 0
		return 0, io.EOF
	}
	n, err := r.c.in.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	if err != nil {
		r.c.readTimeout = 0
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
	}
	return n, err
}

// TextCheck checks a message that comes in pieces of any size for what Body
// refuses too.
type TextCheck struct {
	heldCR bool // an LF must follow
}

// Next checks the next piece. The error is ErrNUL or ErrBareLineEnd.
func (t *TextCheck) Next(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if bytes.IndexByte(p, 0) >= 0 {
		return ErrNUL
	}
	crs, lfs, pairs := bytes.Count(p, []byte("\r")), bytes.Count(p, []byte("\n")), bytes.Count(p, []byte("\r\n"))
	if t.heldCR {
		if p[0] != '\n' {
			return ErrBareLineEnd
		}
		lfs--
	}
	if t.heldCR = p[len(p)-1] == '\r'; t.heldCR {
		crs--
	}
	if crs != pairs || lfs != pairs {
		return ErrBareLineEnd
	}
	return nil
}

// End checks that no CR is left over.
func (t *TextCheck) End() error {
	if t.heldCR {
		return ErrBareLineEnd
	}
	return nil
}
