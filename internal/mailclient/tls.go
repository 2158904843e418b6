package mailclient

import (
	"bufio"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"xm/internal/sasl"
)

// Server says where a server is, and what TLS it is to have. There is always
// TLS, but for a server on this machine, where nobody can listen.
type Server struct {
	Addr string // HOST:PORT
	// Implicit is TLS from the start, rather than after STARTTLS or STLS.
	Implicit bool
	// Fingerprint, if not empty, is the SHA-256 of the server's certificate, in
	// hex. The certificate must be that one, and nobody needs to vouch for it.
	Fingerprint string
	// RequireTLS wants TLS from a server on this machine, too.
	RequireTLS bool
	Roots      *x509.CertPool // nil for the system's
}

// ParseServer reads "HOST:PORT", or a URL with the scheme of SMTP or POP3:
// smtps://HOST:PORT and pop3s://HOST:PORT have TLS from the start, as the ports
// 465 (RFC 8314, section 3.3) and 995 have.
func ParseServer(s string) (Server, error) {
	scheme, addr, found := strings.Cut(s, "://")
	if !found {
		scheme, addr = "", s
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil || port == "" {
		return Server{}, fmt.Errorf("%q is not HOST:PORT", s)
	}
	server := Server{Addr: addr, Implicit: port == "465" || port == "995"}
	switch scheme {
	case "smtps", "pop3s":
		server.Implicit = true
	case "smtp", "pop3":
		server.Implicit = false
	case "":
	default:
		return Server{}, fmt.Errorf("%q: it is smtp, smtps, pop3 or pop3s that mail has", s)
	}
	return server, nil
}

// Text is what ParseServer reads. protocol is "smtp" or "pop3".
func (s Server) Text(protocol string) string {
	usual := strings.HasSuffix(s.Addr, ":465") || strings.HasSuffix(s.Addr, ":995")
	switch {
	case s.Implicit && !usual:
		return protocol + "s://" + s.Addr
	case usual && !s.Implicit:
		return protocol + "://" + s.Addr
	}
	return s.Addr
}

// ParseFingerprint reads a SHA-256 as programs print it: hex digits of either
// case, with or without colons or white space.
func ParseFingerprint(s string) (string, error) {
	digits := strings.ToLower(strings.Join(strings.Fields(strings.ReplaceAll(s, ":", " ")), ""))
	if sum, err := hex.DecodeString(digits); err != nil || len(sum) != sha256.Size {
		return "", fmt.Errorf("%q is not a SHA-256 fingerprint: 64 hex digits", s)
	}
	return digits, nil
}

var (
	errClearPassword = errors.New("the password would cross the network in clear, as there is no TLS")
	errNoTLS         = errors.New("the server offers no TLS, which it must unless it is on this machine; nothing was sent to it. " +
		"Is somebody between? If not, and the network is a tunnel's, connect to its end on this machine")
	errInjected = errors.New("what came in clear before TLS was to go on after it: somebody is between you and the server")
)

// needsTLS tells whether a connection that is in clear may not stay so.
func (c *conn) needsTLS() bool {
	return c.tls == nil && (!c.local() || c.server.RequireTLS || c.server.Fingerprint != "")
}

// handshake begins TLS. All that was learnt before is to be forgotten.
func (c *conn) handshake() error {
	if c.in.Buffered() > 0 { // RFC 3207, section 6; RFC 2595, section 2.1
		return errInjected
	}
	config, err := c.server.tlsConfig()
	if err != nil {
		return err
	}
	if err := c.raw.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		return c.broken(err)
	}
	secured := tls.Client(c.raw, config)
	if err := secured.HandshakeContext(c.ctx); err != nil {
		return explainHandshake(err)
	}
	state := secured.ConnectionState()
	c.nc, c.tls = secured, &state
	c.in = bufio.NewReaderSize(timedReader{c}, maxReplyLine)
	c.out.Reset(timedWriter{c})
	return nil
}

func (s Server) tlsConfig() (*tls.Config, error) {
	host, _, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{ServerName: host, RootCAs: s.Roots, MinVersion: tls.VersionTLS12}
	if s.Fingerprint != "" {
		config.InsecureSkipVerify = true // VerifyConnection is stricter
		config.VerifyConnection = func(state tls.ConnectionState) error {
			if got := Fingerprint(state.PeerCertificates[0]); subtle.ConstantTimeCompare([]byte(got), []byte(s.Fingerprint)) != 1 {
				return fmt.Errorf("the server's certificate has the fingerprint %s, not %s", got, s.Fingerprint)
			}
			return nil
		}
	}
	return config, nil
}

// Fingerprint is the SHA-256 of a certificate, as ParseFingerprint returns it.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

// explainHandshake tells what to compare where nobody vouches for a certificate.
// The names in that can be anything.
func explainHandshake(err error) error {
	text := Printable(err.Error())
	var unverified *tls.CertificateVerificationError
	if errors.As(err, &unverified) && len(unverified.UnverifiedCertificates) > 0 {
		return fmt.Errorf("%s\nIf the server's operator says that its certificate has this fingerprint, use it with --tls-fingerprint:\n%s",
			text, Fingerprint(unverified.UnverifiedCertificates[0]))
	}
	return fmt.Errorf("TLS: %s", text)
}

// channel says what authentication may do here.
func (c *conn) channel() sasl.Channel {
	ch := sasl.Channel{Secure: c.tls != nil || c.local()}
	if c.tls != nil {
		ch.Bindings = sasl.Bindings(c.tls, c.tls.PeerCertificates[0])
	}
	return ch
}

// OnThisMachine reports whether the address is one of this machine's own, as it
// is written.
func (s Server) OnThisMachine() bool {
	host, _, err := net.SplitHostPort(s.Addr)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}
