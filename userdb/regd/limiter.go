package regd

import (
	"net/netip"
	"sync"
	"time"

	"xm/internal/line"
)

// Rate is how often something may be done: so many times at once, and as many
// times again in the course of Per. The zero Rate is no limit.
type Rate struct {
	Times int
	Per   time.Duration
}

// maxBuckets bounds the addresses that are remembered.
const maxBuckets = 100_000

// limiter counts what each address does: a bucket of tokens that fills up in the
// course of rate.Per. Its methods may be called concurrently.
type limiter struct {
	rate    Rate
	mu      sync.Mutex
	buckets map[netip.Prefix]bucket
}

type bucket struct {
	tokens float64
	at     time.Time // when it held them
}

// allow takes a token of the peer's, if there is one. Loopback is not limited:
// it is the operator's.
func (l *limiter) allow(peer netip.Addr) bool {
	if l.rate.Times == 0 || peer.IsLoopback() {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now, key := time.Now(), line.Neighbourhood(peer)
	b, known := l.buckets[key]
	if !known {
		l.makeRoom(now)
		b = bucket{float64(l.rate.Times), now}
	}
	b = bucket{l.filled(b, now), now}
	allowed := b.tokens >= 1
	if allowed {
		b.tokens--
	}
	l.buckets[key] = b
	return allowed
}

// filled gives the tokens that a bucket holds by now.
func (l *limiter) filled(b bucket, now time.Time) float64 {
	gained := float64(l.rate.Times) * float64(now.Sub(b.at)) / float64(l.rate.Per)
	return min(float64(l.rate.Times), b.tokens+gained)
}

// makeRoom forgets the full buckets, which say nothing, where there are too many;
// and where that does not help, others: map order is random.
func (l *limiter) makeRoom(now time.Time) {
	if l.buckets == nil {
		l.buckets = map[netip.Prefix]bucket{}
	}
	if len(l.buckets) < maxBuckets {
		return
	}
	for key, b := range l.buckets {
		if l.filled(b, now) >= float64(l.rate.Times) || len(l.buckets) > maxBuckets*9/10 {
			delete(l.buckets, key)
		}
	}
}
