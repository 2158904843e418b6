package line

import (
	"net/netip"
	"sync"
)

// Defaults of Limits.
const (
	DefaultMaxConns   = 20_000
	DefaultMaxPerAddr = 100
)

// Limits bounds the connections of one or more Servers together.
type Limits struct {
	// MaxConns limits the connections, and MaxPerAddr those from one IPv4
	// address or IPv6 /64 other than loopback. 0 means the default.
	MaxConns, MaxPerAddr int

	mu      sync.Mutex
	conns   int
	perAddr map[netip.Prefix]int
}

// enter counts a connection, unless that would be one too many.
func (l *Limits) enter(peer netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	net := Neighbourhood(peer)
	if l.conns >= orDefault(l.MaxConns, DefaultMaxConns) ||
		!peer.IsLoopback() && l.perAddr[net] >= orDefault(l.MaxPerAddr, DefaultMaxPerAddr) {
		return false
	}
	if l.perAddr == nil {
		l.perAddr = map[netip.Prefix]int{}
	}
	l.conns++
	l.perAddr[net]++
	return true
}

func (l *Limits) leave(peer netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns--
	net := Neighbourhood(peer)
	if l.perAddr[net]--; l.perAddr[net] == 0 {
		delete(l.perAddr, net)
	}
}

// Neighbourhood is what one host commands: an IPv4 address or an IPv6 /64. It
// is the zero Prefix for no address.
func Neighbourhood(a netip.Addr) netip.Prefix {
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
