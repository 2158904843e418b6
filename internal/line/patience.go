package line

import "time"

// patience is the deadline of a connection's reads, or of its writes. A wait may last
// a little longer than it is said to, so that most of them find a deadline that will
// do: to set one is a good part of what a short command costs.
type patience struct {
	until time.Time // the deadline that is set; zero if that is not known
}

// slack is the part of a wait that it may last longer.
const slack = 64

// await gives the deadline for what begins now and may last for timeout, but not
// beyond expires unless that is zero, and whether it is yet to be set.
func (p *patience) await(timeout time.Duration, expires time.Time) (deadline time.Time, set bool) {
	earliest := time.Now().Add(timeout)
	latest := earliest.Add(timeout / slack)
	if !expires.IsZero() && expires.Before(latest) {
		latest = expires
		if expires.Before(earliest) {
			earliest = expires
		}
	}
	if set = p.until.Before(earliest) || p.until.After(latest); set {
		p.until = latest
	}
	return p.until, set
}
