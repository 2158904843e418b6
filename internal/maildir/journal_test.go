package maildir

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"xm/internal/disk/disktest"
)

// What is not a record, whole and of this epoch, is none; what is one comes back
// as it was.
func FuzzRecord(f *testing.F) {
	r := record{name: "1.host,S=2,W=3", maildrops: []string{"alice", "bob@localhost"}, content: []byte("a\n")}
	whole := slices.Clone(r.encode(7).octets)
	f.Add(whole, uint64(7), -1)
	f.Add(whole, uint64(8), -1)
	f.Add(whole, uint64(7), 40)
	f.Add(whole[:len(whole)-1], uint64(7), -1)
	f.Add([]byte("xm 0000000000000007 00000030 00000000\n\n\n\n"), uint64(7), -1)
	// The same to a reader that takes other white space, or capital letters.
	f.Add(bytes.Replace(whole, []byte("\n"), []byte("\v"), 1), uint64(7), -1)
	f.Add(append(bytes.ToUpper(whole[:bodyStart]), whole[bodyStart:]...), uint64(7), -1)
	f.Fuzz(func(t *testing.T, b []byte, epoch uint64, flip int) {
		b = slices.Clone(b)
		if flip >= 0 && flip < len(b) {
			b[flip] ^= 1
		}
		was := slices.Clone(b)
		r, size := parseRecord(b, epoch)
		if r == nil {
			return
		}
		e := r.encode(epoch)
		defer e.release()
		for i := range r.maildrops {
			if _, err := r.mark(writerAt(e.octets), 0, r.maildrops[i:i+1], r.marks[i]); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(e.octets, was[:size]) {
			t.Errorf("%q came back as %q", was[:size], e.octets)
		}
	})
}

type writerAt []byte

func (w writerAt) WriteAt(p []byte, offset int64) (int, error) { return copy(w[offset:], p), nil }

// Names that lead elsewhere are in no record.
func TestRecordWithPath(t *testing.T) {
	for _, r := range []record{
		{name: "../1.host", maildrops: []string{"alice"}}, {name: "..", maildrops: []string{"alice"}},
		{name: "1.host", maildrops: []string{"alice", "../bob"}}, {name: "1.host", maildrops: []string{"."}}, {name: "", maildrops: []string{"alice"}},
	} {
		if got, _ := parseRecord(slices.Clone(r.encode(7).octets), 7); got != nil {
			t.Errorf("%q, %q", got.name, got.maildrops)
		}
	}
}

// Every octet of a record counts.
func TestDamagedRecord(t *testing.T) {
	r := record{name: "1.host", maildrops: []string{"alice", "bob"}, content: []byte("hello\n")}
	whole := r.encode(7).octets
	for i := range whole {
		damaged := slices.Clone(whole)
		damaged[i] ^= 0x10
		if got, _ := parseRecord(damaged, 7); got != nil {
			t.Errorf("octet %d (%q) can be changed: %+v", i, whole[i], got)
		}
		if got, _ := parseRecord(slices.Clone(whole[:i]), 7); got != nil {
			t.Errorf("%d octets are a record", i)
		}
	}
	if got, size := parseRecord(whole, 7); got == nil || size != int64(len(whole)) || string(got.content) != "hello\n" || !slices.Equal(got.maildrops, r.maildrops) {
		t.Errorf("the whole record is %+v", got)
	}
}

// One process has the journal; the next one gets it when that is gone.
func TestOneJournal(t *testing.T) {
	dir := t.TempDir()
	open := func() *Store {
		s, err := New(dir, "host")
		if err != nil {
			t.Fatal(err)
		}
		s.Trouble = func(err error) { t.Error(err) }
		return s
	}
	first, second := open(), open()
	if first.root.CanSyncAll() != nil {
		t.Skip("the file system of temporary files has no journal")
	}
	for _, s := range []*Store{first, second} {
		if err := store(s, strings.NewReader("hello\r\n"), "alice"); err != nil {
			t.Fatal(err)
		}
	}
	if err := second.Recover(); err != nil {
		t.Errorf("while another process has the journal: %v", err)
	}
	if first.journal == nil || second.journal != nil {
		t.Errorf("first %v, second %v", first.journal != nil, second.journal != nil)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	third := open()
	if err := store(third, strings.NewReader("hello\r\n"), "alice"); err != nil || third.journal == nil {
		t.Errorf("third: %v, journal %v", err, third.journal != nil)
	}
	for _, s := range []*Store{second, third} {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	content, err := os.ReadFile(filepath.Join(dir, JournalName))
	if err != nil || !strings.HasPrefix(string(content), "xm journal ") {
		t.Errorf("%.40q, %v", content, err)
	}
}

// A maildrop on another file system than the journal's has its own syncs.
func TestMountedMaildrop(t *testing.T) {
	dir := t.TempDir()
	mounted := filepath.Join(dir, "alice")
	if err := os.Mkdir(mounted, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("xm", mounted, "tmpfs", 0, "mode=0700"); err != nil {
		t.Skip("needs the right to mount: ", err)
	}
	defer unix.Unmount(mounted, 0)
	s, err := New(dir, "host")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := store(s, strings.NewReader("hello\r\n"), "alice"); err != nil {
		t.Fatal(err)
	}
	if s.journal != nil {
		t.Error("it is in the journal of another file system")
	}
	// Neither has it links to others.
	if err := store(s, strings.NewReader("to both\r\n"), "alice", "bob"); err != nil {
		t.Fatal(err)
	}
	for name, messages := range map[string]int64{"alice": 2, "bob": 1} {
		if u, err := s.Usage(name); err != nil || u.Messages != messages {
			t.Errorf("%s has %v, %v", name, u, err)
		}
		if left, err := os.ReadDir(filepath.Join(dir, name, "tmp")); err != nil || len(left) > 0 {
			t.Errorf("%s/tmp holds %v, %v", name, left, err)
		}
	}
}

// A message for a thousand takes few descriptors, with a journal and without.
func TestManyRecipients(t *testing.T) {
	for _, direct := range []bool{false, true} {
		s, err := New(t.TempDir(), "host")
		if err != nil {
			t.Fatal(err)
		}
		s.NoJournal = direct
		var all []string
		for i := range 300 {
			all = append(all, fmt.Sprint("user", i))
		}
		few := 4*maxDrops + 2*mostUnsynced + 60
		if few >= 4*len(all) {
			t.Fatal("the test proves nothing")
		}
		withFiles(t, few, func() {
			if err := store(s, strings.NewReader("hello\r\n"), all...); err != nil {
				t.Errorf("direct %v: %v", direct, err)
			}
		})
		for _, name := range all {
			if u, err := s.Usage(name); err != nil || u.Messages != 1 {
				t.Fatalf("%s has %v, %v", name, u, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// However few descriptors are left, a message that gets into one maildrop gets into
// the other too, or is taken back.
func TestFewDescriptors(t *testing.T) {
	for _, direct := range []bool{false, true} {
		s, err := New(t.TempDir(), "host")
		if err != nil {
			t.Fatal(err)
		}
		s.NoJournal = direct
		if err := store(s, strings.NewReader("hello\r\n"), "alice"); err != nil {
			t.Fatal(err)
		}
		want := int64(1)
		for free := range 12 {
			bob := fmt.Sprint("bob", free)
			if err := s.prepare(bob); err != nil {
				t.Fatal(err)
			}
			var stored error
			withFiles(t, free, func() { stored = store(s, strings.NewReader("hello\r\n"), "alice", bob) })
			if stored == nil {
				want++
			}
			if u, err := s.Usage("alice"); err != nil || u.Messages != want {
				t.Fatalf("direct %v, %d left: %v, and alice has %v, %v", direct, free, stored, u, err)
			}
		}
		if want == 1 || want == 13 {
			t.Errorf("the test proves nothing: %d messages", want)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Maildrops that stay open leave descriptors to others, where there are few.
func TestOpenMaildropsLeaveDescriptors(t *testing.T) {
	const few = 300
	if few >= 4*maxDrops {
		t.Fatal("the test proves nothing")
	}
	dir := t.TempDir()
	withFiles(t, few, func() {
		s, err := New(dir, "host")
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for i := range maxDrops {
			deliver(t, s, "hello\r\n", fmt.Sprint("user", i))
		}
	})
}

// withFiles calls f while the process can open so many files.
func withFiles(t *testing.T, most int, f func()) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	for low.Cur = 0; most > 0; low.Cur++ { // the limit is one of numbers, which others may have
		if _, err := unix.FcntlInt(uintptr(low.Cur), unix.F_GETFD, 0); err != nil {
			most--
		}
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	}()
	f()
}

// A crash in the midst of putting messages back loses nothing.
func TestCrashWhileRecovering(t *testing.T) {
	c := &crashed{disk: disktest.New()}
	c.open()
	c.prepare("alice")
	c.deliver("one", 100, "alice")
	c.deliver("two", 600, "alice", "bob")
	c.remove("alice", "one")
	c.halt()
	states := 0
	n, err := c.disk.Crashes(2, func(after *disktest.Disk, notes []any) error {
		if states++; states%499 != 0 { // each has hundreds of its own
			return nil
		}
		return errors.Join(recoverAndCrash(after, notes, 0), recoverAndCrash(after, notes, 1))
	})
	if err != nil {
		t.Error(err)
	}
	t.Log(n, "states")
}

// recoverAndCrash puts messages back, at first in vain where the sync fails so often.
func recoverAndCrash(after *disktest.Disk, notes []any, failures int) error {
	again := after.Continue(notes)
	s := On(again.Root(), "host")
	s.uptime = "later"
	again.SetFault(func(op, name string) error {
		if op == "sync" && name == "*" && failures > 0 {
			failures--
			return syscall.EIO
		}
		return nil
	})
	for err := s.Recover(); err != nil; err = s.Recover() {
		if !errors.Is(err, syscall.EIO) {
			return err
		}
	}
	_, err := again.Crashes(3, check)
	return err
}

// A system that does not tell one start from another may have crashed.
func TestUnknownBoot(t *testing.T) {
	c := &crashed{disk: disktest.New()}
	c.open()
	c.store.uptime = ""
	c.prepare("alice")
	c.deliver("one", 100, "alice")
	if err := c.disk.Root().Remove(c.find(t, body("one", 100))); err != nil {
		t.Fatal(err)
	}
	c.open()
	c.store.uptime = ""
	if err := c.store.Recover(); err != nil {
		t.Fatal(err)
	}
	c.find(t, body("one", 100))
}

// Whoever gets the journal of a process that was killed puts back what it holds, of both
// halves, and empties it.
func TestJournalTakenOver(t *testing.T) {
	for what, takeOver := range map[string]func(*Store) error{
		"Recover": (*Store).Recover,
		"a delivery": func(s *Store) error {
			if s.ownJournal() == nil {
				return errors.New("there is no journal")
			}
			return nil
		},
	} {
		c := &crashed{disk: disktest.New()}
		c.open()
		c.prepare("alice")
		for half := range 2 {
			c.store.journal.current = half
			c.deliver(fmt.Sprint("one", half), 100, "alice")
			if err := c.disk.Root().Remove(c.find(t, body(fmt.Sprint("one", half), 100))); err != nil {
				t.Fatal(err)
			}
		}
		c.open()
		c.store.uptime = "later"
		if err := takeOver(c.store); err != nil {
			t.Fatal(err)
		}
		f, err := openJournalFile(c.disk.Root(), JournalName)
		if err != nil {
			t.Fatal(err)
		}
		for half := range 2 {
			c.find(t, body(fmt.Sprint("one", half), 100))
			if _, records, err := readHalf(f, half); len(records) != 0 || err != nil {
				t.Errorf("%s: half %d has %d records, %v", what, half, len(records), err)
			}
		}
		f.Close()
	}
}

// What another program deleted before a process was killed, and nothing else, stays so.
func TestKilled(t *testing.T) {
	c := &crashed{disk: disktest.New()}
	c.open()
	c.prepare("alice")
	c.deliver("one", 100, "alice")
	c.unlink(t, "one")
	c.open()
	if err := c.store.Recover(); err != nil {
		t.Fatal(err)
	}
	if u, err := c.store.Usage("alice"); err != nil || u.Messages != 0 {
		t.Errorf("%v, %v", u, err)
	}
}

// A message that somebody deleted does not come back when a sync has failed; what
// the deletion has left goes when messages are put back; what was removed as a whole
// is not made anew; and directories that are missing are.
func TestPutBack(t *testing.T) {
	s, dir := newStore(t)
	r := func(name, maildrop string, mark byte) *record {
		return &record{name: name, maildrops: []string{maildrop}, marks: []byte{mark}, content: []byte("hello\n")}
	}
	there := func(path string) bool {
		_, err := os.Stat(filepath.Join(dir, path))
		return err == nil
	}
	for _, maildrop := range []string{"alice", "bob"} {
		if err := os.Mkdir(filepath.Join(dir, maildrop), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if failed := s.putBack([]*record{r("1", "alice", unmarked), r("2", "alice", markDeleted), r("3", "nobody", unmarked)}, afterCrash); len(failed) > 0 {
		t.Fatal(failed)
	}
	if !there("alice/new/1") || !there("alice/cur") || there("alice/new/2") || there("nobody") {
		t.Error("after a crash")
	}
	write(t, filepath.Join(dir, "alice/cur/1:2,S"), "seen")
	if failed := s.putBack([]*record{r("1", "alice", unmarked)}, afterCrash); len(failed) > 0 {
		t.Fatal(failed)
	}
	if !there("alice/new/1") || there("alice/cur/1:2,S") {
		t.Error("a message is there twice")
	}
	if failed := s.putBack([]*record{r("1", "alice", markDeleted), r("4", "bob", unmarked)}, whileRunning); len(failed) > 0 {
		t.Fatal(failed)
	}
	if there("alice/new/1") || there("bob/new/4") {
		t.Error("while it runs, deleted messages are there")
	}
}

// A message leaves the journal after a while, and the journal goes on.
func TestRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := disktest.New()
		s := On(d.Root(), "host")
		for i := range 3 {
			if err := store(s, strings.NewReader("hello\r\n"), "alice"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(checkpointAfter)
			synctest.Wait()
			if n := d.Synced("*"); n != i+1 || len(s.journal.places) != 0 {
				t.Errorf("%d syncs after %d messages, %d in the journal", n, i+1, len(s.journal.places))
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := store(s, strings.NewReader("hello\r\n"), "alice"); err != nil || s.journal != nil {
			t.Errorf("after Close: %v, a journal: %v", err, s.journal != nil)
		}
	})
}

// A half takes records up to its end.
func TestRoom(t *testing.T) {
	s := On(disktest.New().Root(), "host")
	j := s.ownJournal()
	for size, want := range map[int64]bool{halfSize - headerSize: true, halfSize - headerSize + 1: false} {
		j.mu.Lock()
		if j.makeRoom(size) != want {
			t.Errorf("room for %d octets: %v", size, !want)
		}
		j.mu.Unlock()
		j.checkpoints.Wait()
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// A maildrop whose name can't be in a record has its own syncs.
func TestStrangeName(t *testing.T) {
	s := On(disktest.New().Root(), "host")
	if err := store(s, strings.NewReader("hello\r\n"), "a\nb", "alice"); err != nil {
		t.Fatal(err)
	}
	if j := s.journal; j == nil || len(j.places) != 0 {
		t.Error("it is in the journal")
	}
}

// A Store gives its journal up to another one and goes on without it, also while a
// message is on its way.
func TestGiveUpJournal(t *testing.T) {
	s, dir := newStore(t)
	if s.root.CanSyncAll() != nil {
		t.Skip("the file system of temporary files has no journal")
	}
	e, err := s.ownJournal().add(&record{name: "1.host", maildrops: []string{"alice"}, content: []byte("x\n")})
	if err != nil {
		t.Fatal(err)
	}
	free := make(chan error)
	go func() { free <- s.GiveUpJournal() }()
	deliver(t, s, "without\r\n", "alice")
	next, err := New(dir, "host")
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if next.ownJournal() != nil {
		t.Error("another has the journal while a message is on its way")
	}
	e.done()
	if err := <-free; err != nil {
		t.Error(err)
	}
	next.nextOpening = time.Time{}
	if next.ownJournal() == nil || s.ownJournal() != nil {
		t.Errorf("the next has it: %v, this one: %v", next.journal != nil, s.journal != nil)
	}
	deliver(t, s, "still without\r\n", "alice")
	if m, err := s.Usage("alice"); err != nil || m.Messages != 2 {
		t.Errorf("%v, %v", m, err)
	}
}

// What is read of a file in pieces is what is there, up to the end, and little more
// than is asked for.
func TestWindow(t *testing.T) {
	whole := make([]byte, 3*windowSize)
	for i := range whole {
		whole[i] = byte(i * i >> 7)
	}
	const end = 5 * windowSize / 2
	for _, length := range []int{len(whole), 2 * windowSize} { // longer than the end, and shorter
		f := &countedReader{ReaderAt: bytes.NewReader(whole[:length])}
		w := window{f: f, end: end}
		offset, last := 0, min(length, end)
		for i := 0; offset < last; i++ {
			for _, size := range []int{bodyStart, 70_000 + i*3000, windowSize + i} {
				b, err := w.at(int64(offset), int64(size))
				if want := whole[offset:min(offset+size, last)]; err != nil || !bytes.Equal(b, want) {
					t.Fatalf("%d octets at %d of %d: got %d, %v", size, offset, length, len(b), err)
				}
			}
			offset += 70_000
		}
		if b, err := w.at(int64(last), 10); len(b) > 0 || err != nil {
			t.Errorf("beyond the end: %d octets, %v", len(b), err)
		}
	}
	f := &countedReader{ReaderAt: bytes.NewReader(whole)}
	w := window{f: f, end: end}
	for offset := 0; offset < windowSize; offset += 5000 {
		if _, err := w.at(int64(offset), 5000); err != nil {
			t.Fatal(err)
		}
	}
	if f.octets > 2*windowSize {
		t.Errorf("%d octets were read for %d", f.octets, windowSize)
	}
}

type countedReader struct {
	io.ReaderAt
	octets int
}

func (r *countedReader) ReadAt(p []byte, offset int64) (int, error) {
	n, err := r.ReaderAt.ReadAt(p, offset)
	r.octets += n
	return n, err
}

// A header that no crash leaves like that is told, and the other half is read.
func TestDamagedHeader(t *testing.T) {
	for half, comesBack := range []bool{false, true} { // the message is in the first
		c := &crashed{disk: disktest.New()}
		c.open()
		c.prepare("alice")
		c.deliver("one", 100, "alice")
		file := c.find(t, body("one", 100))
		c.open()
		c.store.uptime = "later"
		var told []error
		c.store.Trouble = func(err error) { told = append(told, err) }
		f, err := openJournalFile(c.disk.Root(), JournalName)
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{c.disk.Root().Remove(file), second(f.WriteAt([]byte("?"), start(half))), c.store.Recover(), f.Close()} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if len(told) != 1 || !errors.Is(told[0], errHeader) {
			t.Errorf("half %d: %v", half, told)
		}
		if _, err := c.disk.Root().Stat(file); comesBack != (err == nil) {
			t.Errorf("half %d: %v", half, err)
		}
	}
}

func second(_ int, err error) error { return err }

// On a file system that can't be written to, a journal that holds nothing is no trouble.
func TestReadOnlyJournal(t *testing.T) {
	for _, atRest := range []bool{true, false} {
		c := &crashed{disk: disktest.New()}
		c.open()
		c.prepare("alice")
		c.deliver("one", 100, "alice")
		if atRest {
			if err := c.store.GiveUpJournal(); err != nil {
				t.Fatal(err)
			}
		}
		c.open()
		opened := false
		c.disk.SetFault(func(op, name string) error {
			if op == "open" && name == JournalName && !opened { // for writing, that is
				opened = true
				return syscall.EROFS
			}
			return nil
		})
		if err := c.store.Recover(); atRest != (err == nil) || err != nil && !errors.Is(err, syscall.EROFS) {
			t.Errorf("at rest %v: %v", atRest, err)
		}
	}
}
