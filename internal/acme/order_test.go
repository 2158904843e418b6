package acme

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"xm/internal/line/linetest"
)

// asking makes a Manager for an authority that asks it.
func asking(t *testing.T) (*Manager, *fakeCA, *linetest.Log) {
	t.Helper()
	authority := newFakeCA(t)
	roots := x509.NewCertPool()
	roots.AddCert(authority.Certificate())
	log := &linetest.Log{}
	m, err := Open(Settings{Dir: t.TempDir(), URL: authority.URL + "/directory", Roots: roots, SelfSigned: selfSigned, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	authority.ask = "http://" + listen(t, m)
	return m, authority, log
}

// listen serves questions until the test ends.
func listen(t *testing.T, m *Manager) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func TestOrder(t *testing.T) {
	m, authority, log := asking(t)
	names := []string{hostname, "pop.example.org"}
	if err := m.Prepare(names); err != nil {
		t.Fatal(err)
	}
	authority.stale = 2
	for i := range 2 { // the second time, there is an account
		have, err := m.usable()
		if err != nil {
			t.Fatal(err)
		}
		m.attempt(t.Context(), have, names, "test", Failure{})
		s, err := Read(m.Dir)
		if err != nil || s.From != m.URL || !slices.Equal(s.Leaf.DNSNames, names) || s.Failure != (Failure{}) {
			t.Fatalf("attempt %d: %+v, %v\n%s", i, s, err, log)
		}
		if s.Leaf.CheckSignatureFrom(authority.ca.root) != nil || !s.Leaf.Equal(mustParse(t, authority.issued[0])) {
			t.Error("it is not what the authority issued")
		}
	}
	if len(authority.accounts) != 1 || strings.Count(log.String(), "terms=https://ca.example.org/terms") != 1 {
		t.Errorf("%d accounts\n%s", len(authority.accounts), log)
	}
	text, err := os.ReadFile(File(m.Dir))
	if err != nil || strings.Count(string(text), "BEGIN CERTIFICATE") != 2 {
		t.Errorf("the chain: %s, %v", text, err)
	}
	if st, err := os.Stat(filepath.Join(m.Dir, accountFile)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the account's key: %v, %v", st, err)
	}
	if len(m.answers) != 0 {
		t.Errorf("answers are left: %v", m.answers)
	}
}

func mustParse(t *testing.T, der []byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOrderFails(t *testing.T) {
	for name, c := range map[string]struct {
		change    func(*Manager, *fakeCA)
		err, mend string
	}{
		"refused":             {func(_ *Manager, f *fakeCA) { f.refuse = "connection" }, "refused", mends["connection"]},
		"no http-01":          {func(_ *Manager, f *fakeCA) { f.refuse = "challenge" }, "offers no http-01 challenge for " + hostname, ""},
		"stale nonces":        {func(_ *Manager, f *fakeCA) { f.stale = nonceRetries + 1 }, "badNonce", ""},
		"another page":        {func(m *Manager, f *fakeCA) { m.URL = f.URL + "/nothing" }, "404", "set tls.acme_directory"},
		"no directory":        {func(m *Manager, f *fakeCA) { m.URL = f.URL + "/nonce" }, "EOF", "set tls.acme_directory"},
		"nobody there":        {func(_ *Manager, f *fakeCA) { f.Close() }, "connection refused", "see that the authority can be reached"},
		"an unknown root":     {func(m *Manager, _ *fakeCA) { m.Roots = x509.NewCertPool() }, "unknown authority", "set tls.acme_ca"},
		"a broken account":    {func(m *Manager, _ *fakeCA) { os.Mkdir(filepath.Join(m.Dir, accountFile), 0o700) }, "directory", ""},
		"for another machine": {func(m *Manager, f *fakeCA) { f.refuse = "unauthorized" }, "refused", mendProxy},
	} {
		t.Run(name, func(t *testing.T) {
			m, authority, log := asking(t)
			if err := m.Prepare([]string{hostname}); err != nil {
				t.Fatal(err)
			}
			c.change(m, authority)
			have, err := m.usable()
			if err != nil {
				t.Fatal(err)
			}
			m.attempt(t.Context(), have, m.names, "test", Failure{})
			f, err := readFailure(m.root)
			if err != nil || !strings.Contains(f.Error, c.err) || !strings.HasPrefix(f.Mend, c.mend) || c.mend == "" && f.Mend != "" {
				t.Errorf("%+v, %v; want %q, %q\n%s", f, err, c.err, c.mend, log)
			}
			if strings.Count(log.String(), "level=ERROR") != 1 {
				t.Errorf("the log says\n%s", log)
			}
		})
	}
}

// A stop ends an attempt at once.
func TestOrderIsInterrupted(t *testing.T) {
	m, _, _ := asking(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.order(ctx, newKey(t), []string{hostname}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// What the answer to a known token is, TestOrder looks at: it has no line end.
func TestServe(t *testing.T) {
	m, _, log := asking(t)
	m.setAnswer("known", "known.thumb")
	addr := listen(t, m)
	for name, dialog := range map[string]string{
		"known":          "C: GET /.well-known/acme-challenge/known HTTP/1.1\nC: Host: a\nC:\nS: HTTP/1.1 200 OK\nU: Content-Type: application/octet-stream\n",
		"HEAD":           "C: HEAD /.well-known/acme-challenge/known HTTP/1.1\nC: Host: a\nC:\nS: HTTP/1.1 200 OK\nU: Content-Length: 11\nU: \nX\n",
		"unknown":        "C: GET /.well-known/acme-challenge/other HTTP/1.1\nC: Host: a\nC:\nS: HTTP/1.1 404 Not Found\nU: \nS: there is nothing here\nX\n",
		"no token":       "C: GET /.well-known/acme-challenge/ HTTP/1.0\nC:\nS: HTTP/1.1 404 *\nU: \nS: *\nX\n",
		"another path":   "C: GET / HTTP/1.1\nC: Host: a\nC:\nS: HTTP/1.1 404 *\nU: \nS: *\nX\n",
		"another method": "C: POST /.well-known/acme-challenge/known HTTP/1.1\nC: Host: a\nC: Content-Length: 0\nC:\nS: HTTP/1.1 405 *\nU: Allow: GET, HEAD\nU: \nS: *\nX\n",
		"no HTTP":        "C: EHLO a\nC:\nS: HTTP/1.1 400 *\nU: \nS: this is no HTTP request\nX\n",
		"too long":       "C: GET /" + strings.Repeat("a", maxHead) + " HTTP/1.1\nC: Host: a\nC:\nS: HTTP/1.1 400 *\nU: \nS: *\nX\n",
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		linetest.Play(t, name, dialog, conn)
		conn.Close()
	}
	if strings.Contains(log.String(), "panic") {
		t.Errorf("the log says\n%s", log)
	}
}
