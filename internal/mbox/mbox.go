// Package mbox reads and writes mailboxes in one file, in the form mboxrd (RFC
// 4155, appendix A, has the default form, which differs in the quoting; see
// https://www.loc.gov/preservation/digital/formats/fdd/fdd000385.shtml).
//
//	From alice@example.org Thu Jan  1 00:00:00 1970
//	Subject: hello
//
//	>From here on, a line that begins with "From ", or with that behind any
//	number of ">", has one ">" more than in the message.
//
// A message begins with a From line at the beginning of the file or behind an
// empty line, and ends with an empty line of its own, which does not belong to
// it. Line ends are LF; CRLF is read, too. Messages are streams of any size: a
// long line is not kept whole.
package mbox

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"
)

var from = []byte("From ")

// ErrFormat is returned for what does not begin with a From line.
var ErrFormat = errors.New("it is no mbox: it does not begin with \"From \"")

// Write writes one message, which has LF or CRLF line ends, with the sender's
// address and the time of its delivery.
func Write(w io.Writer, sender string, at time.Time, message io.Reader) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "From %s %s\n", sender, at.UTC().Format(time.ANSIC))
	in := bufio.NewReader(message)
	open := false // within a line
	for {
		part, err := in.ReadSlice('\n')
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return err
		}
		if !open && len(part) > 0 && isFrom(part) {
			out.WriteByte('>')
		}
		if len(part) > 0 {
			open = part[len(part)-1] != '\n'
			writeLF(out, in, part)
		}
		if err == io.EOF {
			break
		}
	}
	if open {
		out.WriteByte('\n')
	}
	out.WriteByte('\n')
	return out.Flush() // it has the error of the writes before
}

// writeLF writes part with LF for CRLF, which a full buffer may have split.
func writeLF(out *bufio.Writer, in *bufio.Reader, part []byte) {
	if line, ok := bytes.CutSuffix(part, []byte("\r\n")); ok {
		out.Write(line)
		out.WriteByte('\n')
		return
	}
	if part[len(part)-1] == '\r' {
		part = append([]byte(nil), part...) // the look ahead moves the buffer
		if next, err := in.Peek(1); err == nil && next[0] == '\n' {
			part = part[:len(part)-1]
		}
	}
	out.Write(part)
}

// isFrom reports whether a line is to be quoted: "From " behind any number of
// ">".
func isFrom(line []byte) bool { return bytes.HasPrefix(bytes.TrimLeft(line, ">"), from) }

// Reader reads the messages of a mailbox, one after the other.
type Reader struct {
	in      *bufio.Reader
	began   bool
	between bool   // the From line of the next message was read, or a part of it
	inFrom  bool   // only a part
	start   bool   // at the beginning of a line
	empty   int    // octets of an empty line that was read, and may be the message's or not
	rest    []byte // of the message, to be read
	err     error  // of the input
}

// NewReader reads r.
func NewReader(r io.Reader) *Reader { return &Reader{in: bufio.NewReader(r), start: true} }

// Next begins the next message, which Read gives up to its io.EOF; what was not
// read of the one before is passed over. The error is io.EOF behind the last
// message.
func (r *Reader) Next() error {
	if !r.began {
		r.began = true
		head, err := r.in.Peek(len(from))
		if len(head) == 0 && err == io.EOF {
			return io.EOF
		}
		if !bytes.Equal(head, from) {
			if err != nil && err != io.EOF {
				return err
			}
			return ErrFormat
		}
		r.inFrom = true
	} else if _, err := io.Copy(io.Discard, r); err != nil { // the rest of the one before
		return err
	} else if !r.between {
		return r.err
	}
	for err := error(nil); r.inFrom; r.inFrom = err == bufio.ErrBufferFull {
		if _, err = r.in.ReadSlice('\n'); err != nil && err != bufio.ErrBufferFull {
			r.err = err // a message of nothing, or the input's failure
		}
	}
	r.between, r.start, r.empty = false, true, 0
	return nil
}

// Read gives the message as it was written, unquoted.
func (r *Reader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.between {
			return 0, io.EOF
		}
		if r.err != nil {
			return 0, r.err
		}
		r.fill()
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// fill reads a line, or a part of a long one.
func (r *Reader) fill() {
	part, err := r.in.ReadSlice('\n')
	if err != nil && err != bufio.ErrBufferFull {
		r.err = err
	}
	start := r.start
	r.start = err == nil
	switch {
	case len(part) == 0: // the end; an empty line before it is not the message's
		return
	case start && r.empty > 0 && bytes.HasPrefix(part, from):
		r.between, r.inFrom = true, err != nil
		return
	case start && isFrom(part) && part[0] == '>':
		part = part[1:]
	}
	r.rest = append(emptyLine(r.empty), part...)
	r.empty = 0
	if start && (string(part) == "\n" || string(part) == "\r\n") {
		r.empty = len(part)
		r.rest = r.rest[:len(r.rest)-len(part)]
	}
}

func emptyLine(octets int) []byte {
	return []byte("\r\n"[2-octets:])
}
