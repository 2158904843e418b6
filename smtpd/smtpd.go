// Package smtpd is an SMTP server that delivers to local mailboxes.
//
// It is RFC 5321, with PIPELINING (RFC 2920), SIZE (RFC 1870), 8BITMIME (RFC
// 6152), SMTPUTF8 (RFC 6531), ENHANCEDSTATUSCODES (RFC 2034, 3463), CHUNKING
// (RFC 3030, without BINARYMIME), STARTTLS (RFC 3207), AUTH (RFC 4954) and
// LIMITS (RFC 9422); and, as Server.Submission, RFC 6409, over STARTTLS or
// implicit TLS (RFC 8314).
//
// Who may send: a user who has authenticated, in their own name, to the users
// here; a peer in a trusted network, in any name; any other peer too, but not in
// the name of a local user or domain. Submission is for users who have
// authenticated alone. Nothing is relayed.
//
// One deliberate deviation: HELO and EHLO without a name are accepted, because
// that is what the users of the original type.
//
// The server knows neither users.txt nor Maildir: it asks a Users and hands
// messages to a Mail. Nothing that authenticates is ever logged.
package smtpd

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"xm/internal/line"
	"xm/internal/sasl"
)

// Users tells who receives mail here, and who may send it.
type Users interface {
	sasl.Users
	// Find returns the mailboxes that receive mail for local@domain, of which an
	// alias may have several. domain is empty for an address without one. An
	// error means that it can't be told now.
	Find(local, domain string) (mailboxes []string, found bool, err error)
	// Local reports whether all addresses of the domain are ours: an unknown one
	// does not exist anywhere, and nobody outside may send in its name.
	Local(domain string) bool
}

// ErrFull is matched by the errors of a Mail whose mailbox has reached its
// quota.
var ErrFull = errors.New("the mailbox is full")

// ErrTooLarge is matched, in place of ErrFull, for a message that the mailbox could
// not hold if it were empty.
var ErrTooLarge = errors.New("the message is larger than the mailbox's quota")

// Mail stores messages.
type Mail interface {
	// Room returns nil if the mailbox may take a message of size octets (0 if
	// that is not known), or an error that matches ErrFull or ErrTooLarge. limited
	// reports whether the size matters.
	Room(mailbox string, size int64) (limited bool, err error)
	// Begin starts the delivery of one message to the mailboxes.
	Begin(mailboxes []string) (Delivery, error)
}

// Delivery is a message on its way to all of its mailboxes, or to none.
type Delivery interface {
	// Write takes the message, with CRLF line ends, in pieces of any size.
	io.Writer
	// Commit returns when the message is durable in each of the mailboxes. It is
	// in none of them if Commit, or a Write before it, returns an error; that
	// matches ErrFull or ErrTooLarge if a mailbox had no room.
	Commit() error
	// Names are those of the message once it is committed, for the log: of its
	// file in each of the mailboxes, and the unique-id that POP3 has for it.
	Names() (file, uid string)
	// Abort drops the message. After Commit it does nothing.
	Abort()
}

// Defaults of Server's limits.
const (
	DefaultMaxSize       = 64 << 20
	DefaultMaxRecipients = 1000
)

const (
	maxLine     = 2048 // RFC 5321, section 4.5.3.1.4, asks for 512 and more with extensions
	maxAuthLine = sasl.MaxLine
	maxHeader   = 1 << 20 // octets
	maxHops     = 100     // RFC 5321, section 6.3: trace fields of a message that goes in circles
	maxErrors   = 20      // replies that say 5xx since the last message that was accepted
	maxUnsent   = 100     // recipients refused since then, in transactions that have no other
	maxCommands = 10_000  // since then, unless twice the recipients of a message are more
	fairChunk   = 512     // octets of a BDAT that is no mere command
	maxFailures = 3       // failed logins in a session
	// RFC 5321, section 4.5.3.2.7: at least 5 minutes for a command. The parts
	// of a message get the same.
	commandTimeout = 5 * time.Minute
	// lifetime leaves 64 MiB at modem speed their time.
	lifetime = 4 * time.Hour
)

// Server is an SMTP server. Its fields are not changed while it runs.
type Server struct {
	// Hostname is the server's own name, in its greeting and in Received.
	Hostname string
	// Submission is for mail programs: senders must authenticate, and what their
	// messages lack is added.
	Submission bool
	// MaxSize limits a message, in octets; MaxRecipients the recipients of one.
	// 0 means the default.
	MaxSize       int64
	MaxRecipients int
	// Trusted lists the networks whose users may use local sender addresses.
	Trusted []netip.Prefix
	// Certificate, ImplicitTLS, Proxies and Limits are those of line.Server.
	Certificate *line.Certificate
	ImplicitTLS bool
	Proxies     []netip.Prefix
	Limits      *line.Limits
	// FailureDelay is how long the answer to a wrong password takes, unless
	// finding it out takes longer. Logins limits those answers for each address.
	FailureDelay time.Duration
	Logins       *sasl.Limiter
	Users        Users
	Mail         Mail
	Observer     Observer // nil for none
	Log          *slog.Logger
}

// Serve accepts connections from l until ctx is done, and lets the transactions
// under way end. See line.Server.Serve.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return (&line.Server{
		Handle:      func(c *line.Conn) { newSession(s, c).run() },
		Busy:        reply{421, "4.3.2", s.Hostname + " has too many connections, try again later", true}.String(),
		Limits:      s.Limits,
		Lifetime:    lifetime,
		Certificate: s.Certificate,
		ImplicitTLS: s.ImplicitTLS,
		ALPN:        "smtp",
		Proxies:     s.Proxies,
		Observer:    s.Observer,
		Log:         s.Log,
	}).Serve(ctx, l)
}

func (s *Server) maxSize() int64     { return cmp.Or(s.MaxSize, DefaultMaxSize) }
func (s *Server) maxRecipients() int { return cmp.Or(s.MaxRecipients, DefaultMaxRecipients) }

func (s *Server) trusts(peer netip.Addr) bool {
	return slices.ContainsFunc(s.Trusted, func(p netip.Prefix) bool { return p.Contains(peer) })
}
