package smtpd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"xm/internal/line/linetest"
)

// testUsers: alice, bill and soly are users, full and fails have troubled
// mailboxes, broken can't be looked up.
type testUsers struct{}

func (testUsers) Local(domain string) bool {
	return strings.EqualFold(domain, "localhost") || strings.EqualFold(domain, "localhost.com")
}

func (u testUsers) Find(local, domain string) ([]string, bool, error) {
	if local == "broken" {
		return nil, false, errors.New("the disk is on fire")
	}
	known := strings.Contains(" alice bill soly full fails ", " "+strings.ToLower(local)+" ")
	return []string{strings.ToLower(local)}, known && (domain == "" || u.Local(domain)), nil
}

// testMail keeps messages in memory.
type testMail struct {
	mu  sync.Mutex
	got map[string][]string
}

type testDelivery struct {
	*bytes.Buffer
	commit func() error
}

func (d testDelivery) Commit() error { return d.commit() }
func (d testDelivery) Abort()        {}

func (m *testMail) Begin(mailboxes []string) (Delivery, error) {
	var b bytes.Buffer
	if mailboxes[0] == "full" {
		return nil, m.deliver(mailboxes, &b)
	}
	return testDelivery{&b, func() error { return m.deliver(mailboxes, &b) }}, nil
}

func (m *testMail) Room(string, int64) error { return nil }

func (m *testMail) deliver(mailboxes []string, r io.Reader) error {
	switch mailboxes[0] {
	case "full": // fails at once, with the message still on its way
		return fmt.Errorf("write: %w", syscall.ENOSPC)
	case "fails":
		return errors.New("the disk is on fire")
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range mailboxes {
		m.got[name] = append(m.got[name], string(b))
	}
	return nil
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

func TestDialogs(t *testing.T) {
	linetest.Run(t, "testdata/dialogs/*.txt", func(t *testing.T, file string) (net.Conn, map[string]string) {
		s, _ := newServer()
		if strings.Contains(file, "outside-") {
			s.Trusted = nil
		}
		return start(t, s, asIs), nil
	})
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
		{"HELO a b\tc", "<bill@localhost.com>", "<alice@localhost.com>", "",
			"Return-Path: <bill@localhost.com>\r\nReceived: from unknown ([127.0.0.1])\r\n*\r\n"},
		{"HELO a", "<bill@localhost.com>", "<alice@localhost.com>", "\r\nbody\r\n", "Return-Path: *\r\nReceived: *\r\n\t*\r\n\r\nbody\r\n"},
		{"HELO a", "<bill@localhost.com>", "<alice@localhost.com>", " folded\r\n", "Return-Path: *\r\nReceived: *\r\n\t*\r\n\r\n folded\r\n"},
		{"HELO a", "<bill@localhost.com>", "<alice@localhost.com>", "Dear Alice, note: this\r\n", "Return-Path: *\r\n\r\nDear Alice, note: this\r\n"},
	} {
		s, mail := newServer()
		replies := send(t, start(t, s, asIs), c.helo, c.from, c.to, c.body)
		got := mail.of(t, "alice")
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
	s, mail := newServer()
	conn := start(t, s, asIs)
	io.WriteString(conn, "HELO a\r\nMAIL FROM:<>\r\nRCPT TO:<alice@localhost>\r\nDATA\r\nSubject: x\r\n\r\nhalf")
	conn.(*net.TCPConn).CloseWrite()
	out, _ := io.ReadAll(conn)
	if !bytes.Contains(out, []byte("\r\n421 4.4.2 ")) || len(mail.got) != 0 {
		t.Errorf("%d messages; replies:\n%s", len(mail.got), out)
	}
}

func TestOneWriteForEachReply(t *testing.T) {
	var writes atomic.Int64
	s, _ := newServer()
	out := send(t, start(t, s, func(l net.Listener) net.Listener { return linetest.CountWrites(l, &writes) }),
		"EHLO a", "<>", "<alice@localhost>", "A: b\r\n")
	replies := 0
	for l := range strings.Lines(out) {
		if l[3] == ' ' {
			replies++
		}
	}
	if replies != 7 || int(writes.Load()) != replies {
		t.Errorf("%d writes for %d replies:\n%s", writes.Load(), replies, out)
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
