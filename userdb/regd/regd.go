// Package regd registers users over the network: the network face of users.txt.
//
// # The protocol
//
// It is the original's. A client connects (port 60085) and writes a "reg"
// payload: an Unsigned payload of package hybrid, four hexadecimal fields each
// ended by "$", sealed with the server's public key. The fourth "$" ends it.
// Nothing precedes it; what follows is not read. The message in it is
//
//	name,salt,hash,base64(PEM public key)
//
// and a line end or none: a line of users.txt (package userdb). The server
// answers with one line, "+OK ..." or "-ERR ...", and closes.
//
// A name must be new, bare or under a local domain, and not one that belongs to
// those who run a server (postmaster and the like); the key must be an RSA key of
// package hybrid, in at most 4 KiB of PEM. What can't be decrypted gets one and the same answer, whatever
// is wrong with it. That a name is not free is all that the answers tell about
// who exists.
//
// A connection has 10 seconds and 64 KiB, and is given up at the first octet
// that is no part of a payload.
//
// # What is unsafe
//
// The payload does not prove that its sender owns the key in it, and it may be
// sent again by whoever sees it: then the name is taken already. The hash of the
// original's form is a fast one; whoever has the server's private key or
// users.txt can try passwords against it.
package regd

import (
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"xm/hybrid"
	"xm/internal/line"
	"xm/userdb"
)

const (
	maxPayload = 64 << 10
	maxKeys    = 4 << 10
	maxConns   = 200
	timeout    = 10 * time.Second
	fields     = 4
)

// Server is a registration server. Its fields are not changed while it runs.
type Server struct {
	// Key opens the payloads.
	Key   *rsa.PrivateKey
	Users *userdb.DB
	Log   *slog.Logger
}

// Serve accepts connections from l until ctx is done. See line.Server.Serve.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return (&line.Server{
		Handle: s.handle,
		Busy:   "-ERR too many connections, try again later",
		Limits: &line.Limits{MaxConns: maxConns},
		Log:    s.Log,
	}).Serve(ctx, l)
}

func (s *Server) handle(c *line.Conn) {
	log := s.Log.With("session", c.ID, "peer", c.Peer())
	payload, err := readPayload(c)
	if err != nil {
		log.Warn("no registration", "err", err)
		s.answer(c, log, "-ERR "+err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(c.Context(), timeout)
	defer cancel()
	name, err := s.register(ctx, payload)
	var refused refusal
	switch {
	case err == nil:
		log.Info("registered", "user", name)
		s.answer(c, log, "+OK "+name+" is registered")
	case errors.As(err, &refused):
		log.Warn("registration refused", "user", name, "err", refused.cause)
		s.answer(c, log, "-ERR "+refused.text)
	default:
		log.Error("registration failed", "user", name, "err", err)
		s.answer(c, log, "-ERR trouble on our side, try again later")
	}
}

func (s *Server) answer(c *line.Conn, log *slog.Logger, text string) {
	if err := c.Reply(text); err != nil {
		log.Info("connection lost", "err", err)
	}
}

// readPayload reads up to the separator that ends the payload.
func readPayload(c *line.Conn) ([]byte, error) {
	in, err := c.Input(timeout)
	if err != nil {
		return nil, err
	}
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
		if payload = append(payload, b); len(payload) > maxPayload {
			return nil, fmt.Errorf("the payload is over %d octets", maxPayload)
		}
	}
	return payload, nil
}

// refusal is an error that is the client's: text is what it gets to know.
type refusal struct {
	text  string
	cause error
}

func (r refusal) Error() string { return r.text }

// register adds the user in a payload. It returns the name as far as it is
// known.
func (s *Server) register(ctx context.Context, payload []byte) (name string, err error) {
	message, err := hybrid.OpenUnsigned(payload, s.Key)
	if err != nil {
		return "", refusal{"the payload was not sealed with this server's key, or was changed", err}
	}
	r, err := userdb.ParseRecord(string(bytes.TrimRight(message, "\r\n")))
	if err != nil {
		return "", refusal{"the registration is not name,salt,hash,base64(PEM public key)", err}
	}
	name = r.Name.String()
	if err := checkKeys(r.Keys); err != nil {
		return name, refusal{"the public key can't be used: " + err.Error(), err}
	}
	if r.Name.Role() {
		return name, refusal{"the name is kept for those who run the server", errors.New("a role name")}
	}
	if d := r.Name.Domain(); d != "" && !s.Users.Local(d) {
		return name, refusal{"names are registered under this server's own domains only", fmt.Errorf("domain %s", d)}
	}
	err = s.Users.Add(ctx, r)
	if errors.Is(err, userdb.ErrTaken) {
		return name, refusal{userdb.ErrTaken.Error(), err}
	}
	return name, err
}

// checkKeys wants PEM blocks and nothing else, the user's RSA key among them.
func checkKeys(keys []byte) error {
	if len(keys) > maxKeys {
		return fmt.Errorf("over %d octets", maxKeys)
	}
	if _, err := hybrid.ParsePublicKey(keys); err != nil {
		return err
	}
	canonical := bytes.NewBuffer(nil)
	for rest := keys; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if err := pem.Encode(canonical, block); err != nil {
			return err
		}
	}
	if !bytes.Equal(bytes.Join(bytes.Fields(canonical.Bytes()), nil), bytes.Join(bytes.Fields(keys), nil)) {
		return errors.New("there is more than PEM blocks in it")
	}
	return nil
}
