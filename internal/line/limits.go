package line

import (
	"cmp"
	"errors"
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
	// Addresses counts those of each address, for all Limits that share it, each
	// with a MaxPerAddr of its own. nil means that nobody else does.
	Addresses *Addresses

	mu    sync.Mutex
	conns int
}

// Addresses counts connections by address. Its zero value is ready for use.
type Addresses struct {
	mu    sync.Mutex
	conns map[netip.Prefix]int
}

// The errors of enter.
var (
	errFull    = errors.New("too many connections")
	errPerAddr = errors.New("too many connections from that address")
)

// enter counts a connection, unless that would be one too many.
func (l *Limits) enter(peer netip.Addr) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.Addresses == nil {
		l.Addresses = &Addresses{}
	}
	if l.conns >= cmp.Or(l.MaxConns, DefaultMaxConns) {
		return errFull
	}
	if !l.Addresses.enter(peer, cmp.Or(l.MaxPerAddr, DefaultMaxPerAddr)) {
		return errPerAddr
	}
	l.conns++
	return nil
}

func (l *Limits) leave(peer netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns--
	l.Addresses.leave(peer)
}

func (a *Addresses) enter(peer netip.Addr, most int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	near, site := Neighbourhood(peer), siteOf(peer)
	if !peer.IsLoopback() && (a.conns[near] >= most || site.IsValid() && a.conns[site] >= siteMax*most) {
		return false
	}
	if a.conns == nil {
		a.conns = map[netip.Prefix]int{}
	}
	a.conns[near]++
	if site.IsValid() {
		a.conns[site]++
	}
	return true
}

func (a *Addresses) leave(peer netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drop(Neighbourhood(peer))
	if site := siteOf(peer); site.IsValid() {
		a.drop(site)
	}
}

func (a *Addresses) drop(net netip.Prefix) {
	if a.conns[net]--; a.conns[net] == 0 {
		delete(a.conns, net)
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
