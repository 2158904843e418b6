package regd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"xm/internal/line"
	"xm/internal/line/linetest"
	"xm/internal/regwire"
	"xm/internal/sasl"
	"xm/userdb"
)

// farConn is a connection from somewhere else.
type farConn struct {
	net.Conn
	peer netip.Addr
}

func (c farConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.peer, 1)) }

// serve runs a server for one connection over a pipe, and calls f with the
// client's side of it.
func serve(t *testing.T, s *Server, peer string, f func(net.Conn)) {
	l := &pipeListener{conns: make(chan net.Conn, 1)}
	ours, theirs := net.Pipe()
	l.conns <- farConn{theirs, netip.MustParseAddr(peer)}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	f(ours)
	ours.Close()
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A peer that sends an octet a second, wherever in a request, gets 10 seconds; one
// that says nothing too.
func TestSlowHTTP(t *testing.T) {
	for begin, want := range map[string]string{
		"G":                         "HTTP/1.1 408 Request Timeout",
		"GET /challenge HTTP/1.1\r": "HTTP/1.1 408 Request Timeout",
		"POST /register HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n": "HTTP/1.1 408 Request Timeout",
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &Server{Key: newKey(), Log: slog.New(slog.DiscardHandler)}
			serve(t, s, "127.0.0.1", func(conn net.Conn) {
				began := time.Now()
				var writer sync.WaitGroup
				writer.Go(func() {
					for _, b := range []byte(begin) {
						if _, err := conn.Write([]byte{b}); err != nil {
							return
						}
					}
					for {
						time.Sleep(time.Second)
						if _, err := conn.Write([]byte("x")); err != nil {
							return
						}
					}
				})
				out, _ := io.ReadAll(conn)
				if !strings.HasPrefix(string(out), want) || !linetest.Waited(time.Since(began), timeout) {
					t.Errorf("%q: got %q after %v", begin, out, time.Since(began))
				}
				writer.Wait()
			})
		})
	}
}

// A TLS handshake that does not come to an end.
func TestSlowHandshake(t *testing.T) {
	certFile, keyFile, _ := linetest.Certificate(t)
	cert, err := line.LoadCertificate(certFile, keyFile, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Key: newKey(), Certificate: cert, Log: slog.New(slog.DiscardHandler)}
		serve(t, s, "127.0.0.1", func(conn net.Conn) {
			began := time.Now()
			for _, b := range []byte("\x16\x03\x01\x01\x00" + strings.Repeat("x", 100)) {
				if _, err := conn.Write([]byte{b}); err != nil {
					break
				}
				time.Sleep(time.Second)
			}
			if took := time.Since(began); took > 2*timeout+time.Second {
				t.Errorf("it took %v", took)
			}
		})
	})
}

// A peer that has its answer and does not close is closed.
func TestPeerThatNeverCloses(t *testing.T) {
	s, _ := newServer(t)
	conn := dial(t, start(t, s))
	linetest.Play(t, "open", "C: GET /nothing HTTP/1.1\nC: Host: x\nC:\nU: there is nothing here\nX\n", conn)
}

func TestRateLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Key: newKey(), Requests: Rate{3, time.Minute}, Registrations: Rate{2, time.Hour}, Log: slog.New(slog.DiscardHandler)}
		h := s.handler()
		a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
		other := netip.MustParseAddr("2001:db8:0:1::1")
		for i, want := range []bool{true, true, true, false, false} {
			if got := h.requests.allow([]netip.Addr{a, b}[i%2]); got != want {
				t.Errorf("request %d: %v", i, got)
			}
		}
		if !h.requests.allow(other) || !h.requests.allow(netip.MustParseAddr("192.0.2.1")) || !h.registrations.allow(a) {
			t.Error("one limit counts for another")
		}
		time.Sleep(20 * time.Second)
		if !h.requests.allow(a) || h.requests.allow(b) {
			t.Error("a third of a minute is not one of three requests")
		}
		for range 10 {
			if !h.requests.allow(netip.MustParseAddr("127.0.0.1")) {
				t.Error("loopback is limited")
			}
		}
		none := limiter{}
		if !none.allow(a) {
			t.Error("no limit is one")
		}
	})
}

func TestLimiterIsBounded(t *testing.T) {
	l := limiter{rate: Rate{2, time.Hour}}
	addr := netip.MustParseAddr("10.0.0.0")
	for range maxBuckets + 10 {
		l.allow(addr)
		addr = addr.Next()
	}
	if len(l.buckets) > maxBuckets || len(l.buckets) < maxBuckets/2 {
		t.Errorf("%d are remembered", len(l.buckets))
	}
}

// Both protocols, over the wire.
func TestLimitedPeers(t *testing.T) {
	for request, want := range map[string]string{
		"GET /challenge HTTP/1.0\r\n\r\n": "HTTP/1.1 429 Too Many Requests",
		"00$00$00$00$":                    "-ERR too many registrations from your address",
		"POST /register HTTP/1.0\r\nContent-Length: 0\r\n\r\n": "HTTP/1.1 429 Too Many Requests",
	} {
		s := &Server{Key: newKey(), Requests: Rate{1, time.Hour}, Registrations: Rate{1, time.Hour}, Log: slog.New(slog.DiscardHandler)}
		if strings.HasPrefix(request, "POST") {
			s.Requests = Rate{} // which come first
		}
		h := s.handler()
		peer := netip.MustParseAddr("192.0.2.1")
		if !h.requests.allow(peer) || !h.registrations.allow(peer) {
			t.Fatal("limited at once")
		}
		ours, theirs := net.Pipe()
		l := &pipeListener{conns: make(chan net.Conn, 1)}
		l.conns <- farConn{theirs, peer}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		server := &line.Server{Handle: h.handle, Log: s.Log}
		go func() { done <- server.Serve(ctx, l) }()
		go io.WriteString(ours, request)
		out, err := io.ReadAll(ours)
		if err != nil || !strings.HasPrefix(string(out), want) {
			t.Errorf("%q: got %q, %v", request, out, err)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// Requests without a right to what they want are counted, and told of, as logins
// with a wrong password.
func TestGuesses(t *testing.T) {
	peer := netip.MustParseAddr("192.0.2.1")
	var log bytes.Buffer
	h := (&Server{Logins: &sasl.Limiter{MaxFailures: 2}}).handler()
	l := slog.New(slog.NewTextHandler(&log, nil)).With("peer", peer)
	for i, step := range []struct{ err, want error }{
		{nil, nil}, {refuse(errors.New("a mistake")), nil}, {refuse(userdb.ErrInvite), nil}, {refusal{errUnsigned, errors.New("x")}, nil}, {nil, errTooMany},
	} {
		_, err := h.guarded(t.Context(), peer, l, func() (string, error) { return "", step.err })
		h.outcome(l.With("user", "x\" peer=192.0.2.9"), "done", "", err)
		var r refusal
		if step.want != nil && (!errors.As(err, &r) || r.text != step.want) || step.want == nil && err != step.err {
			t.Errorf("%d: %v, want %v", i, err, step.want)
		}
	}
	if got := strings.Count(log.String(), `level=WARN msg="login failed" peer=192.0.2.1 user="x\" peer=192.0.2.9"`); got != 2 {
		t.Errorf("%d logins failed:\n%s", got, log.String())
	}
	if got := strings.Count(log.String(), `level=WARN msg=abuse peer=192.0.2.1 reason="too many logins from that address"`); got != 1 {
		t.Errorf("%d abuses:\n%s", got, log.String())
	}
}

// What is not known to have a right, as it went wrong in an unforeseen way, has none.
func TestGuessThatPanics(t *testing.T) {
	peer := netip.MustParseAddr("192.0.2.1")
	h := (&Server{Logins: &sasl.Limiter{MaxFailures: 1}}).handler()
	log := slog.New(slog.DiscardHandler)
	func() {
		defer func() { _ = recover() }()
		h.guarded(t.Context(), peer, log, func() (string, error) { panic("trouble") })
	}()
	if _, err := h.guarded(t.Context(), peer, log, func() (string, error) { return "", nil }); err == nil {
		t.Error("it does not count")
	}
}

func TestChallenges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChallenges()
		first, second := c.issue(), c.issue()
		if first == second || c.use(first) != nil || c.use(first) == nil {
			t.Error("a challenge is not good once")
		}
		if newChallenges().use(second) == nil {
			t.Error("a challenge is good elsewhere")
		}
		for _, bad := range []string{"", "x", second + "A", second[:len(second)-1], "A" + second[1:], second + "\n", strings.Repeat("A", len(second))} {
			if bad != second && c.use(bad) == nil {
				t.Errorf("%q is good", bad)
			}
		}
		time.Sleep(challengeLife - 2*time.Second)
		if _, _, err := c.open(second); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Second)
		if c.use(second) == nil {
			t.Error("a challenge lives for ever")
		}
		c.forget()
		if len(c.used) != 0 {
			t.Errorf("%d are remembered", len(c.used))
		}
	})
}

func TestUsedChallengesAreBounded(t *testing.T) {
	c := newChallenges()
	for i := range maxUsed {
		c.used[[nonceSize]byte{byte(i), byte(i >> 8), byte(i >> 16)}] = time.Now().Add(time.Minute)
	}
	if err := c.use(c.issue()); err != errBusy {
		t.Errorf("got %v", err)
	}
	for nonce := range c.used {
		c.used[nonce] = time.Now().Add(-time.Minute)
		break
	}
	if err := c.use(c.issue()); err != nil {
		t.Error(err)
	}
}

// bufferConn is a peer that has sent something and then hung up.
type bufferConn struct {
	in     io.Reader
	out    bytes.Buffer
	closed chan struct{}
	once   sync.Once
}

func (c *bufferConn) Read(p []byte) (int, error)       { return c.in.Read(p) }
func (c *bufferConn) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *bufferConn) Close() error                     { c.once.Do(func() { close(c.closed) }); return nil }
func (c *bufferConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *bufferConn) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (c *bufferConn) SetDeadline(time.Time) error      { return nil }
func (c *bufferConn) SetReadDeadline(time.Time) error  { return nil }
func (c *bufferConn) SetWriteDeadline(time.Time) error { return nil }

// Whatever is sent, the server answers with a line or with HTTP, and nobody is
// registered.
func FuzzConnection(f *testing.F) {
	f.Add([]byte("GET /keys/alice HTTP/1.1\r\nHost: x\r\n\r\n"))
	f.Add([]byte("GET http://x/keys/%2e%2e%2f HTTP/1.0\r\n\r\n"))
	f.Add([]byte("HEAD /challenge?x=1 HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n"))
	f.Add([]byte("POST /register HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n00$0\r\n0\r\n\r\n"))
	f.Add([]byte("POST /register HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\nExpect: 100-continue\r\n\r\n00$"))
	f.Add([]byte("CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n"))
	f.Add([]byte("\x16\x03\x01"))
	s, _ := newServer(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		l := &pipeListener{conns: make(chan net.Conn, 1)}
		conn := &bufferConn{in: bytes.NewReader(data), closed: make(chan struct{})}
		l.conns <- conn
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, l) }()
		<-conn.closed
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		out := conn.out.String()
		if !strings.HasPrefix(out, "-ERR ") && !strings.HasPrefix(out, "HTTP/1.1 ") {
			t.Errorf("%q is answered %q", data, out)
		}
		if users, err := s.Users.Users(); err != nil || len(users) > 0 {
			t.Errorf("%q registered %v, %v", data, users, err)
		}
	})
}

// A request that its sender may sign, with any fields.
func FuzzPerform(f *testing.F) {
	f.Add("register", "alice", "c2FsdA==,"+hash, "", "")
	f.Add("change", "alice", "", "x", "code")
	f.Add("unregister", "alice@localhost", "", "", "")
	f.Fuzz(func(t *testing.T, action, name, record, keys, invite string) {
		s, _ := newServer(t)
		h := s.handler()
		r := regwire.Request{Action: action, Name: name, Record: record, Keys: keys, Invite: invite, Challenge: h.challenges.issue(), Secret: regwire.NewSecret()}
		if err := r.Prove(&s.Key.PublicKey, newKey()); err != nil {
			t.Fatal(err)
		}
		r.Signature = r.Proof
		_, err := h.perform(t.Context(), r)
		users, uerr := s.Users.Users()
		if uerr != nil || len(users) > 0 != (err == nil) || len(users) > 1 {
			t.Errorf("%+v: %v; users %v, %v", r, err, users, uerr)
		}
	})
}
