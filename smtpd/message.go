package smtpd

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"xm/internal/line"
)

// message is a message on its way into the store. What goes wrong is
// remembered, and the rest of the message taken and dropped: the client gets to
// know at the end.
type message struct {
	began    time.Time
	octets   int64          // received
	max      int64          // of them
	text     line.TextCheck // of what comes in chunks
	header   header
	delivery Delivery // nil if the store refused it
	err      error    // the first thing that went wrong
}

// storeError is an error of the Mail.
type storeError struct{ error }

func (e storeError) Unwrap() error { return e.error }

// refusal is the error for a message that its reply refuses.
type refusal struct{ reply }

func (r refusal) Error() string { return r.text }

// newMessage begins the delivery of the transaction's message with our trace
// fields.
func (s *session) newMessage() *message {
	m := &message{began: time.Now(), max: s.srv.maxSize()}
	d, err := s.srv.Mail.Begin(s.tx.mailboxes())
	if err != nil {
		m.fail(storeError{err})
		return m
	}
	m.delivery = d
	if s.user != "" {
		tx := s.tx
		m.header.complete = func(has func(field string) bool) string { return s.missingFields(tx, has) }
	}
	m.store([]byte(s.trace(s.tx.id)))
	return m
}

func newQueueID() string {
	var id [6]byte
	rand.Read(id[:])
	return hex.EncodeToString(id[:])
}

// fail notes what went wrong. What was stored so far is of no use.
func (m *message) fail(err error) {
	if err != nil && m.err == nil {
		m.err = err
		m.abort()
	}
}

// Write takes the next piece. It never fails.
func (m *message) Write(p []byte) (int, error) {
	if m.octets += int64(len(p)); m.octets > m.max {
		m.fail(line.ErrTooLarge)
	}
	if m.err == nil {
		m.fail(m.header.pass(p, m.store))
	}
	return len(p), nil
}

func (m *message) store(p []byte) {
	if m.err != nil || len(p) == 0 {
		return
	}
	if _, err := m.delivery.Write(p); err != nil {
		m.fail(storeError{err})
	}
}

// commit makes the message durable.
func (m *message) commit() error {
	if m.err == nil {
		m.fail(m.header.end(m.store))
	}
	if m.err != nil {
		return m.err
	}
	if err := m.delivery.Commit(); err != nil {
		return storeError{err}
	}
	return nil
}

// names tells the log where the message is: its file, and the unique-id that POP3
// has for it where that is another.
func (m *message) names() []slog.Attr {
	file, uid := m.delivery.Names()
	if file == uid {
		return []slog.Attr{slog.String("file", file)}
	}
	return []slog.Attr{slog.String("file", file), slog.String("uid", uid)}
}

// abort drops the message, unless it was committed.
func (m *message) abort() {
	if m.delivery != nil {
		m.delivery.Abort()
	}
}

// chunked checks what Body checks in a message that DATA brings.
type chunked struct{ m *message }

func (c chunked) Write(p []byte) (int, error) {
	c.m.fail(c.m.text.Next(p))
	return c.m.Write(p)
}

// missingFields is what a submitted message gets (RFC 6409, section 8).
func (s *session) missingFields(tx *transaction, has func(field string) bool) string {
	var b strings.Builder
	if !has("date") {
		fmt.Fprintf(&b, "Date: %s\r\n", now())
	}
	if !has("message-id") {
		id := fmt.Sprintf("<%s.%d@%s>", tx.id, time.Now().Unix(), s.srv.Hostname)
		tx.message.header.id = id
		fmt.Fprintf(&b, "Message-ID: %s\r\n", id)
	}
	return b.String()
}

// now is a date of RFC 5322, section 3.3.
func now() string { return time.Now().Format("Mon, 2 Jan 2006 15:04:05 -0700") }
