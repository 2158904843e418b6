// Package pop3d is a POP3 server: RFC 1939, with CAPA and response codes (RFC
// 2449), AUTH-RESP-CODE (RFC 3206), STLS (RFC 2595, section 4) and implicit TLS
// (RFC 8314), AUTH (RFC 5034), UTF8 and LANG (RFC 6856).
//
// A maildrop is locked for one session at a time, and messages are removed in
// the UPDATE state alone: a session that ends without QUIT deletes nothing. The
// size that LIST gives is the number of octets that RETR sends, less the
// dot-stuffing and the final ".".
//
// Passwords are taken under TLS and from this machine alone. APOP and CRAM-MD5
// are not offered: they need the password in clear on the server.
//
// A message that came with SMTPUTF8 and has UTF-8 in its header is kept back
// from a client that did not say UTF8, with the response code [UTF8] (RFC 6856,
// sections 4 and 5): a surrogate would not have the size that was listed.
//
// The server knows neither users.txt nor Maildir: it asks a Users and opens
// mailboxes through a Mail. Nothing that authenticates is ever logged.
package pop3d

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"xm/internal/line"
	"xm/internal/sasl"
)

// ErrInUse is returned by Mail.Open for a mailbox that another session has
// open.
var ErrInUse = errors.New("the mailbox is in use")

// Users checks who may log in. The user is the name of the mailbox.
type Users = sasl.Users

// Mail opens mailboxes. Errors that match fs.ErrPermission, here and of a
// Mailbox, are such as only the operator can help with ([SYS/PERM]); others may
// pass by themselves ([SYS/TEMP]).
type Mail interface {
	// Open locks and lists a mailbox. The error matches ErrInUse if it is
	// locked.
	Open(mailbox string) (Mailbox, error)
}

// Mailbox is an open mailbox: the messages that it held when it was opened,
// numbered from 0.
type Mailbox interface {
	Len() int
	// Size is the number of octets of a message with CRLF line ends, the last line
	// included.
	Size(i int) int64
	// UID is the message's unique-id: 1 to 70 octets of 0x21 to 0x7E.
	UID(i int) string
	// Open gives a message, whose line ends may be CRLF or LF. The error matches
	// fs.ErrNotExist if somebody else has deleted it.
	Open(i int) (io.ReadCloser, error)
	// Delete removes messages, durably when it returns nil.
	Delete(messages []int) error
	// Close unlocks the mailbox.
	Close()
}

const (
	maxLine       = 2048 // RFC 2449, section 4, asks for 255; passwords may be longer
	maxErrors     = 50   // -ERR replies in a row, before the session is ended
	maxDropErrors = 1000 // likewise, after a login
	maxCommands   = 100  // before a login
	maxFailures   = 3    // failed logins
	readBuffer    = 512  // octets; commands are short, and most sessions are idle
	// RFC 1939, section 3: an autologout timer of at least 10 minutes.
	idleTimeout = 10 * time.Minute
)

// Server is a POP3 server. Its fields are not changed while it runs.
type Server struct {
	// Hostname is the server's own name, in its greeting.
	Hostname string
	// Certificate, ImplicitTLS, Proxies and Limits are those of line.Server.
	Certificate *line.Certificate
	ImplicitTLS bool
	Proxies     []netip.Prefix
	Limits      *line.Limits
	// LoginDelay may be shared with other servers; nil means none.
	LoginDelay *LoginDelay
	// FailureDelay is how long the answer to a wrong password takes, unless
	// finding it out takes longer. Logins limits those answers for each address.
	FailureDelay time.Duration
	Logins       *sasl.Limiter
	Users        Users
	Mail         Mail
	Observer     Observer // nil for none
	Log          *slog.Logger
}

// Serve accepts connections from l until ctx is done, and lets the sessions that
// are logged in go on for a while. See line.Server.Serve.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return (&line.Server{
		Handle:      func(c *line.Conn) { (&session{srv: s, conn: c}).run() },
		Busy:        "-ERR [" + sysTemp + "] too many connections, try again later",
		Limits:      s.Limits,
		Certificate: s.Certificate,
		ImplicitTLS: s.ImplicitTLS,
		ALPN:        "pop3",
		Proxies:     s.Proxies,
		ReadBuffer:  readBuffer,
		Observer:    s.Observer,
		Log:         s.Log,
	}).Serve(ctx, l)
}
