package smtpd

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

func (s *session) helo(name string) reply {
	s.greet(name, false)
	return reply{code: 250, text: s.srv.Hostname}
}

// ehlo lists the extensions (RFC 5321, section 4.1.1.1).
func (s *session) ehlo(name string) reply {
	s.greet(name, true)
	return reply{code: 250, text: strings.Join([]string{
		s.srv.Hostname + " greets you",
		"PIPELINING",
		fmt.Sprintf("SIZE %d", s.srv.maxSize()),
		"8BITMIME",
		"ENHANCEDSTATUSCODES",
		"HELP",
	}, "\n")}
}

// greet also resets. RFC 5321, section 4.1.4: as RSET does.
func (s *session) greet(name string, esmtp bool) {
	s.greeted, s.esmtp, s.client, s.tx = true, esmtp, name, nil
}

func (s *session) mail(arg string) reply {
	syntax := reply{501, "5.5.4", "Syntax: " + commands["MAIL"].syntax, false}
	rest, ok := cutKeyword(arg, "FROM:")
	if !ok {
		return syntax
	}
	if s.tx != nil {
		// RFC 5321, section 4.1.4: MAIL must not be sent while a transaction is open.
		return reply{503, "5.5.1", "A transaction is open already: RSET ends it", false}
	}
	from, params, err := parsePath(rest)
	if err != nil {
		return reply{501, "5.1.7", "Sender address: " + err.Error(), false}
	}
	if r := s.checkMailParams(params); r.code != 0 {
		return r
	}
	if r := s.checkSender(from); r.code != 0 {
		return r
	}
	s.tx = &transaction{from: from}
	return reply{250, "2.1.0", "OK", false}
}

// checkMailParams returns a reply if a parameter keeps the transaction from
// beginning, else the zero reply.
func (s *session) checkMailParams(params []string) reply {
	var seen []string
	for _, p := range params {
		key, value, _ := strings.Cut(p, "=")
		key = strings.ToUpper(key)
		if slices.Contains(seen, key) {
			return reply{501, "5.5.4", key + " is given twice", false}
		}
		seen = append(seen, key)
		switch key {
		case "SIZE":
			// RFC 1870, section 5: up to 20 digits.
			size, err := strconv.ParseUint(value, 10, 64)
			if err != nil || len(value) > 20 {
				return reply{501, "5.5.4", "SIZE is a number of octets", false}
			}
			if size > uint64(s.srv.maxSize()) {
				return s.tooLarge()
			}
		case "BODY":
			// RFC 6152, section 2.
			if v := strings.ToUpper(value); v != "7BIT" && v != "8BITMIME" {
				return reply{501, "5.5.4", "BODY is 7BIT or 8BITMIME", false}
			}
		default:
			// RFC 5321, section 4.1.1.11.
			return reply{555, "5.5.4", "MAIL parameter not recognized", false}
		}
	}
	return reply{}
}

func (s *session) tooLarge() reply {
	return reply{552, "5.3.4", fmt.Sprintf("A message may have %d octets here", s.srv.maxSize()), false}
}

// checkSender keeps strangers from writing in the name of people here.
func (s *session) checkSender(from address) reply {
	if from == (address{raw: "<>"}) || s.srv.trusts(s.conn.Peer()) {
		return reply{}
	}
	_, found, err := s.srv.Users.Find(from.local, from.domain)
	if err != nil {
		return s.temporary("find the sender", err)
	}
	if found || s.srv.Users.Local(from.domain) {
		return reply{550, "5.7.1", "A sender address of this server is not accepted from outside", false}
	}
	return reply{}
}

// temporary reports a fault of ours: the peer gets to know that it may try
// again, the log the cause.
func (s *session) temporary(what string, err error) reply {
	s.log.Error(what, "err", err)
	return reply{451, "4.3.0", "Trouble on our side, try again later", false}
}

func (s *session) rcpt(arg string) reply {
	rest, ok := cutKeyword(arg, "TO:")
	if !ok {
		return reply{501, "5.5.4", "Syntax: " + commands["RCPT"].syntax, false}
	}
	if s.tx == nil {
		return reply{503, "5.5.1", "Send MAIL first", false}
	}
	to, params, err := parsePath(rest)
	switch {
	case err != nil:
		return s.refuse(reply{501, "5.1.3", "Recipient address: " + err.Error(), false})
	case to.raw == "<>":
		return s.refuse(reply{501, "5.1.3", "Recipient address: it is empty", false})
	case len(params) > 0:
		return s.refuse(reply{555, "5.5.4", "RCPT parameter not recognized", false})
	case len(s.tx.recipients) >= s.srv.maxRecipients():
		// RFC 5321, section 4.5.3.1.10.
		s.tx.deferred++
		return reply{452, "4.5.3", "Too many recipients", false}
	}
	mailboxes, found, err := s.srv.Users.Find(to.local, to.domain)
	switch {
	case err != nil:
		s.tx.deferred++
		return s.temporary("find a recipient", err)
	case found:
		s.tx.recipients = append(s.tx.recipients, recipient{to, mailboxes})
		return reply{250, "2.1.5", "OK", false}
	case to.domain == "" || s.srv.Users.Local(to.domain):
		return s.refuse(reply{550, "5.1.1", "No such user here", false})
	}
	return s.refuse(reply{550, "5.7.1", "Mail for other domains is not relayed", false})
}

// refuse counts recipients apart from other errors: a list may have many that
// are stale, and the others must get their mail.
func (s *session) refuse(r reply) reply {
	s.tx.refused++
	s.unsent++
	s.errors-- // answer counts it
	return r
}

func (s *session) rset(string) reply {
	s.tx = nil
	return reply{250, "2.0.0", "OK", false}
}

func (s *session) noop(string) reply { return reply{250, "2.0.0", "OK", false} }

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
