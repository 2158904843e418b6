package pop3d

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"xm/internal/line"
	"xm/internal/line/linetest"
	"xm/internal/sasl"
)

// testUsers: alice@localhost.com has the password "123456", spaces one with
// spaces, jörg "Grüße", broken can't be looked up, nobody does not exist, and
// anybody else has any password.
type testUsers struct{}

func (testUsers) Authenticate(_ context.Context, name, password string) (string, bool, error) {
	switch name {
	case "alice@localhost.com":
		return name, password == "123456", nil
	case "spaces":
		return name, password == " two  words ", nil
	case "jörg":
		return name, password == "Grüße", nil
	case "broken":
		return "", false, errors.New("the disk is on fire")
	case "nobody":
		return "", false, nil
	}
	return name, true, nil
}

// SCRAM has alice@localhost.com alone.
func (testUsers) SCRAM(login string) (sasl.Verifier, error) {
	salt, iterations := []byte("salt of everyone"), 4096
	salted, err := pbkdf2.Key(sha256.New, "123456", salt, iterations, sha256.Size)
	if err != nil {
		return sasl.Verifier{}, err
	}
	mac := func(text string) []byte {
		m := hmac.New(sha256.New, salted)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	user := ""
	if login == "alice@localhost.com" {
		user = login
	}
	stored := sha256.Sum256(mac("Client Key"))
	return sasl.Verifier{User: user, Iterations: iterations, Salt: salt, StoredKey: stored[:], ServerKey: mac("Server Key")}, nil
}

// testMail has a mailbox for each name; it is locked and keeps what is deleted.
type testMail struct {
	mu      sync.Mutex
	boxes   map[string]*testBox
	deleted []string
	fail    error // what Delete returns
}

type testBox struct {
	mail   *testMail
	name   string
	bodies []string
	locked bool
}

func (m *testMail) Open(name string) (Mailbox, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch name {
	case "busy":
		return nil, fmt.Errorf("open %s: %w", name, ErrInUse)
	case "unreadable":
		return nil, fs.ErrPermission
	case "fails":
		return nil, errors.New("the disk is on fire")
	}
	b := m.boxes[name]
	if b == nil {
		b = &testBox{mail: m, name: name}
		m.boxes[name] = b
	}
	if b.locked {
		return nil, ErrInUse
	}
	b.locked = true
	return b, nil
}

func (b *testBox) Len() int         { return len(b.bodies) }
func (b *testBox) Size(i int) int64 { return int64(len(b.bodies[i])) }
func (b *testBox) UID(i int) string { return fmt.Sprint("uid-", i+1) }

func (b *testBox) Open(i int) (io.ReadCloser, error) {
	switch body := b.bodies[i]; {
	case strings.Contains(body, "vanished"):
		return nil, fs.ErrNotExist
	case strings.Contains(body, "forbidden"):
		return nil, fs.ErrPermission
	case strings.Contains(body, "bad block"):
		return io.NopCloser(iotest.ErrReader(errors.New("the disk is on fire"))), nil
	case strings.Contains(body, "unreadable"):
		return io.NopCloser(io.MultiReader(strings.NewReader(body), iotest.ErrReader(errors.New("the disk is on fire")))), nil
	default:
		return io.NopCloser(strings.NewReader(body)), nil
	}
}

func (b *testBox) Delete(messages []int) error {
	b.mail.mu.Lock()
	defer b.mail.mu.Unlock()
	for _, i := range messages {
		b.mail.deleted = append(b.mail.deleted, b.UID(i))
	}
	return b.mail.fail
}

func (b *testBox) Close() {
	b.mail.mu.Lock()
	defer b.mail.mu.Unlock()
	b.locked = false
}

func (m *testMail) put(name string, bodies ...string) {
	m.boxes[name] = &testBox{mail: m, name: name, bodies: bodies}
}

func newServer() (*Server, *testMail) {
	mail := &testMail{boxes: map[string]*testBox{}}
	mail.put("alice@localhost.com",
		"Subject: one\r\nTo: alice\r\n\r\n.dot\r\nline 2\r\n\r\nend\r\n",
		"Subject: vanished\r\n\r\nhello\r\n", ".\r\nx\r\n")
	const trace = "Received: from a\r\n\tby b with UTF8SMTP id c\r\n"
	mail.put("utf8", trace+"Subject: Grüße\r\n\r\nx\r\n", trace+"Subject: x\r\n\r\nGrüße\r\n", "Subject: Grüße\r\n\r\nx\r\n",
		"Received: from a\r\n\tby b with ESMTP id c\r\n"+trace+"Subject: out with UTF8\r\n Grüße\r\n\r\nx\r\n")
	mail.put("troubled", "forbidden\r\n", "bad block\r\n", "good\r\n")
	return &Server{Hostname: "mail.example.org", Users: testUsers{}, Mail: mail, Log: slog.New(slog.DiscardHandler)}, mail
}

func serve(t *testing.T, s *Server, wrap func(net.Listener) net.Listener) string {
	t.Helper()
	return linetest.Serve(t, func(l net.Listener) func() error {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, wrap(l)) }()
		return func() error { cancel(); return <-done }
	})
}

func asIs(l net.Listener) net.Listener { return l }

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// The words of a dialog's "# server:" are
//
//	tls          there is a certificate
//	implicit     ... and the connection begins with the handshake
//	proxied      connections begin with a PROXY header
//	delay        there is a login delay
func TestDialogs(t *testing.T) {
	linetest.Run(t, "testdata/dialogs/*.txt", func(t *testing.T, d *linetest.Dialog) net.Conn {
		s, _ := newServer()
		is := func(word string) bool { return slices.Contains(d.Server, word) }
		if is("tls") || is("implicit") {
			d.TLS = addCertificate(t, s)
		}
		if is("proxied") {
			s.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		}
		if is("delay") {
			s.LoginDelay = &LoginDelay{Delay: time.Hour}
		}
		s.ImplicitTLS = is("implicit")
		return dial(t, serve(t, s, asIs))
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

// say sends lines and returns all that the server answers until it hangs up.
func say(t *testing.T, addr string, lines ...string) string {
	t.Helper()
	conn := dial(t, addr)
	io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n")
	conn.(*net.TCPConn).CloseWrite()
	out, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestDeletionsHappenInUpdateAlone(t *testing.T) {
	s, mail := newServer()
	addr := serve(t, s, asIs)
	say(t, addr, "USER alice@localhost.com", "PASS 123456", "DELE 1", "DELE 3") // dropped
	say(t, addr, "USER alice@localhost.com", "PASS 123456", "DELE 1", "RSET", "QUIT")
	if len(mail.deleted) > 0 {
		t.Fatalf("deleted without QUIT: %v", mail.deleted)
	}
	out := say(t, addr, "USER alice@localhost.com", "PASS 123456", "DELE 3", "DELE 1", "QUIT")
	if !slices.Equal(mail.deleted, []string{"uid-1", "uid-3"}) || !strings.HasSuffix(out, "+OK bye\r\n") {
		t.Errorf("deleted %v; the server said\n%s", mail.deleted, out)
	}
	mail.fail = errors.New("the disk is on fire")
	out = say(t, addr, "USER alice@localhost.com", "PASS 123456", "DELE 2", "QUIT")
	if !strings.HasSuffix(out, "-ERR [SYS/TEMP] some deleted messages were not removed, try again later\r\n") {
		t.Errorf("a failed deletion was answered\n%s", out)
	}
}

// At level debug, the log names the messages that were fetched and deleted.
func TestMessagesInTheLog(t *testing.T) {
	s, _ := newServer()
	var log bytes.Buffer
	s.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	say(t, serve(t, s, asIs), "USER alice@localhost.com", "PASS 123456", "RETR 1", "TOP 1 0", "DELE 3", "QUIT")
	for _, want := range []string{`msg=connected session=`, `msg="message retrieved" session=`, `uid=uid-1 octets=`, `msg="message deleted" session=`, `user=alice@localhost.com uid=uid-3`} {
		if strings.Count(log.String(), want) != 1 {
			t.Errorf("not one %q:\n%s", want, log.String())
		}
	}
}

func TestLockIsReleased(t *testing.T) {
	s, _ := newServer()
	addr := serve(t, s, asIs)
	first := dial(t, addr)
	in := bufio.NewReader(first)
	io.WriteString(first, "USER alice@localhost.com\r\nPASS 123456\r\n")
	for range 3 {
		if _, err := in.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	login := []string{"USER alice@localhost.com", "PASS 123456", "QUIT"}
	if out := say(t, addr, login...); !strings.Contains(out, "-ERR [IN-USE]") {
		t.Errorf("two sessions at once:\n%s", out)
	}
	io.WriteString(first, "QUIT\r\n")
	if _, err := in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	// By the time the reply to QUIT is read, the lock is gone.
	if out := say(t, addr, login...); strings.Contains(out, "-ERR") {
		t.Errorf("after QUIT:\n%s", out)
	}
}

// LIST's number of octets is what a client has after un-stuffing.
func TestSizesAreTheOctetsSent(t *testing.T) {
	bodies := []string{"", ".\r\n", "..\r\n.\r\n\r\n", "a\r\n", "\r\n", "\x00\xff\r\n", "a\rb\r\n", strings.Repeat("x", 1<<20) + "\r\n",
		strings.Repeat("\r\n.", 5000) + "\r\n", "." + strings.Repeat("y", 4095) + "\r\n"}
	s, mail := newServer()
	mail.put("bob", bodies...)
	conn := dial(t, serve(t, s, asIs))
	in := bufio.NewReader(conn)
	io.WriteString(conn, "USER bob\r\nPASS x\r\n")
	for range 3 {
		in.ReadString('\n')
	}
	for i, want := range bodies {
		fmt.Fprintf(conn, "RETR %d\r\n", i+1)
		status, err := in.ReadString('\n')
		if err != nil || status != fmt.Sprintf("+OK %d octets\r\n", len(want)) {
			t.Fatalf("RETR %d: %q, %v", i+1, status, err)
		}
		got, err := io.ReadAll(line.NewText(in, 1<<21))
		if err != nil || string(got) != want {
			t.Errorf("message %d came as %.40q, %v; want %.40q", i+1, got, err, want)
		}
	}
}

// A message that can't be read to its end must not look complete.
func TestBrokenOffResponse(t *testing.T) {
	s, mail := newServer()
	mail.put("bob", "half unreadable\r\n")
	out := say(t, serve(t, s, asIs), "USER bob", "PASS x", "RETR 1", "NOOP")
	if !strings.HasSuffix(out, "half unreadable\r\n") {
		t.Errorf("the server said\n%s", out)
	}
}

// RSET unmarks the messages, and not only their count.
func TestReset(t *testing.T) {
	s, mail := newServer()
	c := newClient(t, dial(t, serve(t, s, asIs)))
	c.must("+OK", "")
	c.must("+OK", "USER alice@localhost.com")
	c.must("+OK", "PASS 123456")
	c.must("+OK", "DELE 1")
	c.must("+OK", "DELE 2")
	c.must("+OK 3 messages (82 octets)", "RSET")
	c.must("+OK 1 48", "LIST 1")
	c.must("+OK", "UIDL")
	if got := c.text(); got != "1 uid-1\r\n2 uid-2\r\n3 uid-3\r\n" {
		t.Errorf("after RSET: %q", got)
	}
	c.must("+OK", "DELE 3")
	c.must("+OK 2 76", "STAT")
	c.must("+OK bye", "QUIT")
	if !slices.Equal(mail.deleted, []string{"uid-3"}) {
		t.Errorf("deleted: %v", mail.deleted)
	}
}

// eavesdropped calls said with what the server is about to send.
type eavesdropped struct {
	net.Listener
	said func(string)
}

func (l eavesdropped) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return eavesdroppedConn{conn, l.said}, err
}

type eavesdroppedConn struct {
	net.Conn
	said func(string)
}

func (c eavesdroppedConn) Write(p []byte) (int, error) {
	c.said(string(p))
	return c.Conn.Write(p)
}

// When QUIT is answered, the maildrop is free, the session over, and what was
// deleted is deleted, or not: whatever the answer.
func TestQuitIsTheEnd(t *testing.T) {
	for name, fail := range map[string]error{"+OK bye": nil, "-ERR [SYS/TEMP] ": errors.New("the disk is on fire"), "-ERR [SYS/PERM] ": fs.ErrPermission} {
		for _, command := range []string{"DELE 1", "NOOP"} {
			s, mail := newServer()
			mail.fail = fail
			want := name
			if command == "NOOP" {
				want = "+OK bye"
			}
			addr := serve(t, s, func(l net.Listener) net.Listener {
				return eavesdropped{l, func(said string) {
					if strings.HasPrefix(said, want) && mail.isLocked("alice@localhost.com") {
						t.Errorf("%q while the maildrop is locked", said)
					}
					if mail.mu.Lock(); strings.HasPrefix(said, want) && command == "DELE 1" && len(mail.deleted) != 1 {
						t.Errorf("%q before the deletion", said)
					}
					mail.mu.Unlock()
				}}
			})
			c := newClient(t, dial(t, addr))
			c.must("+OK", "")
			c.must("+OK", "USER alice@localhost.com")
			c.must("+OK", "PASS 123456")
			c.must("+OK", "%s", command)
			c.must(want, "QUIT")
			io.WriteString(c, "NOOP\r\n")
			if rest, _ := io.ReadAll(c.in); len(rest) > 0 {
				t.Errorf("after %s: %q", want, rest)
			}
		}
	}
}

// opened counts the messages that are open.
type opened struct {
	Mail
	now *atomic.Int64
}

func (o opened) Open(name string) (Mailbox, error) {
	b, err := o.Mail.Open(name)
	if err != nil {
		return nil, err
	}
	return openedBox{b, o.now}, nil
}

type openedBox struct {
	Mailbox
	now *atomic.Int64
}

func (b openedBox) Open(i int) (io.ReadCloser, error) {
	r, err := b.Mailbox.Open(i)
	if err != nil {
		return nil, err
	}
	b.now.Add(1)
	return struct {
		io.Reader
		io.Closer
	}{r, closer(func() { b.now.Add(-1) })}, nil
}

type closer func()

func (c closer) Close() error { c(); return nil }

// However a message's way to the client ends, it is closed, once.
func TestMessagesAreClosed(t *testing.T) {
	s, mail := newServer()
	mail.put("bob", "x\r\n\r\nsent\r\n", "vanished\r\n", "bad block\r\n", strings.Repeat("half ", 20_000)+"unreadable\r\n")
	mail.put("utf8", "Received: from a\r\n\tby b with UTF8SMTP id c\r\nSubject: Gr\u00fc\u00dfe\r\n\r\nx\r\n")
	var now atomic.Int64
	s.Mail = opened{mail, &now}
	addr := serve(t, s, asIs)
	for user, commands := range map[string][]string{
		"bob":  {"RETR 1", "TOP 1 0", "RETR 2", "RETR 3", "TOP 3 1", "RETR 4"},
		"utf8": {"RETR 1", "TOP 1 0", "QUIT"},
	} {
		say(t, addr, append([]string{"USER " + user, "PASS x"}, commands...)...)
		if n := now.Load(); n != 0 {
			t.Errorf("%s: %d are open", user, n)
		}
	}
}
