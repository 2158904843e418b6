package smtpd

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"xm/internal/line"
	"xm/internal/sasl"
)

type session struct {
	srv  *Server
	conn *line.Conn
	log  *slog.Logger
	known
	upgrade bool // to TLS, once the reply is sent
	// What is counted against the limits outlives STARTTLS.
	errors   int // these three since the last message that was accepted
	commands int
	unsent   int    // recipients refused
	failures int    // logins refused
	logged   bool   // the reply that is sent next
	verb     string // whose reply is next: one of commands, Unknown, or "" for none
}

// known is what a client has told. STARTTLS forgets it.
type known struct {
	greeted bool
	esmtp   bool
	client  string // the name in HELO or EHLO, as it was given
	user    string // who has authenticated
	tx      *transaction
}

func newSession(srv *Server, conn *line.Conn) *session {
	s := &session{srv: srv, conn: conn}
	s.forget()
	return s
}

// forget makes the session a new one, on the connection as it is now.
func (s *session) forget() {
	s.reset()
	s.known = known{}
	s.log = s.conn.Logger(s.srv.Log)
}

// reset ends the transaction, if there is one.
func (s *session) reset() {
	if s.tx != nil && s.tx.message != nil {
		s.tx.message.abort()
		s.logMessage(s.tx, slog.LevelInfo, "message given up")
	}
	s.tx = nil
}

// channel tells what the connection is good for in an authentication.
func (s *session) channel() sasl.Channel {
	t := s.conn.TLS()
	if t == nil {
		return sasl.Channel{Secure: s.conn.Peer().IsLoopback()}
	}
	return sasl.Channel{Secure: true, Bindings: sasl.Bindings(&t.State, t.Certificate)}
}

// needsTLS reports whether the client must begin with STARTTLS. RFC 8314,
// section 3: submission in clear is of the past, where there is a certificate.
func (s *session) needsTLS() bool {
	return s.srv.Submission && s.conn.CanStartTLS() && !s.conn.Peer().IsLoopback()
}

func (s *session) run() {
	defer s.reset()
	s.log.Debug("connected", "local", s.conn.Local())
	if !s.answer("", reply{code: 220, text: s.srv.Hostname + " ESMTP xm"}) {
		return
	}
	for {
		text, err := s.conn.ReadLine(maxAuthLine, commandTimeout, s.tx == nil)
		command, r := string(text), reply{}
		s.verb = Unknown
		if err == nil {
			r = s.dispatch(command)
		} else {
			r = s.lineError(err)
			r.close = r.close || isBDAT(command) // and nobody can tell where its octets end
		}
		if !s.answer(command, r) || s.upgrade && !s.handshake() {
			return
		}
	}
}

// answer sends the reply to a command, and reports whether the session goes on.
// All replies but DATA's 354, AUTH's 334 and the last one to a client over a
// limit go through here.
func (s *session) answer(command string, r reply) bool {
	if r.code == 0 { // the handler found the connection lost
		return false
	}
	if s.verb != "" {
		s.srv.observer().Command(s.verb, r.code)
	}
	if !s.logged {
		s.logReply(command, r)
	}
	s.logged = false
	if r.code >= 500 {
		s.errors++
	}
	if !s.sendReply(r) || r.close {
		return false
	}
	s.commands++
	if s.upgrade || !s.overLimit() {
		return true
	}
	line.Abuse(s.log, "too many errors, or commands without a message")
	s.sendReply(reply{421, "4.7.0", "Too many errors, or too many commands without a message", true})
	return false
}

func (s *session) overLimit() bool {
	// A list may have many recipients that are stale: the others get their mail.
	unsent := s.unsent >= maxUnsent
	if s.tx != nil && len(s.tx.recipients) > 0 {
		unsent = s.tx.refused >= max(maxUnsent, s.srv.maxRecipients())
	}
	// What LIMITS promises (RFC 9422) can be had in one message.
	commands := max(maxCommands, 2*s.srv.maxRecipients())
	return unsent || s.errors >= maxErrors || s.failures >= maxFailures || s.commands >= commands
}

// maxQuoted is how much of a command goes into the log.
const maxQuoted = 512

// logReply logs what was refused, and for who debugs what was not. It quotes no
// argument but those of EHLO, MAIL and RCPT: AUTH has secrets, and a client that is
// out of step may send them anywhere.
func (s *session) logReply(command string, r reply) {
	level, what := slog.LevelDebug, "answered"
	if r.code >= 400 {
		level, what = slog.LevelInfo, "refused"
	}
	if !s.log.Enabled(s.conn.Context(), level) {
		return
	}
	verb, _, _ := strings.Cut(command, " ")
	verb = strings.ToUpper(verb)
	log := s.log
	if s.tx != nil && !s.tx.broken {
		log = log.With("id", s.tx.id)
	}
	switch {
	case verb == "MAIL" || verb == "RCPT":
		log = log.With("command", command[:min(len(command), maxQuoted)])
		if s.tx != nil {
			log = log.With("from", s.tx.from.raw)
		}
	case (verb == "EHLO" || verb == "HELO") && r.code < 400:
		log = log.With("command", command[:min(len(command), maxQuoted)])
	case commands[verb].run != nil:
		log = log.With("command", verb)
	}
	log.Log(s.conn.Context(), level, what, "reply", r.line())
}

func (s *session) sendReply(r reply) bool {
	if err := s.conn.Reply(r.String()); err != nil {
		s.log.Info("connection lost", "err", err)
		return false
	}
	return true
}

// lineError turns an error of ReadLine into a reply: the zero one if none can be
// given any more.
func (s *session) lineError(err error) reply {
	switch {
	case errors.Is(err, line.ErrLineEnd):
		return reply{500, "5.5.2", "Each line must end with CRLF, and hold no other CR or LF", false}
	case errors.Is(err, line.ErrLineTooLong):
		return tooLong(maxAuthLine)
	case errors.Is(err, line.ErrEndlessLine):
		line.Abuse(s.log, "a line without an end")
		return reply{421, "4.7.0", "The line has no end", true}
	case errors.Is(err, line.ErrStopping):
		// RFC 5321, section 3.8: 421 before closing a connection at one's own wish.
		return reply{421, "4.3.2", s.srv.Hostname + " is shutting down", true}
	case errors.Is(err, line.ErrExpired):
		return reply{421, "4.4.2", "The session took too long", true}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return reply{421, "4.4.2", "Nothing was heard for too long", true}
	}
	return reply{}
}

func tooLong(limit int) reply {
	return reply{500, "5.5.2", fmt.Sprintf("The line is over %d octets", limit), false}
}

// argument says what may follow a verb.
type argument int

const (
	none argument = iota
	optional
	required
)

// command says when a verb is allowed and what it does.
type command struct {
	syntax  string
	arg     argument
	greeted bool // only after HELO or EHLO (RFC 5321, section 4.1.4)
	run     func(s *session, arg string) reply
}

var commands map[string]command

func init() { // not a literal: help, which is in the table, reads it
	commands = map[string]command{
		"HELO":     {"HELO name", optional, false, (*session).helo},
		"EHLO":     {"EHLO name", optional, false, (*session).ehlo},
		"STARTTLS": {"STARTTLS", none, false, (*session).startTLS}, // RFC 3207 asks for no EHLO before it, and GNU SASL sends none
		"AUTH":     {"AUTH mechanism [initial-response]", required, true, (*session).auth},
		"MAIL":     {"MAIL FROM:<address> [SIZE=octets] [BODY=8BITMIME] [SMTPUTF8] [AUTH=address]", required, true, (*session).mail},
		"RCPT":     {"RCPT TO:<address>", required, true, (*session).rcpt},
		"DATA":     {"DATA", none, true, (*session).data},
		"BDAT":     {"BDAT octets [LAST]", optional, false, (*session).bdat}, // whatever is wrong, its octets must be read
		"RSET":     {"RSET", none, false, (*session).rset},
		"NOOP":     {"NOOP", optional, false, (*session).noop},
		"VRFY":     {"VRFY address", required, false, (*session).vrfy},
		"HELP":     {"HELP [command]", optional, false, (*session).help},
		"QUIT":     {"QUIT", none, false, (*session).quit},
	}
}

// notOffered are verbs that RFC 5321 or its predecessors define. 502 tells
// that the server knows what it does not do (section 4.2.4).
var notOffered = []string{"EXPN", "SEND", "SOML", "SAML", "TURN"}

// isBDAT reports whether a line that can't be read was meant to be a BDAT: its
// octets follow, and must not be taken for commands.
func isBDAT(text string) bool { return len(text) >= 4 && strings.EqualFold(text[:4], "BDAT") }

func (s *session) dispatch(text string) reply {
	size := len(text)
	text = strings.TrimRight(text, " \t") // RFC 5321, section 4.1.1
	verb, arg, _ := strings.Cut(text, " ")
	verb, arg = strings.ToUpper(verb), strings.TrimLeft(arg, " ") // programs that write two are met
	cmd, known := commands[verb]
	if known {
		s.verb = verb
	}
	switch {
	case line.IsHTTP(verb):
		line.Abuse(s.log, "HTTP")
		return reply{421, "4.7.0", "This is not a web server", true}
	case slices.Contains(notOffered, verb):
		return reply{502, "5.5.1", verb + " is not offered here", false}
	case !known:
		return reply{500, "5.5.1", "Command not recognized: try HELP", isBDAT(text)}
	case size > maxLine && verb != "AUTH":
		r := tooLong(maxLine)
		r.close = isBDAT(text)
		return r
	case arg == "" && cmd.arg == required, arg != "" && cmd.arg == none:
		return reply{501, "5.5.4", "Syntax: " + cmd.syntax, false}
	case cmd.greeted && !s.greeted:
		return notGreeted
	}
	return cmd.run(s, arg)
}
