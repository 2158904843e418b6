package smtpd

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"xm/internal/line"
)

func (s *session) data(string) reply {
	switch {
	case s.tx == nil:
		return reply{503, "5.5.1", "Send MAIL first", false}
	case len(s.tx.recipients) == 0 && s.tx.deferred > 0:
		return reply{451, "4.3.0", "No recipient can be served now, try again later", false}
	case len(s.tx.recipients) == 0 && s.tx.refused > 0:
		// RFC 5321, section 3.3: 503 or 554; 554 says which of the two it was.
		return reply{554, "5.5.1", "No valid recipients", false}
	case len(s.tx.recipients) == 0:
		return reply{503, "5.5.1", "Send RCPT first", false}
	}
	if !s.sendReply(reply{code: 354, text: "End the message with <CR><LF>.<CR><LF>"}) {
		return reply{}
	}
	tx, id, began := s.tx, newQueueID(), time.Now()
	s.tx = nil // RFC 5321, section 4.1.1.4: whatever comes of it, the transaction is over

	body := s.conn.Body(s.srv.maxSize(), commandTimeout)
	counted := &counter{r: body}
	stored := deliver(s.srv.Mail, tx.mailboxes(), io.MultiReader(
		strings.NewReader(s.trace(tx, id)), &headered{r: counted}))
	received := body.Finish()
	r := s.judge(received, stored)
	r.close = received != nil && body.OutOfStep()

	log := s.log.With("id", id, "from", tx.from.raw, "to", tx.addresses(), "octets", counted.n, "took", time.Since(began))
	if r.code == 250 {
		s.errors = 0
		log.Info("message accepted")
		r.text += " " + id
	} else {
		log.Warn("message not accepted", "reply", r.String(), "received", received, "stored", stored)
	}
	return r
}

// judge tells what came of a message from how it was received and stored.
func (s *session) judge(received, stored error) reply {
	switch {
	case received == nil && stored == nil:
		return reply{250, "2.0.0", "OK", false}
	case errors.Is(received, line.ErrTooLarge):
		return s.tooLarge()
	case errors.Is(received, line.ErrBareLineEnd), errors.Is(received, line.ErrNUL):
		return reply{550, "5.6.0", "The message holds " + received.Error(), false}
	case received != nil: // no end was received, so there is nobody to tell
		return reply{421, "4.4.2", "The message was cut off", true}
	case errors.Is(stored, syscall.ENOSPC), errors.Is(stored, syscall.EDQUOT):
		return reply{452, "4.3.1", "No room to store the message, try again later", false}
	}
	return reply{451, "4.3.0", "The message could not be stored, try again later", false}
}

func newQueueID() string {
	var id [6]byte
	rand.Read(id[:])
	return hex.EncodeToString(id[:])
}

// trace makes the header fields that final delivery adds (RFC 5321, section
// 4.4).
func (s *session) trace(tx *transaction, id string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Return-Path: %s\r\n", tx.from.raw)
	with := "SMTP"
	if s.esmtp {
		with = "ESMTP" // RFC 3848
	}
	fmt.Fprintf(&b, "Received: from %s (%s)\r\n\tby %s with %s id %s", s.clientName(), literal(s.conn.Peer()), s.srv.Hostname, with, id)
	if len(tx.recipients) == 1 { // else each would see who the others are
		fmt.Fprintf(&b, "\r\n\tfor %s", tx.recipients[0].raw)
	}
	fmt.Fprintf(&b, ";\r\n\t%s\r\n", time.Now().Format("Mon, 2 Jan 2006 15:04:05 -0700")) // RFC 5322, section 3.3
	return b.String()
}

// clientName is what the client calls itself, if that can stand in a header.
func (s *session) clientName() string {
	name := s.client
	if isDomain(name) || strings.HasPrefix(name, "[") && strings.HasSuffix(name, "]") && isLiteral(name[1:len(name)-1]) {
		return name
	}
	return "unknown"
}

// literal writes an address as RFC 5321, section 4.1.3, has it.
func literal(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return "[unknown]"
	case a.Is6():
		return "[IPv6:" + a.WithZone("").String() + "]"
	}
	return "[" + a.String() + "]"
}

// headered passes a message on, and puts an empty line before one that does not
// begin with a header field: typed into telnet, it is all body, and its first
// line must not become a part of ours.
type headered struct {
	r     io.Reader
	begun bool
	held  []byte
}

func (h *headered) Read(p []byte) (int, error) {
	if !h.begun {
		h.begun = true
		// The body comes in lines, or parts longer than any field name.
		first := make([]byte, maxLine)
		n, err := h.r.Read(first)
		if n == 0 {
			return 0, err
		}
		h.held = first[:n]
		if !beginsField(h.held) {
			h.held = append([]byte("\r\n"), h.held...)
		}
	}
	if len(h.held) > 0 {
		n := copy(p, h.held)
		h.held = h.held[n:]
		return n, nil
	}
	return h.r.Read(p)
}

// beginsField reports whether a line is a header field (RFC 5322, section 2.2),
// or the empty line that ends a header without fields.
func beginsField(l []byte) bool {
	if bytes.HasPrefix(l, []byte("\r\n")) {
		return true
	}
	name, _, found := bytes.Cut(l, []byte(":"))
	name = bytes.TrimRight(name, " \t") // RFC 5322, section 4.5: obsolete, but met
	return found && len(name) > 0 && !bytes.ContainsFunc(name, func(r rune) bool { return r < '!' || r > '~' })
}

// counter counts the octets of a message.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func deliver(m Mail, mailboxes []string, r io.Reader) error {
	d, err := m.Begin(mailboxes)
	if err != nil {
		return err
	}
	defer d.Abort()
	if _, err := io.Copy(d, r); err != nil {
		return err
	}
	return d.Commit()
}
