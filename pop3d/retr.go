package pop3d

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"strconv"
	"sync"
	"unicode/utf8"

	"xm/internal/line"
)

func (s *session) retr(args []string) reply { return s.send1(args[0], nil) }

// top is RFC 1939, section 7.
func (s *session) top(args []string) reply {
	lines, err := strconv.ParseUint(args[1], 10, 63)
	switch {
	case errors.Is(err, strconv.ErrRange):
		lines = math.MaxInt64
	case err != nil:
		return failure("a number of lines is wanted")
	}
	return s.send1(args[0], &topper{lines: lines})
}

// send1 sends a message, or the top of it. It is opened, and its beginning read,
// before anything is promised.
func (s *session) send1(arg string, top *topper) reply {
	i, problem := s.message(arg)
	if problem != "" {
		return failure(problem)
	}
	m, err := openMessage(s.drop, i)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return failure("the message is gone: another program has removed it")
	case err != nil:
		s.log().Warn("open a message", "err", err)
		return trouble(err, "the message can't be read")
	case !s.utf8 && isInternational(m.first):
		m.close()
		return reply{code: needsUTF8, text: "the message is internationalized: log in anew, with UTF8"}
	}
	m.session, m.number, m.top = s, i, top
	if top != nil {
		return reply{ok: true, text: "the top of the message follows", rest: m}
	}
	var number [20]byte
	return reply{ok: true, text: string(append(strconv.AppendInt(number[:0], s.drop.Size(i), 10), " octets"...)), rest: m}
}

func (s *session) logRetrieved(i int, octets int64) {
	if listed := s.drop.Size(i); octets != listed {
		s.log().Warn("a message is not of the size that was listed", "uid", s.drop.UID(i), "listed", listed, "sent", octets)
	}
	if s.srv.Log.Enabled(context.Background(), slog.LevelDebug) {
		s.log().Debug("message retrieved", "uid", s.drop.UID(i), "octets", octets)
	}
}

// outgoing is a message on its way to the client.
type outgoing struct {
	src   io.ReadCloser
	buf   [pieceSize]byte
	first []byte // what was read when it was opened; in buf
	err   error  // of that reading: io.EOF at most

	session *session
	number  int     // of the message, from 0
	top     *topper // nil for all of it
}

// pieceSize is how much of a message is read at a time.
const pieceSize = 32 << 10

// outgoings are used again: only messages that are being sent have a buffer.
var outgoings = sync.Pool{New: func() any { return new(outgoing) }}

func openMessage(box Mailbox, i int) (*outgoing, error) {
	src, err := box.Open(i)
	if err != nil {
		return nil, err
	}
	m := outgoings.Get().(*outgoing)
	n, err := src.Read(m.buf[:])
	if m.src, m.first, m.err = src, m.buf[:n], err; err != nil && err != io.EOF {
		m.close()
		return nil, err
	}
	return m, nil
}

// close ends the use of m.
func (m *outgoing) close() {
	m.src.Close()
	m.src, m.session, m.top = nil, nil, nil
	outgoings.Put(m)
}

// writeTo sends the message, and ends the use of m.
func (m *outgoing) writeTo(w *line.DotWriter) error {
	defer m.close()
	if m.top != nil {
		return m.copyTop(w, m.top)
	}
	if err := m.copy(w); err != nil {
		return err
	}
	m.session.logRetrieved(m.number, w.Octets())
	return nil
}

// next gives the message piece by piece; each is valid until the next. The error
// is io.EOF after the last.
func (m *outgoing) next() (piece []byte, err error) {
	piece, err = m.first, m.err
	if m.first = nil; len(piece) == 0 && err == nil {
		var n int
		n, err = m.src.Read(m.buf[:])
		piece = m.buf[:n]
	}
	if len(piece) > 0 && err == io.EOF {
		m.err, err = err, nil
	}
	return piece, err
}

func (m *outgoing) copy(w io.Writer) error {
	for {
		piece, err := m.next()
		if err == io.EOF {
			return nil
		}
		if _, werr := w.Write(piece); err != nil || werr != nil {
			return errors.Join(err, werr)
		}
	}
}

func (m *outgoing) copyTop(w io.Writer, t *topper) error {
	for {
		piece, err := m.next()
		if err == io.EOF {
			return nil
		}
		part, done := t.cut(piece)
		if _, werr := w.Write(part); err != nil || werr != nil {
			return errors.Join(err, werr)
		}
		if done {
			return nil
		}
	}
}

// topper finds the end of the top of a message, which comes in pieces: the
// header, the empty line and some lines of the body.
type topper struct {
	lines  uint64 // of the body, still to come
	inBody bool
	text   bool // the line so far is not empty
}

// cut returns what of the piece belongs to the top, and whether that ends there.
func (t *topper) cut(piece []byte) (part []byte, done bool) {
	for at := 0; ; {
		i := bytes.IndexByte(piece[at:], '\n')
		if i < 0 {
			t.text = t.text || len(bytes.TrimRight(piece[at:], "\r")) > 0
			return piece, false
		}
		empty := !t.text && len(bytes.TrimRight(piece[at:at+i], "\r")) == 0
		at, t.text = at+i+1, false
		if t.inBody {
			t.lines--
		}
		t.inBody = t.inBody || empty
		if t.inBody && t.lines == 0 {
			return piece[:at], true
		}
	}
}

// isInternational reports whether a message needs UTF8: it came here with SMTPUTF8, as
// its trace tells (RFC 6531, section 4.3), and has UTF-8 in its header. Octets of
// other messages' headers that are not ASCII break the rules with UTF8 as
// without: they are sent as they always were. beginning holds all but enormous
// headers, and the newest part of the trace in any case.
func isInternational(beginning []byte) bool {
	header := headerOf(beginning)
	return cameAsUTF8(header) && bytes.ContainsFunc(header, func(r rune) bool { return r >= utf8.RuneSelf })
}

// cameAsUTF8 looks at the newest field of the trace alone: what was there before, as the
// subject, may say what it likes, and many clients end at a message that is refused.
func cameAsUTF8(header []byte) bool {
	with := []byte(" with UTF8")
	if !bytes.Contains(header, with) { // hardly any has it
		return false
	}
	received := false
	for line := range bytes.Lines(header) {
		if line[0] != ' ' && line[0] != '\t' { // no continuation of the field before
			if received {
				break
			}
			name, _, _ := bytes.Cut(line, []byte(":"))
			received = bytes.EqualFold(name, []byte("Received"))
		}
		if received && bytes.Contains(line, with) {
			return true
		}
	}
	return false
}

// headerOf is what comes before the first empty line.
func headerOf(message []byte) []byte {
	for at := 0; ; {
		i := bytes.IndexByte(message[at:], '\n')
		if i < 0 {
			return message
		}
		if i == 0 || i == 1 && message[at] == '\r' {
			return message[:at]
		}
		at += i + 1
	}
}
