package maildir

import (
	"errors"
	"sync"
	"time"
)

// sharedSync syncs a file or directory for all who wait at a time: one fsync
// serves all that was written before it began. Whoever finds none under way begins
// it at once, so that one who is alone waits for nobody.
type sharedSync struct {
	fsync func() error
	told  func(began time.Time, err error) // of each

	mu      sync.Mutex
	running bool
	next    *turn // of those who came while it ran
	failed  int   // how often it has failed
}

// turn is one fsync and those who wait for it.
type turn struct {
	lead chan struct{} // gets one token when the fsync before it has ended
	done chan struct{} // closed when this one has
	err  error
}

// mark is taken before that is written which sync is to make durable.
func (s *sharedSync) mark() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

var errLost = errors.New("another sync has failed meanwhile")

// sync makes durable what was written before. An fsync that failed since mark may
// have lost it, whatever a later one says.
func (s *sharedSync) sync(mark int) error { return s.syncWhile(mark, func(bool) {}) }

// syncWhile is sync for one who has something to do until then. It is called with
// whether the sync waits for it: one that is under way does not.
func (s *sharedSync) syncWhile(mark int, meanwhile func(first bool)) error {
	t, first := s.join()
	func() {
		defer s.await(t, first) // also in a panic: others may wait for us to run it
		meanwhile(first)
	}()
	if t.err != nil {
		return t.err
	}
	if s.mark() != mark {
		return errLost
	}
	return nil
}

// join takes part in the next turn. Whoever is the first, with no sync under way, is
// to run it.
func (s *sharedSync) join() (t *turn, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first = !s.running
	s.running = true
	if s.next == nil {
		s.next = newTurn()
	}
	return s.next, first
}

// await returns when a turn is over, which it runs if that is for it to do.
func (s *sharedSync) await(t *turn, first bool) {
	if !first {
		select {
		case <-t.lead:
		case <-t.done:
			return
		}
	}
	s.run(t)
}

func newTurn() *turn { return &turn{lead: make(chan struct{}, 1), done: make(chan struct{})} }

// run syncs for one turn and passes the lead on.
func (s *sharedSync) run(t *turn) {
	s.mu.Lock()
	if s.next == t {
		s.next = nil // who comes from now on is not served by this turn
	}
	s.mu.Unlock()
	began := time.Now()
	t.err = s.fsync()
	s.told(began, t.err)
	s.mu.Lock()
	if t.err != nil {
		s.failed++
	}
	if s.running = s.next != nil; s.running {
		s.next.lead <- struct{}{}
	}
	s.mu.Unlock()
	close(t.done)
}
