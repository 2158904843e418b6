// Package line is what the line-based servers share: the accept loop and its
// graceful stop, connection limits, the PROXY protocol, TLS from the start or
// later, bounded reading of CRLF lines under deadlines, and message bodies.
//
// A protocol server fills in a Server and calls Serve; each connection gets its
// own goroutine, a Conn and a call of Handle.
package line

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// DefaultGrace is that of Server.
const DefaultGrace = 10 * time.Second

// maxBackoff bounds the wait after a failed accept: out of descriptors, say.
const maxBackoff = time.Second

// ErrHandedOver is what Accept returns once somebody else accepts connections in
// the place of this server, which ends when its sessions have.
var ErrHandedOver = errors.New("the listener was handed over")

// Server accepts connections and runs a session on each.
type Server struct {
	// Handle runs a session. The connection is closed when it returns.
	Handle func(*Conn)
	// Busy is sent, with CRLF, to a connection over one of the limits, before
	// that is closed.
	Busy string
	// Limits may be shared with other servers; nil means the defaults.
	Limits *Limits
	// Lifetime is how long a session may take in all. 0 means for ever.
	Lifetime time.Duration
	// Grace is how long sessions may go on after the stop. 0 means the default.
	Grace time.Duration
	// Certificate is for StartTLS; nil for none. ImplicitTLS begins each
	// connection with the handshake. ALPN is the protocol's registered name.
	Certificate *Certificate
	ImplicitTLS bool
	ALPN        string
	// Proxies are the balancers whose connections begin with a PROXY header. No
	// other peer's may.
	Proxies []netip.Prefix
	// ReadBuffer is how many octets are read ahead of a session; every idle one
	// holds as many. 0 means the default, 4096.
	ReadBuffer int
	// Observer is told of the connections; nil for none.
	Observer Observer
	Log      *slog.Logger

	mu       sync.Mutex
	conns    map[*Conn]struct{}
	config   *tls.Config // for Certificate
	stopping bool
	sessions sync.WaitGroup
}

// Serve accepts connections from l, which it closes, until ctx is done. Then
// sessions that wait for a command between transactions, for a PROXY header, for a
// client's part of a handshake, or for it to begin, are interrupted (Conn.ReadLine,
// StartTLS and Input return ErrStopping to them), the others may go on for Grace, and
// what is left is cut off: its waits for input end, and soon the connection. It returns
// nil after such a stop, or the error that ended the listener. If Accept returns
// ErrHandedOver, l stays open, and the sessions go on until they end or ctx is done.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if s.ImplicitTLS && s.Certificate == nil {
		return errors.Join(ErrNoTLS, l.Close())
	}
	if s.Limits == nil {
		s.Limits = &Limits{}
	}
	s.conns = map[*Conn]struct{}{}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	err := s.accept(ctx, l)
	if errors.Is(err, ErrHandedOver) {
		s.outlive(ctx)
		err = nil
	}
	return errors.Join(err, s.stop())
}

// outlive lets the sessions end by themselves, as long as ctx does.
func (s *Server) outlive(ctx context.Context) {
	ended := make(chan struct{})
	go func() { s.sessions.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-ctx.Done():
	}
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
		case errors.Is(err, net.ErrClosed), errors.Is(err, ErrHandedOver):
			return err
		default:
			backoff = min(max(2*backoff, 5*time.Millisecond), maxBackoff)
			s.observer().AcceptFailed(err)
			s.Log.Error("accept", "err", err, "retry", backoff)
			sleep(ctx, backoff)
		}
	}
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func (s *Server) start(nc net.Conn) {
	observer := s.observer()
	observer.Opened()
	c := newConn(s, nc)
	if !s.register(c) {
		c.close()
		observer.Refused(RefusedStopping)
		observer.Closed()
		return
	}
	go func() {
		defer s.sessions.Done()
		defer observer.Closed()
		defer s.forget(c)
		defer c.close()
		defer func() {
			if v := recover(); v != nil { // one peer must not end the others' sessions
				s.Log.Error("session panicked", "session", c.ID, "panic", v, "stack", string(debug.Stack()))
			}
		}()
		s.session(c)
	}()
}

// session finds out who the peer is, and runs the protocol.
func (s *Server) session(c *Conn) {
	if contains(s.Proxies, c.peer) {
		header, err := c.awaitProxyHeader()
		if errors.Is(err, ErrStopping) {
			s.observer().Refused(RefusedStopping)
			s.Log.Info("connection refused", "session", c.ID, "proxy", c.peer, "err", err)
			return
		}
		if err == io.EOF { // the balancer has looked whether the port is open, as it may every second
			s.Log.Debug("connection closed", "session", c.ID, "proxy", c.peer)
			return
		}
		if err != nil {
			s.observer().Refused(RefusedProxy)
			s.Log.Warn("PROXY header", "session", c.ID, "proxy", c.peer, "err", err)
			return
		}
		c.mu.Lock() // the stop names the peers
		c.peer, c.local = header.client, header.server
		c.mu.Unlock()
	}
	if err := s.Limits.enter(c.peer); err != nil {
		s.observer().Refused(RefusedLimit)
		s.logBusy(c, err)
		if !s.ImplicitTLS { // else it can't be said before the handshake, which is not worth it
			_, _ = c.Reply(s.Busy), c.Flush() // it is over, heard or not
		}
		return
	}
	defer s.Limits.leave(c.peer)
	if s.ImplicitTLS {
		if _, err := c.StartTLS(); err != nil {
			reason := RefusedTLS
			if errors.Is(err, ErrStopping) {
				reason = RefusedStopping
			}
			s.observer().Refused(reason)
			s.Log.Info("connection refused", "session", c.ID, "peer", c.peer, "err", err)
			return
		}
	}
	s.Handle(c)
	c.hangUp()
}

// logBusy tells whose fault it is that there are too many connections.
func (s *Server) logBusy(c *Conn, err error) {
	log := c.Logger(s.Log)
	if err == errPerAddr {
		Abuse(log, err.Error())
		return
	}
	log.Warn("connection refused", "err", err)
}

// Abuse logs what a peer does that nobody needs to do. log has service, session
// and peer already, in that order (Conn.Logger), and nothing else that a peer can choose before
// them: whoever reads the log to block addresses relies on it (scripts/fail2ban).
func Abuse(log *slog.Logger, reason string) { log.Warn("abuse", "reason", reason) }

// httpVerbs begin what a browser sends that somebody made talk to us. What follows is
// not meant for us either (ALPACA, and the like before it).
var httpVerbs = []string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI"}

// IsHTTP reports whether a verb, in capitals, is one of HTTP: the session is to end.
func IsHTTP(verb string) bool { return slices.Contains(httpVerbs, verb) }

func contains(nets []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(nets, func(p netip.Prefix) bool { return p.Contains(a) })
}

// register makes the connection one that the stop knows of.
func (s *Server) register(c *Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return false
	}
	s.conns[c] = struct{}{}
	s.sessions.Add(1)
	sessions.enter()
	return true
}

func (s *Server) forget(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	sessions.leave()
}

const (
	// sayTime is how long a session that is cut off may take to say so.
	sayTime = time.Second
	// cutTime is how long it may take to notice.
	cutTime = 5 * time.Second
)

// each calls do for each connection.
func (s *Server) each(do func(*Conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		do(c)
	}
}

func (s *Server) stop() error {
	grace := cmp.Or(s.Grace, DefaultGrace)
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
	s.each((*Conn).interrupt)

	defer time.AfterFunc(grace, func() {
		s.each(func(c *Conn) {
			c.mu.Lock()
			s.Log.Warn("session cut off", "session", c.ID, "peer", c.peer)
			c.mu.Unlock()
			c.cutOff()
		})
	}).Stop()
	defer time.AfterFunc(grace+sayTime, func() { s.each((*Conn).close) }).Stop()
	ended := make(chan struct{})
	go func() { s.sessions.Wait(); close(ended) }()
	select {
	case <-ended:
		return nil
	case <-time.After(grace + cutTime):
		return errors.New("sessions that were cut off did not end")
	}
}
