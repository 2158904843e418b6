package maildir

import (
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"xm/internal/disk/disktest"
)

func TestThreads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls []string
		threads := &threads{
			many:  3,
			more:  func() { calls = append(calls, "more") },
			fewer: func() { calls = append(calls, "fewer") },
		}
		crowd := func(n int) {
			for range n {
				threads.enter()
			}
			for range n {
				threads.leave()
			}
		}
		after := func(d time.Duration, want ...string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			threads.mu.Lock()
			defer threads.mu.Unlock()
			if !slices.Equal(calls, want) {
				t.Fatalf("called: %q, want %q", calls, want)
			}
		}
		crowd(2)
		after(0)
		for range 5 {
			crowd(3)
			after(lull, "more")
		}
		crowd(2)
		after(lull, "more", "fewer")
		crowd(4)
		after(lull, "more", "fewer", "more")
		after(lull, "more", "fewer", "more", "fewer")
	})
}

// The runtime's own number is doubled, and comes back; one that is set stays.
func TestThreadsOfTheRuntime(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	runtime.SetDefaultGOMAXPROCS()
	n := runtime.GOMAXPROCS(0)
	threads := newThreads("")
	threads.more()
	if got := runtime.GOMAXPROCS(0); got != 2*n {
		t.Errorf("%d threads, want %d", got, 2*n)
	}
	threads.fewer()
	if got := runtime.GOMAXPROCS(0); got != n {
		t.Errorf("%d threads, want %d", got, n)
	}
	set := newThreads("3")
	for range 1000 {
		set.enter()
	}
	if set.raised {
		t.Error("GOMAXPROCS must win")
	}
}

// A message is among the deliveries while it is made durable.
func TestDeliveriesAreCounted(t *testing.T) {
	count := func() int {
		deliverers.mu.Lock()
		defer deliverers.mu.Unlock()
		return deliverers.deliveries
	}
	d := disktest.New()
	before, during := count(), 0
	d.SetDuring(func(string) { during = max(during, count()) })
	deliver(t, On(d.Root(), "host"), "message\r\n", "alice")
	if during != before+1 || count() != before {
		t.Errorf("%d deliveries before, %d during one, %d after it", before, during, count())
	}
}
