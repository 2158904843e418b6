// Package line is what the line-based servers share: the accept loop and its
// graceful stop, connection limits, bounded reading of CRLF lines under
// deadlines, and dot-stuffed bodies.
//
// A protocol server fills in a Server and calls Serve; each connection gets its
// own goroutine, a Conn and a call of Handle.
package line

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"
)

// Defaults of Server's limits.
const (
	DefaultMaxConns   = 20_000
	DefaultMaxPerAddr = 100
	DefaultGrace      = 10 * time.Second
)

// maxBackoff bounds the wait after a failed accept: out of descriptors, say.
const maxBackoff = time.Second

// Server accepts connections and runs a session on each.
type Server struct {
	// Handle runs a session. The connection is closed when it returns.
	Handle func(*Conn)
	// Busy is sent, with CRLF, to a connection over one of the limits, before
	// that is closed.
	Busy string
	// MaxConns limits the connections, and MaxPerAddr those from one IPv4
	// address or IPv6 /64 other than loopback. 0 means the default.
	MaxConns, MaxPerAddr int
	// Grace is how long sessions may go on after the stop. 0 means the default.
	Grace time.Duration
	Log   *slog.Logger

	mu       sync.Mutex
	conns    map[*Conn]struct{}
	perAddr  map[netip.Prefix]int
	stopping bool
	sessions sync.WaitGroup
}

// Serve accepts connections from l, which it closes, until ctx is done. Then
// sessions that wait for a command between transactions are interrupted
// (Conn.ReadLine returns ErrStopping to them), the others may go on for Grace,
// and what is left is cut off. It returns nil after such a stop, or the error
// that ended the listener.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	return errors.Join(s.accept(ctx, l), s.stop())
}

func (s *Server) accept(ctx context.Context, l net.Listener) error {
	var backoff time.Duration
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			backoff = 0
			s.start(nc)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default:
			backoff = min(max(2*backoff, 5*time.Millisecond), maxBackoff)
			s.Log.Error("accept", "err", err, "retry", backoff)
			sleep(ctx, backoff)
		}
	}
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (s *Server) start(nc net.Conn) {
	c := newConn(nc)
	if !s.admit(c) {
		s.Log.Warn("too many connections", "peer", c.Peer())
		c.Reply(s.Busy)
		c.close()
		return
	}
	go func() {
		defer s.sessions.Done()
		defer s.dismiss(c)
		defer c.close()
		defer func() {
			if v := recover(); v != nil { // one peer must not end the others' sessions
				s.Log.Error("session panicked", "session", c.ID, "panic", v, "stack", string(debug.Stack()))
			}
		}()
		s.Handle(c)
		c.hangUp()
	}()
}

func (s *Server) admit(c *Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		s.conns, s.perAddr = map[*Conn]struct{}{}, map[netip.Prefix]int{}
	}
	net := neighbourhood(c.Peer())
	if s.stopping || len(s.conns) >= orDefault(s.MaxConns, DefaultMaxConns) ||
		!c.Peer().IsLoopback() && s.perAddr[net] >= orDefault(s.MaxPerAddr, DefaultMaxPerAddr) {
		return false
	}
	s.conns[c] = struct{}{}
	s.perAddr[net]++
	s.sessions.Add(1)
	return true
}

func (s *Server) dismiss(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	net := neighbourhood(c.Peer())
	if s.perAddr[net]--; s.perAddr[net] == 0 {
		delete(s.perAddr, net)
	}
}

// neighbourhood is what one host commands: an IPv4 address or an IPv6 /64.
func neighbourhood(a netip.Addr) netip.Prefix {
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // no address at all: a pipe in a test
	}
	return p
}

func orDefault[T int | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// cutTime is how long a session that was cut off may take to notice.
const cutTime = 5 * time.Second

func (s *Server) stop() error {
	grace := orDefault(s.Grace, DefaultGrace)
	s.mu.Lock()
	s.stopping = true
	for c := range s.conns {
		c.interrupt()
	}
	s.mu.Unlock()

	cut := time.AfterFunc(grace, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for c := range s.conns {
			s.Log.Warn("session cut off", "session", c.ID, "peer", c.Peer())
			c.close()
		}
	})
	defer cut.Stop()
	ended := make(chan struct{})
	go func() { s.sessions.Wait(); close(ended) }()
	select {
	case <-ended:
		return nil
	case <-time.After(grace + cutTime):
		return errors.New("sessions that were cut off did not end")
	}
}
