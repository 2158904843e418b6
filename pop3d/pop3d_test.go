package pop3d

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"xm/internal/line"
	"xm/internal/line/linetest"
)

type testUsers struct{}

func (testUsers) Authenticate(_ context.Context, name, password string) (string, bool, error) {
	switch name {
	case "alice@localhost.com":
		return name, password == "123456", nil
	case "spaces":
		return name, password == " two  words ", nil
	case "broken":
		return "", false, errors.New("the disk is on fire")
	case "nobody":
		return "", false, nil
	}
	return name, true, nil
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
		return nil, errors.New("permission denied")
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

func TestDialogs(t *testing.T) {
	linetest.Run(t, "testdata/dialogs/*.txt", func(t *testing.T, _ *linetest.Dialog) net.Conn {
		s, _ := newServer()
		return dial(t, serve(t, s, asIs))
	})
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
	if !strings.HasSuffix(out, "-ERR [SYS/TEMP] some deleted messages were not removed\r\n") {
		t.Errorf("a failed deletion was answered\n%s", out)
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

func TestOneWriteForEachReply(t *testing.T) {
	var writes atomic.Int64
	s, _ := newServer()
	addr := serve(t, s, func(l net.Listener) net.Listener { return linetest.CountWrites(l, &writes) })
	out := say(t, addr, "CAPA", "USER alice@localhost.com", "PASS 123456", "LIST", "UIDL", "RETR 1", "TOP 1 0", "QUIT")
	if n := strings.Count(out, "+OK"); n != 9 || writes.Load() != 9 {
		t.Errorf("%d writes for %d replies", writes.Load(), n)
	}
}

func TestPasswordsAreNotLogged(t *testing.T) {
	var log bytes.Buffer
	s, _ := newServer()
	s.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	say(t, serve(t, s, asIs), "USER alice@localhost.com", "PASS wrong-secret", "USER alice@localhost.com", "PASS 123456", "QUIT")
	if !strings.Contains(log.String(), "login failed") || strings.Contains(log.String(), "secret") || strings.Contains(log.String(), "123456") {
		t.Errorf("the log:\n%s", log.String())
	}
}

// Whatever is asked of an open maildrop, each command has one well-formed
// response, and counts stay within the maildrop.
func FuzzCommands(f *testing.F) {
	f.Add("RETR 1\r\nTOP 1 1\r\nDELE 2\r\nLIST\r\nRSET")
	f.Add("LIST 99999999999999999999\r\nUIDL -1\r\nTOP 1\r\nTOP 3 18446744073709551616\r\nCAPA")
	f.Fuzz(func(t *testing.T, commands string) {
		srv, mail := newServer()
		box, err := mail.Open("alice@localhost.com")
		if err != nil {
			t.Fatal(err)
		}
		s := &session{srv: srv, log: srv.Log, mailbox: box, deleted: map[int]bool{}}
		for text := range strings.SplitSeq(commands, "\r\n") {
			if strings.ContainsAny(text, "\r\n") || strings.EqualFold(strings.TrimSpace(text), "QUIT") {
				continue // ReadLine lets no such line through; QUIT ends the session
			}
			r := s.dispatch(text)
			if r.text == "" || strings.ContainsAny(r.status(), "\r\n") {
				t.Errorf("%q: %q", text, r.status())
			}
			if r.lines != nil {
				if err := r.lines(io.Discard); err != nil {
					t.Errorf("%q: %v", text, err)
				}
			}
		}
		if n, octets := s.count(); n > box.Len() || n < 0 || octets > 82 || octets < 0 {
			t.Errorf("%q: %d messages, %d octets", commands, n, octets)
		}
	})
}
