package line

import (
	"bytes"
	"io"
)

// DotWriter writes a message, whose lines end with CRLF or LF, with CRLF line ends
// and in the form that CRLF.CRLF ends. Close ends it and must be called; it does not
// close what is written to.
type DotWriter struct {
	w      Buffer
	inLine bool
	cr     bool  // the line that has begun ends with CR so far
	octets int64 // given out, but for what hides dots and for the end
}

// Buffer is what a DotWriter writes to: a bufio.Writer, a bytes.Buffer, a Conn.
type Buffer interface {
	io.Writer
	// AvailableBuffer is empty; what is appended to it, up to its capacity, is written
	// without being copied.
	AvailableBuffer() []byte
}

// NewDotWriter returns a writer of one message to w.
func NewDotWriter(w Buffer) *DotWriter { return &DotWriter{w: w} }

// Reset makes it one that NewDotWriter has just returned.
func (d *DotWriter) Reset(w Buffer) { *d = DotWriter{w: w} }

// Octets is the size of what has been written, with CRLF line ends, that of the last
// line included.
func (d *DotWriter) Octets() int64 {
	if d.inLine {
		return d.octets + int64(len("\r\n"))
	}
	return d.octets
}

func (d *DotWriter) Write(p []byte) (int, error) {
	total := len(p)
	b := d.w.AvailableBuffer()
	for len(p) > 0 {
		if n := d.plain(&b, p); n > 0 {
			p = p[n:]
			continue
		}
		text, rest := p, p[len(p):]
		var dot, end []byte
		if i := bytes.IndexByte(p, '\n'); i >= 0 {
			text, rest, end = p[:i], p[i+1:], d.endOf(p[:i])
		}
		if !d.inLine && len(text) > 0 && text[0] == '.' {
			dot = anotherDot
		}
		if err := d.write(b, dot, text, end); err != nil {
			return 0, err
		}
		b = d.w.AvailableBuffer()
		if d.inLine = end == nil; d.inLine {
			d.cr = text[len(text)-1] == '\r'
		}
		d.octets += int64(len(text) + len(end))
		p = rest
	}
	return total, d.write(b)
}

// plain appends those whole lines that p begins with, end with LF alone, begin with
// no dot and fit into b. It returns their size: most of most messages.
func (d *DotWriter) plain(b *[]byte, p []byte) (size int) {
	if d.inLine {
		return 0
	}
	out := (*b)[:cap(*b)]
	n := len(*b)
	for size < len(p) && p[size] != '.' {
		i := bytes.IndexByte(p[size:], '\n')
		if i < 1 || p[size+i-1] == '\r' || len(out)-n < i+len("\r\n") {
			break
		}
		n += copy(out[n:], p[size:size+i])
		out[n], out[n+1] = '\r', '\n'
		n += len("\r\n")
		size += i + 1
	}
	d.octets += int64(n - len(*b))
	*b = out[:n]
	return size
}

var (
	anotherDot = []byte(".")
	lastDot    = []byte(".\r\n")
	lf, crlf   = []byte("\n"), []byte("\r\n")
)

// endOf is what the rest of a line is to end with.
func (d *DotWriter) endOf(text []byte) []byte {
	if len(text) > 0 && text[len(text)-1] == '\r' || len(text) == 0 && d.inLine && d.cr {
		return lf
	}
	return crlf
}

func (d *DotWriter) write(parts ...[]byte) error {
	for _, p := range parts {
		if _, err := d.w.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the message, and its last line if that has no end.
func (d *DotWriter) Close() error {
	if d.inLine {
		return d.write(crlf, lastDot)
	}
	return d.write(lastDot)
}
