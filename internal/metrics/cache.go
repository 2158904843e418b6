package metrics

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// cache finds the counters of a vector by a key of plain values.
// CounterVec.WithLabelValues would make garbage for each look-up.
type cache[K comparable] struct {
	// counter makes the counter for a key, and a key that may be kept: the words in
	// the other one may be part of what a client sent.
	counter func(K) (K, prometheus.Counter)

	adding sync.Mutex
	known  atomic.Pointer[map[K]prometheus.Counter] // replaced, never changed
}

func (c *cache[K]) of(key K) prometheus.Counter {
	if known := c.known.Load(); known != nil {
		if counter, ok := (*known)[key]; ok {
			return counter
		}
	}
	return c.add(key)
}

func (c *cache[K]) add(key K) prometheus.Counter {
	c.adding.Lock()
	defer c.adding.Unlock()
	next := map[K]prometheus.Counter{}
	if known := c.known.Load(); known != nil {
		next = maps.Clone(*known)
	}
	own, counter := c.counter(key)
	next[own] = counter
	c.known.Store(&next)
	return counter
}
