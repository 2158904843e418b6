package maildir

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"xm/internal/disk"
	"xm/internal/disk/disktest"
)

// What the test notes in the record, when it is promised: that a message is
// there, that it is gone, and, before, that somebody is about to delete it.
type (
	accepted struct{ maildrop, body string }
	deleting accepted
	deleted  accepted
	damaged  struct{} // a file that is to be set aside is there
	repaired struct{} // it has been
)

// scenarios are what happens before the power fails. Each is short, so that
// all states can be tried.
var scenarios = map[string]func(*testing.T, *crashed){
	"first message":  func(t *testing.T, c *crashed) { c.deliver("one", 700, "alice") },
	"no message":     func(t *testing.T, c *crashed) { c.prepare("alice") },
	"two recipients": func(t *testing.T, c *crashed) { c.prepare("alice"); c.deliver("one", 100, "alice", "bob") },
	"large":          func(t *testing.T, c *crashed) { c.prepare("alice"); c.deliver("one", 100_000, "alice") },
	"a little large": func(t *testing.T, c *crashed) { // its end alone would fit into the journal
		c.prepare("alice")
		c.deliver("one", 73_000, "alice")
		c.deliver("two", 100, "alice")
	},
	"one by one": func(t *testing.T, c *crashed) {
		c.prepare("alice")
		c.deliver("one", 100, "alice")
		c.deliver("two", 600, "alice")
	},
	"shared syncs":     together,
	"deletion":         deletion,
	"moved before":     movedBefore,
	"another process":  anotherProcess,
	"repair":           repair,
	"sync that failed": failedSync,
	"shared failure":   sharedFailure,
	"two disks":        func(t *testing.T, c *crashed) { unlinkable(t, c, syscall.EXDEV) },
	"no /proc":         func(t *testing.T, c *crashed) { unlinkable(t, c, errors.ErrUnsupported) },
	"no hard links":    func(t *testing.T, c *crashed) { unlinkable(t, c, syscall.EPERM) },
}

// unlinkable has a maildrop to which no link leads from the other.
func unlinkable(t *testing.T, c *crashed, why error) {
	c.prepare("alice")
	c.prepare("bob")
	c.disk.SetFault(func(op, name string) error {
		if op == "link" && strings.HasPrefix(name, "bob/new/") {
			c.disk.SetFault(nil)
			return why
		}
		return nil
	})
	c.deliver("one", 100, "alice", "bob")
	if m, err := c.store.Usage("bob"); err != nil || m.Messages != 1 {
		t.Errorf("%v, %v", m, err)
	}
}

// journalScenarios are those of a store with a journal alone.
var journalScenarios = map[string]func(*testing.T, *crashed){
	"checkpoint":                  checkpointed,
	"checkpoint that failed":      failedCheckpoint,
	"failure in both halves":      failureInBoth,
	"during a checkpoint":         duringCheckpoint,
	"before a message is linked":  beforeLink,
	"deletions in both halves":    deletionsInBoth,
	"moved and deleted":           movedAndDeleted,
	"rescue that failed":          failedRescue,
	"failure before a link":       failureBeforeLink,
	"failure, then a process":     failureThenProcess,
	"deletion by another process": foreignDeletion,
	"begin that failed":           failedBegin,
	"removed maildrop": func(t *testing.T, c *crashed) {
		c.prepare("alice")
		c.deliver("one", 100, "alice", "bob")
		c.checkpoint()
		c.removeMaildrop(t)
	},
	"removed and made anew": func(t *testing.T, c *crashed) {
		c.prepare("alice")
		c.deliver("one", 100, "alice", "bob")
		c.removeMaildrop(t)
		c.deliver("two", 100, "alice")
	},
	"removed by another process": func(t *testing.T, c *crashed) {
		c.prepare("alice")
		c.deliver("one", 100, "alice", "bob")
		ours := c.store
		c.store = On(c.disk.Root(), "host")
		c.removeMaildrop(t)
		c.store = ours
		c.deliver("two", 100, "alice")
	},
	"many":         many,
	"next process": nextProcess,
	"refusal":      refusal,
	"failed sync":  failedRecord,
	"clean end":    cleanEnd,
}

// checkpointed has another program delete a message that has left the journal, and
// move one that has not.
func checkpointed(t *testing.T, c *crashed) {
	c.prepare("alice")
	c.deliver("one", 100, "alice")
	c.checkpoint()
	c.unlink(t, "one")
	c.deliver("two", 100, "alice")
	c.rename(t, "two")
}

// failedCheckpoint loses what is not durable when the maildrops are synced.
func failedCheckpoint(t *testing.T, c *crashed) {
	c.prepare("alice")
	c.deliver("one", 100, "alice")
	c.failOnce("*")
	c.checkpoint()
	c.unlink(t, "one")
	c.deliver("two", 100, "alice")
	c.failOnce("*")
	c.checkpoint()
	c.deliver("three", 100, "alice")
}

// duringCheckpoint has a message come while a half begins anew.
func duringCheckpoint(t *testing.T, c *crashed) {
	c.prepare("alice")
	c.deliver("one", 100, "alice")
	c.disk.SetDuring(func(name string) {
		if name == "*" {
			c.disk.SetDuring(nil)
			c.deliver("two", 100, "alice")
		}
	})
	c.checkpoint()
}

// beforeLink has a half asked to begin anew while a message of it is in no maildrop.
func beforeLink(t *testing.T, c *crashed) {
	c.prepare("alice")
	c.disk.SetFault(func(op, name string) error {
		if op == "link" {
			c.disk.SetFault(nil)
			c.checkpoint()
		}
		return nil
	})
	c.deliver("one", 100, "alice")
	c.store.journal.checkpoints.Wait()
	if end := c.store.journal.halves[0].end; end != headerSize {
		t.Errorf("the half has not begun anew: it ends at %d", end)
	}
}

// deletionsInBoth deletes messages of both halves at once, in its own process and
// from another.
func deletionsInBoth(t *testing.T, c *crashed) {
	c.prepare("alice")
	for i := range 2 {
		c.store.journal.current = i
		c.deliver(fmt.Sprint("one", i), 100, "alice")
		c.deliver("two", 100, "bob")
		c.deliver(fmt.Sprint("three", i), 100, "alice")
		c.deliver("four", 100, "bob")
	}
	c.remove("alice", "one")
	c.store = On(c.disk.Root(), "host")
	c.remove("alice", "three")
}

// movedAndDeleted deletes a message that another program has moved to cur.
func movedAndDeleted(t *testing.T, c *crashed) {
	c.prepare("alice")
	c.deliver("one", 100, "alice")
	c.rename(t, "one")
	c.remove("alice", "one")
}

// failureInBoth has a sync fail, when one half begins anew, that loses messages of
// the other.
func failureInBoth(t *testing.T, c *crashed) {
	c.prepare("alice")
	c.deliver("one", 100, "alice")
	c.store.journal.current = 1
	c.deliver("two", 100, "alice")
	c.failOnce("*")
	c.checkpoint()
}

// failedRescue has the sync of the maildrops fail twice, and succeed when it is too
// late for what was lost.
func failedRescue(t *testing.T, c *crashed) {
	c.prepare("alice")
	c.deliver("one", 100, "alice")
	c.failCheckpoint()
	c.checkpoint()
}

// failCheckpoint has a checkpoint fail for good.
func (c *crashed) failCheckpoint() {
	c.disk.SetFault(fault{"sync", "*", syscall.EIO}.meets)
	c.checkpoint()
	c.disk.SetFault(nil)
}

// failureBeforeLink loses what a delivery has written that is in no maildrop yet, when
// the other half of the journal begins anew.
func failureBeforeLink(t *testing.T, c *crashed) {
	c.prepare("alice")
	c.deliver("one", 100, "alice")
	text := body("two", 700)
	d, err := c.store.Begin([]string{"alice"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Abort()
	fmt.Fprint(d, text)
	content, err := d.content.finish()
	if err != nil {
		t.Fatal(err)
	}
	c.store.journal.current = 1
	recorded, err := d.record(d.name(), content)
	if err != nil || recorded == nil {
		t.Fatal(recorded, err)
	}
	if err := errors.Join(recorded.sync(func() { err = d.write(content, newUnnamedFile) }), err); err != nil {
		t.Fatal(err)
	}
	c.failOnce("*")
	c.checkpoint()
	if err := d.publish(d.name(), false); err != nil {
		t.Fatal(err)
	}
	recorded.done()
	c.disk.Note(accepted{"alice", text})
	c.checkpoint()
}

// failureThenProcess has a process end while its last messages are lost from the
// maildrops.
func failureThenProcess(t *testing.T, c *crashed) {
	c.prepare("alice")
	c.deliver("one", 100, "alice")
	c.failCheckpoint()
	c.store = On(c.disk.Root(), "host")
	if err := c.store.Recover(); err != nil {
		t.Error(err)
	}
	c.deliver("two", 100, "alice")
}

// foreignDeletion deletes a message that another process has in its journal.
func foreignDeletion(t *testing.T, c *crashed) {
	c.prepare("alice")
	c.deliver("one", 100, "alice", "bob")
	ours := c.store
	c.store = On(c.disk.Root(), "host")
	c.remove("alice", "one")
	c.store = ours
	c.deliver("two", 100, "alice")
}

// removeMaildrop removes alice, who has one message.
func (c *crashed) removeMaildrop(t *testing.T) {
	c.disk.Note(deleting{"alice", body("one", 100)})
	for _, name := range []string{c.find(t, body("one", 100)), "alice/new", "alice/cur", "alice/tmp", "alice"} {
		if err := c.disk.Root().Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.store.Forget("alice"); err != nil {
		t.Fatal(err)
	}
	c.disk.Note(deleted{"alice", body("one", 100)})
}

// failedBegin deletes messages of a half that could not begin anew: the disk may
// have its records still.
func failedBegin(t *testing.T, c *crashed) {
	c.prepare("alice")
	c.deliver("one", 100, "alice")
	c.deliver("two", 100, "alice")
	c.failOnce(JournalName)
	c.checkpoint()
	c.remove("alice", "two")
	c.store = On(c.disk.Root(), "host")
	c.remove("alice", "one")
}

// many uses both halves of the journal more than once.
func many(t *testing.T, c *crashed) {
	c.prepare("alice")
	for i := range 30 {
		id := fmt.Sprint("number-", i)
		c.deliver(id, 600, "alice")
		c.store.journal.checkpoints.Wait()
		if i < 25 {
			c.disk.Settle()
		}
		c.remove("alice", id)
	}
}

// nextProcess follows one that was killed without a crash of the system.
func nextProcess(t *testing.T, c *crashed) {
	c.prepare("alice")
	c.deliver("one", 100, "alice")
	c.open()
	if err := c.store.Recover(); err != nil {
		t.Error(err)
	}
	c.unlink(t, "one")
	c.deliver("two", 100, "alice")
}

// refusal has a message refused when it is in the journal already.
func refusal(t *testing.T, c *crashed) {
	c.prepare("alice")
	c.store.Quota = func(string) Quota { return Quota{Octets: 10} }
	if err := store(c.store, strings.NewReader(body("one", 100)), "alice"); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	c.disk.Note(deleted{"alice", body("one", 100)})
	c.store.Quota = nil
	c.deliver("two", 100, "alice")
}

// failedRecord has a message refused whose record may be on the disk.
func failedRecord(t *testing.T, c *crashed) {
	c.prepare("alice")
	c.failOnce(JournalName)
	if err := store(c.store, strings.NewReader(body("one", 100)), "alice", "bob"); !errors.Is(err, syscall.EIO) {
		t.Error(err)
	}
	for _, maildrop := range []string{"alice", "bob"} {
		c.disk.Note(deleted{maildrop, body("one", 100)})
	}
	c.deliver("two", 100, "alice")
}

// cleanEnd leaves nothing in the journal.
func cleanEnd(t *testing.T, c *crashed) {
	c.prepare("alice")
	c.deliver("one", 100, "alice")
	if err := c.store.Close(); err != nil {
		t.Error(err)
	}
	c.unlink(t, "one")
}

// checkpoint empties the journal.
func (c *crashed) checkpoint() {
	j := c.store.journal // which another may take the place of
	j.flush()
	j.checkpoints.Wait()
}

// unlink deletes a message as another program does that is careful.
func (c *crashed) unlink(t *testing.T, id string) {
	text := body(id, 100)
	c.disk.Note(deleting{"alice", text})
	err := c.disk.Root().Remove(c.find(t, text))
	if err == nil {
		err = disk.SyncDir(c.disk.Root(), "alice/new")
	}
	if err != nil {
		t.Fatal(err)
	}
	c.disk.Note(deleted{"alice", text})
}

// rename moves a message to cur, as mail programs do.
func (c *crashed) rename(t *testing.T, id string) {
	file := c.find(t, body(id, 100))
	if err := c.disk.Root().Rename(file, strings.Replace(file, "/new/", "/cur/", 1)+":2,S"); err != nil {
		t.Fatal(err)
	}
}

func (c *crashed) find(t *testing.T, text string) (file string) {
	t.Helper()
	root := c.disk.Root()
	entries, err := disk.ReadDir(root, "alice/new")
	for _, e := range entries {
		content, _ := disk.ReadFile(root, "alice/new/"+e.Name)
		if string(content) == strings.ReplaceAll(text, "\r\n", "\n") {
			return "alice/new/" + e.Name
		}
	}
	t.Fatal("the message is not there", err)
	return ""
}

// together has two deliveries come while a third waits for the disk, and one
// more while they do.
func together(t *testing.T, c *crashed) {
	c.prepare("alice")
	before := c.disk.Synced(c.synced())
	synctest.Test(t, func(t *testing.T) {
		var all sync.WaitGroup
		come := [][]string{{"two", "three"}, {"four"}}
		c.disk.SetDuring(func(name string) {
			if name == c.synced() && len(come) > 0 {
				for _, id := range come[0] {
					all.Go(func() { c.deliver(id, 100, "alice") })
				}
				come = come[1:]
				synctest.Wait() // they have linked
			}
		})
		c.deliver("one", 100, "alice")
		all.Wait()
		c.disk.SetDuring(nil)
	})
	if n := c.disk.Synced(c.synced()) - before; n != 3 {
		t.Errorf("%d fsyncs for four deliveries", n)
	}
}

func deletion(t *testing.T, c *crashed) {
	c.prepare("alice")
	c.deliver("one", 100, "alice")
	c.deliver("two", 100, "alice")
	c.disk.Settle()
	c.remove("alice", "one")
	c.deliver("three", 100, "alice")
}

// movedBefore has another program move a message from new to cur, without a sync,
// before it is deleted. What becomes of it until then is not our promise.
func movedBefore(t *testing.T, c *crashed) {
	c.prepare("alice")
	if err := store(c.store, strings.NewReader(body("one", 100)), "alice"); err != nil {
		t.Fatal(err)
	}
	c.disk.Settle()
	files, err := disk.ReadDir(c.disk.Root(), "alice/new")
	if err != nil || len(files) != 1 {
		t.Fatalf("new holds %v, %v", files, err)
	}
	name := files[0].Name
	if err := c.disk.Root().Rename("alice/new/"+name, "alice/cur/"+name+":2,S"); err != nil {
		t.Fatal(err)
	}
	c.remove("alice", "one")
}

const damagedName = "1.host,S=1000,W=1000"

// repair has a file in new whose end is missing.
func repair(t *testing.T, c *crashed) {
	c.prepare("alice")
	f, err := c.disk.Root().OpenFile("alice/new/"+damagedName, os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("damaged")); err != nil {
		t.Fatal(err)
	}
	c.disk.Settle()
	c.disk.Note(damaged{})
	if problems := c.store.Check("alice", true); len(problems) != 1 || problems[0].Done == "" {
		t.Fatal(problems)
	}
	c.disk.Note(repaired{})
}

// checkRepair finds the damaged file where it may be.
func checkRepair(root disk.Dir, isRepaired bool) error {
	content, err := disk.ReadFile(root, "alice/new/"+damagedName)
	switch {
	case err == nil && isRepaired:
		return errors.New("what was set aside is back")
	case err == nil && string(content) == "damaged":
		return nil
	}
	aside, err := disk.ReadDir(root, "alice/.broken")
	for _, e := range aside {
		if content, _ = disk.ReadFile(root, "alice/.broken/"+e.Name); string(content) == "damaged" {
			return nil
		}
	}
	return fmt.Errorf("the damaged file is lost: %v", err)
}

// anotherProcess finds what one that was killed left, which is not durable.
func anotherProcess(t *testing.T, c *crashed) {
	c.disk.SetFault(func(op, name string) error {
		if op == "sync" {
			return disktest.ErrKilled
		}
		return nil
	})
	c.deliver("one", 100, "alice")
	c.disk.SetFault(nil)
	c.open()
	c.deliver("two", 100, "alice")
}

// failedSync has one fsync after the other fail; the sender tries again.
func failedSync(t *testing.T, c *crashed) {
	for _, name := range []string{"alice", ".", "alice/tmp", "alice/new", JournalName} {
		if strings.Contains(name, "/") {
			c.prepare("alice")
		}
		c.failOnce(name)
		c.deliver("one", 100, "alice")
		c.deliver("one", 100, "alice")
	}
}

// failOnce lets the next sync below a name fail.
func (c *crashed) failOnce(below string) {
	var failed atomic.Bool
	c.disk.SetFault(func(op, name string) error {
		if op == "sync" && (name == below || strings.HasPrefix(name, below+"/")) && !failed.Swap(true) {
			return syscall.EIO
		}
		return nil
	})
}

// sharedFailure has a delivery come while an fsync is under way that will fail,
// and may lose its name too.
func sharedFailure(t *testing.T, c *crashed) {
	c.prepare("alice")
	synctest.Test(t, func(t *testing.T) {
		var all sync.WaitGroup
		c.disk.SetDuring(func(name string) {
			if name == c.synced() {
				c.disk.SetDuring(nil)
				all.Go(func() { c.deliver("two", 100, "alice") })
				synctest.Wait() // it has linked
				c.failOnce(c.synced())
			}
		})
		c.deliver("one", 100, "alice")
		all.Wait()
	})
}

// crashed is a store whose power will fail.
type crashed struct {
	disk   *disktest.Disk
	store  *Store
	direct bool // without a journal
	opened []*Store
}

// halt ends what goes on in the background: the power has failed.
func (c *crashed) halt() {
	for _, s := range c.opened {
		if j := s.journal; j != nil {
			j.mu.Lock()
			j.closed = true
			j.mu.Unlock()
			j.checkpoints.Wait()
		}
	}
}

// open is a process that begins.
func (c *crashed) open() {
	c.store = On(c.disk.Root(), "host")
	c.store.NoJournal = c.direct
	c.opened = append(c.opened, c.store)
}

// synced is what a delivery waits for.
func (c *crashed) synced() string {
	if c.direct {
		return "alice/new"
	}
	return JournalName
}

// prepare makes a maildrop, and the journal, that are durable.
func (c *crashed) prepare(maildrop string) {
	c.store.ownJournal()
	d, err := c.store.Begin([]string{maildrop})
	if err == nil {
		d.Abort()
	}
	c.disk.Settle()
}

// body is a message whose every part tells where it belongs.
func body(id string, octets int) string {
	var b strings.Builder
	for b.Len() < octets {
		fmt.Fprintf(&b, "%s at %d\r\n", id, b.Len())
	}
	return b.String()
}

// deliver notes what was promised, if anything was.
func (c *crashed) deliver(id string, octets int, maildrops ...string) {
	text := body(id, octets)
	if store(c.store, strings.NewReader(text), maildrops...) != nil {
		return
	}
	for _, m := range maildrops {
		c.disk.Note(accepted{m, text})
	}
}

func (c *crashed) remove(maildrop, id string) {
	m, err := c.store.Open([]string{maildrop})
	if err != nil {
		panic(err)
	}
	defer m.Close()
	var chosen []int
	var texts []string
	for i := range m.Len() {
		if text, err := content(m, i); err != nil || strings.HasPrefix(text, id) {
			chosen, texts = append(chosen, i), append(texts, text)
			c.disk.Note(deleting{maildrop, text})
		}
	}
	if m.Delete(chosen) == nil {
		for _, text := range texts {
			c.disk.Note(deleted{maildrop, text})
		}
	}
}

func content(m *Maildrop, i int) (string, error) {
	r, err := m.OpenWire(i)
	if err != nil {
		return "", err
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err == nil && int64(len(text)) != m.Size(i) {
		err = fmt.Errorf("%d octets where %d are announced", len(text), m.Size(i))
	}
	return string(text), err
}

// check opens the store on what a crash left, and compares it with what was
// promised.
func check(after *disktest.Disk, notes []any) error {
	if slices.Contains(notes, any(damaged{})) {
		return checkRepair(after.Root(), slices.Contains(notes, any(repaired{})))
	}
	s := On(after.Root(), "host")
	defer s.Close()
	s.uptime = "later"
	if err := s.Recover(); err != nil {
		return err
	}
	for _, maildrop := range []string{"alice", "bob"} {
		m, err := s.Open([]string{maildrop})
		if err != nil {
			return err
		}
		defer m.Close()
		var there []string
		for i := range m.Len() {
			text, err := content(m, i)
			if err == nil && !whole(text) {
				err = fmt.Errorf("a part of a message: %.100q", text)
			}
			if err != nil {
				return fmt.Errorf("%s, %s: %w", maildrop, m.UID(i), err)
			}
			there = append(there, text)
		}
		for _, note := range notes {
			if err := kept(note, maildrop, there, notes); err != nil {
				return err
			}
		}
	}
	return store(s, strings.NewReader("afterwards\r\n"), "alice", "bob")
}

// whole reports whether a text is one that deliver has sent.
func whole(text string) bool {
	id, _, _ := strings.Cut(text, " ")
	return text != "" && slices.ContainsFunc([]int{100, 600, 700, 73_000, 100_000}, func(n int) bool { return text == body(id, n) })
}

func kept(note any, maildrop string, there []string, notes []any) error {
	switch n := note.(type) {
	case accepted:
		if n.maildrop == maildrop && !slices.Contains(there, n.body) && !slices.Contains(notes, any(deleting(n))) {
			return fmt.Errorf("%s has lost %.20q", maildrop, n.body)
		}
	case deleted:
		if n.maildrop == maildrop && slices.Contains(there, n.body) {
			return fmt.Errorf("%.20q is back in %s", n.body, maildrop)
		}
	}
	return nil
}

// A message that was accepted survives a crash at any moment, whole and in every
// maildrop; one that was not is there as a whole or not at all; and what was
// deleted stays so. No fsync can be left out.
func TestCrash(t *testing.T) {
	var total atomic.Int64
	disktest.Mutate(t, func(ignored func(string) bool, quick bool) error {
		for _, set := range []struct {
			direct, named bool
			scenarios     map[string]func(*testing.T, *crashed)
		}{{true, true, scenarios}, {true, false, scenarios}, {false, false, journalScenarios}, {false, false, scenarios}, {true, false, strangeScenarios}, {false, false, strangeScenarios}} {
			states, err := crash(t, ignored, quick, set.direct, set.named, set.scenarios)
			total.Add(int64(states))
			if err != nil {
				return err
			}
		}
		return nil
	})
	t.Log(total.Load(), "states")
}

func crash(t *testing.T, ignored func(string) bool, quick, direct, named bool, scenarios map[string]func(*testing.T, *crashed)) (total int, err error) {
	for _, name := range slices.Sorted(maps.Keys(scenarios)) {
		c := &crashed{disk: disktest.New(), direct: direct}
		c.disk.Ignored, c.disk.Quick, c.disk.Named = ignored, quick, named
		c.open()
		scenarios[name](t, c)
		c.halt()
		states, err := c.disk.Crashes(1, check)
		if total += states; err != nil {
			return total, fmt.Errorf("%s, direct %v, named %v: %w", name, direct, named, err)
		}
	}
	return total, nil
}
