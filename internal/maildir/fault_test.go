package maildir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"xm/internal/disk"
	"xm/internal/disk/disktest"
)

// fault is what goes wrong with a delivery, and where.
type fault struct {
	op, below string
	err       syscall.Errno
}

var faults = []fault{
	{"open", "bob", syscall.EMFILE},
	{"open", "alice", syscall.EACCES},
	{"stat", "bob/new", syscall.EIO},
	{"mkdir", "bob", syscall.EROFS},
	{"mkdir", "bob", syscall.EIO},
	{"link", "alice/new", syscall.ENOSPC},
	{"link", "bob/new", syscall.EACCES},
	{"link", "bob/new", syscall.EROFS},
}

// directFaults are those of a store without a journal, journalFaults those of one
// with it; unnamedFaults and namedFaults those of a disk with files without names and
// of one that has none.
var (
	directFaults = []fault{
		{"sync", "alice/new", syscall.EIO},
		{"sync", "bob/new", syscall.EIO},
	}
	unnamedFaults = []fault{
		{"write", "alice/new", syscall.ENOSPC},
		{"write", "alice/new", syscall.EDQUOT},
		{"write", "alice/new", syscall.EIO},
		{"open", "alice/new", syscall.ENOSPC},
		{"open", "alice/new", syscall.EMFILE},
	}
	namedFaults = []fault{
		{"write", "alice/tmp", syscall.ENOSPC},
		{"open", "alice/tmp", syscall.ENOSPC},
		{"open", "alice/tmp", syscall.EMFILE},
	}
	journalFaults = []fault{
		{"write", JournalName, syscall.EIO},
		{"write", JournalName, syscall.ENOSPC},
		{"sync", JournalName, syscall.EIO},
	}
)

// A delivery that a fault meets fails with that fault's error, and nobody has
// a part of the message; when the fault has gone, so does the failure.
func TestFaults(t *testing.T) {
	for _, direct := range []bool{true, false} {
		for _, named := range []bool{true, false} {
			t.Run(fmt.Sprintf("direct %v named %v", direct, named), func(t *testing.T) { testFaults(t, direct, named) })
		}
	}
}

func testFaults(t *testing.T, direct, named bool) {
	faults := slices.Concat(faults,
		map[bool][]fault{true: directFaults, false: journalFaults}[direct],
		map[bool][]fault{true: namedFaults, false: unnamedFaults}[named || direct])
	for _, prepared := range []bool{false, true} {
		for _, f := range faults {
			t.Run(fmt.Sprintf("%s %s %v prepared %v", f.op, f.below, f.err, prepared), func(t *testing.T) {
				d := disktest.New()
				d.Named = named
				s := On(d.Root(), "host")
				if s.NoJournal = direct; !direct {
					s.ownJournal()
				}
				if prepared {
					if err := store(s, strings.NewReader("before\r\n"), "alice", "bob"); err != nil {
						t.Fatal(err)
					}
				}
				var met atomic.Bool
				d.SetFault(func(op, name string) error {
					if op == f.op && (name == f.below || strings.HasPrefix(name, f.below+"/")) {
						met.Store(true)
						return f.err
					}
					return nil
				})
				err := store(s, strings.NewReader("during\r\n"), "alice", "bob")
				d.SetFault(nil)
				if !met.Load() && prepared { // what is open already needs no opening
					return
				}
				if !errors.Is(err, f.err) {
					t.Errorf("the delivery ended with %v", err)
				}
				want := map[bool][]string{true: {"before\r\n"}}[prepared]
				haveOnly(t, s, want...)
				if err := store(s, strings.NewReader("after\r\n"), "alice", "bob"); err != nil {
					t.Errorf("when the fault has gone: %v", err)
				}
				haveOnly(t, s, append(want, "after\r\n")...)
			})
		}
	}
}

// haveOnly checks what alice and bob have, and that no tmp has anything.
func haveOnly(t *testing.T, s *Store, want ...string) {
	t.Helper()
	for _, maildrop := range []string{"alice", "bob"} {
		m, err := s.Open([]string{maildrop})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		var have []string
		for i := range m.Len() {
			text, err := content(m, i)
			if err != nil {
				t.Error(err)
			}
			have = append(have, text)
		}
		slices.Sort(have)
		slices.Sort(want)
		if !slices.Equal(have, want) {
			t.Errorf("%s has %q, want %q", maildrop, have, want)
		}
		if left, err := disk.ReadDir(s.root, maildrop+"/tmp"); err != nil || len(left) > 0 {
			t.Errorf("%s/tmp holds %v, %v", maildrop, left, err)
		}
	}
}

// A deletion that could not be synced is not said to be done.
func TestFailedDeletion(t *testing.T) {
	for _, op := range []string{"sync", "remove"} {
		d := disktest.New()
		s := On(d.Root(), "host")
		if err := store(s, strings.NewReader("hello\r\n"), "alice"); err != nil {
			t.Fatal(err)
		}
		m, err := s.Open([]string{"alice"})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		d.SetFault(func(is, name string) error {
			if is == op {
				return syscall.EIO
			}
			return nil
		})
		if err := m.Delete([]int{0}); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s failed: %v", op, err)
		}
	}
}

// A maildrop that can't be listed is not locked for ever.
func TestFaultAtLogin(t *testing.T) {
	d := disktest.New()
	s := On(d.Root(), "host")
	if err := store(s, strings.NewReader("hello\r\n"), "alice"); err != nil {
		t.Fatal(err)
	}
	d.SetFault(func(op, name string) error {
		if op == "open" && name == "alice/cur" {
			return syscall.EIO
		}
		return nil
	})
	for range 2 {
		if _, err := s.Open([]string{"alice"}); !errors.Is(err, syscall.EIO) {
			t.Errorf("it could not be listed: %v", err)
		}
	}
	d.SetFault(nil)
	open(t, s, "alice").Close()
}

// What is on a disk that can only be read can be read, though it can't be locked, nor
// what a crash has left in tmp be removed.
func TestReadOnlyDisk(t *testing.T) {
	before, dir := newStore(t)
	deliver(t, before, "hello\r\n", "alice")
	write(t, filepath.Join(dir, "alice/tmp/left"), "over")
	touch(t, filepath.Join(dir, "alice/tmp/left"), 2*leftOver)
	s := On(readOnly{before.root}, "host")
	for range 2 {
		m := open(t, s, "alice")
		if text := read(t, m, 0); text != "hello\r\n" {
			t.Errorf("read %q", text)
		}
		if _, err := s.Open([]string{"alice"}); !errors.Is(err, ErrLocked) {
			t.Errorf("opened twice: %v", err)
		}
		m.Close()
	}
}

// readOnly is a directory of a disk that can only be read.
type readOnly struct{ disk.Dir }

func (d readOnly) OpenFile(name string, flag int, perm os.FileMode) (disk.File, error) {
	if flag&(os.O_WRONLY|os.O_RDWR) != 0 {
		return nil, &os.PathError{Op: "open", Path: name, Err: syscall.EROFS}
	}
	return d.Dir.OpenFile(name, flag, perm)
}

func (d readOnly) Remove(name string) error {
	return &os.PathError{Op: "remove", Path: name, Err: syscall.EROFS}
}

// A file that can't be read is listed, and keeps nobody from the others. When it
// can be read again, it has its size.
func TestUnreadableMessage(t *testing.T) {
	for _, fault := range []error{syscall.EACCES, syscall.EIO} {
		d := disktest.New()
		s := On(d.Root(), "host")
		if err := store(s, strings.NewReader("hello\r\n"), "alice"); err != nil {
			t.Fatal(err)
		}
		f, err := d.Root().OpenFile("alice/cur/1.foreign", os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte("x\n")); err != nil {
			t.Fatal(err)
		}
		d.SetFault(func(op, name string) error {
			if op == "open" && name == "alice/cur/1.foreign" {
				return fault
			}
			return nil
		})
		m := open(t, s, "alice")
		if m.Len() != 2 {
			t.Fatalf("%d messages", m.Len())
		}
		if text, err := content(m, 0); !errors.Is(err, fault) {
			t.Errorf("read %q, %v", text, err)
		}
		if text, err := content(m, 1); err != nil || text != "hello\r\n" {
			t.Errorf("read %q, %v", text, err)
		}
		m.Close()
		d.SetFault(nil)
		m = open(t, s, "alice")
		if text, err := content(m, 0); err != nil || text != "x\r\n" {
			t.Errorf("read %q, %v", text, err)
		}
		m.Close()
		// Trouble that is not the file's is no reason to guess its size.
		d.SetFault(func(op, name string) error {
			if op == "open" && name == "alice/cur/1.foreign" {
				return syscall.EMFILE
			}
			return nil
		})
		if _, err := On(d.Root(), "host").Open([]string{"alice"}); !errors.Is(err, syscall.EMFILE) {
			t.Errorf("without descriptors: %v", err)
		}
	}
}

// A file system that is full refuses messages, shows no part of one, and takes
// them again when there is room.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k,mode=700"); err != nil {
		t.Skipf("a small file system can't be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	s, err := New(dir, "host")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var want []string
	for {
		text := body(fmt.Sprint("message", len(want)), 10_000)
		err := store(s, strings.NewReader(text), "alice", "bob")
		if errors.Is(err, syscall.ENOSPC) {
			break
		}
		if err != nil || len(want) > 1000 {
			t.Fatalf("after %d messages: %v", len(want), err)
		}
		want = append(want, text)
	}
	haveOnly(t, s, want...)
	for _, maildrop := range []string{"alice", "bob"} {
		names, err := filepath.Glob(filepath.Join(dir, maildrop, "new", "*"))
		if err != nil || len(names) != len(want) {
			t.Fatalf("%v, %v", names, err)
		}
		for _, name := range names {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := store(s, strings.NewReader("room again\r\n"), "alice", "bob"); err != nil {
		t.Error(err)
	}
	haveOnly(t, s, "room again\r\n")
}

// What keeps the journal from being used makes deliveries slower, no more; they
// use it again when that has gone.
func TestNoJournal(t *testing.T) {
	for _, f := range []fault{
		{"open", JournalName, syscall.EMFILE},
		{"write", JournalName, syscall.ENOSPC},
		{"sync", JournalName, syscall.EIO},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := disktest.New()
			s := On(d.Root(), "host")
			troubles := 0
			s.Trouble = func(error) { troubles++ }
			d.SetFault(f.meets)
			for range 2 {
				if err := store(s, strings.NewReader("during\r\n"), "alice", "bob"); err != nil {
					t.Error(err)
				}
			}
			if troubles != 1 {
				t.Errorf("%s %s: %d reports", f.op, f.below, troubles)
			}
			d.SetFault(nil)
			time.Sleep(again)
			if err := store(s, strings.NewReader("after\r\n"), "alice", "bob"); err != nil {
				t.Error(err)
			}
			if s.journal == nil {
				t.Errorf("%s %s: the journal is not used when the fault has gone", f.op, f.below)
			}
			haveOnly(t, s, "during\r\n", "during\r\n", "after\r\n")
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func (f fault) meets(op, name string) error {
	if op == f.op && name == f.below {
		return f.err
	}
	return nil
}

// A checkpoint that fails is made again later, and loses nothing meanwhile;
// deliveries do without the journal when it is full.
func TestFailedCheckpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := disktest.New()
		s := On(d.Root(), "host")
		var troubles atomic.Int32
		s.Trouble = func(error) { troubles.Add(1) }
		var mended atomic.Bool
		d.SetFault(func(op, name string) error {
			if mended.Load() {
				return nil
			}
			return fault{"sync", "*", syscall.EIO}.meets(op, name)
		})
		var want []string
		for i := range 30 {
			text := body(fmt.Sprintf("number-%d", i), 600)
			if err := store(s, strings.NewReader(text), "alice", "bob"); err != nil {
				t.Fatal(err)
			}
			want = append(want, text)
		}
		synctest.Wait()
		if n := troubles.Load(); n != 2 {
			t.Errorf("%d reports of two halves", n)
		}
		before := d.Synced(JournalName)
		mended.Store(true)
		time.Sleep(again)
		synctest.Wait()
		if err := store(s, strings.NewReader(body("number-30", 600)), "alice", "bob"); err != nil {
			t.Fatal(err)
		}
		if d.Synced(JournalName) != before+5 { // two halves that are confirmed and begin, and this message
			t.Errorf("the journal is not used when the fault has gone")
		}
		haveOnly(t, s, append(want, body("number-30", 600))...)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
