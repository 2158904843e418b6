package maildir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"xm/internal/disk"
	"xm/internal/disk/disktest"
)

// age makes everything below dir look untouched since long ago, but for ctime,
// which is waited for.
func age(t *testing.T, dir string) {
	t.Helper()
	long := time.Now().Add(-time.Hour)
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, long, long)
	})
	if err = errors.Join(err, os.Chtimes(dir, long, long)); err != nil { // again: it is the last
		t.Fatal(err)
	}
	for {
		st, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := stampOf(st); err != nil || s.settled() {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func uids(m *Maildrop) (all []string) {
	for i := range m.Len() {
		all = append(all, m.UID(i))
	}
	return all
}

// A maildrop at rest is listed once, and any change shows.
func TestListingIsRemembered(t *testing.T) {
	s, dir := newStore(t)
	deliver(t, s, "one\r\n", "alice")
	write(t, filepath.Join(dir, "alice/cur/2.foreign"), "two\n")
	write(t, filepath.Join(dir, "alice@localhost/3"), "three\n")
	drops := []string{"alice", "alice@localhost", "alice@host"}
	list := func() *listing {
		t.Helper()
		m := open(t, s, drops...)
		m.Close()
		return m.listing
	}
	if unsettled := list(); unsettled == list() {
		t.Error("a maildrop that may still change in the same tick of the clock is remembered")
	}
	age(t, dir)
	first := list()
	if first != list() {
		t.Fatal("a maildrop at rest is listed twice")
	}
	for i, change := range []func() error{
		func() error { return os.Remove(filepath.Join(dir, "alice/cur/2.foreign")) },
		func() error { return os.WriteFile(filepath.Join(dir, "alice/new/4.foreign"), []byte("4\n"), 0o600) },
		func() error { return os.WriteFile(filepath.Join(dir, "alice@localhost/5"), []byte("5\n"), 0o600) },
		func() error { return os.WriteFile(filepath.Join(dir, "alice/6"), []byte("6\n"), 0o600) },
		func() error {
			return errors.Join(os.Mkdir(filepath.Join(dir, "alice@host"), 0o700), os.WriteFile(filepath.Join(dir, "alice@host/7"), nil, 0o600))
		},
		func() error { return os.Rename(filepath.Join(dir, "alice"), filepath.Join(dir, "away")) },
	} {
		before := fmt.Sprint(uids(&Maildrop{listing: list()}))
		if err := change(); err != nil {
			t.Fatal(err)
		}
		m := open(t, s, drops...)
		if fmt.Sprint(uids(m)) == before {
			t.Errorf("change %d does not show: %s", i, before)
		}
		m.Close()
	}
}

// Two changes in one second look alike on a file system that has whole seconds.
func TestStampOfWholeSeconds(t *testing.T) {
	for _, c := range []struct {
		age     time.Duration
		nanos   int64
		settled bool
	}{{time.Second, 0, false}, {4 * time.Second, 0, true}, {2 * time.Second, 1, true}} {
		at := time.Now().Add(-c.age).Unix()
		st := stamp{1, syscall.NsecToTimespec(at*1e9 + c.nanos), syscall.NsecToTimespec(at*1e9 + c.nanos)}
		if st.settled() != c.settled {
			t.Errorf("of %v ago, with %d nanoseconds: %v", c.age, c.nanos, !c.settled)
		}
	}
	if !(stamp{}).settled() {
		t.Error("a directory that is not there may change")
	}
}

// A message that was being written when it was listed is measured again, also where
// others beside it are old.
func TestGrowingMessageIsMeasuredAgain(t *testing.T) {
	for growing, others := range map[string][]string{
		"alice/1462313083":    {"alice/new/1.foreign"}, // the original wrote its messages where they lie
		"alice/new/1.growing": {"alice/cur/2.foreign", "alice/3"},
	} {
		s, dir := newStore(t)
		for _, sub := range []string{"tmp", "new", "cur"} {
			if err := os.MkdirAll(filepath.Join(dir, "alice", sub), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		for _, other := range others {
			write(t, filepath.Join(dir, other), "x\n")
		}
		write(t, filepath.Join(dir, growing), "half")
		age(t, dir)
		write(t, filepath.Join(dir, growing), "half") // in place: no directory changes
		open(t, s, "alice").Close()
		write(t, filepath.Join(dir, growing), "half and whole")
		m := open(t, s, "alice")
		var all []string
		for i := range m.Len() {
			all = append(all, read(t, m, i))
		}
		if !slices.Contains(all, "half and whole\r\n") {
			t.Errorf("%s: read %q", growing, all)
		}
		m.Close()
	}
}

// A file that goes between the reading of its directory and its own is none, and
// what is no file is no message.
func TestGoneWhileListed(t *testing.T) {
	dir := t.TempDir()
	root, err := disk.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := On(passingOver{root, func(in, file string) bool {
		if file == "2.gone" {
			if err := os.Remove(filepath.Join(dir, in, file)); err != nil {
				t.Error(err)
			}
		}
		return false
	}}, "host")
	t.Cleanup(func() { s.Close() })
	for _, name := range []string{"new/1.a", "new/2.gone", "cur/3.c:2,S", "cur/4.negative,W=-5"} {
		write(t, filepath.Join(dir, "alice", name), "x\n")
	}
	for _, err := range []error{
		syscall.Mkfifo(filepath.Join(dir, "alice/cur/5.pipe"), 0o600),
		os.Symlink("3.c:2,S", filepath.Join(dir, "alice/cur/6.link")),
		os.Mkdir(filepath.Join(dir, "alice/cur/7.directory"), 0o700),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	m := open(t, s, "alice")
	defer m.Close()
	if got := strings.Join(uids(m), " "); got != "1.a 3.c 4.negative,W=-5" {
		t.Errorf("listed: %s", got)
	}
	for i := range m.Len() {
		read(t, m, i)
	}
}

// RFC 1939, section 7, UIDL: 1 to 70 octets of 0x21 to 0x7E, whatever the names.
func TestUniqueIDs(t *testing.T) {
	s, dir := newStore(t)
	long := "1." + strings.Repeat("x", 67)
	const n = 1000
	for i := range n { // which differ in their last octets
		write(t, filepath.Join(dir, "alice/cur", fmt.Sprintf("%s%04d:2,S", long, i)), "x\n")
	}
	for _, name := range []string{long + "x", long + "xx", "1.\x7f", "1.\u00e9", "1.\x80", "1. ", "1.\t", "1.~", "1.!"} {
		write(t, filepath.Join(dir, "alice/new", name), "x\n")
	}
	m := open(t, s, "alice")
	defer m.Close()
	seen := map[string]bool{}
	for _, id := range uids(m) {
		if id == "" || len(id) > 70 || strings.Trim(id, "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~") != "" || seen[id] {
			t.Errorf("unique-id %q", id)
		}
		seen[id] = true
	}
	if len(seen) != n+9 || !seen[long+"x"] || !seen["1.~"] || !seen["1.!"] {
		t.Errorf("%d unique-ids, not those of the names that can be", len(seen))
	}
}

// A host name of any kind leaves our names what they must be.
func TestHostInName(t *testing.T) {
	for _, host := range []string{"", "a:2,S", "a/b", "with space", strings.Repeat("long.", 50), "\u00fcn\u00efc\u00f6de.example.org", "[::1]"} {
		s := On(disktest.New().Root(), host)
		if err := store(s, strings.NewReader("x\r\n"), "alice"); err != nil {
			t.Fatalf("%q: %v", host, err)
		}
		m := open(t, s, "alice")
		if m.Len() != 1 || m.UID(0) != m.name(m.messages[0]) || m.Size(0) != 3 {
			t.Errorf("%q: %q has the unique-id %q and %d octets", host, m.name(m.messages[0]), m.UID(0), m.Size(0))
		}
		m.Close()
	}
}

// What the original left stays where it is when others move their messages.
func TestOriginalsAreNotMoved(t *testing.T) {
	s, dir := newStore(t)
	write(t, filepath.Join(dir, "alice/1462313083"), "of the original\n")
	write(t, filepath.Join(dir, "alice@localhost/1462313084"), "of the original, too\n")
	deliver(t, s, "x\r\n", "alice")
	m := open(t, s, "alice", "alice@localhost")
	defer m.Close()
	path := m.path(m.messages[2])
	if err := os.Rename(filepath.Join(dir, path), filepath.Join(dir, "alice/cur", filepath.Base(path)+":2,S")); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{2, 0, 1} {
		want := []string{"of the original\r\n", "of the original, too\r\n", "x\r\n"}[i]
		if got := read(t, m, i); got != want {
			t.Errorf("message %d: %q, want %q", i, got, want)
		}
	}
	if err := os.Remove(filepath.Join(dir, "alice/1462313083")); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Open(0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("one that is gone: %v", err)
	}
	if err := m.Delete([]int{0, 1, 2}); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "alice*/*[0-9]*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// What was measured once is not read again when another message arrives.
func TestSizesAreRemembered(t *testing.T) {
	s, dir := newStore(t)
	write(t, filepath.Join(dir, "alice/cur/1.foreign:2,S"), "one\n")
	deliver(t, s, "x\r\n", "alice")
	age(t, dir)
	open(t, s, "alice").Close()
	// Its content is a lie now, which nobody should notice.
	path := filepath.Join(dir, "alice/cur/1.foreign:2,S")
	if err := os.WriteFile(path, []byte("longer\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	deliver(t, s, "y\r\n", "alice")
	m := open(t, s, "alice")
	defer m.Close()
	if m.Len() != 3 || m.Size(0) != int64(len("one\r\n")) {
		t.Errorf("%d messages, the first of %d octets", m.Len(), m.Size(0))
	}
}

func TestListingsAreBounded(t *testing.T) {
	var c listings
	listing := func(octets int) *listing {
		l := new(listing)
		l.names.Grow(octets)
		return l
	}
	big := listing(maxListings / 4)
	for i := range 20 {
		c.put(fmt.Sprint(i), rememberedListing{big, "x"})
		c.put(fmt.Sprint(i), rememberedListing{big, "y"}) // in the place of the former
		if c.octets > maxListings || len(c.byName)*big.octets() != c.octets {
			t.Fatalf("%d octets, %d listings", c.octets, len(c.byName))
		}
	}
	c.put("huge", rememberedListing{listing(maxListings), "x"})
	if c.get("huge").listing != nil || len(c.byName) == 0 {
		t.Error("one listing takes all")
	}
}

// 200 octets a message are promised.
func TestMemoryOfASession(t *testing.T) {
	s, dir := newStore(t)
	const n = 20_000
	for i := range n {
		write(t, filepath.Join(dir, "alice/cur", fmt.Sprintf("%d.M000000R0123456789ab.mail.example.o,S=100000,W=100000:2,S", 1_700_000_000+i)), "")
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	m := open(t, s, "alice")
	defer m.Close()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n; m.Len() != n || each > 200 {
		t.Errorf("%d octets for each of %d messages", each, m.Len())
	}
	// Opened without reading them: they are empty, and have a size by their name.
	if m.Size(0) != 100_000 {
		t.Error("a message was measured")
	}
	if err := os.Rename(filepath.Join(dir, m.path(m.messages[5])), filepath.Join(dir, "alice/new", unique(m.name(m.messages[5])))); err != nil {
		t.Fatal(err)
	}
	if r, err := m.Open(5); err != nil {
		t.Error(err)
	} else {
		r.Close()
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n; each > 200 {
		t.Errorf("%d octets for each message after others were moved", each)
	}
}

// passingOver is a disk where reading a directory passes over a file that is
// renamed meanwhile, as POSIX allows.
type passingOver struct {
	disk.Dir
	rename func(dir, file string) bool // reports whether it has renamed it
}

func (d passingOver) Scan(name string, each func(disk.Entry) error) error {
	return d.Dir.Scan(name, func(e disk.Entry) error {
		if d.rename(name, e.Name) {
			return nil
		}
		return each(e)
	})
}

// A message that is flagged while the directory is read is listed, once, and
// found.
func TestFlaggedWhileListed(t *testing.T) {
	dir := t.TempDir()
	root, err := disk.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	left := 0
	s := On(passingOver{root, func(in, file string) bool {
		if in != "alice/cur" || left == 0 || !strings.HasPrefix(file, "2.") {
			return false
		}
		left--
		if err := os.Rename(filepath.Join(dir, in, file), filepath.Join(dir, in, fmt.Sprintf("%s:2,%d", unique(file), left))); err != nil {
			t.Error(err)
		}
		return true
	}}, "host")
	t.Cleanup(func() { s.Close() })
	for _, name := range []string{"1.foreign:2,S", "2.foreign", "2.ours,S=2,W=3:2,F", "3.foreign:2,"} {
		write(t, filepath.Join(dir, "alice/cur", name), "x\n")
	}
	left = 3 // both of them in the first pass, one in the second
	m := open(t, s, "alice")
	defer m.Close()
	if got := strings.Join(uids(m), " "); got != "1.foreign 2.foreign 2.ours,S=2,W=3 3.foreign" || left != 0 {
		t.Fatalf("listed: %s; %d renames were left", got, left)
	}
	for i := range m.Len() {
		read(t, m, i)
	}
	if err := os.Rename(filepath.Join(dir, m.path(m.messages[1])), filepath.Join(dir, "alice/cur/2.foreign:2,S")); err != nil {
		t.Fatal(err)
	}
	left = 1 // while it is looked for
	if got := read(t, m, 1); got != "x\r\n" || left != 0 {
		t.Errorf("got %q; %d renames were left", got, left)
	}
}

// watched is a disk that tells which directory is about to be read.
type watched struct {
	disk.Dir
	before func(dir string)
}

func (d watched) Scan(name string, each func(disk.Entry) error) error {
	d.before(name)
	return d.Dir.Scan(name, each)
}

// Mutt moves a message that is marked as unread from cur back to new. One that moves
// between the reading of new and that of cur is listed, found and deleted.
func TestUnreadWhileListed(t *testing.T) {
	dir := t.TempDir()
	root, err := disk.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var unread string // a message that is about to move
	s := On(watched{root, func(in string) {
		if in == "alice/cur" && unread != "" {
			move(t, filepath.Join(dir, in, unread+":2,S"), filepath.Join(dir, "alice/new", unread))
			unread = ""
		}
	}}, "host")
	t.Cleanup(func() { s.Close() })
	write(t, filepath.Join(dir, "alice/new/1.foreign"), "x\n")
	for _, name := range []string{"2:2,S", "3.foreign:2,S"} {
		write(t, filepath.Join(dir, "alice/cur", name), "x\n")
	}
	write(t, filepath.Join(dir, "alice/2"), "the original's\n") // another of that name
	age(t, filepath.Join(dir, "alice"))
	unread = "2"
	m := open(t, s, "alice")
	if got := strings.Join(uids(m), " "); got != "1.foreign 2 alice/2 3.foreign" {
		t.Fatalf("listed: %s", got)
	}
	// It is read, and the next one moves while the first is looked for.
	move(t, filepath.Join(dir, "alice/new/2"), filepath.Join(dir, "alice/cur/2:2,S"))
	move(t, filepath.Join(dir, "alice/new/1.foreign"), filepath.Join(dir, "alice/cur/1.foreign:2,S"))
	age(t, filepath.Join(dir, "alice"))
	unread = "3.foreign"
	for i := range m.Len() {
		read(t, m, i)
	}
	if err := m.Delete([]int{0, 1, 3}); err != nil {
		t.Fatal(err)
	}
	m.Close()
	if left, _ := filepath.Glob(filepath.Join(dir, "alice/*/*")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func move(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Error(err)
	}
}

// A pipe or a link in the place of a message keeps nobody waiting and leads
// nowhere.
func TestNotAMessageAnyMore(t *testing.T) {
	s, dir := newStore(t)
	for i := range 3 {
		write(t, filepath.Join(dir, "alice/cur", fmt.Sprint(i, ".foreign")), "x\n")
	}
	write(t, filepath.Join(dir, "secret"), "secret\n")
	m := open(t, s, "alice")
	defer m.Close()
	for i, replace := range []func(path string) error{
		func(path string) error { return syscall.Mkfifo(path, 0o600) },
		func(path string) error { return os.Symlink("../../secret", path) },
		func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		path := filepath.Join(dir, m.path(m.messages[i]))
		if err := errors.Join(os.Remove(path), replace(path)); err != nil {
			t.Fatal(err)
		}
		// An empty message would be as wrong as another one.
		r, err := m.Open(i)
		if err == nil {
			_, err = r.Read(make([]byte, 1))
			r.Close()
		}
		if err == nil || err == io.EOF {
			t.Errorf("%d is read: %v", i, err)
		}
	}
}

// Neither does one in the place of a directory.
func TestNotADirectoryAnyMore(t *testing.T) {
	s, dir := newStore(t)
	deliver(t, s, "x\r\n", "alice", "bob")
	for _, path := range []string{"alice@localhost", "bob/cur"} {
		if err := os.Remove(filepath.Join(dir, path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if err := syscall.Mkfifo(filepath.Join(dir, path), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	go func() {
		defer close(done)
		m, err := s.Open([]string{"alice", "alice@localhost"})
		if err != nil {
			done <- err
			return
		}
		if m.Len() != 1 {
			t.Errorf("alice has %d messages", m.Len())
		}
		m.Close()
		for range 2 { // the lock is not held for ever either
			if _, err := s.Open([]string{"bob"}); !errors.Is(err, syscall.ENOTDIR) {
				done <- fmt.Errorf("a maildrop without cur: %w", err)
			}
		}
		if len(s.Check("bob", false)) == 0 {
			done <- errors.New("it is as it should be")
		}
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("a pipe keeps us waiting")
	}
}

func TestFilesAreConfined(t *testing.T) {
	s, dir := newStore(t)
	outside := filepath.Join(filepath.Dir(dir), "outside")
	write(t, outside, "secret\n")
	for _, path := range []string{"../outside", outside, "link"} {
		if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
		if r, err := s.root.OpenRead(path, -1); err == nil {
			r.Close()
			t.Errorf("%s opens", path)
		}
	}
}

// A message that moves while new and cur are read is listed once, and two of the
// original's with one name are two.
func TestSameMessageTwice(t *testing.T) {
	s, dir := newStore(t)
	write(t, filepath.Join(dir, "alice/new/5.a"), "x\n")
	write(t, filepath.Join(dir, "alice/cur/5.a:2,S"), "x\n")
	write(t, filepath.Join(dir, "alice/cur/5.a:2,FS"), "x\n")
	write(t, filepath.Join(dir, "alice/cur/5"), "y\n")
	write(t, filepath.Join(dir, "alice/5"), "z\n")
	write(t, filepath.Join(dir, "alice@localhost/5"), "z\n")
	m := open(t, s, "alice", "alice@localhost")
	if got := strings.Join(uids(m), " "); got != "5 alice/5 alice@localhost/5 5.a" {
		t.Errorf("listed: %s", got)
	}
	// What is deleted does not come back under its other names.
	if err := m.Delete([]int{1, 3}); err != nil {
		t.Fatal(err)
	}
	m.Close()
	m = open(t, s, "alice", "alice@localhost")
	defer m.Close()
	if got := strings.Join(uids(m), " "); got != "5 alice@localhost/5" {
		t.Errorf("left: %s", got)
	}
}

// A size in a name that no message has is none.
func TestAbsurdSize(t *testing.T) {
	s, dir := newStore(t)
	deliver(t, s, "x\r\n", "alice")
	if err := os.WriteFile(filepath.Join(dir, "alice/new/1.a,W=9223372036854775807"), []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := s.Open([]string{"alice"})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if m.Len() != 2 || m.Size(0) != 7 {
		t.Errorf("%d messages, the first of %d octets", m.Len(), m.Size(0))
	}
}

// A maildrop of 100,000 messages that nothing is remembered of.
func BenchmarkOpen100000(b *testing.B) {
	s, dir := newStore(b)
	for i := range 100_000 {
		write(b, filepath.Join(dir, "alice/cur", fmt.Sprintf("%d.M%06dR0123456789ab.localhost,S=3,W=4:2,S", 1_700_000_000+i, i)), "x\n")
	}
	b.ReportAllocs()
	for b.Loop() {
		s.listings = listings{}
		m := open(b, s, "alice")
		if m.Len() != 100_000 {
			b.Fatal(m.Len())
		}
		m.Close()
	}
}
