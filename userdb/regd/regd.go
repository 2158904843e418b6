// Package regd is the network face of users.txt: it registers users, changes
// what is known of them, and gives out their public keys.
//
// # The protocols
//
// One port (60085) serves two protocols. The first octet of a connection tells:
// 0x16 begins a TLS handshake, after which the next octet tells again; a capital
// letter begins an HTTP request, which package internal/regwire defines; anything
// else is the original's protocol. A connection carries one request, and has 10
// seconds and 64 KiB for it.
//
// # The original's protocol
//
// A client connects and writes a "reg" payload: an Unsigned payload of package
// hybrid, four hexadecimal fields each ended by "$", sealed with the server's
// public key. The fourth "$" ends it. Nothing precedes it; what follows is not
// read. The message in it is
//
//	name,salt,hash,base64(PEM public key)
//
// and a line end or none: a line of users.txt (package userdb). The server
// answers with one line, "+OK ..." or "-ERR ...", and closes. It is given up at
// the first octet that is no part of a payload.
//
// The payload does not prove that its sender owns the key in it, and it may be
// sent again by whoever sees it: then the name is taken already, unless the user
// has been removed, and comes back as they were. The hash of the original's form is
// a fast one; whoever has the server's private key or users.txt can try passwords
// against it. It works where anybody may register.
//
// # Who may register
//
// Policy says who: anybody, those with an invite, or nobody. A name must be new,
// bare or under a local domain, not one that belongs to those who run a server
// (postmaster and the like), and of letters that a person can't take for others.
// The key must be an RSA key of package hybrid, in at most 4 KiB of PEM. What can't
// be decrypted gets one and the same answer, whatever is wrong with it. An address
// (IPv6: /64) may ask and register so often.
//
// What an attacker can learn about who exists is in the package doc of
// internal/regwire. The original's protocol adds nothing to it: that a name is not
// free is all that its answers tell.
package regd

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"xm/hybrid"
	"xm/internal/line"
	"xm/internal/regwire"
	"xm/internal/sasl"
	"xm/userdb"
)

const (
	maxKeys = 4 << 10
	timeout = 10 * time.Second
	fields  = 4
)

// Policy says who may register. Whoever is registered may change and remove that
// under any policy.
type Policy int

const (
	Open   Policy = iota // anybody
	Invite               // whoever has an invite (userdb.NewInvite)
	Closed               // nobody
)

// Server is a registration server. Its fields are not changed while it runs.
type Server struct {
	// Key opens the payloads, and signs what is said about users' keys.
	Key    *rsa.PrivateKey
	Users  *userdb.DB
	Policy Policy
	// Requests limits the HTTP requests of an address, and Registrations the
	// attempts to register or change something, of both protocols.
	Requests, Registrations Rate
	// Certificate, Proxies and Limits are those of line.Server.
	Certificate *line.Certificate
	Proxies     []netip.Prefix
	Limits      *line.Limits
	// Logins limits, for each address, the requests that come without a right:
	// with a wrong signature or invite.
	Logins   *sasl.Limiter
	Observer Observer // nil for none
	Log      *slog.Logger
}

// handler is a Server that runs.
type handler struct {
	*Server
	challenges              *challenges
	requests, registrations limiter
}

func (s *Server) handler() *handler {
	return &handler{s, newChallenges(), limiter{rate: s.Requests}, limiter{rate: s.Registrations}}
}

// Serve accepts connections from l until ctx is done. See line.Server.Serve.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return (&line.Server{
		Handle:      s.handler().handle,
		Busy:        "-ERR too many connections, try again later",
		Limits:      s.Limits,
		Proxies:     s.Proxies,
		Lifetime:    2 * timeout, // of which a handshake can take some
		Certificate: s.Certificate,
		ALPN:        "http/1.1",
		Observer:    s.Observer,
		Log:         s.Log,
	}).Serve(ctx, l)
}

// The first octets of a TLS handshake (RFC 8446, section 5.1: the record's type).
const tlsHandshake = 0x16

func (h *handler) handle(c *line.Conn) {
	log := c.Logger(h.Log)
	in, err := c.Input(timeout)
	if err == nil && c.CanStartTLS() && first(in) == tlsHandshake {
		if err = c.AcceptTLS(); err == nil {
			in, err = c.Input(timeout)
		}
	}
	if err != nil {
		log.Info("connection refused", "err", err)
		return
	}
	if f := first(in); 'A' <= f && f <= 'Z' {
		h.http(c, in, log)
		return
	}
	h.original(c, in, log)
}

// first waits for the first octet. It is 0 where none comes, which whoever reads
// it finds out.
func first(in *bufio.Reader) byte {
	octet, err := in.Peek(1)
	if err != nil {
		return 0
	}
	return octet[0]
}

// original serves the original's protocol.
func (h *handler) original(c *line.Conn, in *bufio.Reader, log *slog.Logger) {
	payload, err := readPayload(in)
	if err != nil {
		log.Warn("no registration", "err", err)
		h.reply(c, log, "-ERR "+err.Error())
		return
	}
	if !h.registrations.allow(c.Peer()) {
		line.Abuse(log, errTooMany.Error())
		h.reply(c, log, "-ERR "+errTooMany.Error())
		return
	}
	ctx, cancel := context.WithTimeout(c.Context(), timeout)
	defer cancel()
	name, err := h.guarded(ctx, c.Peer(), log, func() (string, error) { return h.registerPayload(ctx, payload) })
	text, _ := h.outcome(log.With("user", name), "registered", "registered", err)
	h.reply(c, log, text)
}

func (h *handler) reply(c *line.Conn, log *slog.Logger, text string) {
	result, _, _ := strings.Cut(text, " ")
	h.observe(KindOriginal, result)
	if err := c.Reply(text); err != nil {
		log.Info("connection lost", "err", err)
	}
}

// readPayload reads up to the separator that ends the payload.
func readPayload(in *bufio.Reader) ([]byte, error) {
	var payload []byte
	for ended := 0; ended < fields; {
		b, err := in.ReadByte()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, fmt.Errorf("no payload within %v", timeout)
		case err != nil:
			return nil, errors.New("the payload is cut short")
		case b == '$':
			ended++
		case (b < '0' || b > '9') && (b < 'a' || b > 'f'):
			return nil, errors.New("this is no registration payload")
		}
		if payload = append(payload, b); len(payload) > regwire.MaxPayload {
			return nil, fmt.Errorf("the payload is over %d octets", regwire.MaxPayload)
		}
	}
	return payload, nil
}

// registerPayload adds the user in a payload. It returns the name as far as it is
// known.
func (h *handler) registerPayload(ctx context.Context, payload []byte) (name string, err error) {
	message, err := hybrid.OpenUnsigned(payload, h.Key)
	if err != nil {
		return "", refusal{errSealed, err}
	}
	r, err := userdb.ParseRecord(string(bytes.TrimRight(message, "\r\n")))
	if err == nil && strings.ContainsFunc(r.Salt, notPEM) { // as in the keys
		err = errors.New("the salt holds more than ASCII")
	}
	if err != nil {
		return "", refusal{errors.New("the registration is not name,salt,hash,base64(PEM public key)"), err}
	}
	name = r.Name.String()
	if h.Policy != Open {
		return name, refuse(errors.New("not everybody may register here: use xm register --server"))
	}
	if err := checkKeys(r.Keys); err != nil {
		return name, refuse(err)
	}
	if err := h.checkName(r.Name); err != nil {
		return name, err
	}
	return name, h.added(h.Users.Add(ctx, r))
}

// notPEM reports what stands in no PEM block: RFC 7468, section 3.
func notPEM(r rune) bool { return (r < ' ' || r > '~') && !strings.ContainsRune("\t\r\n", r) }

// checkKeys wants PEM blocks and nothing else, the user's RSA key among them.
func checkKeys(keys []byte) error {
	if len(keys) > maxKeys {
		return fmt.Errorf("the public key can't be used: over %d octets", maxKeys)
	}
	if bytes.ContainsFunc(keys, notPEM) { // it is printed, on operators' terminals too
		return errors.New("the public key can't be used: it holds characters that PEM does not need")
	}
	if _, err := hybrid.ParsePublicKey(keys); err != nil {
		return fmt.Errorf("the public key can't be used: %w", err)
	}
	canonical := bytes.NewBuffer(nil)
	for rest := keys; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if strings.Contains(block.Type, "PRIVATE") {
			return errors.New("the public key can't be used: there is a private key in it")
		}
		if err := pem.Encode(canonical, block); err != nil {
			return err
		}
	}
	if !bytes.Equal(bytes.Join(bytes.Fields(canonical.Bytes()), nil), bytes.Join(bytes.Fields(keys), nil)) {
		return errors.New("the public key can't be used: there is more than PEM blocks in it")
	}
	return nil
}
