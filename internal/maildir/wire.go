package maildir

import (
	"bytes"
	"io"
	"io/fs"
	"sync"
)

// What is read from a file, and written to one, at a time. As many messages as
// there are sessions may be on their way, each with a buffer.
const (
	readSize  = 32 << 10
	writeSize = 64 << 10
	smallSize = 8 << 10 // as long as no more has come: many may be slow
)

var (
	readBuffers  = sync.Pool{New: func() any { return new([readSize]byte) }}
	writeBuffers = sync.Pool{New: func() any { return new([writeSize]byte) }}
	smallBuffers = sync.Pool{New: func() any { return new([smallSize]byte) }}
)

// diskWriter stores a message given in wire form: with LF in the place of CRLF.
// It counts both sizes. A message with a CR before a CRLF would come back
// without it; package smtpd lets no such message in (RFC 5321, section 2.3.8).
type diskWriter struct {
	file   io.Writer
	small  *[smallSize]byte // the buffer, from the first Write on, or
	large  *[writeSize]byte // this
	n      int              // octets in the buffer
	heldCR bool             // an LF may follow
	size   wireSize
	err    error // of the first write to file that failed
}

func (d *diskWriter) Write(p []byte) (int, error) {
	total := len(p)
	if d.heldCR && total > 0 {
		d.heldCR = false
		if p[0] != '\n' {
			d.put([]byte{'\r'})
		}
	}
	for {
		i := bytes.IndexByte(p, '\r')
		if i < 0 {
			d.put(p)
			break
		}
		if d.heldCR = i == len(p)-1; d.heldCR {
			d.put(p[:i])
			break
		}
		keep := p[:i]
		if p[i+1] != '\n' {
			keep = p[:i+1]
		}
		d.put(keep)
		p = p[i+1:]
	}
	return total, d.err
}

func (d *diskWriter) put(p []byte) {
	buf := d.buffer()
	for len(p) > 0 {
		if d.n == len(buf) {
			buf = d.grow()
		}
		n := copy(buf[d.n:], p)
		d.n, p = d.n+n, p[n:]
	}
}

func (d *diskWriter) buffer() []byte {
	if d.large != nil {
		return d.large[:]
	}
	if d.small == nil {
		d.small = smallBuffers.Get().(*[smallSize]byte)
	}
	return d.small[:]
}

// grow makes room in a buffer that is full.
func (d *diskWriter) grow() []byte {
	if d.large != nil {
		d.flush()
	} else {
		d.large = writeBuffers.Get().(*[writeSize]byte)
		copy(d.large[:], d.small[:])
		smallBuffers.Put(d.small)
		d.small = nil
	}
	return d.large[:]
}

func (d *diskWriter) flush() {
	if d.err == nil {
		b := d.buffer()[:d.n]
		d.size.Write(b)
		_, d.err = d.file.Write(b)
	}
	d.n = 0
}

// finish ends the message. It returns what has not been written to file: the end of
// the message, or all of it.
func (d *diskWriter) finish() (content []byte, err error) {
	if d.heldCR {
		d.put([]byte{'\r'})
	}
	content = d.buffer()[:d.n]
	d.size.Write(content)
	return content, d.err
}

// release gives the buffer back. Nothing is written after that.
func (d *diskWriter) release() {
	if d.small != nil {
		smallBuffers.Put(d.small)
	}
	if d.large != nil {
		writeBuffers.Put(d.large)
	}
	d.small, d.large = nil, nil
}

// wireReader gives a stored message in its wire form.
type wireReader struct {
	src  io.ReadCloser
	buf  *[readSize]byte // nil once it is closed
	raw  []byte          // the part of buf that is still to be given out
	owed string          // to be given out before that
	last byte            // the octet given out last; LF before the first: nothing is to be ended
	err  error           // what src said last
}

func newWireReader(src io.ReadCloser) *wireReader {
	return &wireReader{src: src, buf: readBuffers.Get().(*[readSize]byte), last: '\n'}
}

func (w *wireReader) Close() error {
	if w.buf != nil {
		readBuffers.Put(w.buf)
		w.buf, w.raw, w.owed, w.err = nil, nil, "", fs.ErrClosed
	}
	return w.src.Close()
}

func (w *wireReader) Read(p []byte) (n int, err error) {
	for n < len(p) {
		switch {
		case w.owed != "":
			c := copy(p[n:], w.owed)
			w.owed = w.owed[c:]
			n += c
		case len(w.raw) > 0:
			n += w.lines(p[n:])
			n += w.convert(p[n:])
		case w.err == io.EOF && w.last != '\n':
			w.owed, w.last = "\r\n", '\n'
		case w.err != nil:
			if n > 0 {
				return n, nil
			}
			return 0, w.err
		case n > 0:
			return n, nil // rather than wait for the disk
		default:
			w.fill()
		}
	}
	return n, nil
}

func (w *wireReader) fill() {
	var n int
	n, w.err = w.src.Read(w.buf[:])
	w.raw = w.buf[:n]
}

// lines gives out those whole lines of raw that fit: convert for most of a
// message.
func (w *wireReader) lines(p []byte) (n int) {
	for {
		lf := bytes.IndexByte(w.raw, '\n')
		if lf < 1 || n+lf+len("\r\n") > len(p) || w.raw[lf-1] == '\r' {
			return n
		}
		n += copy(p[n:], w.raw[:lf])
		n += copy(p[n:], "\r\n")
		w.last, w.raw = '\n', w.raw[lf+1:]
	}
}

// convert gives out raw up to the next LF, and leaves that LF's wire form owed.
func (w *wireReader) convert(p []byte) int {
	lf := bytes.IndexByte(w.raw, '\n')
	line := w.raw
	if lf >= 0 {
		line = w.raw[:lf]
	}
	n := copy(p, line)
	if n > 0 {
		w.last = line[n-1]
	}
	w.raw = w.raw[n:]
	if n == lf {
		w.owed = "\r\n"
		if w.last == '\r' {
			w.owed = "\n"
		}
		w.last, w.raw = '\n', w.raw[1:]
	}
	return n
}

// wireSize counts what a stored message, written to it, has on the wire.
type wireSize struct {
	disk, added int64
	last        byte
}

func (c *wireSize) Write(p []byte) (int, error) {
	for rest := p; ; {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			break
		}
		if i > 0 {
			c.last = rest[i-1]
		}
		if c.last != '\r' {
			c.added++
		}
		c.last, rest = '\n', rest[i+1:]
	}
	if len(p) > 0 {
		c.last = p[len(p)-1]
	}
	c.disk += int64(len(p))
	return len(p), nil
}

// total adds the CRLF that a message without a last line end gets.
func (c *wireSize) total() int64 {
	if c.disk > 0 && c.last != '\n' {
		return c.disk + c.added + 2
	}
	return c.disk + c.added
}
