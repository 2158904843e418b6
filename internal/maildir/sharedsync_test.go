package maildir

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Who panics while a sync is waited for, which ends a session, keeps no other from its own:
// neither as the first nor as one of those who come during a sync.
func TestPanicDuringSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fails if all wait for ever
		syncs, ended := 0, make(chan bool)
		s := sharedSync{told: func(time.Time, error) {}, fsync: func() error {
			syncs++
			<-ended
			return nil
		}}
		var all sync.WaitGroup
		wait := func(meanwhile func(first bool)) {
			all.Go(func() {
				defer func() { _ = recover() }() // as the server of the session does
				if err := s.syncWhile(0, meanwhile); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		wait(func(bool) { panic("first") })
		wait(func(bool) { panic("during a sync") })
		wait(func(bool) {})
		close(ended)
		all.Wait()
		if syncs != 2 || s.running {
			t.Errorf("%d syncs, one is running: %v", syncs, s.running)
		}
	})
}
