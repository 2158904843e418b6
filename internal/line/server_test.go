package line

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"xm/internal/line/linetest"
)

// echo answers each line with itself, and "bye" to the end of the session.
func echo(c *Conn) {
	for {
		l, err := c.ReadLine(20, time.Minute, true)
		switch {
		case errors.Is(err, ErrLineEnd), errors.Is(err, ErrLineTooLong):
			c.Reply("error " + err.Error())
		case err != nil:
			c.Reply("bye " + err.Error())
			return
		case string(l) == "panic":
			panic("on request")
		case string(l) == "peer":
			c.Reply(c.Peer().String())
		case string(l) == "tls":
			if !c.CanStartTLS() {
				c.Reply(ErrNoTLS.Error())
				continue
			}
			c.Reply("go ahead")
			if _, err := c.StartTLS(); err != nil {
				return
			}
		case string(l) == "busy":
			c.Reply("busy")
			if _, err := c.ReadLine(20, time.Minute, false); err != nil {
				c.Reply("bye " + err.Error())
				return
			}
			c.Reply("done")
		default:
			c.Reply(string(l))
		}
	}
}

type running struct {
	addr string
	stop context.CancelFunc
	done chan error
}

func start(t *testing.T, s *Server) running {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if s.Handle == nil {
		s.Handle = echo
	}
	s.Log = slog.New(slog.DiscardHandler)
	ctx, stop := context.WithCancel(context.Background())
	r := running{l.Addr().String(), stop, make(chan error, 1)}
	go func() { r.done <- s.Serve(ctx, l) }()
	t.Cleanup(stop)
	return r
}

type client struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

func (r running) dial(t *testing.T) *client {
	t.Helper()
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second)) // bounds a failing test alone
	return &client{t, conn, bufio.NewReader(conn)}
}

func (c *client) ask(send, want string) {
	c.t.Helper()
	if _, err := io.WriteString(c, send); err != nil {
		c.t.Fatal(err)
	}
	if got, err := c.in.ReadString('\n'); err != nil || got != want+"\r\n" {
		c.t.Fatalf("%.40q: got %q, %v; want %q", send, got, err, want)
	}
}

func (c *client) ended() {
	c.t.Helper()
	if rest, err := io.ReadAll(c.in); err != nil || len(rest) > 0 {
		c.t.Errorf("got %q, %v; want the end", rest, err)
	}
}

func TestLines(t *testing.T) {
	c := start(t, &Server{}).dial(t)
	c.ask("hello\r\n", "hello")
	c.ask("\r\n", "")
	c.ask("one\r\ntwo\r\n", "one")
	c.ask("", "two")
	c.ask("bare\n", "error "+ErrLineEnd.Error())
	c.ask("ba\rre\r\n", "error "+ErrLineEnd.Error())
	c.ask(strings.Repeat("x", 20)+"\r\n", strings.Repeat("x", 20))
	c.ask(strings.Repeat("x", 21)+"\r\n", "error "+ErrLineTooLong.Error())
	c.ask(strings.Repeat("x", 100_000)+"\r\n", "error "+ErrLineTooLong.Error())
	c.ask("still in step\r\n", "still in step")
	c.ask(strings.Repeat("x", endless+10_000), "bye "+ErrEndlessLine.Error())
	c.ended()
}

func TestPanicEndsOneSession(t *testing.T) {
	r := start(t, &Server{})
	other := r.dial(t)
	other.ask("a\r\n", "a")
	c := r.dial(t)
	if _, err := io.WriteString(c, "panic\r\n"); err != nil {
		t.Fatal(err)
	}
	c.ended()
	other.ask("b\r\n", "b")
}

func TestStop(t *testing.T) {
	r := start(t, &Server{})
	idle, busy := r.dial(t), r.dial(t)
	idle.ask("a\r\n", "a")
	busy.ask("busy\r\n", "busy")
	r.stop()
	idle.ask("", "bye "+ErrStopping.Error())
	idle.ended()
	if conn, err := net.Dial("tcp", r.addr); err == nil {
		conn.Close()
		t.Error("a stopped server accepts connections")
	}
	busy.ask("more\r\n", "done") // may finish what it began
	busy.ask("", "bye "+ErrStopping.Error())
	if err := <-r.done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// Where there are no lines, a peer that has not begun does not hold the stop up. One that
// has may go on.
func TestStopBeforeInput(t *testing.T) {
	for said, want := range map[string]error{"": ErrStopping, "x": nil} {
		synctest.Test(t, func(t *testing.T) {
			pipe := linetest.NewPipe()
			ctx, stop := context.WithCancel(t.Context())
			s := &Server{Log: slog.New(slog.DiscardHandler), Handle: func(c *Conn) {
				in, err := c.Input(time.Minute)
				if err != want {
					t.Errorf("%q: %v", said, err)
				}
				if err == nil {
					stop()
					if text, err := in.ReadString('.'); err != nil || text != "xy." {
						t.Errorf("got %q, %v", text, err)
					}
				}
			}}
			done := make(chan error, 1)
			go func() { done <- s.Serve(ctx, pipe) }()
			conn, began := pipe.Dial(), time.Now()
			defer conn.Close()
			synctest.Wait()
			if said != "" {
				for _, part := range []string{said, "y."} { // the stop is between them
					if _, err := io.WriteString(conn, part); err != nil {
						t.Error(err)
					}
					synctest.Wait()
				}
			}
			stop()
			if err := <-done; err != nil || said == "" && time.Since(began) > 0 {
				t.Errorf("%q: %v after %v", said, err, time.Since(began))
			}
		})
	}
}

func TestGraceIsBounded(t *testing.T) {
	r := start(t, &Server{Grace: time.Millisecond})
	busy := r.dial(t)
	busy.ask("busy\r\n", "busy")
	r.stop()
	busy.ask("", "bye "+ErrStopping.Error())
	busy.ended()
	if err := <-r.done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// The cut comes while a deadline is set that lies behind it.
func TestCutOffBetweenReads(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	raw := &interruptedConn{Conn: ours}
	c := newConn(&Server{}, raw)
	defer c.close()
	raw.meanwhile = c.cutOff
	if _, err := io.ReadAll(c.Body(100, time.Minute)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}

// interruptedConn has something happen right before a deadline is set for the first
// time.
type interruptedConn struct {
	net.Conn
	meanwhile func()
}

func (c *interruptedConn) SetReadDeadline(at time.Time) error {
	if do := c.meanwhile; do != nil {
		c.meanwhile = nil
		do()
	}
	return c.Conn.SetReadDeadline(at)
}

func TestMaxConns(t *testing.T) {
	r := start(t, &Server{Limits: &Limits{MaxConns: 1}, Busy: "too many"})
	first := r.dial(t)
	first.ask("a\r\n", "a")
	second := r.dial(t)
	second.ask("", "too many")
	second.ended()
	first.ask("b\r\n", "b")
}

// What a session took is given back.
func TestNothingIsKept(t *testing.T) {
	s := &Server{Limits: &Limits{}}
	r := start(t, s)
	for range 3 {
		c := r.dial(t)
		c.ask("a\r\n", "a")
		c.Close()
	}
	r.stop()
	if err := <-r.done; err != nil {
		t.Error(err)
	}
	if len(s.conns) != 0 || s.Limits.conns != 0 || len(s.Limits.Addresses.conns) != 0 {
		t.Errorf("%d connections, %d counted, %d addresses", len(s.conns), s.Limits.conns, len(s.Limits.Addresses.conns))
	}
}

func TestServeEndsWithItsListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	s := &Server{Handle: echo, Log: slog.New(slog.DiscardHandler)}
	if err := s.Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// A site has more than one /64, but not as many as it has.
func TestLimitsPerSite(t *testing.T) {
	l := &Limits{MaxPerAddr: 2}
	admitted := 0
	for i := range 100 {
		if l.enter(netip.MustParseAddr(fmt.Sprintf("2001:db8:1:%x::1", i))) == nil {
			admitted++
		}
	}
	if admitted != siteMax*2 || l.enter(netip.MustParseAddr("2001:db8:2::1")) != nil {
		t.Errorf("%d of one site admitted", admitted)
	}
	for i := range admitted {
		l.leave(netip.MustParseAddr(fmt.Sprintf("2001:db8:1:%x::1", i)))
	}
	l.leave(netip.MustParseAddr("2001:db8:2::1"))
	if l.conns != 0 || len(l.Addresses.conns) != 0 {
		t.Errorf("%d connections and %d networks are left", l.conns, len(l.Addresses.conns))
	}
}

func TestLimitsPerAddress(t *testing.T) {
	l := &Limits{MaxPerAddr: 1}
	for _, step := range []struct {
		ip   string
		want bool
	}{
		{"192.0.2.1", true}, {"192.0.2.1", false}, {"192.0.2.2", true},
		{"2001:db8::1", true}, {"2001:db8::2", false}, {"2001:db8:0:1::1", true},
		{"127.0.0.1", true}, {"127.0.0.1", true}, {"::1", true}, {"::1", true},
	} {
		if got := l.enter(netip.MustParseAddr(step.ip)) == nil; got != step.want {
			t.Errorf("%s admitted: %v, want %v", step.ip, got, step.want)
		}
	}
	l.leave(netip.MustParseAddr("192.0.2.1"))
	if l.enter(netip.MustParseAddr("192.0.2.1")) != nil {
		t.Error("a place that was given back is not free")
	}
}

// Services that share the addresses count their connections together; how many
// there may be in all is each service's own affair.
func TestLimitsTogether(t *testing.T) {
	var all Addresses
	one, two := &Limits{MaxPerAddr: 2, MaxConns: 3, Addresses: &all}, &Limits{MaxPerAddr: 3, Addresses: &all}
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for i, step := range []struct {
		limits *Limits
		addr   netip.Addr
		want   error
	}{
		{one, a, nil}, {two, a, nil}, {one, a, errPerAddr}, {two, a, nil}, {two, a, errPerAddr}, {two, b, nil},
		{one, b, nil}, {one, netip.MustParseAddr("127.0.0.1"), nil}, {one, netip.MustParseAddr("192.0.2.3"), errFull},
	} {
		if err := step.limits.enter(step.addr); err != step.want {
			t.Errorf("%d: %v, want %v", i, err, step.want)
		}
	}
	two.leave(a)
	two.leave(a)
	one.leave(b)
	if err := one.enter(a); err != nil {
		t.Error(err)
	}
}

// flakyListener fails a few times before it works.
type flakyListener struct {
	net.Listener
	failures int
}

func (l *flakyListener) Accept() (net.Conn, error) {
	if l.failures > 0 {
		l.failures--
		return nil, errors.New("too many open files")
	}
	return l.Listener.Accept()
}

func TestAcceptRecovers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Handle: echo, Log: slog.New(slog.DiscardHandler)}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, &flakyListener{l, 3}) }()
	c := running{addr: l.Addr().String()}.dial(t)
	c.ask("a\r\n", "a")
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A line must arrive whole within its time: an octet now and then is no excuse.
func TestSlowLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		c := newConn(&Server{}, theirs)
		var writer sync.WaitGroup
		writer.Go(func() {
			for { // until the other side is closed
				if _, err := ours.Write([]byte("x")); err != nil {
					return
				}
				time.Sleep(10 * time.Second)
			}
		})
		began := time.Now()
		_, err := c.ReadLine(100, time.Minute, true)
		if took := time.Since(began); err == nil || !linetest.Waited(took, time.Minute) {
			t.Errorf("%v after %v", err, took)
		}
		c.close()
		writer.Wait()
		ours.Close()
	})
}

// A body's parts may each take their time.
func TestSlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		c := newConn(&Server{}, theirs)
		go func() {
			for _, part := range []string{"a\r\n", "b\r\n", ".\r\n"} {
				time.Sleep(50 * time.Second)
				ours.Write([]byte(part))
			}
		}()
		text, err := io.ReadAll(c.Body(100, time.Minute))
		if err != nil || string(text) != "a\r\nb\r\n" {
			t.Errorf("got %q, %v", text, err)
		}
		began := time.Now()
		_, err = io.ReadAll(c.Body(100, time.Minute))
		if took := time.Since(began); err == nil || !linetest.Waited(took, time.Minute) {
			t.Errorf("a silent sender: %v after %v", err, took)
		}
		c.close()
		ours.Close()
	})
}

// No session outlives its lifetime, busy as it may be.
func TestLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		c := newConn(&Server{Lifetime: time.Hour}, theirs)
		var writer sync.WaitGroup
		writer.Go(func() {
			for {
				if _, err := ours.Write([]byte("hello\r\n")); err != nil {
					return
				}
				time.Sleep(50 * time.Second)
			}
		})
		began := time.Now()
		var err error
		for err == nil {
			_, err = c.ReadLine(100, time.Minute, true)
		}
		if took := time.Since(began); err != ErrExpired || took != time.Hour {
			t.Errorf("%v after %v", err, took)
		}
		c.close()
		writer.Wait()
		ours.Close()
	})
}

// A zone says which way an address is reached; networks have none, and would not
// contain it.
func TestAddressWithoutZone(t *testing.T) {
	peer := addrOf(&net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 25, Zone: "eth0"})
	if !contains([]netip.Prefix{netip.MustParsePrefix("fe80::/10")}, peer) {
		t.Errorf("%v is not in its network", peer)
	}
}
