package sasl

import (
	"context"
	"encoding/base64"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// try makes one attempt and reports whether it was allowed.
func try(l *Limiter, peer string, failed bool) bool {
	done, err := l.Begin(context.Background(), addr(peer))
	if err == nil {
		done(failed)
	}
	return err == nil
}

func exhaust(t *testing.T, l *Limiter, peer string, failures int) {
	t.Helper()
	for i := range failures {
		if !try(l, peer, true) {
			t.Fatalf("%s: attempt %d was refused", peer, i+1)
		}
	}
	if try(l, peer, true) {
		t.Fatalf("%s: more than %d failures", peer, failures)
	}
}

func TestLimiterWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Limiter{}
		try(l, "192.0.2.1", true)
		time.Sleep(DefaultWindow - time.Second)
		exhaust(t, l, "192.0.2.1", DefaultMaxFailures-1)
		if !try(l, "192.0.2.2", true) {
			t.Error("another address is refused")
		}
		time.Sleep(time.Second)
		exhaust(t, l, "192.0.2.1", DefaultMaxFailures)
		time.Sleep(DefaultWindow)
		if !try(l, "192.0.2.1", false) || len(l.peers) != 0 || l.failed.Len() != 0 {
			t.Errorf("%d addresses are remembered, %d with failures", len(l.peers), l.failed.Len())
		}
	})
}

func TestLimiterSuccesses(t *testing.T) {
	l := &Limiter{MaxFailures: 3, Window: time.Hour}
	for range 10 {
		if !try(l, "192.0.2.1", false) {
			t.Fatal("a success counts")
		}
	}
	try(l, "192.0.2.1", true)
	try(l, "192.0.2.1", true)
	try(l, "192.0.2.1", false)
	exhaust(t, l, "192.0.2.1", 1)
}

func TestLimiterNetworks(t *testing.T) {
	l := &Limiter{MaxFailures: 2, Window: time.Hour}
	exhaust(t, l, "2001:db8::1", 2)
	exhaust(t, l, "192.0.2.1", 2)
	for peer, want := range map[string]bool{
		"2001:db8::ffff:1:2:3": false, "2001:db8:0:1::1": true, "::ffff:192.0.2.1": false, "192.0.2.2": true,
	} {
		if got := try(l, peer, false); got != want {
			t.Errorf("%s: %v, want %v", peer, got, want)
		}
	}
	for range 10 {
		for _, peer := range []string{"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"} {
			if !try(l, peer, true) {
				t.Fatalf("%s is limited", peer)
			}
		}
		if !try(nil, "192.0.2.1", true) {
			t.Fatal("a nil Limiter limits")
		}
	}
	for range 2 {
		done, err := l.Begin(t.Context(), netip.Addr{})
		if err != nil {
			t.Fatal("no address is no chance")
		}
		done(true)
	}
	if _, err := l.Begin(t.Context(), netip.Addr{}); err == nil {
		t.Error("connections without an address are not limited")
	}
}

// waiters begins attempts that have to wait, and returns what becomes of them.
func waiters(l *Limiter, peer string, n int) chan error {
	results := make(chan error, n)
	for range n {
		go func() {
			done, err := l.Begin(context.Background(), addr(peer))
			results <- err
			if err == nil {
				done(false)
			}
		}()
	}
	return results
}

// Many people behind one address log in at once: they wait for each other.
func TestLimiterParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Limiter{Window: time.Hour}
		running := begun(t, l, "2001:db8::1", DefaultMaxParallel)
		waiting := waiters(l, "2001:db8::2", 100)
		synctest.Wait()
		if len(waiting) > 0 {
			t.Errorf("%d more than may be under way are", len(waiting))
		}
		if !try(l, "192.0.2.2", false) {
			t.Error("another address has to wait")
		}
		running[0](false)
		for range 100 {
			if err := <-waiting; err != nil {
				t.Error(err)
			}
		}
		for _, done := range running {
			done(false)
		}
		synctest.Wait() // the last of them may have yet to end
		if len(l.peers) > 0 {
			t.Errorf("%d addresses are remembered", len(l.peers))
		}
	})
}

// An attempt under way may turn out to be the last that an address has.
func TestLimiterParallelFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Limiter{MaxFailures: 6, Window: time.Hour}
		running := begun(t, l, "192.0.2.1", DefaultMaxParallel)
		for _, done := range running[1:] {
			done(true)
			done(false) // the first word counts
		}
		running = append(running[:1], begun(t, l, "192.0.2.1", 2)...) // with 3 failures
		waiting := waiters(l, "192.0.2.1", 3)
		synctest.Wait()
		if len(waiting) > 0 {
			t.Error("attempts under way do not count as failures")
		}
		running[0](false)
		for range 3 {
			if err := <-waiting; err != nil {
				t.Errorf("a success still counts: %v", err)
			}
		}
		running = append(running[1:], begun(t, l, "192.0.2.1", 1)...)
		waiting = waiters(l, "192.0.2.1", 3)
		for _, done := range running {
			done(true)
		}
		for range 3 {
			if err := <-waiting; err != ErrTooMany {
				t.Errorf("after as many failures as there may be: %v", err)
			}
		}
	})
}

// Who waits goes when the connection ends.
func TestLimiterContext(t *testing.T) {
	l := &Limiter{MaxParallel: 1}
	begun(t, l, "192.0.2.1", 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Begin(ctx, addr("192.0.2.1")); err != context.Canceled {
		t.Error(err)
	}
}

// begun begins attempts, none of which has to wait.
func begun(t *testing.T, l *Limiter, peer string, n int) (running []func(bool)) {
	t.Helper()
	for range n {
		done, err := l.Begin(t.Context(), addr(peer))
		if err != nil {
			t.Fatal(err)
		}
		running = append(running, done)
	}
	return running
}

// An attempt that outlasts its window counts in the next.
func TestLimiterLongAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Limiter{MaxFailures: 2, Window: time.Minute}
		try(l, "192.0.2.1", true)
		done, err := l.Begin(t.Context(), addr("192.0.2.1"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		done(true)
		exhaust(t, l, "192.0.2.1", 1)
	})
}

func TestLimiterFull(t *testing.T) {
	l := &Limiter{MaxFailures: 2, MaxAddrs: 3, Window: time.Hour}
	for _, peer := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"} {
		exhaust(t, l, peer, 2)
	}
	if !try(l, "192.0.2.4", true) {
		t.Error("the world is locked out")
	}
	if n := len(l.peers); n != 3 || l.failed.Len() != 3 {
		t.Errorf("%d addresses, %d with failures", n, l.failed.Len())
	}
	if try(l, "192.0.2.2", true) || try(l, "192.0.2.3", true) {
		t.Error("a window that is not the oldest ended")
	}
	if !try(l, "192.0.2.1", false) {
		t.Error("the oldest window did not end")
	}
	// Attempts that do not fail push nobody out.
	for range 10 {
		try(l, "192.0.2.5", false)
	}
	if try(l, "192.0.2.2", true) {
		t.Error("a success ended another's window")
	}
}

func TestLimiterConcurrently(t *testing.T) {
	l := &Limiter{MaxFailures: 50, MaxParallel: 1000, MaxAddrs: 2, Window: time.Hour}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 100 {
				try(l, []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}[i%3], i%2 == 0)
			}
		})
	}
	wg.Wait()
	if n := len(l.peers); n > 2 {
		t.Errorf("%d addresses are remembered", n)
	}
	for _, p := range l.peers {
		if p.parallel != 0 {
			t.Errorf("%v: %d attempts under way", p.key, p.parallel)
		}
	}
}

// Who has a /48 has 65,536 networks, but not as many guesses.
func TestLimiterSites(t *testing.T) {
	l := &Limiter{MaxFailures: 5}
	allowed := 0
	for i := range 100 {
		peer := netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 7: byte(i), 15: 1})
		if try(l, peer.String(), true) {
			allowed++
		}
	}
	if allowed != 4*5 || !try(l, "2001:db8:1::1", true) {
		t.Errorf("%d guesses from one site", allowed)
	}
	if len(l.peers) != allowed+1+2 {
		t.Errorf("%d networks are remembered", len(l.peers))
	}
}

// panicking is a store with a fault.
type panicking struct{ testUsers }

func (panicking) Authenticate(context.Context, string, string) (string, bool, error) {
	panic("trouble")
}

// A guess that panics was one, and is not under way for ever.
func TestLimiterCountsPanics(t *testing.T) {
	l := &Limiter{MaxFailures: 2, MaxParallel: 1}
	peer := addr("192.0.2.1")
	for range 2 {
		s, err := NewServer(Plain, panicking{}, secure)
		if err != nil {
			t.Fatal(err)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("it did not come to the password")
				}
			}()
			initial := base64.StdEncoding.EncodeToString([]byte("\x00user\x00x"))
			l.Converse(t.Context(), peer, s, &initial, nil)
		}()
	}
	if _, err := l.Begin(t.Context(), peer); err == nil {
		t.Error("the guesses were not counted")
	}
}
