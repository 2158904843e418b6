package pop3d

import (
	"errors"
	"io/fs"

	"xm/internal/line"
)

// The response codes: RFC 2449, section 8; RFC 3206; RFC 6856, section 5.
const (
	inUse      = "IN-USE"
	loginDelay = "LOGIN-DELAY"
	badAuth    = "AUTH"
	sysTemp    = "SYS/TEMP"
	sysPerm    = "SYS/PERM"
	needsUTF8  = "UTF8"
)

// reply is what a handler answers. The zero reply is that to a connection that is
// lost.
type reply struct {
	ok    bool
	code  string // response code of a -ERR; "" for none
	text  string
	rest  multiline // nil for a response of one line
	close bool      // the session ends after it
}

// multiline is what follows the first line of a response. It is written exactly once.
type multiline interface {
	writeTo(*line.DotWriter) error
}

// lines is a multiline.
type lines func(*line.DotWriter) error

func (l lines) writeTo(w *line.DotWriter) error { return l(w) }

// status appends the first line.
func (r reply) status(b []byte) []byte {
	switch {
	case r.ok:
		b = append(b, "+OK "...)
	case r.code != "":
		b = append(append(append(b, "-ERR ["...), r.code...), "] "...)
	default:
		b = append(b, "-ERR "...)
	}
	return append(append(b, r.text...), "\r\n"...)
}

func failure(text string) reply { return reply{text: text} }

// trouble is on our side. The cause is for the log.
func trouble(err error, text string) reply {
	if errors.Is(err, fs.ErrPermission) {
		return reply{code: sysPerm, text: text + ": the operator must see to it"}
	}
	return reply{code: sysTemp, text: text + ", try again later"}
}

// send writes a reply. It returns false if the session is over.
func (s *session) send(r reply) bool {
	if r.text == "" {
		s.log().Info("connection lost")
		return false
	}
	s.errors++
	if r.ok {
		s.errors = 0
	} else if s.errors >= s.mostErrors() {
		line.Abuse(s.log(), "too many errors")
		r = reply{text: "too many errors", close: true}
	}
	if s.verb != "" {
		s.srv.observer().Command(s.verb, r.ok)
	}
	_, err := s.conn.Write(r.status(s.conn.AvailableBuffer()))
	if r.rest != nil {
		s.dots.Reset(s.conn)
		if err = errors.Join(err, r.rest.writeTo(&s.dots)); err == nil {
			err = s.dots.Close()
		}
	}
	// After a failed read the response must not look complete: the connection is
	// closed without its end.
	if err != nil {
		s.log().Warn("response broken off", "err", err)
	}
	return err == nil && !r.close
}

// mostErrors is lenient with who is logged in: another program may have removed
// all messages that a client asks for at once.
func (s *session) mostErrors() int {
	if s.drop == nil {
		return maxErrors
	}
	return maxDropErrors
}

// lineError turns an error of ReadLine into a reply: the zero one if none can be
// given any more.
func (s *session) lineError(err error) reply {
	switch {
	case errors.Is(err, line.ErrLineEnd):
		return failure("each line must end with CRLF, and hold no other CR or LF")
	case errors.Is(err, line.ErrLineTooLong):
		return failure("the line is too long")
	case errors.Is(err, line.ErrEndlessLine):
		line.Abuse(s.log(), "a line without an end")
		return reply{text: "the line has no end", close: true}
	case errors.Is(err, line.ErrStopping):
		return reply{code: sysTemp, text: "the server is shutting down", close: true}
	}
	// RFC 1939, section 3: the autologout closes without a response.
	return reply{}
}
