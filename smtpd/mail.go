package smtpd

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// transaction is what MAIL begins (RFC 5321, section 4.1.1.2).
type transaction struct {
	id         string // what the log, the trace and the reply call it
	from       address
	utf8       bool  // addresses may be in UTF-8 (RFC 6531)
	size       int64 // as MAIL declared it; 0 if it did not
	recipients []recipient
	refused    int      // recipients, for good
	limited    bool     // a recipient's mailbox has a limit
	deferred   int      // recipients, for now
	message    *message // nil until DATA or the first BDAT
	broken     bool     // a BDAT failed: nothing but an end of the transaction is allowed
}

type recipient struct {
	address
	mailboxes []string
}

// mailboxes lists each mailbox once.
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

func (s *session) mail(arg string) reply {
	rest, ok := cutKeyword(arg, "FROM:")
	switch {
	case !ok:
		return reply{501, "5.5.4", "Syntax: " + commands["MAIL"].syntax, false}
	case s.tx != nil:
		// RFC 5321, section 4.1.4: MAIL must not be sent while a transaction is open.
		return reply{503, "5.5.1", "A transaction is open already: RSET ends it", false}
	case s.srv.Submission && s.user == "" && s.needsTLS():
		return reply{530, "5.7.0", "Send STARTTLS first, then AUTH", false}
	case s.srv.Submission && s.user == "":
		return reply{530, "5.7.0", "Authentication required", false} // RFC 6409, section 4.3
	}
	from, params, err := parsePath(rest)
	if err != nil {
		return reply{501, "5.1.7", "Sender address: " + err.Error(), false}
	}
	tx := &transaction{id: newQueueID(), from: from}
	if r := s.readMailParams(tx, params); r.code != 0 {
		return r
	}
	if !from.ascii() && !tx.utf8 {
		return needsUTF8(550)
	}
	if r := s.checkSender(from); r.code != 0 {
		return r
	}
	s.tx = tx
	return reply{250, "2.1.0", "OK", false}
}

// needsUTF8 is RFC 6531, section 3.5: 550 to MAIL, 553 to RCPT.
func needsUTF8(code int) reply {
	return reply{code, "5.6.7", "An address with non-ASCII characters needs MAIL with SMTPUTF8", false}
}

// readMailParams returns a reply if a parameter keeps the transaction from
// beginning, else the zero reply.
func (s *session) readMailParams(tx *transaction, params []string) reply {
	var seen []string
	for _, p := range params {
		key, value, hasValue := strings.Cut(p, "=")
		key = strings.ToUpper(key)
		if slices.Contains(seen, key) {
			return reply{501, "5.5.4", "A parameter is given twice", false}
		}
		seen = append(seen, key)
		var r reply
		switch key {
		case "SIZE":
			tx.size, r = s.readSize(value)
		case "BODY":
			// RFC 6152, section 2.
			if v := strings.ToUpper(value); v != "7BIT" && v != "8BITMIME" {
				r = reply{501, "5.5.4", "BODY is 7BIT or 8BITMIME", false}
			}
		case "SMTPUTF8":
			// RFC 6531, section 3.4, point 5.
			if tx.utf8 = true; hasValue {
				r = reply{501, "5.5.4", "SMTPUTF8 has no value", false}
			}
		case "AUTH":
			// RFC 4954, section 5. Who vouches for whom elsewhere changes nothing here.
			if !isAuthParam(value) {
				r = reply{501, "5.5.4", "AUTH is an address in xtext, or <>", false}
			}
		default:
			// RFC 5321, section 4.1.1.11.
			r = reply{555, "5.5.4", "MAIL parameter not recognized", false}
		}
		if r.code != 0 {
			return r
		}
	}
	return reply{}
}

// readSize is RFC 1870, section 5: up to 20 digits.
func (s *session) readSize(value string) (int64, reply) {
	size, err := strconv.ParseUint(value, 10, 64)
	switch {
	case len(value) > 20 || err != nil && strings.Trim(value, "0123456789") != "" || value == "":
		return 0, reply{501, "5.5.4", "SIZE is a number of octets", false}
	case err != nil || size > uint64(s.srv.maxSize()):
		return 0, s.tooLarge()
	}
	return int64(size), reply{}
}

func (s *session) tooLarge() reply {
	return reply{552, "5.3.4", fmt.Sprintf("A message may have %d octets here", s.srv.maxSize()), false}
}

// checkSender keeps people from writing in the name of others here.
func (s *session) checkSender(from address) reply {
	null := from == (address{raw: "<>"})
	if null || s.user == "" && s.srv.trusts(s.conn.Peer()) {
		return reply{}
	}
	mailboxes, found, err := s.srv.Users.Find(from.local, s.domain(from))
	switch {
	case err != nil:
		return s.temporary("find the sender", err)
	case s.user != "" && !slices.Contains(mailboxes, s.user):
		// RFC 6409, section 6.1.
		return reply{550, "5.7.1", "That sender address is not yours", false}
	case s.user == "" && (found || from.domain == "" || s.srv.Users.Local(s.domain(from))):
		return reply{550, "5.7.1", "A sender address of this server is not accepted from outside", false}
	}
	return reply{}
}

// outside reports whether the client is nobody of ours: another server, most likely.
func (s *session) outside() bool { return s.user == "" && !s.srv.trusts(s.conn.Peer()) }

// domain is an address's, with the host name in the place of the address that
// the client reached us at (RFC 1123, section 5.2.17).
func (s *session) domain(a address) string {
	if ip, ok := parseLiteral(a.domain); ok && ip == s.conn.Local() {
		return s.srv.Hostname
	}
	return a.domain
}
