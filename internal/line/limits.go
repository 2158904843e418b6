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

// sitePrefix is the length of what an IPv6 customer may have in all, and siteMax
// how many /64s' worth of connections such a site gets.
const (
	sitePrefix = 48
	siteMax    = 4
)

// Limits bounds the connections of one or more Servers together.
type Limits struct {
	// MaxConns limits the connections, and MaxPerAddr those from one IPv4
	// address or IPv6 /64 other than loopback. A /48 may have four times as many.
	// 0 means the default.
	MaxConns, MaxPerAddr int

	mu      sync.Mutex
	conns   int
	perAddr map[netip.Prefix]int
}

// enter counts a connection, unless that would be one too many.
func (l *Limits) enter(peer netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	most := orDefault(l.MaxPerAddr, DefaultMaxPerAddr)
	near, site := Neighbourhood(peer), siteOf(peer)
	if l.conns >= orDefault(l.MaxConns, DefaultMaxConns) ||
		!peer.IsLoopback() && (l.perAddr[near] >= most || site.IsValid() && l.perAddr[site] >= siteMax*most) {
		return false
	}
	if l.perAddr == nil {
		l.perAddr = map[netip.Prefix]int{}
	}
	l.conns++
	l.perAddr[near]++
	if site.IsValid() {
		l.perAddr[site]++
	}
	return true
}

func (l *Limits) leave(peer netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns--
	l.drop(Neighbourhood(peer))
	if site := siteOf(peer); site.IsValid() {
		l.drop(site)
	}
}

func (l *Limits) drop(net netip.Prefix) {
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

// siteOf is the network of an IPv6 host's customer; invalid for others.
func siteOf(a netip.Addr) netip.Prefix {
	if !a.Is6() {
		return netip.Prefix{}
	}
	p, err := a.Prefix(sitePrefix)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
