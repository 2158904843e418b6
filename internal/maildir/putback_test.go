package maildir

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"xm/internal/disk/disktest"
)

// rescued has a message put back while it runs, for a sync that has failed, and calls
// meanwhile, once, before the operation on a name. It waits for wait then, and returns
// how many messages alice has.
func rescued(t *testing.T, op, name string, meanwhile func(c *crashed), wait func()) int {
	t.Helper()
	c := &crashed{disk: disktest.New()}
	c.open()
	c.deliver("one", 100, "alice")
	syncs, called := 0, false
	c.disk.SetFault(func(did, below string) error {
		switch {
		case did == "sync" && below == "*":
			if syncs++; syncs == 1 {
				return syscall.EIO
			}
		case syncs == 1 && did == op && strings.HasPrefix(below, name):
			c.disk.SetFault(nil)
			called = true
			meanwhile(c)
		}
		return nil
	})
	c.checkpoint()
	if !called {
		t.Fatal("nothing was put back")
	}
	wait()
	m, err := c.store.Open([]string{"alice"})
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	return m.Len()
}

// What is deleted while it is put back is gone.
func TestDeletionWhilePuttingBack(t *testing.T) {
	done := make(chan bool)
	n := rescued(t, "link", "alice/new/", func(c *crashed) {
		go func() {
			c.remove("alice", "one")
			close(done)
		}()
		select {
		case <-done:
		case <-time.After(100 * time.Millisecond): // it waits
		}
	}, func() { <-done })
	if n != 0 {
		t.Errorf("%d messages", n)
	}
}

// What another program moves or deletes while it is put back is there once, or not.
func TestMoveWhilePuttingBack(t *testing.T) {
	if n := rescued(t, "open", "alice/cur", func(c *crashed) { c.rename(t, "one") }, func() {}); n != 1 {
		t.Errorf("%d messages", n)
	}
	if n := rescued(t, "open", "alice/new", func(c *crashed) { c.unlink(t, "one") }, func() {}); n != 0 {
		t.Errorf("%d messages", n)
	}
}

// What root makes is the server's.
func TestOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs to be root")
	}
	const server = 65534
	s, dir := newStore(t)
	if err := os.Chown(dir, server, server); err != nil {
		t.Fatal(err)
	}
	deliver(t, s, "hello\r\n", "alice")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "alice/new")); err != nil {
		t.Fatal(err)
	}
	s, err := New(dir, "host")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if failed := s.putBack([]*record{{name: "1", maildrops: []string{"alice"}, marks: []byte{unmarked}}}, afterCrash); len(failed) > 0 {
		t.Fatal(failed)
	}
	err = filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := e.Info()
		if err == nil && st.Sys().(*syscall.Stat_t).Uid != server {
			t.Errorf("%s is root's", name)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// While another process marks records or puts messages back, nobody else does, nor begins
// a half anew.
func TestMarksAreWaitedFor(t *testing.T) {
	s, dir := newStore(t)
	deliver(t, s, "hello\r\n", "alice")
	if s.journal == nil {
		t.Skip("the file system of temporary files has no journal")
	}
	other, err := New(dir, "host")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	f, err := openJournalFile(s.root, JournalName)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for what, do := range map[string]func() error{
		"Recover": other.Recover,
		"strike":  func() error { return other.strike("alice", []string{"1.host"}) },
		"rewrite": func() error { return s.journal.rewrite(0) },
		"begin":   func() error { return s.journal.begin(1) },
	} {
		if err := lockMarks(f); err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { done <- do() }()
		select {
		case err := <-done:
			t.Fatalf("%s did not wait: %v", what, err)
		case <-time.After(100 * time.Millisecond):
		}
		if err := unlockMarks(f); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}
