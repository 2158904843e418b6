package line

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"

	"xm/internal/line/linetest"
)

// finish stops a server and waits for the end of its sessions.
func (r running) finish(t *testing.T) {
	t.Helper()
	r.stop()
	if err := <-r.done; err != nil {
		t.Error(err)
	}
}

func TestObserver(t *testing.T) {
	var counts linetest.Counts
	r := start(t, &Server{Observer: &counts})
	r.dial(t).ask("hello\r\n", "hello")
	panicking := r.dial(t) // is closed all the same
	io.WriteString(panicking, "panic\r\n")
	panicking.ended()
	r.finish(t)
	counts.Want(t, "opened: 2", "closed: 2", "received: 14", "sent: 35")
}

func TestObserverOfTLS(t *testing.T) {
	var counts linetest.Counts
	cert, config := load(t)
	r := start(t, &Server{Certificate: cert, Observer: &counts})
	c := r.dial(t)
	c.ask("tls\r\n", "go ahead")
	config.MaxVersion = tls.VersionTLS12
	if err := c.upgrade(config); err != nil {
		t.Fatal(err)
	}
	c.ask("hello\r\n", "hello")
	r.finish(t)
	c.ask("", "bye "+ErrStopping.Error())
	counts.Want(t, "opened: 1", "closed: 1", "handshake TLS 1.2: 1", "received: 12", "sent: 45")
}

func TestObserverOfRefusals(t *testing.T) {
	cert, _ := load(t)
	for reason, s := range map[string]*Server{
		RefusedLimit: {Limits: &Limits{MaxConns: 1, conns: 1}},
		RefusedProxy: {Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		RefusedTLS:   {Certificate: cert, ImplicitTLS: true},
	} {
		var counts linetest.Counts
		s.Observer, s.Busy = &counts, "busy"
		r := start(t, s)
		c := r.dial(t)
		io.WriteString(c, "hello, this is no header, and no handshake either\r\n")
		io.ReadAll(c.in) // a reset, perhaps
		r.finish(t)
		switch reason {
		case RefusedTLS:
			counts.Want(t, "opened: 1", "closed: 1", "refused tls: 1", "handshake failed: 1")
		case RefusedLimit:
			counts.Want(t, "opened: 1", "closed: 1", "refused limit: 1", "sent: 6")
		default:
			counts.Want(t, "opened: 1", "closed: 1", "refused "+reason+": 1")
		}
	}
	// One that comes in the moment of the stop.
	var counts linetest.Counts
	s := &Server{Observer: &counts, stopping: true}
	_, theirs := net.Pipe()
	s.start(theirs)
	counts.Want(t, "opened: 1", "closed: 1", "refused stopping: 1")
}

func TestObserverOfAccept(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var counts linetest.Counts
	s := &Server{Handle: echo, Observer: &counts, Log: slog.New(slog.DiscardHandler)}
	ctx, stop := context.WithCancel(context.Background())
	r := running{l.Addr().String(), stop, make(chan error, 1)}
	go func() { r.done <- s.Serve(ctx, &flakyListener{l, 3}) }()
	r.dial(t).ask("a\r\n", "a")
	r.finish(t)
	counts.Want(t, "accept too many open files: 3", "opened: 1", "closed: 1", "received: 3", "sent: 31")
}
