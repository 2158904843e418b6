// Package smtpd is an SMTP server that delivers to local mailboxes: RFC 5321,
// with 8BITMIME (RFC 6152), SIZE (RFC 1870), PIPELINING (RFC 2920) and
// ENHANCEDSTATUSCODES (RFC 2034, 3463).
//
// Who may send: a peer in a trusted network anything to local users; any other
// peer to local users too, but not in the name of a local user or domain.
// Nothing is relayed.
//
// One deliberate deviation: HELO and EHLO without a name are accepted, because
// that is what the users of the original type.
//
// The server knows neither users.txt nor Maildir: it asks a Users and hands
// messages to a Mail.
package smtpd

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"xm/internal/line"
)

// Users tells who receives mail here.
type Users interface {
	// Find returns the mailboxes that receive mail for local@domain: several
	// for an alias. domain is empty for an address without one. An error means
	// that it can't be told now.
	Find(local, domain string) (mailboxes []string, found bool, err error)
	// Local reports whether all addresses of the domain are ours: an unknown one
	// does not exist anywhere, and nobody outside may send in its name.
	Local(domain string) bool
}

// Mail stores messages.
type Mail interface {
	// Begin starts the delivery of one message to the mailboxes.
	Begin(mailboxes []string) (Delivery, error)
	// Room reports whether the mailbox may take a message of size octets (0:
	// unknown): nil, ErrFull, or trouble.
	Room(mailbox string, size int64) error
}

// ErrFull is matched by the error of Room and Commit for a mailbox without room
// for the message.
var ErrFull = errors.New("the mailbox is full")

// Delivery takes a message, with CRLF line ends. Commit returns when it is
// durable in every mailbox, or an error if none has it. Abort drops it; after
// Commit it does nothing.
type Delivery interface {
	io.Writer
	Commit() error
	Abort()
}

// Defaults of Server's limits.
const (
	DefaultMaxSize       = 64 << 20
	DefaultMaxRecipients = 1000
)

const (
	maxLine   = 2048 // RFC 5321, section 4.5.3.1.4, asks for 512 and more with extensions
	maxErrors = 20   // replies that say 5xx since the last message that was accepted
	maxUnsent = 100  // recipients refused in a session
	// RFC 5321, section 4.5.3.2.7: at least 5 minutes for a command. The parts
	// of a message get the same.
	commandTimeout = 5 * time.Minute
)

// Server is an SMTP server. Its fields are not changed while it runs.
type Server struct {
	// Hostname is the server's own name, in its greeting and in Received.
	Hostname string
	// MaxSize limits a message, in octets; MaxRecipients the recipients of one.
	// 0 means the default.
	MaxSize       int64
	MaxRecipients int
	// Trusted lists the networks whose users may use local sender addresses.
	Trusted []netip.Prefix
	Users   Users
	Mail    Mail
	Log     *slog.Logger
}

// Serve accepts connections from l until ctx is done, and lets the transactions
// under way end. See line.Server.Serve.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return (&line.Server{
		Handle: func(c *line.Conn) { newSession(s, c).run() },
		Busy:   reply{421, "4.3.2", s.Hostname + " has too many connections, try again later", true}.String(),
		Log:    s.Log,
	}).Serve(ctx, l)
}

func (s *Server) maxSize() int64 {
	if s.MaxSize == 0 {
		return DefaultMaxSize
	}
	return s.MaxSize
}

func (s *Server) maxRecipients() int {
	if s.MaxRecipients == 0 {
		return DefaultMaxRecipients
	}
	return s.MaxRecipients
}

func (s *Server) trusts(peer netip.Addr) bool {
	for _, p := range s.Trusted {
		if p.Contains(peer) {
			return true
		}
	}
	return false
}
