package smtpd

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

func (s *session) helo(name string) reply {
	if !isPrintable(name) {
		return badName
	}
	s.greet(name, false)
	return reply{code: 250, text: s.srv.Hostname}
}

// ehlo lists the extensions that are of use now (RFC 5321, section 4.1.1.1).
func (s *session) ehlo(name string) reply {
	if !isPrintable(name) {
		return badName
	}
	s.greet(name, true)
	extensions := []string{
		s.srv.Hostname + " greets you",
		"PIPELINING",
		fmt.Sprintf("SIZE %d", s.srv.maxSize()),
		"8BITMIME",
		"SMTPUTF8",
		"ENHANCEDSTATUSCODES",
		"CHUNKING",
		fmt.Sprintf("LIMITS RCPTMAX=%d", s.srv.maxRecipients()), // RFC 9422, section 4
	}
	if s.conn.CanStartTLS() {
		extensions = append(extensions, "STARTTLS")
	}
	if s.user == "" && !s.needsTLS() {
		extensions = append(extensions, "AUTH "+strings.Join(s.channel().Mechanisms(), " "))
	}
	return reply{code: 250, text: strings.Join(append(extensions, "HELP"), "\n")}
}

var badName = reply{501, "5.5.4", "A name holds no control characters", false}

// isPrintable is all that is asked of a client's name: many programs do not know
// theirs, and RFC 5321, section 4.1.4, forbids to refuse mail for it.
func isPrintable(name string) bool { return !strings.ContainsFunc(name, unicode.IsControl) }

// greet also resets. RFC 5321, section 4.1.4: as RSET does.
func (s *session) greet(name string, esmtp bool) {
	s.reset()
	s.greeted, s.esmtp, s.client = true, esmtp, name
}

func (s *session) startTLS(string) reply {
	switch {
	case s.conn.TLS() != nil:
		return reply{503, "5.5.1", "TLS has begun already", false}
	case !s.conn.CanStartTLS():
		return reply{502, "5.5.1", "STARTTLS is not offered here", false}
	case s.tx != nil:
		return hasTransaction
	}
	s.upgrade = true
	return reply{220, "2.0.0", "Go ahead", false}
}

// handshake is what follows the reply to STARTTLS.
func (s *session) handshake() bool {
	s.upgrade = false
	dropped, err := s.conn.StartTLS()
	if dropped > 0 {
		s.log.Warn("dropped what was sent in clear behind STARTTLS", "octets", dropped)
	}
	if err != nil {
		s.log.Info("connection lost", "err", err)
		return false
	}
	s.forget() // RFC 3207, section 4.2
	return true
}

func (s *session) rset(string) reply {
	s.reset()
	return done
}

func (s *session) noop(string) reply { return done }

// vrfy does not tell who exists (RFC 5321, section 7.3).
func (s *session) vrfy(string) reply {
	return reply{252, "2.5.0", "Not verified, but mail for a user here will be delivered", false}
}

func (s *session) help(verb string) reply {
	if cmd, ok := commands[strings.ToUpper(verb)]; ok {
		return reply{214, "2.0.0", cmd.syntax, false}
	}
	var all []string
	for v := range commands {
		all = append(all, v)
	}
	slices.Sort(all)
	return reply{214, "2.0.0", "Commands: " + strings.Join(all, " "), false}
}

func (s *session) quit(string) reply {
	return reply{221, "2.0.0", "Bye", true}
}

// temporary reports a fault of ours: the peer gets to know that it may try
// again, the log the cause.
func (s *session) temporary(what string, err error) reply {
	s.log.Error(what, "err", err)
	return reply{451, "4.3.0", "Trouble on our side, try again later", false}
}
