package mailclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"strings"
	"testing"

	"xm/internal/line/linetest"
)

// The certificate of scripted servers.
var (
	serverTLS  *tls.Config
	serverCert *x509.Certificate
	roots      *x509.CertPool
)

func TestMain(m *testing.M) {
	t := &mainT{}
	dir, err := os.MkdirTemp("", "mailclient")
	if err != nil {
		panic(err)
	}
	cert, key := dir+"/cert.pem", dir+"/key.pem"
	roots = linetest.WriteCertificate(t, cert, key).RootCAs
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		panic(err)
	}
	serverTLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	text, err := os.ReadFile(cert)
	if err != nil {
		panic(err)
	}
	block, _ := pem.Decode(text)
	if serverCert, err = x509.ParseCertificate(block.Bytes); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// mainT lets TestMain use what is for tests.
type mainT struct{ testing.TB }

func (*mainT) Helper()           {}
func (*mainT) Fatal(args ...any) { panic(args) }

func TestTLS(t *testing.T) {
	const start = "S: 220 x\nC: EHLO [127.0.0.1]\nS: 250-x\nS: 250-AUTH PLAIN\nS: 250 STARTTLS\n"
	const rest = "TLS\nC: EHLO [127.0.0.1]\nS: 250-x\nS: 250 AUTH PLAIN\nC: AUTH PLAIN AGFsaWNlAHNlY3JldA==\nS: 235 yes\n" +
		"C: MAIL FROM:<alice@localhost>\nS: 250 ok\nC: RCPT TO:<bob@localhost>\nS: 250 ok\nC: DATA\nS: 354 go\nBODY Subject: x\\n\\n.hello\\n\nS: 250 ok\nC: QUIT\nS: 221 bye"
	print := Fingerprint(serverCert)
	other := strings.Repeat("00", 32)
	for name, c := range map[string]struct {
		dialog, want string
		server       Server
		serverFails  bool
	}{
		"STARTTLS":             {start + "C: STARTTLS\nS: 220 go\n" + rest, "", Server{RequireTLS: true, Roots: roots}, false},
		"from the start":       {"TLS\nS: 220 x\n" + strings.TrimPrefix(rest, "TLS\n"), "", Server{Implicit: true, Roots: roots}, false},
		"by fingerprint":       {start + "C: STARTTLS\nS: 220 go\n" + rest, "", Server{Fingerprint: print}, false},
		"another fingerprint":  {start + "C: STARTTLS\nS: 220 go\nTLS", "has the fingerprint " + print, Server{Fingerprint: other}, true},
		"nobody vouches":       {start + "C: STARTTLS\nS: 220 go\nTLS", "--tls-fingerprint:\n" + print, Server{RequireTLS: true}, true},
		"not offered":          {"S: 220 x\nC: EHLO [127.0.0.1]\nS: 250-x\nS: 250 AUTH PLAIN\nCUT", "offers no TLS", Server{RequireTLS: true, Roots: roots}, false},
		"no extensions at all": {"S: 220 x\nC: EHLO [127.0.0.1]\nS: 502 what\nC: HELO [127.0.0.1]\nS: 250 x\nCUT", "offers no TLS", Server{RequireTLS: true, Roots: roots}, false},
		"refused":              {start + "C: STARTTLS\nS: 454 4.7.0 not now\nCUT", "454 4.7.0 not now", Server{RequireTLS: true, Roots: roots}, false},
		"injected":             {start + "C: STARTTLS\nR: 220 go\\n250 x\\n\nCUT", "somebody is between", Server{RequireTLS: true, Roots: roots}, false},
		"no TLS behind it":     {start + "C: STARTTLS\nS: 220 go\nCUT", "TLS: ", Server{RequireTLS: true, Roots: roots}, false},
	} {
		addr, done := script(t, c.dialog)
		c.server.Addr = addr
		err := submit(c.server, "alice@localhost", "bob@localhost", &Credentials{"alice", "secret"})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if problem := <-done; (problem != "") != c.serverFails {
			t.Errorf("%s: the server %s", name, problem)
		}
	}
}

func TestPOP3TLS(t *testing.T) {
	const start = "S: +OK\nC: CAPA\nS: +OK\nS: STLS\nS: SASL PLAIN\nS: .\n"
	for name, c := range map[string]struct{ dialog, want string }{
		"STLS and AUTH":      {start + "C: STLS\nS: +OK\nTLS\nC: CAPA\nS: +OK\nS: SASL LOGIN PLAIN\nS: .\nC: AUTH PLAIN AGFsaWNlAHNlY3JldA==\nS: +OK", ""},
		"STLS and PASS":      {start + "C: STLS\nS: +OK\nTLS\nC: CAPA\nS: +OK\nS: USER\nS: .\nC: USER alice\nS: +OK\nC: PASS secret\nS: +OK", ""},
		"wrong password":     {start + "C: STLS\nS: +OK\nTLS\nC: CAPA\nS: +OK\nS: SASL LOGIN\nS: .\nC: AUTH LOGIN\nS: + VXNlcjo=\nC: YWxpY2U=\nS: + UGFzczo=\nC: c2VjcmV0\nS: -ERR [AUTH] no", "wrong user name or password"},
		"not offered":        {"S: +OK\nC: CAPA\nS: +OK\nS: USER\nS: .\nCUT", "offers no TLS"},
		"injected":           {start + "C: STLS\nR: +OK\\n+OK\\n\nCUT", "somebody is between"},
		"too many questions": {start + "C: STLS\nS: +OK\nTLS\nC: CAPA\nS: +OK\nS: SASL PLAIN\nS: .\nC: AUTH PLAIN AGFsaWNlAHNlY3JldA==\nS: + \nC: *\nS: -ERR", "more than the mechanism has"},
		"not base64":         {start + "C: STLS\nS: +OK\nTLS\nC: CAPA\nS: +OK\nS: SASL LOGIN\nS: .\nC: AUTH LOGIN\nS: + ?\nC: *\nS: -ERR", "not base64"},
	} {
		addr, done := script(t, c.dialog)
		p, err := OpenPOP3(context.Background(), Server{Addr: addr, RequireTLS: true, Roots: roots}, Credentials{"alice", "secret"})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err == nil {
			p.Close()
		}
		if problem := <-done; problem != "" {
			t.Errorf("%s: the server %s", name, problem)
		}
	}
}

func TestParseServer(t *testing.T) {
	for text, want := range map[string]string{
		"a:25": "a:25", "a:465": "a:465 TLS", "a:995": "a:995 TLS", "smtps://a:1": "a:1 TLS", "pop3s://[::1]:2": "[::1]:2 TLS",
		"pop3://a:995": "a:995", "a": "", "a:": "", "http://a:1": "",
	} {
		got, err := ParseServer(text)
		shown := got.Addr
		if got.Implicit {
			shown += " TLS"
		}
		if shown != want || (err != nil) != (want == "") {
			t.Errorf("%s: %q, %v", text, shown, err)
		}
	}
	if _, err := ParseFingerprint("12:34"); err == nil {
		t.Error("a short fingerprint is accepted")
	}
	if got, err := ParseFingerprint(strings.Repeat("AB:", 31) + "AB"); err != nil || got != strings.Repeat("ab", 32) {
		t.Errorf("%q, %v", got, err)
	}
}
