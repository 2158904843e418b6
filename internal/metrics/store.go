package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Result is what came of an operation of the mail store.
type Result int

// The results.
const (
	OK     Result = iota
	Denied        // the quota has no room, or the maildrop is in use
	Failed        // an error of the store
	results
)

// Store counts what the mail store does. A nil one counts nothing.
type Store struct {
	all            *Metrics
	commits, opens [results]prometheus.Counter
	errors         [operations]prometheus.Counter
}

// operation is one of the store that can fail.
type operation int

const (
	begin operation = iota
	commit
	open
	remove
	fsync
	operations
)

// Store returns the observer of the mail store.
func (m *Metrics) Store() *Store {
	s := &Store{all: m}
	for r, name := range [results]string{"ok", "full", "error"} {
		s.commits[r] = m.commits.WithLabelValues(name)
	}
	for r, name := range [results]string{"ok", "in_use", "error"} {
		s.opens[r] = m.maildrop.WithLabelValues(name)
	}
	for o, name := range [operations]string{"begin", "commit", "open", "delete", "fsync"} {
		s.errors[o] = m.storeErrors.WithLabelValues(name)
	}
	return s
}

func (s *Store) count(o operation, counters *[results]prometheus.Counter, r Result) {
	counters[r].Inc()
	if r == Failed {
		s.errors[o].Inc()
	}
}

// BeginFailed is called when a delivery could not begin.
func (s *Store) BeginFailed() {
	if s != nil {
		s.errors[begin].Inc()
	}
}

// Committing is called before a delivery is made durable, and Committed with its
// time after.
func (s *Store) Committing() (began time.Time) {
	if s != nil {
		s.all.waiting.Inc()
	}
	return time.Now()
}

// Committed is called when a delivery has come to its end.
func (s *Store) Committed(began time.Time, r Result) {
	if s == nil {
		return
	}
	s.all.waiting.Dec()
	s.all.commitTime.Observe(time.Since(began).Seconds())
	s.count(commit, &s.commits, r)
}

// Opened is called when a maildrop was opened, or could not be.
func (s *Store) Opened(began time.Time, r Result) {
	if s == nil {
		return
	}
	s.all.maildropTime.Observe(time.Since(began).Seconds())
	s.count(open, &s.opens, r)
}

// Deleted is called when messages of a maildrop were deleted. err says that some
// may not be.
func (s *Store) Deleted(messages int, err error) {
	switch {
	case s == nil:
	case err != nil:
		s.errors[remove].Inc()
	default:
		s.all.deleted.Add(float64(messages))
	}
}

// Synced is called after each fsync.
func (s *Store) Synced(took time.Duration, err error) {
	if s == nil {
		return
	}
	s.all.syncTime.Observe(took.Seconds())
	if err != nil {
		s.errors[fsync].Inc()
	}
}
