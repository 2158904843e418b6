package pop3d

import (
	"errors"
	"io"
	"log/slog"
	"strings"

	"xm/internal/line"
)

// reply is what a handler answers.
type reply struct {
	ok   bool
	code string // response code (RFC 2449, section 8) of a -ERR; "" for none
	text string
	// lines writes the rest of a multi-line response with CRLF line ends, before
	// dot-stuffing. It is called exactly once.
	lines func(io.Writer) error
	close bool // the session ends after it
}

// status is the first line, without CRLF.
func (r reply) status() string {
	switch {
	case r.ok:
		return "+OK " + r.text
	case r.code != "":
		return "-ERR [" + r.code + "] " + r.text
	}
	return "-ERR " + r.text
}

func failure(text string) reply { return reply{text: text} }

// state is a session's state (RFC 1939, section 3). UPDATE is what QUIT does.
type state int

const (
	authorization state = 1 << iota
	transaction
)

type session struct {
	srv      *Server
	conn     *line.Conn
	log      *slog.Logger
	name     string // from USER
	failures int    // of login
	errors   int
	mailbox  Mailbox // nil in the AUTHORIZATION state
	deleted  map[int]bool
}

func newSession(srv *Server, conn *line.Conn) *session {
	return &session{srv: srv, conn: conn, log: srv.Log.With("session", conn.ID, "peer", conn.Peer())}
}

func (s *session) state() state {
	if s.mailbox == nil {
		return authorization
	}
	return transaction
}

func (s *session) run() {
	defer s.release()
	r := reply{ok: true, text: s.srv.Hostname + " xm POP3 server ready"}
	for s.send(r) {
		// A stop loses nothing as long as nothing is to be deleted.
		text, err := s.conn.ReadLine(maxLine, idleTimeout, len(s.deleted) == 0)
		if err == nil {
			r = s.dispatch(string(text))
			continue
		}
		var ok bool
		if r, ok = lineError(err); !ok {
			s.log.Info("connection lost", "err", err)
			return
		}
	}
}

// release unlocks the maildrop. RFC 1939, section 6: a session that ends without
// QUIT removes nothing.
func (s *session) release() {
	if s.mailbox != nil {
		s.mailbox.Close()
		s.mailbox = nil
	}
}

// send writes a reply. It returns false if the session is over.
func (s *session) send(r reply) bool {
	s.errors++
	if r.ok {
		s.errors = 0
	} else if s.errors >= maxErrors {
		r = reply{text: "too many errors", close: true}
	}
	_, err := io.WriteString(s.conn, r.status()+"\r\n")
	if r.lines != nil {
		w := line.NewDotWriter(s.conn)
		if err = errors.Join(err, r.lines(w)); err == nil {
			err = w.Close()
		}
	}
	// After a failed read the response must not look complete: the connection is
	// closed without its end.
	if err = errors.Join(err, s.conn.Flush()); err != nil {
		s.log.Warn("response broken off", "err", err)
	}
	return err == nil && !r.close
}

// lineError turns an error of ReadLine into a reply, if one can still be given.
func lineError(err error) (reply, bool) {
	switch {
	case errors.Is(err, line.ErrLineEnd):
		return failure("each line must end with CRLF, and hold no other CR or LF"), true
	case errors.Is(err, line.ErrLineTooLong):
		return failure("the line is too long"), true
	case errors.Is(err, line.ErrEndlessLine):
		return reply{text: "the line has no end", close: true}, true
	case errors.Is(err, line.ErrStopping):
		return reply{code: "SYS/TEMP", text: "the server is shutting down", close: true}, true
	}
	// RFC 1939, section 3: the autologout closes without a response.
	return reply{}, false
}

// command says when a verb is allowed and what it does. PASS takes the rest of
// the line as its one argument.
type command struct {
	states           state
	minArgs, maxArgs int
	run              func(s *session, args []string) reply
}

var commands = map[string]command{
	"USER": {authorization, 1, 1, (*session).user},
	"PASS": {authorization, 1, 1, (*session).pass},
	"CAPA": {authorization | transaction, 0, 0, (*session).capa},
	"QUIT": {authorization | transaction, 0, 0, (*session).quit},
	"STAT": {transaction, 0, 0, (*session).stat},
	"LIST": {transaction, 0, 1, (*session).list},
	"UIDL": {transaction, 0, 1, (*session).uidl},
	"RETR": {transaction, 1, 1, (*session).retr},
	"TOP":  {transaction, 2, 2, (*session).top},
	"DELE": {transaction, 1, 1, (*session).dele},
	"NOOP": {transaction, 0, 0, (*session).noop},
	"RSET": {transaction, 0, 0, (*session).rset},
}

func (s *session) dispatch(text string) reply {
	verb, rest, hasRest := strings.Cut(text, " ")
	verb = strings.ToUpper(verb) // RFC 1939, section 3: in any case
	args := strings.Fields(rest)
	if verb == "PASS" && hasRest {
		args = []string{rest} // section 7, PASS: blanks are part of a password
	}
	cmd, known := commands[verb]
	switch {
	case !known:
		return failure("unknown command")
	case cmd.states&s.state() == 0 && s.state() == authorization:
		return failure("log in first")
	case cmd.states&s.state() == 0:
		return failure("already logged in")
	case len(args) < cmd.minArgs:
		return failure(verb + " needs an argument more")
	case len(args) > cmd.maxArgs:
		return failure(verb + " takes fewer arguments")
	}
	return cmd.run(s, args)
}
