package line

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"
)

// A server that is replaced keeps its sessions, until they end or all stops; no
// connection is refused.
func TestHandOver(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port, err := NewPort(l)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	next := func(name string) running {
		t.Helper()
		turn, err := port.Next()
		if err != nil {
			t.Fatal(err)
		}
		s := &Server{Log: slog.New(slog.DiscardHandler), Handle: func(c *Conn) { c.Reply(name); echo(c) }}
		r := running{l.Addr().String(), stop, make(chan error, 1)}
		go func() { r.done <- s.Serve(ctx, turn) }()
		return r
	}
	first := next("first")
	early := first.dial(t)
	early.ask("", "first")
	ends := first.dial(t)
	ends.ask("", "first")
	second := next("second")
	for range 10 {
		c := second.dial(t)
		c.ask("", "second")
		c.Close()
	}
	early.ask("still here\r\n", "still here")
	// The first ends with its sessions.
	ends.Close()
	early.Close()
	if err := <-first.done; err != nil {
		t.Errorf("the first ended with %v", err)
	}
	// A stop reaches those that were replaced, too.
	late := second.dial(t)
	late.ask("", "second")
	third := next("third")
	last := third.dial(t)
	last.ask("", "third")
	stop()
	for _, c := range []*client{late, last} {
		c.ask("", "bye "+ErrStopping.Error())
		c.ended()
	}
	for _, r := range []running{second, third} {
		if err := <-r.done; err != nil {
			t.Errorf("stopped with %v", err)
		}
	}
}

func TestPortNeedsDeadlines(t *testing.T) {
	if _, err := NewPort(struct{ net.Listener }{}); err == nil {
		t.Error("a listener without deadlines was taken")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port, err := NewPort(l)
	if err != nil {
		t.Fatal(err)
	}
	turn, err := port.Next()
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := turn.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept on a closed port: %v", err)
	}
	if _, err := port.Next(); err == nil {
		t.Error("a closed port was handed over")
	}
}
