package smtpd

import "errors"

func (s *session) rcpt(arg string) reply {
	rest, ok := cutKeyword(arg, "TO:")
	switch {
	case !ok:
		return reply{501, "5.5.4", "Syntax: " + commands["RCPT"].syntax, false}
	case s.tx == nil:
		return badSequence
	case s.tx.message != nil || s.tx.broken:
		return reply{503, "5.5.1", "The message has begun already", false}
	}
	to, params, err := parsePath(rest)
	switch {
	case err != nil:
		return s.refuse(reply{501, "5.1.3", "Recipient address: " + err.Error(), false})
	case to.raw == "<>":
		return s.refuse(reply{501, "5.1.3", "Recipient address: it is empty", false})
	case len(params) > 0:
		return s.refuse(reply{555, "5.5.4", "RCPT parameter not recognized", false})
	case !to.ascii() && !s.tx.utf8:
		return s.refuse(needsUTF8(553))
	case len(s.tx.recipients) >= s.srv.maxRecipients():
		// RFC 5321, section 4.5.3.1.10.
		s.tx.deferred++
		return reply{452, "4.5.3", "Too many recipients", false}
	}
	return s.addRecipient(to)
}

func (s *session) addRecipient(to address) reply {
	domain := s.domain(to)
	mailboxes, found, err := s.srv.Users.Find(to.local, domain)
	switch {
	case err != nil:
		s.tx.deferred++
		return s.temporary("find a recipient", err)
	case !found && (domain == "" || s.srv.Users.Local(domain)):
		return s.refuse(reply{550, "5.1.1", "No such user here", false})
	case !found:
		return s.refuse(reply{550, "5.7.1", "Mail for other domains is not relayed", false})
	}
	limited := false
	for _, m := range mailboxes {
		l, err := s.srv.Mail.Room(m, s.tx.size)
		if err != nil {
			return s.noRoom(err)
		}
		limited = limited || l
	}
	if len(s.tx.recipients) > 0 && s.tx.size == 0 && (limited || s.tx.limited) && s.outside() {
		s.tx.deferred++
		return alone
	}
	s.tx.limited = limited
	s.tx.recipients = append(s.tx.recipients, recipient{to, mailboxes})
	return reply{250, "2.1.5", "OK", false}
}

// noRoom answers for a mailbox that can't have the message.
func (s *session) noRoom(err error) reply {
	if errors.Is(err, ErrTooLarge) {
		return s.refuse(mailboxTooSmall)
	}
	s.tx.deferred++
	if errors.Is(err, ErrFull) {
		return mailboxFull
	}
	return s.temporary("look for room in the mailbox", err)
}

var (
	mailboxFull = reply{452, "4.2.2", "The mailbox is full, try again later", false}
	// RFC 3463, section 3.3: it is of no use to try again.
	mailboxTooSmall = reply{552, "5.2.3", "The message is larger than the mailbox's quota", false}
)

// alone makes another server send to a mailbox with a limit apart from the others,
// where it has not said how large the message is: if that turned out to be too
// large for one mailbox, the others would not get it either. A mail program would give up
// at this, and mutt, msmtp and others never say how large a message is: their user
// gets to know at its end that a mailbox is full.
var alone = reply{452, "4.5.3", "One recipient at a time, or MAIL with SIZE", false}

// refuse counts recipients apart from other errors: a list may have many that
// are stale, and the others must get their mail.
func (s *session) refuse(r reply) reply {
	s.tx.refused++
	s.unsent++
	s.errors-- // answer counts it
	return r
}
