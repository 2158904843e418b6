package smtpd

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"xm/internal/line"
)

// reply is what a handler answers. text may have several lines.
type reply struct {
	code     int
	enhanced string // RFC 3463 status code; "" where none is due
	text     string
	close    bool // the session ends after it
}

// String gives the reply as it is sent, without the last CRLF (RFC 5321,
// section 4.2.1). RFC 2034, section 4: every line has the enhanced code.
func (r reply) String() string {
	lines := strings.Split(r.text, "\n")
	for i, text := range lines {
		separator := "-"
		if i == len(lines)-1 {
			separator = " "
		}
		if r.enhanced != "" {
			text = r.enhanced + " " + text
		}
		lines[i] = fmt.Sprintf("%d%s%s", r.code, separator, text)
	}
	return strings.Join(lines, "\r\n")
}

// transaction is what MAIL begins (RFC 5321, section 4.1.1.2).
type transaction struct {
	from       address
	recipients []recipient
	refused    int // recipients, for good
	deferred   int // recipients, for now
}

type recipient struct {
	address
	mailboxes []string
}

func (tx *transaction) mailboxes() []string {
	var names []string
	for _, r := range tx.recipients {
		for _, m := range r.mailboxes {
			if !slices.Contains(names, m) {
				names = append(names, m)
			}
		}
	}
	return names
}

// addresses lists the recipients for the log.
func (tx *transaction) addresses() []string {
	var list []string
	for _, r := range tx.recipients {
		list = append(list, r.raw)
	}
	return list
}

type session struct {
	srv     *Server
	conn    *line.Conn
	log     *slog.Logger
	greeted bool
	esmtp   bool
	client  string // the name in HELO or EHLO, as it was given
	tx      *transaction
	errors  int
	unsent  int // recipients refused
}

func newSession(srv *Server, conn *line.Conn) *session {
	return &session{srv: srv, conn: conn, log: srv.Log.With("session", conn.ID, "peer", conn.Peer())}
}

func (s *session) run() {
	if !s.answer(reply{code: 220, text: s.srv.Hostname + " ESMTP xm"}) {
		return
	}
	for {
		text, err := s.conn.ReadLine(maxLine, commandTimeout, s.tx == nil)
		r, ok := s.lineError(err)
		if err == nil {
			r, ok = s.dispatch(string(text)), true
		}
		if !ok || !s.answer(r) || r.close {
			return
		}
	}
}

// answer sends a reply. All but one go through here: DATA's 354 is sent by its
// handler, with sendReply.
func (s *session) answer(r reply) bool {
	if r.code == 0 { // the handler found the connection lost
		return false
	}
	if r.code >= 500 {
		s.log.Info("refused", "reply", r.String())
		s.errors++
	}
	if !s.sendReply(r) || r.close {
		return false
	}
	if s.errors >= maxErrors || s.unsent >= maxUnsent {
		s.sendReply(reply{421, "4.7.0", "Too many errors", true})
		return false
	}
	return true
}

func (s *session) sendReply(r reply) bool {
	if err := s.conn.Reply(r.String()); err != nil {
		s.log.Info("connection lost", "err", err)
		return false
	}
	return true
}

// lineError turns an error of ReadLine into a reply, if one can still be given.
func (s *session) lineError(err error) (reply, bool) {
	switch {
	case errors.Is(err, line.ErrLineEnd):
		return reply{500, "5.5.2", "Each line must end with CRLF, and hold no other CR or LF", false}, true
	case errors.Is(err, line.ErrLineTooLong):
		return reply{500, "5.5.2", fmt.Sprintf("The line is over %d octets", maxLine), false}, true
	case errors.Is(err, line.ErrEndlessLine):
		return reply{421, "4.7.0", "The line has no end", true}, true
	case errors.Is(err, line.ErrStopping):
		// RFC 5321, section 3.8: 421 before closing a connection at one's own wish.
		return reply{421, "4.3.2", s.srv.Hostname + " is shutting down", true}, true
	case errors.Is(err, os.ErrDeadlineExceeded):
		return reply{421, "4.4.2", "Nothing was heard for too long", true}, true
	}
	return reply{}, false
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
		"HELO": {"HELO name", optional, false, (*session).helo},
		"EHLO": {"EHLO name", optional, false, (*session).ehlo},
		"MAIL": {"MAIL FROM:<address> [SIZE=octets] [BODY=8BITMIME]", required, true, (*session).mail},
		"RCPT": {"RCPT TO:<address>", required, true, (*session).rcpt},
		"DATA": {"DATA", none, true, (*session).data},
		"RSET": {"RSET", none, false, (*session).rset},
		"NOOP": {"NOOP", optional, false, (*session).noop},
		"VRFY": {"VRFY address", required, false, (*session).vrfy},
		"HELP": {"HELP [command]", optional, false, (*session).help},
		"QUIT": {"QUIT", none, false, (*session).quit},
	}
}

// notOffered are verbs that RFC 5321 or its predecessors define. 502 tells
// that the server knows what it does not do (section 4.2.4).
var notOffered = []string{"EXPN", "SEND", "SOML", "SAML", "TURN"}

func (s *session) dispatch(text string) reply {
	verb, arg, _ := strings.Cut(text, " ")
	verb, arg = strings.ToUpper(verb), strings.TrimRight(arg, " \t") // RFC 5321, section 4.1.1
	cmd, known := commands[verb]
	switch {
	case slices.Contains(notOffered, verb):
		return reply{502, "5.5.1", verb + " is not offered here", false}
	case !known:
		return reply{500, "5.5.1", "Command not recognized: try HELP", false}
	case arg == "" && cmd.arg == required, arg != "" && cmd.arg == none:
		return reply{501, "5.5.4", "Syntax: " + cmd.syntax, false}
	case cmd.greeted && !s.greeted:
		return reply{503, "5.5.1", "Send HELO or EHLO first", false}
	}
	return cmd.run(s, arg)
}
