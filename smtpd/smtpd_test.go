package smtpd

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"xm/internal/line"
	"xm/internal/line/linetest"
	"xm/internal/sasl"
)

// testUsers: alice, bill, soly and jörg are users with the password "secret",
// team is an alias of alice and bill, full, fails, nospace and quota have
// troubled mailboxes, broken can't be looked up.
type testUsers struct{}

func (testUsers) Local(domain string) bool {
	return strings.EqualFold(domain, "localhost") || strings.EqualFold(domain, "localhost.com") || domain == "mail.example.org"
}

func (u testUsers) Find(local, domain string) ([]string, bool, error) {
	local = strings.ToLower(local)
	switch {
	case local == "broken":
		return nil, false, errors.New("the disk is on fire")
	case domain != "" && !u.Local(domain):
		return nil, false, nil
	case local == "team":
		return []string{"alice", "bill"}, true, nil
	}
	return []string{local}, strings.Contains(" alice bill soly jörg full fails nospace quota ", " "+local+" "), nil
}

func (u testUsers) known(login string) string {
	name, domain, _ := strings.Cut(login, "@")
	if found, ok, err := u.Find(name, domain); ok && err == nil && len(found) == 1 {
		return found[0]
	}
	return ""
}

func (u testUsers) Authenticate(_ context.Context, login, password string) (string, bool, error) {
	if login == "broken" {
		return "", false, errors.New("the disk is on fire")
	}
	user := u.known(login)
	return user, user != "" && password == "secret", nil
}

func (u testUsers) SCRAM(login string) (sasl.Verifier, error) {
	salt, iterations := []byte("salt of everyone"), 4096
	salted, err := pbkdf2.Key(sha256.New, "secret", salt, iterations, sha256.Size)
	if err != nil {
		return sasl.Verifier{}, err
	}
	mac := func(text string) []byte {
		m := hmac.New(sha256.New, salted)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	stored := sha256.Sum256(mac("Client Key"))
	return sasl.Verifier{User: u.known(login), Iterations: iterations, Salt: salt, StoredKey: stored[:], ServerKey: mac("Server Key")}, nil
}

// testMail keeps messages in memory.
type testMail struct {
	mu   sync.Mutex
	got  map[string][]string
	open int // deliveries neither committed nor aborted
}

func (m *testMail) Room(mailbox string, size int64) (bool, error) {
	switch {
	case mailbox == "quota" && size > 600:
		return true, fmt.Errorf("quota: %w", ErrTooLarge)
	case mailbox == "full" || mailbox == "quota" && size > 500:
		return true, ErrFull
	}
	return mailbox == "quota", nil
}

func (m *testMail) Begin(mailboxes []string) (Delivery, error) {
	switch mailboxes[0] {
	case "nospace": // fails at once, with the message still on its way
		return nil, fmt.Errorf("write: %w", syscall.ENOSPC)
	case "fails":
		return nil, errors.New("the disk is on fire")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open++
	return &testDelivery{mail: m, mailboxes: mailboxes}, nil
}

type testDelivery struct {
	bytes.Buffer
	mail      *testMail
	mailboxes []string
	over      bool
}

func (d *testDelivery) Commit() error {
	switch {
	case d.mailboxes[0] == "quota" && strings.Contains(d.String(), "huge"):
		return fmt.Errorf("quota: %w", ErrTooLarge)
	case d.mailboxes[0] == "quota":
		return fmt.Errorf("quota: %w", ErrFull)
	}
	d.mail.mu.Lock()
	for _, name := range d.mailboxes {
		d.mail.got[name] = append(d.mail.got[name], d.String())
	}
	d.mail.mu.Unlock()
	d.Abort()
	return nil
}

func (d *testDelivery) Names() (file, uid string) { return "123.file,S=6", "123.uid" }

func (d *testDelivery) Abort() {
	d.mail.mu.Lock()
	defer d.mail.mu.Unlock()
	if !d.over {
		d.over = true
		d.mail.open--
	}
}

// of returns the one message that name has.
func (m *testMail) of(t *testing.T, name string) string {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.got[name]) != 1 {
		t.Fatalf("%s has %d messages, want 1: %q", name, len(m.got[name]), m.got[name])
	}
	return m.got[name][0]
}

func newServer() (*Server, *testMail) {
	mail := &testMail{got: map[string][]string{}}
	return &Server{
		Hostname: "mail.example.org", MaxSize: 1000, MaxRecipients: 3,
		Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Users:   testUsers{}, Mail: mail, Log: slog.New(slog.DiscardHandler),
	}, mail
}

func start(t *testing.T, s *Server, wrap func(net.Listener) net.Listener) net.Conn {
	t.Helper()
	addr := linetest.Serve(t, func(l net.Listener) func() error {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, wrap(l)) }()
		return func() error { cancel(); return <-done }
	})
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func asIs(l net.Listener) net.Listener { return l }

// The words of a dialog's "# server:" are
//
//	outside      no network is trusted
//	tls          there is a certificate
//	implicit     ... and the connection begins with the handshake
//	submission   the server is for submission
//	proxied      connections begin with a PROXY header
func TestDialogs(t *testing.T) {
	linetest.Run(t, "testdata/dialogs/*.txt", func(t *testing.T, d *linetest.Dialog) net.Conn {
		s, mail := newServer()
		is := func(word string) bool { return slices.Contains(d.Server, word) }
		if is("outside") || is("proxied") {
			s.Trusted = nil
		}
		if is("tls") || is("implicit") {
			d.TLS = addCertificate(t, s)
		}
		if is("proxied") {
			s.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		}
		s.ImplicitTLS, s.Submission = is("implicit"), is("submission")
		wantNoneOpen(t, mail)
		return start(t, s, asIs)
	})
}

// wantNoneOpen looks at the store when a server that is started later has ended.
func wantNoneOpen(t *testing.T, mail *testMail) {
	t.Helper()
	t.Cleanup(func() {
		if mail.open > 0 {
			t.Errorf("%d deliveries were neither committed nor aborted", mail.open)
		}
	})
}

func addCertificate(t *testing.T, s *Server) (client *tls.Config) {
	t.Helper()
	certFile, keyFile, client := linetest.Certificate(t)
	cert, err := line.LoadCertificate(certFile, keyFile, s.Log)
	if err != nil {
		t.Fatal(err)
	}
	s.Certificate = cert
	return client
}

// send delivers body, given as it goes over the wire, and returns the rest of
// the session.
func send(t *testing.T, conn net.Conn, helo, from, to, body string) string {
	t.Helper()
	var rcpts string
	for _, r := range strings.Fields(to) {
		rcpts += "RCPT TO:" + r + "\r\n"
	}
	fmt.Fprintf(conn, "%s\r\nMAIL FROM:%s\r\n%sDATA\r\n%s.\r\nQUIT\r\n", helo, from, rcpts, body)
	out, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestTrace(t *testing.T) {
	for _, c := range []struct{ helo, from, to, body, want string }{
		{"EHLO client.example", "<bill@localhost.com>", "<alice@localhost.com>", "Subject: x\r\n\r\n..hello\r\n",
			"Return-Path: <bill@localhost.com>\r\n" +
				"Received: from client.example ([127.0.0.1])\r\n\tby mail.example.org with ESMTP id *\r\n" +
				"\tfor <alice@localhost.com>;\r\n\t*, * *\r\nSubject: x\r\n\r\n.hello\r\n"},
		// No name, no header: the original's way.
		{"HELO", "<>", "<alice@localhost.com>", "Hello Alice.\r\n",
			"Return-Path: <>\r\nReceived: from unknown ([127.0.0.1])\r\n\tby mail.example.org with SMTP id *;\r\n\t*\r\n\r\nHello Alice.\r\n"},
		// Recipients do not get to see each other.
		{"HELO [192.0.2.1]", "<bill@localhost.com>", "<alice@localhost.com> <soly>", "A: b\r\n",
			"Return-Path: <bill@localhost.com>\r\nReceived: from [192.0.2.1] ([127.0.0.1])\r\n\tby mail.example.org with SMTP id *;\r\n\t*\r\nA: b\r\n"},
		{"HELO a b c", "<bill@localhost.com>", "<alice@localhost.com>", "",
			"Return-Path: <bill@localhost.com>\r\nReceived: from unknown ([127.0.0.1])\r\n*\r\n"},
		{"HELO a", "<bill@localhost.com>", "<alice@localhost.com>", "\r\nbody\r\n", "Return-Path: *\r\nReceived: *\r\n\t*\r\n\r\nbody\r\n"},
		{"HELO a", "<bill@localhost.com>", "<alice@localhost.com>", " folded\r\n", "Return-Path: *\r\nReceived: *\r\n\t*\r\n\r\n folded\r\n"},
		{"HELO a", "<bill@localhost.com>", "<alice@localhost.com>", "Dear Alice, note: this\r\n", "Return-Path: *\r\n\r\nDear Alice, note: this\r\n"},
	} {
		s, mail := newServer()
		replies := send(t, start(t, s, asIs), c.helo, c.from, c.to, c.body)
		got := mail.of(t, "alice")
		if strings.Contains(c.to, " ") == strings.Contains(got, "\tfor ") {
			t.Errorf("to %s:\n%s", c.to, got)
		}
		if !linetest.Match(c.want, got) {
			t.Errorf("%s: got\n%s\nwant\n%s", c.helo, got, c.want)
		}
		// The identifier in the reply is that of the trace.
		_, id, _ := strings.Cut(replies, "250 2.0.0 OK ")
		id, _, _ = strings.Cut(id, "\r\n")
		if id == "" || !strings.Contains(got, " id "+id) {
			t.Errorf("the reply says %q, the trace\n%s", id, got)
		}
	}
}

func TestRecipientsCollapse(t *testing.T) {
	s, mail := newServer()
	send(t, start(t, s, asIs), "HELO a", "<>", "<alice@localhost> <ALICE@localhost.com> <soly>", "A: b\r\n")
	mail.of(t, "alice")
	mail.of(t, "soly")
}

func TestCutOffMessageIsNotDelivered(t *testing.T) {
	for _, text := range []string{"DATA\r\nSubject: x\r\n\r\nhalf", "BDAT 100 LAST\r\nSubject: x\r\n\r\nhalf", "BDAT 4\r\nhalfBDAT 4 LAST\r\nhal"} {
		s, mail := newServer()
		wantNoneOpen(t, mail)
		conn := start(t, s, asIs)
		io.WriteString(conn, "HELO a\r\nMAIL FROM:<>\r\nRCPT TO:<alice@localhost>\r\n"+text)
		conn.(*net.TCPConn).CloseWrite()
		out, _ := io.ReadAll(conn)
		if !bytes.Contains(out, []byte("\r\n421 4.4.2 ")) || len(mail.got) != 0 {
			t.Errorf("%d messages; replies:\n%s", len(mail.got), out)
		}
	}
}

// A stop lets the transaction under way end, whatever it waits for.
func TestStopInTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, mail := newServer()
		pipe := linetest.NewPipe()
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, pipe) }()
		c, login := newClient(t, pipe.Dial()), newClient(t, pipe.Dial())
		for _, c := range []*client{c, login} {
			c.must("220", "")
			c.must("250", "EHLO a")
		}
		c.must("250", "MAIL FROM:<>")
		login.must("334", "AUTH SCRAM-SHA-256 biwsbj1hbGljZSxyPXJPcHJOR2Z3RWJlUldnYk5FcWtv")
		cancel()
		synctest.Wait()
		c.must("250", "RCPT TO:<alice@localhost>")
		c.must("354", "DATA")
		c.must("250", "A: b\r\n.")
		c.must("421 4.3.2 ", "")
		login.must("501", "*")
		login.must("421 4.3.2 ", "")
		c.Close()
		login.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		mail.of(t, "alice")
	})
}

// Whoever has not come to an end when the stop waits no more is told so (RFC 5321,
// section 3.8).
func TestStopCutsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, mail := newServer()
		pipe, stop := linetest.ServePipe(t, s.Serve)
		const envelope = "MAIL FROM:<>\r\nRCPT TO:<alice@localhost>\r\n"
		var wg sync.WaitGroup
		for say, want := range map[string]string{
			"MAIL FROM:<>\r\n":              "421 4.3.2 mail.example.org is shutting down",
			envelope + "RC":                 "421 4.3.2 mail.example.org is shutting down",
			"AUTH LOGIN\r\n":                "421 4.3.2 mail.example.org is shutting down",
			envelope + "DATA\r\nA: b\r\n":   "421 4.4.2 The message was cut off",
			envelope + "BDAT 9\r\nA: b\r\n": "421 4.4.2 The message was cut off",
		} {
			conn := pipe.Dial()
			go io.WriteString(conn, "EHLO a\r\n"+say)
			wg.Go(func() {
				out, _ := io.ReadAll(conn)
				lines := strings.Split(strings.TrimSpace(string(out)), "\r\n")
				if last := lines[len(lines)-1]; last != want {
					t.Errorf("%q: %q, want %q", say, last, want)
				}
				conn.Close()
			})
		}
		synctest.Wait()
		stop()
		wg.Wait()
		if mail.open != 0 || len(mail.got) != 0 {
			t.Errorf("%d deliveries open, %d made", mail.open, len(mail.got))
		}
	})
}

// A reply is one write, and those to commands that came together are one, too.
func TestWrites(t *testing.T) {
	var writes atomic.Int64
	s, _ := newServer()
	counted := func(l net.Listener) net.Listener { return linetest.CountWrites(l, &writes) }
	c := newClient(t, start(t, s, counted))
	c.must("220", "")
	c.must("250", "EHLO a")
	c.send("250", "<>", "A: b\r\n")
	c.must("221", "QUIT")
	if n := writes.Swap(0); n != 7 {
		t.Errorf("%d writes for 7 replies", n)
	}
	c = newClient(t, start(t, s, counted))
	c.must("220", "")
	io.WriteString(c, "EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<alice@localhost>\r\nRCPT TO:<nobody>\r\nDATA\r\n")
	for _, want := range []string{"250", "250", "250", "550", "354"} {
		c.must(want, "")
	}
	if n := writes.Load(); n != 2 {
		t.Errorf("%d writes for the greeting and five commands together", n)
	}
}

func TestLogTellsWhatHappened(t *testing.T) {
	var log bytes.Buffer
	s, _ := newServer()
	s.Log = slog.New(slog.NewTextHandler(&log, nil))
	send(t, start(t, s, asIs), "HELO a", "<bill@localhost.com>", "<alice@localhost> <eve@elsewhere.example>", "A: b\r\n")
	for _, want := range []string{"message accepted", "from=<bill@localhost.com>", "to=[<alice@localhost>]", "octets=6", "peer=127.0.0.1", "550 5.7.1"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q is not in the log:\n%s", want, log.String())
		}
	}
}
