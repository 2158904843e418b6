package mailclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

// A message that could not be read to its end is not ended for the server, and
// the session is over.
func TestAMessageThatStops(t *testing.T) {
	addr, done := script(t, `
		S: 220 x
		C: EHLO [127.0.0.1]
		S: 250 x
		C: MAIL FROM:<a@b>
		S: 250 ok
		C: RCPT TO:<c@d>
		S: 250 ok
		C: DATA
		S: 354 go
		END`)
	s, err := OpenSMTP(context.Background(), Server{Addr: addr}, nil)
	if err != nil {
		t.Fatal(err)
	}
	unreadable := errors.New("unreadable")
	if _, err := s.Send(Envelope{From: "a@b", To: []string{"c@d"}}, func(w io.Writer) error {
		_, err := io.WriteString(w, "Subject: x\r\n\r\nhalf")
		return errors.Join(err, unreadable)
	}); !errors.Is(err, unreadable) {
		t.Errorf("%v", err)
	}
	if problem := <-done; problem != "" {
		t.Error(problem)
	}
	if _, err := s.Send(Envelope{From: "a@b", To: []string{"c@d"}}, func(io.Writer) error { return nil }); !errors.Is(err, ErrBroken) {
		t.Errorf("after that: %v", err)
	}
}

// No address and no password adds a command.
func TestNothingAddsACommand(t *testing.T) {
	for _, end := range []string{"\r", "\n", "\x00"} {
		addr, _ := script(t, "S: 220 x\nC: EHLO [127.0.0.1]\nS: 250 x\nEND")
		err := submit(Server{Addr: addr}, "a"+end+"b", "c", nil)
		if err == nil || !strings.Contains(err.Error(), "part of a command") || strings.Contains(err.Error(), "a"+end) {
			t.Errorf("%q: %v", end, err)
		}
	}
}

// Who consents before having proved anything does not know the password: SCRAM's
// server has to (RFC 5802, section 3).
func TestConsentWithoutProof(t *testing.T) {
	for dialog, open := range map[string]func(string) error{
		"S: +OK\nC: CAPA\nS: +OK\nS: SASL SCRAM-SHA-256\nS: .\nANY\nS: +OK welcome\nEND": func(addr string) error {
			_, err := OpenPOP3(context.Background(), Server{Addr: addr}, Credentials{"alice", "secret"})
			return err
		},
		"S: 220 x\nC: EHLO [127.0.0.1]\nS: 250-x\nS: 250 AUTH SCRAM-SHA-256\nANY\nS: 235 welcome\nEND": func(addr string) error {
			_, err := OpenSMTP(context.Background(), Server{Addr: addr}, &Credentials{"alice", "secret"})
			return err
		},
	} {
		addr, _ := script(t, dialog)
		if err := open(addr); err == nil || !strings.Contains(err.Error(), "before the server proved") {
			t.Errorf("%q: %v", dialog, err)
		}
	}
}

// A password does not cross a network in clear, whoever asks for it: a pipe is
// no loopback address.
func TestNoPasswordInClear(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	defer near.Close()
	p := &POP3{c: &conn{raw: near, nc: near}, capabilities: map[string][]string{}}
	if err := p.login(Credentials{"alice", "secret"}); err != errClearPassword {
		t.Errorf("%v", err)
	}
	p.capabilities["SASL"] = []string{"PLAIN", "LOGIN"}
	if err := p.login(Credentials{"alice", "secret"}); err != errClearPassword {
		t.Errorf("with SASL: %v", err)
	}
}

// Whoever can't prove who they are may still choose the names in their certificate.
func TestNamesInACertificate(t *testing.T) {
	evil := errors.New("valid for \x1b[2J\nxm: all is well")
	for _, err := range []error{evil, &tls.CertificateVerificationError{UnverifiedCertificates: []*x509.Certificate{serverCert}, Err: evil}} {
		if text := explainHandshake(err).Error(); !strings.Contains(text, "valid for \ufffd[2J\ufffdxm: all is well") {
			t.Errorf("%q", text)
		}
	}
}
