package metrics

import (
	"net"
	"sync"
)

// maxStrangers is how many connections those have at a time who may not ask, and are
// told so: they can't take the place of those who may.
const maxStrangers = 4

// gate is a listener that closes the connections of strangers that are too many.
type gate struct {
	net.Listener
	allowed   func(peer string) bool
	strangers chan struct{} // one for each that is connected
}

func newGate(l net.Listener, allowed func(peer string) bool) gate {
	return gate{l, allowed, make(chan struct{}, maxStrangers)}
}

// Accept is net.Listener's.
func (g gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil || g.allowed(conn.RemoteAddr().String()) {
			return conn, err
		}
		select {
		case g.strangers <- struct{}{}:
			return &stranger{Conn: conn, leave: sync.OnceFunc(func() { <-g.strangers })}, nil
		default:
			conn.Close()
		}
	}
}

// stranger is a connection of one.
type stranger struct {
	net.Conn
	leave func()
}

// Close is net.Conn's.
func (s *stranger) Close() error {
	defer s.leave()
	return s.Conn.Close()
}
