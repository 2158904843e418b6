package line

import (
	"os"
	"runtime/debug"
	"sync"
)

// crowd has garbage collected sooner while many sessions are open, which wait most of
// the time: by default the heap may double before each collection, and that would be
// half of their memory. While there are few, memory is no matter, and time is.
type crowd struct {
	set func(percent int) (before int) // debug.SetGCPercent; nil leaves all as it is

	mu     sync.Mutex
	open   int
	before int // what set returned; 0 while there is no crowd
}

const (
	crowdSize    = 1000
	crowdPercent = 50
)

// sessions are those of the process, whose garbage is one.
var sessions = newCrowd(os.Getenv("GOGC"))

// newCrowd leaves a percentage alone that somebody has set.
func newCrowd(gogc string) *crowd {
	if gogc != "" {
		return &crowd{}
	}
	return &crowd{set: debug.SetGCPercent}
}

func (c *crowd) enter() { c.count(1) }
func (c *crowd) leave() { c.count(-1) }

func (c *crowd) count(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open += n
	switch {
	case c.set == nil:
	case c.before == 0 && c.open >= crowdSize:
		c.before = c.set(crowdPercent)
	case c.before != 0 && c.open < crowdSize/2: // not again and again around one number
		c.set(c.before)
		c.before = 0
	}
}
