package pop3d

import (
	"sync"
	"time"
)

// LoginDelay is how long a user must wait from one login to the next (RFC 2449,
// section 6.5). A nil one lets them in at once. Its memory is that of one
// process.
type LoginDelay struct {
	Delay time.Duration

	mu    sync.Mutex
	last  map[string]time.Time // logins, by user
	swept time.Time
}

// seconds is the delay, rounded up.
func (d *LoginDelay) seconds() int64 { return int64((d.Delay + time.Second - 1) / time.Second) }

// enter reports whether the user may log in, and if so takes note of it.
func (d *LoginDelay) enter(user string) bool {
	if d == nil {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	d.sweep(now)
	if last, ok := d.last[user]; ok && now.Sub(last) < d.Delay {
		return false
	}
	d.last[user] = now
	return true
}

// sweep forgets, now and then, those who need not wait any more.
func (d *LoginDelay) sweep(now time.Time) {
	if d.last != nil && now.Sub(d.swept) < d.Delay {
		return
	}
	recent := map[string]time.Time{}
	for user, last := range d.last {
		if now.Sub(last) < d.Delay {
			recent[user] = last
		}
	}
	d.last, d.swept = recent, now
}
