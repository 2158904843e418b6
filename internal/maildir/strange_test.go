package maildir

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"xm/internal/disk"
	"xm/internal/disk/disktest"
)

// strangeScenarios are those in which another program, or the disk, does what it
// should not: part of TestCrash.
var strangeScenarios = map[string]func(*testing.T, *crashed){
	"gone already":           goneAlready,
	"made anew, not durably": madeAnew,
	"undone, then recovered": undoneThenRecovered,
	"undone, then rescued":   undoneThenRescued,
	"journal removed":        journalRemoved,
	"names lost":             namesLost,
	"names lost by deletion": namesLostByDeletion,
	"names lost by a rescue": namesLostByRescue,
	"mounted meanwhile":      mountedMeanwhile,
	"recovered in part":      recoveredInPart,
	"copies deleted":         copiesDeleted,
}

// goneAlready deletes a message that another program has moved and removed, without a
// sync.
func goneAlready(t *testing.T, c *crashed) {
	c.prepare("alice")
	text := body("one", 100)
	c.deliver("one", 100, "alice")
	if c.store.journal != nil {
		c.checkpoint()
	}
	m, err := c.store.Open([]string{"alice"})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c.disk.Note(deleting{"alice", text})
	c.rename(t, "one")
	files, err := disk.ReadDir(c.disk.Root(), "alice/cur")
	if err == nil {
		err = c.disk.Root().Remove("alice/cur/" + files[0].Name)
	}
	if err == nil {
		err = m.Delete([]int{0})
	}
	if err != nil {
		t.Fatal(err)
	}
	c.disk.Note(deleted{"alice", text})
}

// madeAnew has another program put a maildrop in the place of the one that is known to
// be durable.
func madeAnew(t *testing.T, c *crashed) {
	c.prepare("alice")
	root := c.disk.Root()
	for _, name := range []string{"alice/new", "alice/cur", "alice/tmp", "alice"} {
		if err := root.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	c.disk.Settle()
	for _, name := range []string{"alice", "alice/tmp", "alice/new", "alice/cur"} {
		if err := root.Mkdir(name, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c.deliver("one", 100, "alice")
}

// undone has a half that could not begin anew: the disk may have the new header, which
// was taken back.
func undone(c *crashed) {
	c.prepare("alice")
	if c.store.journal == nil {
		return
	}
	c.deliver("one", 100, "alice")
	c.disk.Settle()
	c.failOnce(JournalName)
	c.checkpoint()
}

func undoneThenRecovered(t *testing.T, c *crashed) {
	undone(c)
	c.open()
	if err := c.store.Recover(); err != nil {
		t.Fatal(err)
	}
}

func undoneThenRescued(t *testing.T, c *crashed) {
	undone(c)
	if c.store.journal != nil {
		c.failOnce("*")
		c.checkpoint()
	}
}

// journalRemoved has another program remove the journal that is in use, as one does that
// makes a directory like a copy of it.
func journalRemoved(t *testing.T, c *crashed) {
	c.prepare("alice")
	if c.store.journal == nil {
		return
	}
	c.deliver("one", 100, "alice")
	c.checkpoint()
	told := 0
	c.store.Trouble = func(err error) {
		if told++; !strings.Contains(err.Error(), JournalName+" was removed") {
			t.Error(err)
		}
	}
	if err := c.disk.Root().Remove(JournalName); err != nil {
		t.Fatal(err)
	}
	c.disk.Settle()
	c.deliver("two", 100, "alice")
	c.store.background.Wait()
	c.deliver("three", 100, "alice")
	if told != 1 || c.store.journal == nil {
		t.Errorf("%d troubles, a journal: %v", told, c.store.journal != nil)
	}
	if m, err := c.store.Usage("alice"); err != nil || m.Messages != 2 {
		t.Errorf("%v, %v: the second message is to be refused", m, err)
	}
}

// namesLost has the sync of a directory fail for a message that has syncs of its own,
// while another is there that is in the journal.
func namesLost(t *testing.T, c *crashed) {
	c.prepare("alice")
	c.deliver("one", 100, "alice")
	c.failOnce("alice/new")
	c.deliver("two", 100_000, "alice")
	c.disk.SetFault(nil)
	if c.store.journal != nil {
		c.checkpoint()
	}
}

func namesLostByDeletion(t *testing.T, c *crashed) {
	c.prepare("alice")
	c.deliver("one", 100, "alice")
	c.deliver("two", 100, "alice")
	if c.store.journal == nil {
		return
	}
	c.failOnce("alice/new")
	c.remove("alice", "two")
	c.disk.SetFault(nil)
	c.checkpoint()
}

// namesLostByRescue has the sync of a directory fail for a large message, while those of
// the journal that a failure may have lost have been written again.
func namesLostByRescue(t *testing.T, c *crashed) {
	c.prepare("alice")
	c.deliver("one", 100, "alice")
	if c.store.journal == nil {
		return
	}
	syncs := 0
	c.disk.SetDuring(func(name string) {
		if name != "*" {
			return
		}
		if syncs++; syncs == 2 {
			c.failOnce("alice/new")
			c.deliver("two", 100_000, "alice")
			c.disk.SetFault(nil)
		}
	})
	c.failOnce("*")
	c.checkpoint()
	c.disk.SetDuring(nil)
	if syncs < 2 {
		t.Errorf("%d syncs of all", syncs)
	}
}

// What a journal held that another program has removed is made durable in the maildrops as
// soon as xm knows of that, also if the disk fails once.
func TestRemovedThenFailure(t *testing.T) {
	c := &crashed{disk: disktest.New()}
	text := body("one", 100)
	synctest.Test(t, func(t *testing.T) {
		c.open()
		c.prepare("alice")
		if err := store(c.store, strings.NewReader(text), "alice"); err != nil {
			t.Fatal(err)
		}
		if err := c.disk.Root().Remove(JournalName); err != nil {
			t.Fatal(err)
		}
		c.failOnce("*")
		c.store.journal.flush()
		synctest.Wait()
	})
	c.disk.Note(accepted{"alice", text})
	_, err := c.disk.Crashes(1, func(after *disktest.Disk, notes []any) error {
		if len(notes) == 0 {
			return nil
		}
		return check(after, notes)
	})
	if err != nil {
		t.Error(err)
	}
}

// A maildrop that can't be helped is not opened while another process tries in vain.
func TestNotOpenedMeanwhile(t *testing.T) {
	s, dir := newStore(t)
	deliver(t, s, "hello\r\n", "alice")
	if s.journal == nil {
		t.Skip("the file system of temporary files has no journal")
	}
	// As if the process were killed: nothing begins a half anew, however long this takes.
	s.journal.mu.Lock()
	s.journal.closed = true
	s.journal.mu.Unlock()
	s.journal.file.Close()
	for _, err := range []error{os.Remove(filepath.Join(dir, "alice/cur")), os.WriteFile(filepath.Join(dir, "alice/cur"), nil, 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var stores [2]*Store
	for i := range stores {
		var err error
		if stores[i], err = New(dir, "host"); err != nil {
			t.Fatal(err)
		}
		defer stores[i].Close()
	}
	for range 1500 {
		stores[1].setUnrecovered(map[string]error{"alice": errUnrecovered})
		var both sync.WaitGroup
		both.Go(func() {
			if _, err := stores[0].openJournal(); err == nil {
				t.Error("nothing is to be put back")
			}
		})
		both.Go(func() {
			if stores[1].recovered("alice") == nil {
				t.Error("alice is opened")
			}
		})
		both.Wait()
	}
}

// A journal that was removed is closed once, whoever finds out first.
func TestRemovedJournalIsClosedOnce(t *testing.T) {
	for range 20 {
		s, dir := newStore(t)
		if s.root.CanSyncAll() != nil {
			t.Skip("the file system of temporary files has no journal")
		}
		s.Trouble = func(err error) {
			if !errors.Is(err, errReplaced) {
				t.Error(err)
			}
		}
		deliver(t, s, "hello\r\n", "alice")
		if err := os.Remove(filepath.Join(dir, JournalName)); err != nil {
			t.Fatal(err)
		}
		if err := s.GiveUpJournal(); err != nil {
			t.Error(err)
		}
		s.background.Wait()
	}
}

// mountedMeanwhile has a maildrop become another file system's after the message for it
// was recorded: no sync of the data directory's makes it durable.
func mountedMeanwhile(t *testing.T, c *crashed) {
	c.prepare("alice")
	if c.store.journal == nil {
		return
	}
	c.disk.SetDuring(func(string) {
		c.store.mu.Lock()
		defer c.store.mu.Unlock()
		c.store.elsewhere["alice"] = true
	})
	c.deliver("one", 100, "alice")
	c.disk.SetDuring(nil)
	for half := range 2 { // as if all had been synced
		if err := c.store.journal.begin(half); err != nil {
			t.Fatal(err)
		}
	}
}

// recoveredInPart has messages put back into one maildrop, as the other can't be written to.
func recoveredInPart(t *testing.T, c *crashed) {
	c.prepare("alice")
	c.deliver("one", 100, "alice", "bob")
	c.open()
	c.store.uptime = "later"
	c.disk.SetFault(unwritable("bob", syscall.EACCES))
	defer c.disk.SetFault(nil)
	if err := c.store.Recover(); !c.direct && !errors.Is(err, syscall.EACCES) {
		t.Error(err)
	}
}

// copiesDeleted deletes a message that another program was moving by a link.
func copiesDeleted(t *testing.T, c *crashed) {
	c.prepare("alice")
	c.deliver("one", 100, "alice")
	if c.store.journal != nil {
		c.checkpoint()
	}
	file := c.find(t, body("one", 100))
	if err := c.disk.Root().Link(file, strings.Replace(file, "/new/", "/cur/", 1)+":2,S"); err != nil {
		t.Fatal(err)
	}
	c.disk.Settle()
	c.remove("alice", "one")
}

// unwritable has files of a maildrop that can't be made.
func unwritable(maildrop string, why error) func(op, name string) error {
	return func(op, name string) error {
		if op == "open" && strings.HasPrefix(name, maildrop+"/tmp/") {
			return why
		}
		return nil
	}
}

// A maildrop that messages can't be put back into is not opened until they are, and the
// others have theirs back, once: what another program deletes then stays so.
func TestRecoverInPart(t *testing.T) {
	c := &crashed{disk: disktest.New()}
	c.open()
	c.prepare("alice")
	c.deliver("one", 100, "alice", "bob")
	root := c.disk.Root()
	file := c.find(t, body("one", 100))
	for _, f := range []string{file, strings.Replace(file, "alice", "bob", 1)} {
		if err := root.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	c.open()
	c.store.uptime = "later"
	c.disk.SetFault(unwritable("bob", syscall.ENOSPC))
	var told []error
	c.store.Trouble = func(err error) { told = append(told, err) }
	if err := c.store.Recover(); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "bob: ") {
		t.Error(err)
	}
	if err := root.Remove(c.find(t, body("one", 100))); err != nil {
		t.Fatal(err)
	}
	if _, err := c.store.Open([]string{"bob"}); !errors.Is(err, syscall.ENOSPC) || len(told) != 1 {
		t.Errorf("%v, %v", err, told)
	}
	for maildrop, want := range map[string]int{"alice": 0, "bob": 1} {
		if maildrop == "bob" {
			c.disk.SetFault(nil)
		}
		m, err := c.store.Open([]string{maildrop})
		if err != nil {
			t.Fatal(err)
		}
		if m.Len() != want {
			t.Errorf("%s has %d messages, want %d", maildrop, m.Len(), want)
		}
		m.Close()
	}
}

// A maildrop on which another file system is mounted while the store is open has syncs of
// its own from then on.
func TestMountedMeanwhile(t *testing.T) {
	s, dir := newStore(t)
	if s.root.CanSyncAll() != nil {
		t.Skip("the file system of temporary files has no journal")
	}
	deliver(t, s, "one\r\n", "alice")
	alice := filepath.Join(dir, "alice")
	if err := syscall.Mount("tmpfs", alice, "tmpfs", 0, "mode=700,size=1m"); err != nil {
		t.Skip(err)
	}
	defer syscall.Unmount(alice, syscall.MNT_DETACH)
	deliver(t, s, "two\r\n", "alice", "bob")
	deliver(t, s, "three\r\n", "alice")
	files, err := os.ReadDir(filepath.Join(alice, "new"))
	if err != nil || len(files) != 2 {
		t.Errorf("%v, %v", files, err)
	}
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	if n := len(s.journal.places); n != 2 {
		t.Errorf("%d messages are in the journal: the first, and the one whose maildrop was not known to be elsewhere", n)
	}
}
