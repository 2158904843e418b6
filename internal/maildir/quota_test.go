package maildir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// quotaStore has a quota for alice and bob.
func quotaStore(t testing.TB, q Quota) (*Store, string) {
	t.Helper()
	s, dir := newStore(t)
	s.Quota = func(maildrop string) Quota {
		if maildrop == "alice" || maildrop == "bob" {
			return q
		}
		return Quota{}
	}
	return s, dir
}

// sized gives a message of the given number of octets on disk.
func sized(octets int) *strings.Reader {
	return strings.NewReader(strings.Repeat("x", octets-1) + "\r\n")
}

func wantFull(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, ErrFull) {
		t.Errorf("%v, want ErrFull", err)
	}
}

func wantRoom(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// touch gives a directory another time than it has, as a change by others does:
// theirs could fall into the tick of the clock that ours fell into.
func touch(t *testing.T, dir string, age time.Duration) {
	t.Helper()
	at := time.Now().Add(-age)
	if err := os.Chtimes(dir, at, at); err != nil {
		t.Fatal(err)
	}
}

func files(t *testing.T, dir, maildrop string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, maildrop, "*/*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestQuotaOfOctets(t *testing.T) {
	s, dir := quotaStore(t, Quota{Octets: 100})
	wantRoom(t, s.Room("alice", 100)) // where nothing is yet
	for what, err := range map[string]error{
		"room": s.Room("alice", 101), "delivery": store(s, sized(101), "alice"), "delivery to two": store(s, sized(101), "carol", "bob"),
	} {
		if wantFull(t, err); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v, want ErrTooLarge", what, err)
		}
	}
	wantRoom(t, store(s, sized(60), "alice"))
	wantFull(t, store(s, sized(41), "alice"))
	wantFull(t, s.Room("alice", 41))
	if err := s.Room("alice", 100); errors.Is(err, ErrTooLarge) {
		t.Error("what fits into an empty maildrop is too large")
	}
	wantFull(t, s.Room("alice", 1<<62))
	wantRoom(t, s.Room("alice", 40))
	wantRoom(t, s.Room("alice", 0))
	wantRoom(t, store(s, sized(40), "alice"))
	wantFull(t, s.Room("alice", 0))
	wantFull(t, store(s, sized(1), "alice"))
	if u, err := s.Usage("alice"); err != nil || u != (Usage{100, 2}) {
		t.Errorf("usage %v, %v", u, err)
	}
	if left := files(t, dir, "alice"); len(left) != 2 {
		t.Errorf("stored, or left in tmp: %v", left)
	}
	wantRoom(t, store(s, sized(1000), "carol")) // who has no quota
	if len(s.usage) != 1 {
		t.Error("something is remembered of a maildrop without a quota")
	}
}

func TestQuotaOfMessages(t *testing.T) {
	s, _ := quotaStore(t, Quota{Messages: 2})
	wantRoom(t, store(s, sized(1000), "alice"))
	wantRoom(t, s.Room("alice", 1<<62))
	wantRoom(t, store(s, sized(1000), "alice"))
	wantFull(t, s.Room("alice", 0))
	wantFull(t, store(s, strings.NewReader(""), "alice"))
}

// What others left counts: by the size in the name, else by that of the file.
func TestQuotaCountsEverything(t *testing.T) {
	s, dir := quotaStore(t, Quota{Octets: 1000, Messages: 5})
	write(t, filepath.Join(dir, "alice/new/1.a,S=10"), "xx")
	write(t, filepath.Join(dir, "alice/cur/2.b:2,S"), "xxx")
	write(t, filepath.Join(dir, "alice/1462313083"), "original")
	write(t, filepath.Join(dir, "alice/notes"), "no message")
	write(t, filepath.Join(dir, "alice/cur/.hidden"), "no message")
	write(t, filepath.Join(dir, "alice/tmp/3.c"), "no message yet")
	if u, err := s.Usage("alice"); err != nil || u != (Usage{10 + 3 + 8, 3}) {
		t.Errorf("usage %v, %v", u, err)
	}
	wantRoom(t, s.Room("alice", 1000-21))
	wantFull(t, s.Room("alice", 1000-20))
	if u, err := s.Usage("nobody"); err != nil || u != (Usage{}) {
		t.Errorf("usage of nobody: %v, %v", u, err)
	}
}

// If one recipient's maildrop is full, nobody gets the message.
func TestQuotaOfOneOfSeveral(t *testing.T) {
	s, dir := quotaStore(t, Quota{Messages: 1})
	wantRoom(t, store(s, sized(10), "bob"))
	wantFull(t, store(s, sized(10), "carol", "bob", "alice"))
	for name, want := range map[string]int{"alice": 0, "bob": 1, "carol": 0} {
		if got := files(t, dir, name); len(got) != want {
			t.Errorf("%s has %v", name, got)
		}
	}
	wantRoom(t, store(s, sized(10), "carol", "alice"))
	wantFull(t, s.Room("alice", 0))
}

// Deliveries at the same time, to overlapping recipients, fill the maildrops
// exactly.
func TestQuotaUnderConcurrentDeliveries(t *testing.T) {
	const limit, tries = 7, 40
	s, dir := quotaStore(t, Quota{Octets: limit * 10})
	var stored atomic.Int32
	var wg sync.WaitGroup
	for i := range tries {
		wg.Go(func() {
			to := [][]string{{"alice", "bob"}, {"bob", "alice"}, {"alice", "bob", fmt.Sprint("user", i)}}[i%3]
			err := store(s, sized(10), to...)
			if err == nil {
				stored.Add(1)
			} else if !errors.Is(err, ErrFull) {
				t.Error(err)
			}
			if err := s.Room("alice", 10); err != nil && !errors.Is(err, ErrFull) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if a, b := files(t, dir, "alice"), files(t, dir, "bob"); stored.Load() != limit || len(a) != limit || len(b) != limit {
		t.Errorf("%d of %d were stored, alice has %d, bob %d; want %d", stored.Load(), tries, len(a), len(b), limit)
	}
}

// Deleted mail makes room, also when the deletion falls into the tick of the
// clock that the delivery fell into: the count is made again before a refusal.
func TestQuotaIsFreedByDeletion(t *testing.T) {
	s, _ := quotaStore(t, Quota{Messages: 1})
	for range 20 {
		wantRoom(t, store(s, sized(10), "alice"))
		m := open(t, s, "alice")
		wantFull(t, s.Room("alice", 0))
		if err := m.Delete([]int{0}); err != nil {
			t.Fatal(err)
		}
		m.Close()
	}
}

// What is remembered is used as long as nobody else changes the maildrop.
func TestQuotaIsRecounted(t *testing.T) {
	s, dir := quotaStore(t, Quota{Messages: 2})
	wantRoom(t, store(s, sized(10), "alice"))
	changes := map[string]func(){
		"new": func() { write(t, filepath.Join(dir, "alice/new/1.foreign"), "x") },
		"cur": func() { write(t, filepath.Join(dir, "alice/cur/1.foreign:2,S"), "x") },
		"":    func() { write(t, filepath.Join(dir, "alice/1462313083"), "x") },
	}
	for sub, change := range changes {
		touch(t, filepath.Join(dir, "alice", sub), time.Hour)
		wantRoom(t, s.Room("alice", 0))
		s.usage["alice"].Messages = -10
		wantRoom(t, s.Room("alice", 0))
		if s.usage["alice"].Messages != -10 {
			t.Errorf("%q: counted again without need", sub)
		}
		change()
		touch(t, filepath.Join(dir, "alice", sub), 2*time.Hour)
		wantFull(t, s.Room("alice", 0))
		for _, f := range []string{"new/1.foreign", "cur/1.foreign:2,S", "1462313083"} {
			os.Remove(filepath.Join(dir, "alice", f))
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, "alice")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		wantRoom(t, s.Room("alice", 0))
		wantRoom(t, store(s, sized(10), "alice"))
	}
}

// What a name says is no size where no message has as much.
func TestUsageOfAbsurdNames(t *testing.T) {
	s, dir := quotaStore(t, Quota{Octets: 100})
	wantRoom(t, store(s, sized(10), "alice"))
	for _, name := range []string{"new/1.a,S=9223372036854775807", "cur/1.b,S=9223372036854775807:2,S"} {
		if err := os.WriteFile(filepath.Join(dir, "alice", name), make([]byte, 20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if u, err := s.Usage("alice"); u != (Usage{Octets: 50, Messages: 3}) || err != nil {
		t.Errorf("%+v, %v", u, err)
	}
	wantRoom(t, s.Room("alice", 50))
	wantFull(t, s.Room("alice", 51))
}

// A full maildrop at rest is counted once, not at each refusal.
func TestRefusalsAreCheap(t *testing.T) {
	s, dir := quotaStore(t, Quota{Messages: 1})
	wantRoom(t, store(s, sized(10), "alice"))
	wantFull(t, s.Room("alice", 0))
	u := s.usage["alice"]
	u.settled = true // as a count finds it after a tenth of a second
	u.Messages = 100
	wantFull(t, s.Room("alice", 0))
	if u.Messages != 100 {
		t.Error("counted again without need")
	}
	touch(t, filepath.Join(dir, "alice/cur"), time.Hour)
	wantFull(t, s.Room("alice", 0))
	if u.Messages != 1 {
		t.Error("a change was not seen")
	}
}

func BenchmarkRoom(b *testing.B) {
	s, dir := quotaStore(b, Quota{Octets: 1 << 40})
	for _, sub := range []string{"new", "cur", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, "alice", sub), 0o700); err != nil {
			b.Fatal(err)
		}
	}
	for i := range 10_000 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("alice/new/%d.x,S=1,W=2", i)), nil, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("remembered", func(b *testing.B) {
		for b.Loop() {
			if err := s.Room("alice", 1); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("counted", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Usage("alice"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
