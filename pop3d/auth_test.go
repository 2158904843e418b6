package pop3d

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

	"xm/internal/line"
	"xm/internal/line/linetest"
	"xm/internal/sasl"
)

// client speaks POP3 for tests that a dialog can't express.
type client struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

func newClient(t *testing.T, conn net.Conn) *client {
	return &client{t, conn, bufio.NewReader(conn)}
}

// login returns a client that has logged in with the password "x".
func login(t *testing.T, conn net.Conn, user string) *client {
	t.Helper()
	c := newClient(t, conn)
	c.must("+OK", "")
	c.must("+OK", "USER %s", user)
	c.must("+OK", "PASS x")
	return c
}

// cmd sends a line, unless it is empty, and returns the first line of the
// response.
func (c *client) cmd(format string, args ...any) string {
	c.t.Helper()
	if format != "" {
		if _, err := fmt.Fprintf(c, format+"\r\n", args...); err != nil {
			c.t.Fatal(err)
		}
	}
	l, err := c.in.ReadString('\n')
	if err != nil {
		c.t.Fatalf("after %q: %q, %v", format, l, err)
	}
	return strings.TrimSuffix(l, "\r\n")
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

// text reads the rest of a multi-line response.
func (c *client) text() string {
	c.t.Helper()
	b, err := io.ReadAll(line.NewText(c.in, 1<<30))
	if err != nil {
		c.t.Fatal(err)
	}
	return string(b)
}

func (c *client) stls(config *tls.Config) *tls.ConnectionState {
	c.t.Helper()
	c.must("+OK", "STLS")
	secured := tls.Client(c.Conn, config)
	if err := secured.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.Conn, c.in = secured, bufio.NewReader(secured)
	state := secured.ConnectionState()
	return &state
}

// auth runs a mechanism and returns the last reply.
func (c *client) auth(x *sasl.Client, mechanism string, withInitial bool) string {
	c.t.Helper()
	initial, err := x.Start()
	if err != nil {
		c.t.Fatal(err)
	}
	encoded := base64.StdEncoding.EncodeToString(initial)
	reply := ""
	if withInitial {
		reply = c.cmd("AUTH %s %s", mechanism, encoded)
	} else {
		c.must("+ ", "AUTH %s", mechanism)
		reply = c.cmd("%s", encoded)
	}
	for strings.HasPrefix(reply, "+ ") {
		challenge, err := base64.StdEncoding.DecodeString(reply[2:])
		if err != nil {
			c.t.Fatal(err)
		}
		answer, err := x.Next(challenge)
		if err != nil {
			c.t.Fatal(err)
		}
		fmt.Fprintf(c, "%s\r\n", base64.StdEncoding.EncodeToString(answer))
		reply = c.cmd("")
	}
	return reply
}

func TestSCRAM(t *testing.T) {
	s, _ := newServer()
	config := addCertificate(t, s)
	addr := serve(t, s, asIs)
	for _, c := range []struct {
		mechanism string
		bindings  func([]sasl.Binding) []sasl.Binding
	}{
		{sasl.ScramSHA256, func([]sasl.Binding) []sasl.Binding { return nil }},
		{sasl.ScramSHA256Plus, func(b []sasl.Binding) []sasl.Binding { return b[:1] }},
		{sasl.ScramSHA256Plus, func(b []sasl.Binding) []sasl.Binding { return b[1:] }},
	} {
		for password, want := range map[string]string{"123456": "+OK 3 messages", "wrong": "-ERR [AUTH] "} {
			for _, withInitial := range []bool{true, false} {
				conn := newClient(t, dial(t, addr))
				conn.must("+OK", "")
				state := conn.stls(config)
				x, err := sasl.NewClient(c.mechanism, "alice@localhost.com", password, c.bindings(sasl.Bindings(state, state.PeerCertificates[0])))
				if err != nil {
					t.Fatal(err)
				}
				if got := conn.auth(x, c.mechanism, withInitial); !strings.HasPrefix(got, want) {
					t.Errorf("%s, password %s: %s", c.mechanism, password, got)
				}
				if err := x.Done(); (err == nil) != (password == "123456") {
					t.Errorf("%s, password %s: the client says %v", c.mechanism, password, err)
				}
				if password == "123456" {
					conn.must("+OK bye", "QUIT")
				}
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
	conn := newClient(t, dial(t, serve(t, s, asIs)))
	conn.must("+OK", "")
	state := conn.stls(config)
	x, err := sasl.NewClient(sasl.ScramSHA256, "alice@localhost.com", "123456", sasl.Bindings(state, nil))
	if err != nil {
		t.Fatal(err)
	}
	if got := conn.auth(x, sasl.ScramSHA256, true); !strings.HasPrefix(got, "-ERR [AUTH]") {
		t.Error(got)
	}
}

// RFC 5034, section 4: a line of an exchange may be longer than a command, its
// first one included.
func TestLongInitialResponse(t *testing.T) {
	s, _ := newServer()
	addr := serve(t, s, asIs)
	for octets, want := range map[int]string{3000: "+OK 0 messages", 9000: "+OK 0 messages", 9300: "-ERR the line is too long"} {
		c := newClient(t, dial(t, addr))
		c.must("+OK", "")
		c.must(want, "AUTH PLAIN %s", plain("bob", strings.Repeat("x", octets)))
		c.must("+OK bye", "QUIT")
	}
}

// A client that speaks another protocol is not talked to (RFC 7301, section 3.2).
func TestALPN(t *testing.T) {
	s, _ := newServer()
	config := addCertificate(t, s)
	s.ImplicitTLS = true
	addr := serve(t, s, asIs)
	for protocol, want := range map[string]bool{"pop3": true, "http/1.1": false} {
		config := config.Clone()
		config.NextProtos = []string{protocol}
		conn, err := tls.Dial("tcp", addr, config)
		if (err == nil) != want {
			t.Errorf("%s: %v", protocol, err)
		}
		if err == nil {
			if got := conn.ConnectionState().NegotiatedProtocol; got != protocol {
				t.Errorf("%s: %q was agreed on", protocol, got)
			}
			conn.Close()
		}
	}
}

// One session's TLS is its own.
func TestSTLSInManySessions(t *testing.T) {
	s, _ := newServer()
	config := addCertificate(t, s)
	addr := serve(t, s, asIs)
	var all []*client
	for range 3 {
		c := newClient(t, dial(t, addr))
		c.must("+OK", "")
		c.stls(config)
		all = append(all, c)
	}
	clear := newClient(t, dial(t, addr))
	clear.must("+OK", "")
	clear.must("+OK", "STLS")
	for i, c := range all {
		c.must("-ERR TLS is active already", "STLS")
		c.must("+OK", "USER user%d", i)
		c.must("+OK", "PASS x")
	}
}

func plain(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
}

// from is a connection to a server of whose peer a proxy says that it is addr.
func from(t *testing.T, server, addr string) *client {
	t.Helper()
	c := newClient(t, dial(t, server))
	fmt.Fprintf(c, "PROXY TCP4 %s 127.0.0.1 1 110\r\n", addr)
	c.must("+OK", "")
	return c
}

func TestLoginLimitIsPerAddress(t *testing.T) {
	s, _ := newServer()
	s.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	config := addCertificate(t, s)
	s.Logins = &sasl.Limiter{MaxFailures: 2}
	addr := serve(t, s, asIs)
	for i := range 2 { // both ways count, together
		c := from(t, addr, "192.0.2.1")
		c.stls(config)
		if i == 0 {
			c.must("-ERR [AUTH]", "AUTH PLAIN %s", plain("alice@localhost.com", "wrong"))
			continue
		}
		c.must("+OK", "USER alice@localhost.com")
		c.must("-ERR [AUTH]", "PASS wrong")
	}
	for _, command := range []string{"AUTH PLAIN " + plain("alice@localhost.com", "123456"), "USER alice@localhost.com\r\nPASS 123456"} {
		c := from(t, addr, "192.0.2.1")
		c.stls(config)
		got := c.cmd("%s", command)
		if strings.HasPrefix(command, "USER") {
			got = c.cmd("")
		}
		if !strings.HasPrefix(got, "-ERR [SYS/TEMP] too many logins") {
			t.Errorf("%.4s: %s", command, got)
		}
		if _, err := c.in.ReadByte(); err == nil {
			t.Error("the session goes on")
		}
	}
	c := from(t, addr, "192.0.2.2")
	c.stls(config)
	c.must("+OK", "AUTH PLAIN %s", plain("alice@localhost.com", "123456"))
}

// The answer to a failure takes its time, whatever failed, and however long the client
// has thought.
func TestFailureDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newServer()
		s.FailureDelay = 3 * time.Second
		s.Proxies = nil
		pipe, stop := linetest.ServePipe(t, s.Serve)
		for _, response := range []string{"biwsbj1hbGljZSxyPXJPcHJOR2Z3RWJlUldnYk5FcWtv", "biwsbj1ub2JvZHkscj1yT3ByTkdmd0ViZVJXZ2JORXFrbw=="} {
			c := newClient(t, pipe.Dial())
			c.must("+OK", "")
			challenge, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(c.must("+ ", "AUTH SCRAM-SHA-256 %s", response), "+ "))
			if err != nil {
				t.Fatal(err)
			}
			nonce, _, _ := strings.Cut(string(challenge), ",")
			final := fmt.Sprintf("c=biws,%s,p=%s", nonce, base64.StdEncoding.EncodeToString(make([]byte, 32)))
			time.Sleep(time.Minute)
			began := time.Now()
			c.must("-ERR [AUTH]", "%s", base64.StdEncoding.EncodeToString([]byte(final)))
			if took := time.Since(began); took != s.FailureDelay {
				t.Errorf("%v", took)
			}
			c.Close()
		}
		stop()
	})
}

// No log has what authenticates, at any level, whatever the client does with it.
func TestNoCredentialsInTheLog(t *testing.T) {
	var log linetest.Log
	s, _ := newServer()
	s.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug - 100}))
	addr := serve(t, s, asIs)
	const password = "tr0ub4dor&3"
	secrets := []string{password, plain("alice@localhost.com", password)}
	for _, lines := range [][]string{
		{"USER alice@localhost.com", "PASS " + password, "PASS " + password},
		{"AUTH PLAIN " + secrets[1], secrets[1], secrets[0]},
		{"AUTH PLAIN", secrets[1] + " x", "AUTH FROB " + secrets[1], "NOOP " + password, "PASS" + password},
		{"USER anybody", "PASS " + password, "STAT", "DELE 1", "QUIT"},
		// A password where the name should be.
		{"USER " + password + "\x7f", "PASS x", "AUTH PLAIN " + plain(password+"\x7f", "x")},
		{"USER nobody", "PASS " + password, "USER", "PASS", password},
	} {
		say(t, addr, lines...)
	}
	for _, secret := range secrets {
		if strings.Contains(log.String(), secret) {
			t.Errorf("%q is in the log:\n%s", secret, log.String())
		}
	}
	for _, want := range []string{"login failed", "mechanism=PASS", "mechanism=PLAIN", "logged in"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q is not in the log:\n%s", want, log.String())
		}
	}
}

// LOGIN-DELAY counts from the last login, for each user.
func TestLoginDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &LoginDelay{Delay: time.Minute}
		enter := func(user string, want bool) {
			t.Helper()
			if got := d.enter(user); got != want {
				t.Errorf("%s: %v", user, got)
			}
		}
		enter("alice", true)
		enter("alice", false)
		enter("bob", true)
		time.Sleep(time.Minute - 1)
		enter("alice", false)
		time.Sleep(time.Nanosecond)
		enter("alice", true)
		time.Sleep(time.Minute)
		enter("carol", true)
		if len(d.last) != 1 {
			t.Errorf("remembered: %v", d.last)
		}
	})
}

func TestLoginDelayIsAnswered(t *testing.T) {
	s, mail := newServer()
	s.LoginDelay = &LoginDelay{Delay: time.Hour}
	addr := serve(t, s, asIs)
	say(t, addr, "USER bob", "PASS x", "QUIT")
	out := say(t, addr, "USER bob", "PASS x", "USER carol", "PASS x", "QUIT")
	if want := "-ERR [LOGIN-DELAY] you were here a moment ago, try again later\r\n+OK now"; !strings.Contains(out, want) || !strings.HasSuffix(out, "0 messages (0 octets)\r\n+OK bye\r\n") {
		t.Errorf("the second login:\n%s", out)
	}
	if mail.isLocked("bob") {
		t.Error("the maildrop is locked still")
	}
}

// panics is a Users with a bug.
type panics struct{ testUsers }

func (panics) Authenticate(context.Context, string, string) (string, bool, error) { panic("a bug") }

// A panic in a login ends that session alone.
func TestPanicInLogin(t *testing.T) {
	var log linetest.Log
	s, _ := newServer()
	s.Users, s.Log = panics{}, slog.New(slog.NewTextHandler(&log, nil))
	addr := serve(t, s, asIs)
	for range 2 {
		c := newClient(t, dial(t, addr))
		c.must("+OK", "")
		c.must("+OK", "USER x")
		fmt.Fprint(c, "PASS x\r\n")
		if rest, _ := io.ReadAll(c.in); len(rest) > 0 {
			t.Errorf("%q", rest)
		}
	}
	if got := log.String(); strings.Count(got, "session panicked") != 2 || !strings.Contains(got, "panics.Authenticate") {
		t.Errorf("the log:\n%s", got)
	}
}
