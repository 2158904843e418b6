package line

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

var (
	// ErrBareLineEnd says that a message holds a CR or LF outside of a CRLF.
	// RFC 5321, section 2.3.8: neither may be sent, nor taken for a line end.
	ErrBareLineEnd = errors.New("CR or LF outside of a CRLF")
	// ErrNUL says that a message holds an octet 0 (RFC 6152, section 3).
	ErrNUL = errors.New("a NUL octet")
	// ErrTooLarge says that a message is over the limit.
	ErrTooLarge = errors.New("larger than the limit")
)

// Body reads a message that ends with CRLF.CRLF (RFC 5321, section 4.1.1.4;
// RFC 1939, section 3) and undoes the dot-stuffing (section 4.5.2). Read gives
// the message with its CRLFs, and io.EOF at its end.
//
// Nothing but CRLF.CRLF ends a message that is good. A message with a bare CR, a
// bare LF or a NUL, or over the limit, is read on to its end, so that no part of
// it is taken for a command, and then Read returns the reason. If it holds what
// some programs take for an end ("\n.\n" and its kin), nobody can tell where it
// does end: then Read returns at once, and OutOfStep reports true.
type Body struct {
	in        *bufio.Reader
	left      int64 // octets that the message may still have
	flood     int64 // octets that are read at all
	anyText   bool  // a client takes what a server sends
	chunk     []byte
	lineStart bool // a CRLF, or nothing, stands before the next octet
	heldCR    bool // a CR stands there
	tooLarge  bool
	outOfStep bool
	err       error
	more      func() *bufio.Reader // gives the reader to go on with when in is empty; nil keeps in
	done      func()
}

// NewBody returns a strict reader for a message of at most max octets.
func NewBody(in *bufio.Reader, max int64) *Body {
	return &Body{in: in, left: max, flood: 4*max + endless, lineStart: true, done: func() {}}
}

// NewText returns a reader for a multi-line response of at most max octets,
// which may hold any octet.
func NewText(in *bufio.Reader, max int64) *Body {
	b := NewBody(in, max)
	b.anyText = true
	return b
}

func (b *Body) Read(p []byte) (int, error) {
	for len(b.chunk) == 0 {
		if b.err != nil {
			return 0, b.err
		}
		if b.chunk, b.err = b.next(); b.err != nil {
			b.done()
		}
	}
	n := copy(p, b.chunk)
	b.chunk = b.chunk[n:]
	return n, nil
}

// WriteTo is Read without a copy between. An error of w ends it; the rest of the
// message is still to be read.
func (b *Body) WriteTo(w io.Writer) (total int64, err error) {
	for {
		if len(b.chunk) > 0 {
			n, err := w.Write(b.chunk)
			total += int64(n)
			if b.chunk = b.chunk[n:]; err != nil {
				return total, err
			}
		}
		if b.err == nil {
			if b.chunk, b.err = b.next(); b.err != nil {
				b.done()
			}
			continue
		}
		if b.err == io.EOF {
			return total, nil
		}
		return total, b.err
	}
}

// OutOfStep reports, after an error, that what follows can't be told from the
// message, so that the connection must be closed.
func (b *Body) OutOfStep() bool { return b.outOfStep }

func (b *Body) next() ([]byte, error) {
	if b.more != nil && b.in.Buffered() == 0 {
		b.in = b.more()
	}
	if text := b.lines(); len(text) > 0 {
		return text, nil
	}
	part, err := b.in.ReadSlice('\n')
	if err != nil && err != bufio.ErrBufferFull {
		b.outOfStep = true
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	if bad := b.check(part); bad != nil && !b.anyText {
		return nil, b.skip(part, bad)
	}
	whole := endsCRLF(part, b.heldCR)
	text := part
	if b.lineStart && part[0] == '.' {
		if len(part) == len(".\r\n") && whole {
			return nil, b.end()
		}
		text = part[1:]
	}
	b.lineStart, b.heldCR = whole, part[len(part)-1] == '\r'
	if b.left -= int64(len(text)); b.left >= 0 {
		return text, nil
	}
	b.tooLarge = true
	if b.flood -= int64(len(part)); b.flood < 0 {
		b.outOfStep = true
		return nil, ErrTooLarge
	}
	return nil, nil
}

// lines takes whole lines that have come, all at once, up to the first that is not
// as most are: next sees to that one.
func (b *Body) lines() []byte {
	if !b.lineStart || b.tooLarge {
		return nil
	}
	buf, _ := b.in.Peek(b.in.Buffered())
	text := buf[:plainLines(buf)]
	if int64(len(text)) > b.left || !b.anyText && bytes.IndexByte(text, 0) >= 0 {
		return nil
	}
	_, _ = b.in.Discard(len(text)) // they are in the buffer
	b.left -= int64(len(text))
	return text
}

// plainLines is the size of the lines that buf begins with, end with CRLF, have no
// other CR, and begin with no dot.
func plainLines(buf []byte) (size int) {
	for lines := 0; ; lines++ {
		i := bytes.IndexByte(buf[size:], '\n')
		if i < 1 || buf[size] == '.' || buf[size+i-1] != '\r' {
			if bytes.Count(buf[:size], crlf[:1]) != lines {
				return 0
			}
			return size
		}
		size += i + 1
	}
}

func (b *Body) end() error {
	if b.tooLarge {
		return ErrTooLarge
	}
	return io.EOF
}

// check looks for what may not be in a message. part holds an LF at its end at
// most, and may end between the CR and the LF of a CRLF.
func (b *Body) check(part []byte) error {
	if bytes.IndexByte(part, 0) >= 0 {
		return ErrNUL
	}
	inner := part
	if part[len(part)-1] == '\n' {
		if !endsCRLF(part, b.heldCR) {
			return ErrBareLineEnd
		}
		inner = part[:max(0, len(part)-len("\r\n"))]
	} else if part[len(part)-1] == '\r' {
		inner = part[:len(part)-1]
	}
	if b.heldCR && part[0] != '\n' || bytes.IndexByte(inner, '\r') >= 0 {
		return ErrBareLineEnd
	}
	return nil
}

func endsCRLF(part []byte, heldCR bool) bool {
	n := len(part)
	return part[n-1] == '\n' && (n > 1 && part[n-2] == '\r' || n == 1 && heldCR)
}

// skip reads a bad message to its end, octet by octet: from here on, CR, LF and
// CRLF may each be a line end to somebody.
func (b *Body) skip(part []byte, reason error) error {
	e := endFinder{afterCRLF: b.lineStart, text: !b.lineStart, heldCR: b.heldCR}
	for {
		for _, c := range part {
			switch e.next(c) {
			case endCRLF:
				return reason
			case endAmbiguous:
				b.outOfStep = true
				return reason
			}
		}
		if b.flood -= int64(len(part)); b.flood < 0 {
			b.outOfStep = true
			return reason
		}
		var err error
		if part, err = b.in.ReadSlice('\n'); err != nil && err != bufio.ErrBufferFull {
			b.outOfStep = true
			return reason
		}
	}
}

type ending int

const (
	noEnd ending = iota
	endCRLF
	endAmbiguous
)

// endFinder finds a line that holds one dot alone, between line ends of any
// kind.
type endFinder struct {
	afterCRLF bool // the line began after a CRLF
	dot, text bool // the line so far: one dot; anything else
	heldCR    bool
	crs       bool // more than one CR is held
}

func (e *endFinder) next(c byte) ending {
	if c == '\n' {
		crlf := e.heldCR && !e.crs // CR CR LF is one line end to some, two to others
		e.heldCR, e.crs = false, false
		return e.endLine(crlf)
	}
	found := noEnd
	if e.heldCR {
		found = e.endLine(false)
	}
	e.crs = e.heldCR && c == '\r'
	e.heldCR = c == '\r'
	if !e.heldCR {
		e.text = e.text || e.dot || c != '.'
		e.dot = !e.text
	}
	return found
}

func (e *endFinder) endLine(crlf bool) ending {
	found := noEnd
	if e.dot {
		found = endAmbiguous
		if crlf && e.afterCRLF {
			found = endCRLF
		}
	}
	e.afterCRLF, e.dot, e.text = crlf, false, false
	return found
}
