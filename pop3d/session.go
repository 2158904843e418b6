package pop3d

import (
	"log/slog"
	"strings"

	"xm/internal/line"
	"xm/internal/sasl"
)

// state is a session's state (RFC 1939, section 3). UPDATE is what QUIT does.
type state int

const (
	authorization state = 1 << iota
	transaction
)

type session struct {
	srv  *Server
	conn *line.Conn
	known
	drop    *drop  // nil in the AUTHORIZATION state
	owner   string // of the maildrop
	upgrade bool   // to TLS, once the reply is sent
	// What is counted against the limits outlives STLS.
	errors   int
	commands int    // before the login
	failures int    // of login
	verb     string // whose reply is next: one of commands, Unknown, or "" for none
	dots     line.DotWriter
}

// known is what a client has told before its login. STLS forgets it.
type known struct {
	name string // from USER
	utf8 bool   // RFC 6856, section 2: headers may be in UTF-8
}

// log makes a logger each time: one that was kept would be memory of each of many idle
// sessions, which have next to nothing to say.
func (s *session) log() *slog.Logger {
	log := s.conn.Logger(s.srv.Log)
	if s.owner != "" {
		log = log.With("user", s.owner)
	}
	return log
}

func (s *session) state() state {
	if s.drop == nil {
		return authorization
	}
	return transaction
}

func (s *session) run() {
	defer s.release()
	s.log().Debug("connected", "local", s.conn.Local())
	r := reply{ok: true, text: s.srv.Hostname + " xm POP3 server ready"}
	for s.send(r) {
		if s.upgrade && !s.handshake() {
			return
		}
		// A stop loses nothing as long as nothing is to be deleted.
		text, err := s.conn.ReadLine(sasl.MaxLine, idleTimeout, s.drop == nil || !s.drop.hasDeleted())
		s.verb = Unknown
		if err == nil {
			r = s.dispatch(string(text))
		} else {
			r = s.lineError(err)
		}
	}
}

// release unlocks the maildrop. RFC 1939, section 6: a session that ends without
// QUIT removes nothing.
func (s *session) release() {
	if s.drop != nil {
		s.drop.Close()
		s.drop = nil
	}
}

// command says when a verb is allowed and what it does.
type command struct {
	states           state
	minArgs, maxArgs int
	run              func(s *session, args []string) reply
}

const anyState = authorization | transaction

var commands = map[string]command{
	"CAPA": {anyState, 0, 0, (*session).capa},
	"STLS": {authorization, 0, 0, (*session).stls},
	"UTF8": {authorization, 0, 0, (*session).sayUTF8},
	"LANG": {anyState, 0, 1, (*session).lang},
	"USER": {authorization, 1, 1, (*session).user},
	"PASS": {authorization, 1, 1, (*session).pass},
	"AUTH": {authorization, 1, 2, (*session).auth},
	"QUIT": {anyState, 0, 0, (*session).quit},
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
	if s.drop == nil {
		s.commands++
	}
	cmd, known := commands[verb]
	if known {
		s.verb = verb
	}
	switch {
	case line.IsHTTP(verb):
		line.Abuse(s.log(), "HTTP")
		return reply{text: "this is not a web server", close: true}
	case s.drop == nil && s.commands > maxCommands:
		line.Abuse(s.log(), "too many commands without a login")
		return reply{text: "too many commands without a login", close: true}
	case !known:
		return failure("unknown command")
	case len(text) > maxLine && verb != "AUTH":
		return failure("the line is too long")
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
