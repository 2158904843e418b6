// Package sasl is the exchange that tells a mail server who its client is, seen
// from either side: PLAIN (RFC 4616), LOGIN (draft-murchison-sasl-login), and
// SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677) with the channel
// bindings tls-exporter (RFC 9266), tls-server-end-point and, below TLS 1.3,
// tls-unique (RFC 5929). It also bounds how fast passwords can be guessed
// (Limiter).
//
// It knows no protocol and no store: smtpd and pop3d carry the messages, and
// Users tells what there is to know of the users.
package sasl

import (
	"context"
	"errors"
	"slices"
)

// The mechanisms, as the protocols name them.
const (
	Plain           = "PLAIN"
	Login           = "LOGIN"
	ScramSHA256     = "SCRAM-SHA-256"
	ScramSHA256Plus = "SCRAM-SHA-256-PLUS"
)

// best has all mechanisms, best first.
var best = []string{ScramSHA256Plus, ScramSHA256, Plain, Login}

// MaxLine is the longest line of base64 that an exchange can need (RFC 4954,
// section 4), without its CRLF.
const MaxLine = 12288 - len("\r\n")

// maxMessage bounds a message of either side: what MaxLine can carry.
const maxMessage = MaxLine / 4 * 3

var (
	// ErrMechanism: there is no such mechanism on this channel.
	ErrMechanism = errors.New("no such mechanism")
	// ErrInsecure: the mechanism would be there under TLS.
	ErrInsecure = errors.New("the mechanism needs TLS")
	// ErrFailed says that the client is not who it claims to be, and no more: a
	// peer must not learn whether it was the name, the password, the channel
	// binding or the authorization identity.
	ErrFailed = errors.New("authentication failed")
	// ErrSyntax: the client's message is malformed.
	ErrSyntax = errors.New("malformed message")
	// ErrEncoding: the client's line is not base64 in its one form.
	ErrEncoding = errors.New("not base64")
	// ErrCancelled: the client gave up ("*").
	ErrCancelled = errors.New("the client cancelled the exchange")
)

// Users is what a server knows of its users.
type Users interface {
	// Authenticate returns the name of the user whom login means, and whether
	// password is theirs. An error means that it can't be told now.
	Authenticate(ctx context.Context, login, password string) (user string, ok bool, err error)
	// SCRAM returns what SCRAM needs to know of the user whom login means; for
	// one that does not exist, or whose record can't serve SCRAM, something that
	// looks the same, with an empty User. An error means that it can't be told
	// now.
	SCRAM(login string) (Verifier, error)
}

// Verifier is what a server keeps of a password for SCRAM-SHA-256 (RFC 5802,
// section 3): enough to check it and to be recognized, not enough to log in.
type Verifier struct {
	User                       string
	Iterations                 int
	Salt, StoredKey, ServerKey []byte // StoredKey and ServerKey have 32 octets
}

// Channel says what a connection is good for.
type Channel struct {
	// Secure: passwords may pass in clear, under TLS or within the machine.
	Secure bool
	// Bindings are those that the TLS connection has: see Bindings.
	Bindings []Binding
}

// Mechanisms lists what a server may offer on the channel, best first.
func (c Channel) Mechanisms() []string {
	return slices.DeleteFunc(slices.Clone(best), func(m string) bool { return !c.allows(m) })
}

// allows reports whether the mechanism is safe, and possible, on the channel.
func (c Channel) allows(mechanism string) bool {
	switch mechanism {
	case ScramSHA256Plus:
		return len(c.Bindings) > 0
	case ScramSHA256:
		return true
	case Plain, Login:
		return c.Secure
	}
	return false
}
