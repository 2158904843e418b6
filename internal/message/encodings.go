package message

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"io"
)

// quotedPrintable decodes (RFC 2045, section 6.7). What may not be there is taken
// as it is: lines of any length, control characters, and a "=" that says nothing.
type quotedPrintable struct {
	in   *bufio.Reader
	held []byte // the end of a piece of a line: what it means shows later
	text []byte // decoded
	err  error
}

func newQuotedPrintable(r io.Reader) *quotedPrintable {
	return &quotedPrintable{in: bufio.NewReader(r)}
}

func (q *quotedPrintable) Read(p []byte) (int, error) {
	for len(q.text) == 0 {
		if q.err != nil {
			return 0, q.err
		}
		q.more()
	}
	n := copy(p, q.text)
	q.text = q.text[n:]
	return n, nil
}

// maxBlanks bounds the blanks that are held to see whether a line ends with them.
const maxBlanks = 64 << 10

// more decodes a line, or a piece of a long one.
func (q *quotedPrintable) more() {
	line, err := q.in.ReadSlice('\n')
	if len(q.held) > 0 {
		line = append(q.held, line...)
		q.held = nil
	}
	if err == bufio.ErrBufferFull {
		end := len(bytes.TrimRight(line, " \t\r"))
		if i := bytes.LastIndexByte(line[:end], '='); i >= 0 && i > end-len("=XX") {
			end = i
		}
		if len(line)-end > maxBlanks {
			end = len(line)
		}
		q.held = bytes.Clone(line[end:])
		q.decode(line[:end])
		return
	}
	q.err = err
	text := bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
	lineEnd := line[len(text):]
	text = bytes.TrimRight(text, " \t") // rule 3
	if soft, ok := bytes.CutSuffix(text, []byte("=")); ok {
		text, lineEnd = soft, nil // rule 5
	}
	q.decode(text)
	q.text = append(q.text, lineEnd...)
}

func (q *quotedPrintable) decode(line []byte) {
	q.text = q.text[:0]
	for {
		plain, rest, found := bytes.Cut(line, []byte("="))
		q.text = append(q.text, plain...)
		if !found {
			return
		}
		var octet [1]byte
		if _, err := hex.Decode(octet[:], rest[:min(2, len(rest))]); err == nil && len(rest) >= 2 {
			q.text, line = append(q.text, octet[0]), rest[2:]
		} else {
			q.text, line = append(q.text, '='), rest
		}
	}
}

// base64Digits leaves out what is not base64, as RFC 2045, section 6.8, wants. It
// adds padding where that is missing, so that no octet is lost, and tells of it: the
// rest may be missing, too.
type base64Digits struct {
	r     io.Reader
	count int
	end   error
}

func (b *base64Digits) Read(p []byte) (int, error) {
	for b.end == nil {
		n, err := b.r.Read(p)
		kept := p[:0]
		for _, c := range p[:n] {
			if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '=' {
				kept = append(kept, c)
			}
		}
		b.count += len(kept)
		if err == io.EOF {
			if b.end, err = io.EOF, nil; b.count%4 != 0 {
				b.end = io.ErrUnexpectedEOF
			}
		}
		if len(kept) > 0 || err != nil || len(p) == 0 {
			return len(kept), err
		}
	}
	n := copy(p, "==="[:-b.count&3])
	if b.count += n; n == 0 && len(p) > 0 {
		return 0, b.end
	}
	return n, nil
}
