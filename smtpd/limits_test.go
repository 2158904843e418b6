package smtpd

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"xm/internal/line/linetest"
)

// The timeouts, at their real values.
func TestTimeouts(t *testing.T) {
	const greeting, envelope = "EHLO a\r\n", "MAIL FROM:<>\r\nRCPT TO:<alice@localhost>\r\n"
	for name, c := range map[string]struct {
		say  string        // at once
		drip string        // again and again
		each time.Duration // after this time
		want string
		took time.Duration
	}{
		"nothing":             {"", "", 0, "421 4.4.2 Nothing was heard", commandTimeout},
		"nothing more":        {greeting, "", 0, "421 4.4.2 Nothing was heard", commandTimeout},
		"slow command":        {greeting, "N", time.Minute, "421 4.4.2 Nothing was heard", commandTimeout},
		"silent in a message": {greeting + envelope + "DATA\r\n", "", 0, "421 4.4.2 The message was cut off", commandTimeout},
		"silent in a chunk":   {greeting + envelope + "BDAT 100\r\nabc", "", 0, "421 4.4.2 The message was cut off", commandTimeout},
		"slow after a chunk":  {greeting + envelope + "BDAT 3\r\nabc", "N", time.Minute, "421 4.4.2 Nothing was heard", commandTimeout},
		"silent in AUTH":      {greeting + "AUTH LOGIN\r\n", "", 0, "421 4.4.2 Nothing was heard", commandTimeout},
		"slow message":        {greeting + envelope + "DATA\r\n", "x", 4 * time.Minute, "421 4.4.2 The message was cut off", lifetime},
		"idle for ever":       {greeting, "NOOP\r\n", 4 * time.Minute, "421 4.4.2 The session took too long", lifetime},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, mail := newServer()
				pipe, stop := linetest.ServePipe(t, s.Serve)
				conn := pipe.Dial()
				began := time.Now()
				var wg sync.WaitGroup
				wg.Go(func() {
					io.WriteString(conn, c.say)
					for c.drip != "" {
						time.Sleep(c.each)
						if _, err := io.WriteString(conn, c.drip); err != nil {
							return
						}
					}
				})
				out, _ := io.ReadAll(conn)
				took := time.Since(began)
				lines := strings.Split(strings.TrimSpace(string(out)), "\r\n")
				if last := lines[len(lines)-1]; !strings.HasPrefix(last, c.want) || !linetest.Waited(took, c.took) {
					t.Errorf("%q after %v, want %q after %v", last, took, c.want, c.took)
				}
				conn.Close()
				wg.Wait()
				stop()
				if mail.open != 0 || len(mail.got) != 0 {
					t.Errorf("%d deliveries open, %d made", mail.open, len(mail.got))
				}
			})
		})
	}
}

// flood sends a command again and again until the server ends the session, and
// returns how often it was answered, and how at last.
func flood(t *testing.T, s *Server, prologue, command string, most int) (answers int, last string) {
	t.Helper()
	conn := start(t, s, asIs)
	go func() {
		io.WriteString(conn, prologue)
		for range most {
			if _, err := io.WriteString(conn, command); err != nil {
				return
			}
		}
	}()
	c := newClient(t, conn)
	c.SetReadDeadline(time.Now().Add(time.Minute)) // bounds a failing test alone
	for {
		l, err := c.in.ReadString('\n')
		if err != nil {
			return answers, last
		}
		if l[3] == ' ' {
			answers++
			last = l
		}
	}
}

func TestFloods(t *testing.T) {
	const greeting = "EHLO a\r\n"
	for name, c := range map[string]struct {
		prologue, command string
		most              int // replies
	}{
		"NOOP":               {greeting, "NOOP\r\n", maxCommands + 1},
		"RSET":               {greeting, "RSET\r\n", maxCommands + 1},
		"nonsense":           {"", "FROB\r\n", maxErrors + 2},
		"unknown recipients": {greeting + "MAIL FROM:<>\r\n", "RCPT TO:<nobody@localhost>\r\n", maxUnsent + 4},
		"too many":           {greeting + "MAIL FROM:<>\r\n", "RCPT TO:<alice@localhost>\r\n", maxCommands + 1},
		"empty chunks":       {greeting + "MAIL FROM:<>\r\nRCPT TO:<alice@localhost>\r\n", "BDAT 0\r\n", maxCommands + 1},
		"AUTH":               {greeting, "AUTH PLAIN AGFsaWNlAHdyb25n\r\n", 2 + maxFailures + 1},
	} {
		t.Run(name, func(t *testing.T) {
			s, mail := newServer()
			wantNoneOpen(t, mail)
			answers, last := flood(t, s, c.prologue, c.command, 2*maxCommands)
			if answers > c.most || !strings.HasPrefix(last, "421 4.7.0 ") {
				t.Errorf("%d answers, at last %q", answers, last)
			}
		})
	}
}

// What is not a flood: chunks with something in them, and commands between
// messages.
func TestNoFloods(t *testing.T) {
	s, _ := newServer()
	s.MaxSize = 64 << 20
	c := greeted(t, s)
	c.must("250", "MAIL FROM:<>")
	c.must("250", "RCPT TO:<alice@localhost>")
	chunk := strings.Repeat("x", fairChunk)
	for range maxCommands + 1 {
		c.must("250", "BDAT %d\r\n%s", fairChunk, chunk[:fairChunk-2]) // and CRLF
	}
	c.must("250 ", "BDAT 0 LAST")
	for range 2 {
		for range maxCommands - 10 {
			c.must("250", "NOOP")
		}
		c.send("250", "<>", "A: b\r\n")
	}
	c.must("221", "QUIT")
}

// A message may have as many recipients as LIMITS says, however many that is.
func TestManyRecipients(t *testing.T) {
	s, mail := newServer()
	s.MaxRecipients = maxCommands + 100
	c := greeted(t, s)
	c.must("250", "MAIL FROM:<>")
	for range s.MaxRecipients {
		c.must("250", "RCPT TO:<alice@localhost>")
	}
	c.must("452", "RCPT TO:<alice@localhost>")
	c.must("354", "DATA")
	c.must("250", "A: b\r\n.")
	c.must("221", "QUIT")
	if got := len(mail.got["alice"]); got != 1 {
		t.Errorf("%d messages", got)
	}
}

// 200 sessions at once, each with several messages, over TLS and in clear.
func TestConcurrentSessions(t *testing.T) {
	s, mail := newServer()
	config := addCertificate(t, s)
	addr := start(t, s, asIs).RemoteAddr().String()
	const sessions, messages = 200, 3
	var wg sync.WaitGroup
	for i := range sessions {
		wg.Go(func() {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			c := newClient(t, conn)
			c.cmd("")
			c.cmd("EHLO a")
			if i%4 == 0 {
				c.startTLS(config)
			}
			for range messages {
				c.cmd("MAIL FROM:<bill@localhost>")
				c.cmd("RCPT TO:<alice@localhost>")
				c.cmd("RCPT TO:<soly@localhost>")
				if i%2 == 0 {
					c.cmd("DATA")
					c.cmd("A: b\r\n\r\nmessage\r\n.")
				} else {
					fmt.Fprintf(c, "BDAT 17 LAST\r\nA: b\r\n\r\nmessage\r\n")
					c.cmd("")
				}
			}
			if got := c.cmd("QUIT"); !strings.HasPrefix(got, "221 ") {
				t.Errorf("session %d: %s", i, got)
			}
		})
	}
	wg.Wait()
	for _, name := range []string{"alice", "soly"} {
		if got := len(mail.got[name]); got != sessions*messages {
			t.Errorf("%s has %d messages, want %d", name, got, sessions*messages)
		}
	}
}

// Whatever a client says, the session ends, its replies are replies, and no
// delivery stays open.
func FuzzSession(f *testing.F) {
	for _, seed := range []string{
		"EHLO a\r\nMAIL FROM:<bill@localhost>\r\nRCPT TO:<alice@localhost>\r\nDATA\r\nA: b\r\n\r\n..x\r\n.\r\nQUIT\r\n",
		"EHLO a\r\nMAIL FROM:<> SIZE=10 BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<team>\r\nBDAT 3\r\nabcBDAT 2 LAST\r\n\r\nRSET\r\n",
		"EHLO a\r\nAUTH PLAIN AGFsaWNlAHNlY3JldA==\r\nMAIL FROM:<alice>\r\nAUTH LOGIN\r\n*\r\n",
		"EHLO a\r\nAUTH SCRAM-SHA-256 biwsbj1hbGljZSxyPXg=\r\nYz1iaXdzLHI9eCxwPWRITjQ=\r\n",
		"HELO\r\nMAIL FROM:<\"a b\"@[127.0.0.1]>\r\nRCPT TO:<@x,@y:full@localhost>\r\nDATA\r\n\n.\n",
		"GET / HTTP/1.1\r\n", "STARTTLS\r\n\x16\x03\x01", "BDAT 99\r\n", "BDAT x\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		s, mail := newServer()
		var log bytes.Buffer
		s.Log = slog.New(slog.NewTextHandler(&log, nil))
		pipe, stop := linetest.ServePipe(t, s.Serve)
		conn := pipe.Dial()
		go func() {
			conn.Write(input)
			conn.Write([]byte("\r\n.\r\nQUIT\r\nQUIT\r\n"))
			conn.SetWriteDeadline(time.Unix(1, 0))
		}()
		conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)) // a BDAT may wait for more
		out, _ := io.ReadAll(conn)
		conn.Close()
		stop()
		for l := range strings.Lines(string(out)) {
			if len(l) < 6 || !strings.HasSuffix(l, "\r\n") || strings.Trim(l[:3], "0123456789") != "" || l[3] != ' ' && l[3] != '-' {
				t.Errorf("%q is no line of a reply", l)
			}
		}
		if mail.open != 0 {
			t.Errorf("%d deliveries are open", mail.open)
		}
		if strings.Contains(log.String(), "panicked") {
			t.Error(log.String())
		}
	})
}

// Idle sessions, and senders who take for ever, keep nobody else waiting.
func TestOthersAreServed(t *testing.T) {
	s, mail := newServer()
	pipe, stop := linetest.ServePipe(t, s.Serve)
	var idle []net.Conn
	for i := range idleSessions {
		c := newClient(t, pipe.Dial())
		idle = append(idle, c)
		c.must("220", "")
		if i%100 == 0 { // in the middle of a message
			c.must("250", "HELO a")
			c.must("250", "MAIL FROM:<>")
			c.must("250", "RCPT TO:<soly@localhost>")
			c.must("354", "DATA")
			io.WriteString(c, "x")
		}
	}
	c := newClient(t, pipe.Dial())
	c.must("220", "")
	c.must("250", "EHLO a")
	c.send("250", "<>", "A: b\r\n\r\n")
	mail.of(t, "alice")
	for _, conn := range idle {
		conn.Close()
	}
	c.Close()
	stop()
}
