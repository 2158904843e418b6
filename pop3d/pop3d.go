// Package pop3d is a POP3 server: RFC 1939, with CAPA and response codes (RFC
// 2449) and AUTH-RESP-CODE (RFC 3206).
//
// A maildrop is locked for one session at a time, and messages are removed in
// the UPDATE state alone: a session that ends without QUIT deletes nothing. The
// size that LIST gives is the number of octets that RETR sends, less the
// dot-stuffing and the final ".".
//
// APOP is not offered: it needs the password in clear on the server.
//
// The server knows neither users.txt nor Maildir: it asks a Users and opens
// mailboxes through a Mail.
package pop3d

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"time"

	"xm/internal/line"
)

// ErrInUse is returned by Mail.Open for a mailbox that another session has
// open.
var ErrInUse = errors.New("the mailbox is in use")

// Users checks who may log in.
type Users interface {
	// Authenticate returns the mailbox of the user whom name means, and whether
	// password is theirs. An error means that it can't be told now.
	Authenticate(ctx context.Context, name, password string) (mailbox string, ok bool, err error)
}

// Mail opens mailboxes.
type Mail interface {
	// Open locks and lists a mailbox. The error matches ErrInUse if it is
	// locked.
	Open(mailbox string) (Mailbox, error)
}

// Mailbox is an open mailbox: the messages that it held when it was opened,
// numbered from 0.
type Mailbox interface {
	Len() int
	// Size is the number of octets that Open gives.
	Size(i int) int64
	// UID is the message's unique-id: 1 to 70 octets of 0x21 to 0x7E.
	UID(i int) string
	// Open gives a message with CRLF line ends, the last line included.
	Open(i int) (io.ReadCloser, error)
	// Delete removes messages, durably when it returns nil.
	Delete(messages []int) error
	// Close unlocks the mailbox.
	Close()
}

const (
	maxLine     = 2048 // RFC 2449, section 4, asks for 255; passwords may be longer
	maxErrors   = 50   // -ERR replies in a row, before the session is ended
	maxFailures = 3    // failed logins
	// RFC 1939, section 3: an autologout timer of at least 10 minutes.
	idleTimeout = 10 * time.Minute
)

// Server is a POP3 server. Its fields are not changed while it runs.
type Server struct {
	// Hostname is the server's own name, in its greeting.
	Hostname string
	// FailureDelay is how long the answer to a wrong password takes, unless
	// finding it out takes longer.
	FailureDelay time.Duration
	Users        Users
	Mail         Mail
	Log          *slog.Logger
}

// Serve accepts connections from l until ctx is done, and lets the sessions that
// are logged in go on for a while. See line.Server.Serve.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return (&line.Server{
		Handle: func(c *line.Conn) { newSession(s, c).run() },
		Busy:   reply{code: "SYS/TEMP", text: "too many connections, try again later"}.status(),
		Log:    s.Log,
	}).Serve(ctx, l)
}
