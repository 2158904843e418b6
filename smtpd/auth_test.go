package smtpd

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"xm/internal/line/linetest"
	"xm/internal/sasl"
)

// client speaks SMTP for tests that a dialog can't express.
type client struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

func newClient(t *testing.T, conn net.Conn) *client {
	return &client{t, conn, bufio.NewReader(conn)}
}

// cmd sends a line, unless it is empty, and returns the last line of the reply.
func (c *client) cmd(format string, args ...any) string {
	c.t.Helper()
	if format != "" {
		if _, err := fmt.Fprintf(c, format+"\r\n", args...); err != nil {
			c.t.Fatal(err)
		}
	}
	for {
		l, err := c.in.ReadString('\n')
		if err != nil {
			c.t.Fatalf("after %q: %q, %v", format, l, err)
		}
		if len(l) > 3 && l[3] == ' ' {
			return strings.TrimSuffix(l, "\r\n")
		}
	}
}

// must is cmd that wants a reply that begins with want.
func (c *client) must(want, format string, args ...any) string {
	c.t.Helper()
	got := c.cmd(format, args...)
	if !strings.HasPrefix(got, want) {
		c.t.Fatalf("%s: %q, want %q", format, got, want)
	}
	return got
}

func (c *client) startTLS(config *tls.Config) *tls.ConnectionState {
	c.t.Helper()
	c.must("220", "STARTTLS")
	secured := tls.Client(c.Conn, config)
	if err := secured.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.Conn, c.in = secured, bufio.NewReader(secured)
	c.must("250", "EHLO a")
	state := secured.ConnectionState()
	return &state
}

// auth runs a mechanism and returns the last reply.
func (c *client) auth(x *sasl.Client, mechanism string) string {
	c.t.Helper()
	initial, err := x.Start()
	if err != nil {
		c.t.Fatal(err)
	}
	reply := c.cmd("AUTH %s %s", mechanism, base64.StdEncoding.EncodeToString(initial))
	for strings.HasPrefix(reply, "334 ") {
		challenge, err := base64.StdEncoding.DecodeString(reply[4:])
		if err != nil {
			c.t.Fatal(err)
		}
		answer, err := x.Next(challenge)
		if err != nil {
			c.t.Fatal(err)
		}
		reply = c.cmd("%s", base64.StdEncoding.EncodeToString(answer))
	}
	return reply
}

func TestSCRAM(t *testing.T) {
	s, _ := newServer()
	config := addCertificate(t, s)
	for _, c := range []struct {
		mechanism string
		bindings  func([]sasl.Binding) []sasl.Binding
	}{
		{sasl.ScramSHA256, func([]sasl.Binding) []sasl.Binding { return nil }},
		{sasl.ScramSHA256Plus, func(b []sasl.Binding) []sasl.Binding { return b[:1] }},
		{sasl.ScramSHA256Plus, func(b []sasl.Binding) []sasl.Binding { return b[1:] }},
	} {
		for password, want := range map[string]string{"secret": "235 2.7.0 ", "wrong": "535 5.7.8 "} {
			conn := newClient(t, start(t, s, asIs))
			conn.must("220", "")
			conn.must("250", "EHLO a")
			state := conn.startTLS(config)
			bindings := sasl.Bindings(state, state.PeerCertificates[0])
			if len(bindings) != 2 {
				t.Fatalf("%d bindings", len(bindings))
			}
			x, err := sasl.NewClient(c.mechanism, "alice", password, c.bindings(bindings))
			if err != nil {
				t.Fatal(err)
			}
			if got := conn.auth(x, c.mechanism); !strings.HasPrefix(got, want) {
				t.Errorf("%s, password %s: %s", c.mechanism, password, got)
			}
			if err := x.Done(); (err == nil) != (password == "secret") {
				t.Errorf("%s, password %s: the client says %v", c.mechanism, password, err)
			}
		}
	}
}

// A client that could bind but was not offered it says so, and the server, which
// did offer it, sees that somebody in between has taken the offer out (RFC 5802,
// section 6).
func TestDowngradeIsSeen(t *testing.T) {
	s, _ := newServer()
	config := addCertificate(t, s)
	conn := newClient(t, start(t, s, asIs))
	conn.must("220", "")
	conn.must("250", "EHLO a")
	state := conn.startTLS(config)
	x, err := sasl.NewClient(sasl.ScramSHA256, "alice", "secret", sasl.Bindings(state, nil))
	if err != nil {
		t.Fatal(err)
	}
	if got := conn.auth(x, sasl.ScramSHA256); !strings.HasPrefix(got, "535 ") {
		t.Error(got)
	}
}

func plain(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
}

// from is a connection to a server of whose peer a proxy says that it is addr.
func from(t *testing.T, s *Server, addr string) *client {
	t.Helper()
	s.Proxies = localProxies
	c := newClient(t, start(t, s, asIs))
	c.comeFrom(addr)
	return c
}

var localProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// comeFrom begins the session of a client that a proxy says is at addr.
func (c *client) comeFrom(addr string) {
	c.t.Helper()
	fmt.Fprintf(c, "PROXY TCP4 %s 127.0.0.1 1 25\r\n", addr)
	c.must("220", "")
	c.must("250", "EHLO a")
}

func TestLoginLimitIsPerAddress(t *testing.T) {
	s, _ := newServer()
	config := addCertificate(t, s)
	s.Logins = &sasl.Limiter{MaxFailures: 2}
	for range 2 {
		c := from(t, s, "192.0.2.1")
		c.startTLS(config)
		c.must("535 ", "AUTH PLAIN %s", plain("alice", "wrong"))
	}
	c := from(t, s, "192.0.2.1")
	c.startTLS(config)
	c.must("421 4.7.0 Too many logins", "AUTH PLAIN %s", plain("alice", "secret"))
	if _, err := c.in.ReadByte(); err == nil {
		t.Error("the session goes on")
	}
	for range 2 * sasl.DefaultMaxParallel { // what is over does not count
		c = from(t, s, "192.0.2.2")
		c.startTLS(config)
		c.must("235 ", "AUTH PLAIN %s", plain("alice", "secret"))
	}
}

// Whoever waits before the password takes no place from others.
func TestWaitingIsNoAttempt(t *testing.T) {
	s, _ := newServer()
	config := addCertificate(t, s)
	s.Logins = &sasl.Limiter{MaxParallel: 1}
	waiting := from(t, s, "192.0.2.1")
	waiting.startTLS(config)
	waiting.must("334 ", "AUTH LOGIN")
	c := from(t, s, "192.0.2.1")
	c.startTLS(config)
	c.must("235 ", "AUTH PLAIN %s", plain("alice", "secret"))
}

// Many people may be behind one address, and their programs log in at once.
func TestLoginsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newServer()
		config := addCertificate(t, s)
		gate := make(chan struct{})
		s.Users, s.Logins, s.Proxies = gatedUsers{gate: gate}, &sasl.Limiter{}, localProxies
		pipe, stop := linetest.ServePipe(t, s.Serve)
		var clients []*client
		for range sasl.DefaultMaxParallel + 6 {
			c := newClient(t, pipe.Dial())
			c.comeFrom("192.0.2.1")
			c.startTLS(config)
			fmt.Fprintf(c, "AUTH PLAIN %s\r\n", plain("alice", "secret"))
			clients = append(clients, c)
		}
		synctest.Wait() // whoever is to be refused is
		close(gate)
		for _, c := range clients {
			c.must("235 ", "")
			c.Close()
		}
		stop()
	})
}

// gatedUsers tell nothing of a password while the gate is closed.
type gatedUsers struct {
	testUsers
	gate chan struct{}
}

func (u gatedUsers) Authenticate(ctx context.Context, login, password string) (string, bool, error) {
	<-u.gate
	return u.testUsers.Authenticate(ctx, login, password)
}

// The answer to a failure takes its time, whatever failed, and however long the client
// has thought.
func TestFailureDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newServer()
		s.FailureDelay = 3 * time.Second
		s.Users = slowUsers{}
		pipe, stop := linetest.ServePipe(t, s.Serve)
		scram := "biwsbj1hbGljZSxyPXJPcHJOR2Z3RWJlUldnYk5FcWtv" // n,,n=alice,r=...
		for _, exchange := range [][]string{
			{"AUTH PLAIN", plain("alice", "wrong")},
			{"AUTH PLAIN", plain("nobody", "wrong")},
			{"AUTH SCRAM-SHA-256 " + scram, "Yz1iaXdzLHI9eCxwPWRITjQ="},
			{"AUTH SCRAM-SHA-256 " + strings.Replace(scram, "bGljZ", "bGxpc", 1), "Yz1iaXdzLHI9eCxwPWRITjQ="},
		} {
			c := newClient(t, pipe.Dial())
			c.must("220", "")
			c.must("250", "EHLO a")
			c.must("334 ", "%s", exchange[0])
			time.Sleep(time.Minute)
			began := time.Now()
			got := c.cmd("%s", exchange[1])
			if took := time.Since(began); strings.HasPrefix(got, "535") != (took == s.FailureDelay) || !strings.HasPrefix(got, "5") {
				t.Errorf("%s after %v", got, took)
			}
			c.Close()
		}
		stop()
	})
}

// slowUsers take a second for a password.
type slowUsers struct{ testUsers }

func (u slowUsers) Authenticate(ctx context.Context, login, password string) (string, bool, error) {
	time.Sleep(time.Second)
	return u.testUsers.Authenticate(ctx, login, password)
}

// No log has what authenticates, at any level, whatever the client does with it.
func TestNoCredentialsInTheLog(t *testing.T) {
	var log linetest.Log
	s, _ := newServer()
	s.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug - 100}))
	config := addCertificate(t, s)
	const password = "tr0ub4dor&3"
	secrets := []string{password, plain("alice", password), base64.StdEncoding.EncodeToString([]byte(password))}
	for _, commands := range [][]string{
		{"AUTH PLAIN " + secrets[1], secrets[1], secrets[0]},           // and again, as commands
		{"AUTH PLAIN " + secrets[1] + " x", "AUTH FROB " + secrets[1]}, // malformed
		{"AUTH LOGIN", base64.StdEncoding.EncodeToString([]byte("alice")), secrets[2]},
		{"AUTH LOGIN", base64.StdEncoding.EncodeToString([]byte("alice")), password + " in clear"},
		{"PASS " + password, "AUTHPLAIN " + secrets[1], "NOOP " + password, "HELP " + password},
		{"AUTH PLAIN", secrets[1] + "\n" + secrets[1]},
	} {
		c := newClient(t, start(t, s, asIs))
		c.must("220", "")
		c.must("250", "EHLO a")
		c.startTLS(config)
		for _, command := range commands {
			c.cmd("%s", command)
		}
		c.Close()
		io.Copy(io.Discard, c.Conn)
	}
	for _, secret := range secrets {
		if strings.Contains(log.String(), secret) {
			t.Errorf("%q is in the log:\n%s", secret, log.String())
		}
	}
	if !strings.Contains(log.String(), "login failed") {
		t.Errorf("a failed login is not in the log:\n%s", log.String())
	}
}
