package sasl

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"
)

// What a Limiter allows unless told otherwise.
const (
	DefaultMaxFailures = 20
	DefaultWindow      = 10 * time.Minute
	DefaultMaxParallel = 4
	DefaultMaxAddrs    = 100_000
)

// Limiter bounds what guessing passwords can cost, in all the services that
// share it. Zero values are defaults; a nil Limiter allows everything. Its
// methods may be called concurrently; its fields are set before.
//
// A success is not counted, nor does it forgive failures: who guesses may have
// an account too, and may sit behind the address of one who has.
type Limiter struct {
	MaxFailures int           // of an address within Window
	Window      time.Duration // begins with the first failure
	MaxParallel int           // attempts of an address under way; others wait
	MaxAddrs    int           // whose failures are remembered

	mu     sync.Mutex
	peers  map[netip.Prefix]*peer
	failed list.List // of the *peer with failures, in the order of the windows
}

// peer is what there is to remember of an address. It is in peers while
// attempts are under way or failures count.
type peer struct {
	key      netip.Prefix
	parallel int
	failures int
	since    time.Time     // the first failure
	element  *list.Element // in failed, if there are failures
	waiting  chan struct{} // closed when an attempt ends; nil while nobody waits for that
}

// Begin begins to try a password for the address, which for IPv6 is its /64. A /48
// may have four times as many failures. done must be called with what came of it. An
// attempt under way counts as a failure until then, so that many at once gain
// nothing; but as it may be none, whoever is one too many waits for its end, as many
// people may be behind one address. The error is ErrTooMany, or ctx's. Loopback is
// never limited.
func (l *Limiter) Begin(ctx context.Context, addr netip.Addr) (done func(failed bool), err error) {
	addr = addr.Unmap()
	if l == nil || addr.IsLoopback() {
		return func(bool) {}, nil
	}
	for {
		peers, busy, err := l.enter(addr)
		switch {
		case err != nil:
			return nil, err
		case busy == nil:
			var once sync.Once
			return func(failed bool) { once.Do(func() { l.end(peers, failed) }) }, nil
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// enter notes an attempt, unless there are too many failures, or so many attempts
// under way that one of them must end first: then busy is closed.
func (l *Limiter) enter(addr netip.Addr) (peers []*peer, busy <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire()
	for _, n := range networks(addr) {
		p := l.peer(n.prefix)
		defer l.release(p) // if it was made here, and for nothing
		left := n.share*cmp.Or(l.MaxFailures, DefaultMaxFailures) - p.failures
		switch {
		case left <= 0:
			return nil, nil, ErrTooMany
		case p.parallel >= min(left, n.share*cmp.Or(l.MaxParallel, DefaultMaxParallel)):
			busy = p.wait()
		}
		peers = append(peers, p)
	}
	if busy != nil {
		return nil, busy, nil
	}
	for _, p := range peers {
		p.parallel++
	}
	return peers, nil, nil
}

// wait returns what is closed when an attempt under way ends.
func (p *peer) wait() <-chan struct{} {
	if p.waiting == nil {
		p.waiting = make(chan struct{})
	}
	return p.waiting
}

// network is one in which attempts are counted together, and how often the limit
// of an address it may have.
type network struct {
	prefix netip.Prefix
	share  int
}

// networks are an IPv4 address, or what an IPv6 host has for certain, a /64, and
// what its customer may have in all, a /48. A connection without an address
// counts as one.
func networks(addr netip.Addr) []network {
	if !addr.Is6() {
		return []network{{prefix(addr, addr.BitLen()), 1}}
	}
	return []network{{prefix(addr, 64), 1}, {prefix(addr, 48), 4}}
}

func prefix(addr netip.Addr, bits int) netip.Prefix {
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

func (l *Limiter) peer(key netip.Prefix) *peer {
	p := l.peers[key]
	if p == nil {
		if l.peers == nil {
			l.peers = map[netip.Prefix]*peer{}
		}
		p = &peer{key: key}
		l.peers[key] = p
	}
	return p
}

func (l *Limiter) end(peers []*peer, failed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire()
	for _, p := range peers {
		p.parallel--
		if failed {
			l.fail(p)
		}
		if p.waiting != nil {
			close(p.waiting)
			p.waiting = nil
		}
		l.release(p)
	}
}

// fail counts a failure. Where too many addresses have some, the oldest window
// ends early: nobody else is locked out for it, and to be forgotten so costs a
// failure from each of MaxAddrs other addresses, from where the same guesses
// could have been made.
func (l *Limiter) fail(p *peer) {
	if p.failures++; p.element != nil {
		return
	}
	if l.failed.Len() >= cmp.Or(l.MaxAddrs, DefaultMaxAddrs) {
		l.forgive(l.failed.Front())
	}
	p.since = time.Now()
	p.element = l.failed.PushBack(p)
}

// expire ends the windows that are over.
func (l *Limiter) expire() {
	window := cmp.Or(l.Window, DefaultWindow)
	for e := l.failed.Front(); e != nil && time.Since(e.Value.(*peer).since) >= window; e = l.failed.Front() {
		l.forgive(e)
	}
}

func (l *Limiter) forgive(e *list.Element) {
	p := l.failed.Remove(e).(*peer)
	p.failures, p.element = 0, nil
	l.release(p)
}

// release drops what says nothing. Attempts under way are as few as the
// services' connections.
func (l *Limiter) release(p *peer) {
	if p.parallel == 0 && p.failures == 0 {
		delete(l.peers, p.key)
	}
}

// ErrTooMany is returned for an address that has failed too often.
var ErrTooMany = errors.New("too many logins from that address")

// Converse is s.Converse for a client at addr. It counts as an attempt while we
// work on it, not while we wait for the client: who thinks takes nobody's place.
func (l *Limiter) Converse(ctx context.Context, addr netip.Addr, s *Server, initial *string, ask func(string) (string, error)) (user string, err error) {
	done, err := l.Begin(ctx, addr)
	if err != nil {
		return "", err
	}
	failed := true // as long as nothing else is known: Users may panic
	defer func() { done(failed) }()
	user, err = s.Converse(ctx, initial, func(challenge string) (string, error) {
		done(false)
		answer, err := ask(challenge)
		if err != nil {
			return "", err
		}
		again, err := l.Begin(ctx, addr)
		if err != nil {
			return "", err
		}
		done = again
		return answer, nil
	})
	failed = errors.Is(err, ErrFailed)
	return user, err
}
