package pop3d

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"xm/internal/line"
	"xm/internal/line/linetest"
)

// withLogin makes a pipe's peer, which has no address, one that may log in.
func withLogin(t *testing.T, s *Server) (begin func(*client, string)) {
	config := addCertificate(t, s)
	return func(c *client, user string) {
		t.Helper()
		c.must("+OK", "")
		c.stls(config)
		c.must("+OK", "USER %s", user)
		c.must("+OK", "PASS 123456")
	}
}

// RFC 1939, section 3: the autologout comes after 10 minutes, says nothing and
// deletes nothing.
func TestAutologout(t *testing.T) {
	for name, commands := range map[string][]string{
		"greeted": nil, "in TRANSACTION": {"LOGIN"}, "in AUTH": {"AUTH SCRAM-SHA-256"}, "with deletions": {"LOGIN", "DELE 1"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, mail := newServer()
				begin := withLogin(t, s)
				pipe, stop := linetest.ServePipe(t, s.Serve)
				c := newClient(t, pipe.Dial())
				if len(commands) > 0 && commands[0] == "LOGIN" {
					begin(c, "alice@localhost.com")
					commands = commands[1:]
				} else {
					c.must("+OK", "")
				}
				for _, command := range commands {
					time.Sleep(10*time.Minute - 1) // an active session goes on
					c.must("+", "%s", command)
				}
				began := time.Now()
				rest, _ := io.ReadAll(c)
				if took := time.Since(began); len(rest) > 0 || !linetest.Waited(took, 10*time.Minute) {
					t.Errorf("%q after %v", rest, took)
				}
				c.Close()
				stop()
				if len(mail.deleted) > 0 || mail.boxes["alice@localhost.com"].locked {
					t.Error("deleted, or locked still")
				}
			})
		})
	}
}

// A client that types its command octet by octet is no busier than one that is
// idle.
func TestSlowCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newServer()
		pipe, stop := linetest.ServePipe(t, s.Serve)
		c := newClient(t, pipe.Dial())
		c.must("+OK", "")
		began := time.Now()
		for {
			time.Sleep(time.Minute)
			if _, err := io.WriteString(c, "N"); err != nil {
				break
			}
		}
		if took := time.Since(began); took > 11*time.Minute {
			t.Errorf("it may go on for %v", took)
		}
		c.Close()
		stop()
	})
}

// A client that stops reading a message is given up after a while, and its
// maildrop is free.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, mail := newServer()
		mail.put("alice@localhost.com", strings.Repeat("a line of the message\r\n", 100_000))
		begin := withLogin(t, s)
		pipe, stop := linetest.ServePipe(t, s.Serve)
		c := newClient(t, pipe.Dial())
		begin(c, "alice@localhost.com")
		fmt.Fprint(c, "RETR 1\r\n")
		began := time.Now()
		for mail.isLocked("alice@localhost.com") {
			time.Sleep(time.Second)
		}
		if took := time.Since(began); took < time.Minute || took > 10*time.Minute {
			t.Errorf("given up after %v", took)
		}
		c.Close()
		stop()
	})
}

func (m *testMail) isLocked(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.boxes[name].locked
}

// A connection too many is told so.
func TestTooManyConnections(t *testing.T) {
	s, _ := newServer()
	s.Limits = &line.Limits{MaxConns: 1}
	addr := serve(t, s, asIs)
	first := newClient(t, dial(t, addr))
	first.must("+OK", "")
	second := newClient(t, dial(t, addr))
	second.must("-ERR [SYS/TEMP] ", "")
	if rest, err := io.ReadAll(second.in); len(rest) > 0 || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
	first.must("+OK bye", "QUIT")
}

// A server that stops waits for the QUIT of those who have deleted something, and
// for nobody else's.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, mail := newServer()
		mail.put("bob", "x\r\n")
		begin := withLogin(t, s)
		pipe, stop := linetest.ServePipe(t, s.Serve)
		idle, deleting := newClient(t, pipe.Dial()), newClient(t, pipe.Dial())
		begin(idle, "carol")
		begin(deleting, "bob")
		deleting.must("+OK", "DELE 1")
		stopped := make(chan struct{})
		go func() { stop(); close(stopped) }()
		idle.must("-ERR [SYS/TEMP] the server is shutting down", "")
		time.Sleep(time.Second)
		deleting.must("+OK", "NOOP")
		deleting.must("+OK bye", "QUIT")
		idle.Close()
		deleting.Close()
		<-stopped
		if fmt.Sprint(mail.deleted) != "[uid-1]" {
			t.Errorf("deleted: %v", mail.deleted)
		}
	})
}

func TestFloods(t *testing.T) {
	const start = "USER anybody\r\nPASS x\r\n"
	for name, c := range map[string]struct {
		prologue, command string
		most              int // replies
		last              string
	}{
		"nonsense":         {"", "FROB\r\n", maxErrors, "-ERR too many errors"},
		"CAPA":             {"", "CAPA\r\n", maxCommands + 1, "-ERR too many commands without a login"},
		"USER":             {"", "USER x\r\n", maxCommands + 1, "-ERR too many commands without a login"},
		"wrong passwords":  {"", "USER nobody\r\nPASS x\r\n", 2 * maxFailures, "-ERR [AUTH] "},
		"wrong AUTH PLAIN": {"", "AUTH PLAIN AG5vYm9keQBzZWNyZXQ=\r\n", maxFailures, "-ERR [AUTH] "},
		"no such message":  {start, "RETR 1\r\n", maxDropErrors + 2, "-ERR too many errors"},
		"endless line":     {start, strings.Repeat("x", 1<<16), 3, "-ERR the line has no end"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newServer()
			conn := dial(t, serve(t, s, asIs))
			conn.SetDeadline(time.Now().Add(time.Minute)) // bounds a failing test alone
			go func() {
				io.WriteString(conn, c.prologue)
				for range 10 * maxCommands {
					if _, err := io.WriteString(conn, c.command); err != nil {
						return
					}
				}
			}()
			client := newClient(t, conn)
			client.must("+OK", "")
			answers, last := 0, ""
			for {
				l, err := client.in.ReadString('\n')
				if errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatal("the session goes on")
				}
				if err != nil {
					break
				}
				if strings.HasPrefix(l, "+OK") || strings.HasPrefix(l, "-ERR") {
					answers++
					last = l
				}
			}
			if answers > c.most || !strings.HasPrefix(last, c.last) {
				t.Errorf("%d answers, at last %q", answers, last)
			}
		})
	}
}

// 200 sessions at once, over TLS and in clear, each with its own maildrop.
func TestConcurrentSessions(t *testing.T) {
	s, mail := newServer()
	config := addCertificate(t, s)
	const sessions = 200
	body := strings.Repeat(".a line\r\n", 2000)
	for i := range sessions {
		mail.put(fmt.Sprint("user", i), body, fmt.Sprintf("%d\r\n", i))
	}
	addr := serve(t, s, asIs)
	var wg sync.WaitGroup
	for i := range sessions {
		wg.Go(func() {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(time.Minute)) // bounds a failing test alone
			c := newClient(t, conn)
			c.cmd("")
			if i%4 == 0 {
				c.stls(config)
			}
			c.cmd("USER user%d", i)
			c.cmd("PASS x")
			for range 3 {
				c.cmd("RETR 1")
				if got := c.text(); got != body {
					t.Errorf("session %d got %.40q", i, got)
				}
				c.cmd("RETR 2")
				if got := c.text(); got != fmt.Sprintf("%d\r\n", i) {
					t.Errorf("session %d got %.40q", i, got)
				}
			}
			c.cmd("DELE 1")
			if got := c.cmd("QUIT"); got != "+OK bye" {
				t.Errorf("session %d: %s", i, got)
			}
		})
	}
	wg.Wait()
	if len(mail.deleted) != sessions {
		t.Errorf("%d deleted", len(mail.deleted))
	}
}

// Idle sessions keep nobody waiting.
func TestOthersAreServed(t *testing.T) {
	s, mail := newServer()
	const idle = 500
	s.Limits = &line.Limits{MaxPerAddr: 2 * idle} // a pipe has no address
	mail.put("bob", "x\r\n")
	begin := withLogin(t, s)
	pipe, stop := linetest.ServePipe(t, s.Serve)
	var all []net.Conn
	for range idle {
		c := newClient(t, pipe.Dial())
		c.must("+OK", "")
		all = append(all, c)
	}
	c := newClient(t, pipe.Dial())
	begin(c, "bob")
	c.must("+OK", "RETR 1")
	if got := c.text(); got != "x\r\n" {
		t.Error(got)
	}
	c.Close()
	for _, conn := range all {
		conn.Close()
	}
	stop()
}

// Whatever a client says, the session ends, its replies are replies, and nothing
// is deleted without QUIT.
func FuzzSession(f *testing.F) {
	for _, seed := range []string{
		"USER alice@localhost.com\r\nPASS 123456\r\nRETR 1\r\nTOP 1 1\r\nDELE 2\r\nLIST\r\nRSET\r\n",
		"USER x\r\nPASS x\r\nLIST 99999999999999999999\r\nUIDL -1\r\nTOP 1\r\nTOP 3 18446744073709551616\r\nCAPA\r\n",
		"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\nSTAT\r\n", "AUTH PLAIN\r\n*\r\n", "AUTH PLAIN =\r\n", "UTF8\r\nLANG *\r\nLANG\r\n",
		"AUTH SCRAM-SHA-256 biwsbj1hbGljZSxyPXg=\r\nYz1iaXdzLHI9eCxwPWRITjQ=\r\n",
		"GET / HTTP/1.1\r\n", "STLS\r\n\x16\x03\x01", "USER bare\n", "USER a\x00b\r\nPASS c\x00\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		s, mail := newServer()
		var log bytes.Buffer
		s.Log = slog.New(slog.NewTextHandler(&log, nil))
		l, err := net.Listen("tcp", "127.0.0.1:0") // whose peer may log in
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, l) }()
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(20 * time.Second)) // bounds a failing test alone
		go func() {
			conn.Write(input)
			conn.Write([]byte("\r\n"))
			conn.(*net.TCPConn).CloseWrite()
		}()
		out, err := io.ReadAll(conn)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q: the session goes on", input)
		}
		conn.Close()
		cancel()
		<-done
		if !strings.HasPrefix(string(out), "+OK mail.example.org ") {
			t.Errorf("%q is no greeting", out)
		}
		if quits := bytes.Contains(bytes.ToUpper(input), []byte("QUIT")); len(mail.deleted) > 0 && !quits {
			t.Errorf("%q deleted %v", input, mail.deleted)
		}
		if strings.Contains(log.String(), "panicked") {
			t.Error(log.String())
		}
		for name, box := range mail.boxes {
			if box.locked {
				t.Errorf("%q: %s is locked", input, name)
			}
		}
	})
}
