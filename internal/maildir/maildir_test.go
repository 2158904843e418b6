package maildir

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"xm/internal/disk"
	"xm/internal/disk/disktest"
)

// The sizes of the journal as users have it. Tests have a small one, which is soon full.
var usualHalf, usualExtent = halfSize, extent

// TestMain lets the test binary stand for another process: see
// TestLockHoldsAcrossProcesses.
func TestMain(m *testing.M) {
	halfSize, extent = 8<<10, 1<<8
	if dir := os.Getenv("MAILDIR_TEST_HOLD"); dir != "" {
		s, err := New(dir, "host")
		if err == nil {
			_, err = s.Open([]string{"alice"})
		}
		fmt.Println(err)
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func newStore(t testing.TB) (*Store, string) {
	t.Helper()
	dir := t.TempDir()
	s, err := New(dir, "mail.example.org")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, dir
}

func deliver(t testing.TB, s *Store, body string, names ...string) {
	t.Helper()
	if err := store(s, strings.NewReader(body), names...); err != nil {
		t.Fatal(err)
	}
}

// store delivers the message that r gives.
func store(s *Store, r io.Reader, names ...string) error {
	d, err := s.Begin(names)
	if err != nil {
		return err
	}
	defer d.Abort()
	if _, err := io.Copy(d, r); err != nil {
		return err
	}
	return d.Commit()
}

func open(t testing.TB, s *Store, dirs ...string) *Maildrop {
	t.Helper()
	m, err := s.Open(dirs)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func read(t testing.TB, m *Maildrop, i int) string {
	t.Helper()
	r, err := m.OpenWire(i)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(b)) != m.Size(i) {
		t.Errorf("message %d has %d octets, listed with %d", i, len(b), m.Size(i))
	}
	return string(b)
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDeliverAndRead(t *testing.T) {
	s, dir := newStore(t)
	bodies := []string{"Subject: x\r\n\r\nhello\r\n", "one line, no end", "", ".\r\n..\r\n", strings.Repeat("x", 1<<20) + "\r\n"}
	for _, b := range bodies {
		deliver(t, s, b, "alice")
	}
	m := open(t, s, "alice")
	defer m.Close()
	if m.Len() != len(bodies) {
		t.Fatalf("%d messages, want %d", m.Len(), len(bodies))
	}
	for i, b := range bodies {
		want := b
		if b != "" && !strings.HasSuffix(b, "\r\n") {
			want += "\r\n"
		}
		if got := read(t, m, i); got != want {
			t.Errorf("message %d: %.40q, want %.40q", i, got, want)
		}
		if id := m.UID(i); len(id) > 70 || id == "" || id != unique(m.name(m.messages[i])) {
			t.Errorf("unique-id %q is not the file's name", id)
		}
		stored, err := os.ReadFile(filepath.Join(dir, m.path(m.messages[i])))
		if err != nil || bytes.ContainsRune(stored, '\r') || !strings.Contains(m.name(m.messages[i]), fmt.Sprintf(",S=%d,W=%d", len(stored), len(want))) {
			t.Errorf("%s holds %d octets: %v", m.name(m.messages[i]), len(stored), err)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "alice", "tmp")); len(left) != 0 {
		t.Errorf("left in tmp: %v", left)
	}
}

func TestOneBodyForManyRecipients(t *testing.T) {
	s, dir := newStore(t)
	deliver(t, s, "hello\r\n", "alice", "bob@localhost")
	a, _ := filepath.Glob(filepath.Join(dir, "alice/new/*"))
	b, _ := filepath.Glob(filepath.Join(dir, "bob@localhost/new/*"))
	if len(a) != 1 || len(b) != 1 {
		t.Fatalf("alice has %v, bob %v", a, b)
	}
	sa, _ := os.Stat(a[0])
	sb, _ := os.Stat(b[0])
	if !os.SameFile(sa, sb) {
		t.Error("the body was written twice")
	}
}

// A maildrop that is a link to another one gets what is for both once.
func TestLinkedMaildrops(t *testing.T) {
	for _, direct := range []bool{false, true} {
		s, dir := newStore(t)
		s.NoJournal = direct
		deliver(t, s, "first\r\n", "alice")
		if err := os.Symlink("alice", filepath.Join(dir, "bob")); err != nil {
			t.Fatal(err)
		}
		deliver(t, s, "second\r\n", "alice", "bob", "carol")
		for name, want := range map[string]int64{"alice": 2, "bob": 2, "carol": 1} {
			if u, err := s.Usage(name); u.Messages != want || err != nil {
				t.Errorf("direct %v: %s has %d messages, want %d: %v", direct, name, u.Messages, want, err)
			}
		}
	}
}

// Nobody has the message when a delivery fails.
func TestDeliveryIsAllOrNothing(t *testing.T) {
	s, dir := newStore(t)
	deliver(t, s, "first\r\n", "alice", "bob")
	fail := errors.New("cut off")
	if err := store(s, io.MultiReader(strings.NewReader("half"), iotest.ErrReader(fail)), "alice"); !errors.Is(err, fail) {
		t.Errorf("reader failed: %v", err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "bob")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bob"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := store(s, strings.NewReader("second\r\n"), "alice", "bob"); err == nil {
		t.Error("delivered to a maildrop that is not there")
	}
	if err := os.Remove(filepath.Join(dir, "bob")); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"new", "tmp"} {
		if files, _ := os.ReadDir(filepath.Join(dir, "alice", sub)); len(files) != map[string]int{"new": 1}[sub] {
			t.Errorf("alice/%s holds %v", sub, files)
		}
	}
	deliver(t, s, "third\r\n", "alice", "bob") // the missing directories are made again
}

// What becomes of a delivery that fails or is dropped: nothing, whoever asks.
func TestAbort(t *testing.T) {
	s, dir := newStore(t)
	begin := func(names ...string) *Delivery {
		t.Helper()
		d, err := s.Begin(names)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	dropped := begin("alice")
	fmt.Fprint(dropped, "x\r\n")
	dropped.Abort()
	dropped.Abort()
	if _, err := dropped.Write([]byte("x")); err == nil || dropped.Commit() == nil {
		t.Error("a dropped message goes on")
	}

	failed := begin("alice")
	big := make([]byte, 2*writeSize)
	if _, err := failed.Write(big); err != nil {
		t.Fatal(err)
	}
	failed.file.Close()
	_, err := failed.Write(big)
	if err == nil {
		t.Fatal("wrote to a closed file")
	}
	if _, again := failed.Write([]byte("x")); again != err {
		t.Errorf("then: %v, want %v", again, err)
	}
	if got := failed.Commit(); got != err {
		t.Errorf("Commit: %v, want %v", got, err)
	}

	stored := begin("alice", "alice") // one copy
	fmt.Fprint(stored, "x\r\n")
	if err := stored.Commit(); err != nil {
		t.Fatal(err)
	}
	stored.Abort()
	if stored.Commit() == nil {
		t.Error("stored twice")
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "alice/*/*")); len(files) != 1 {
		t.Errorf("stored: %v", files)
	}
	if _, err := s.Begin(nil); err == nil {
		t.Error("a message for nobody was begun")
	}
}

// A user whose directory's disk does not answer keeps nobody else waiting.
func TestFirstLoginsWaitForNobody(t *testing.T) {
	d := disktest.New()
	s := On(d.Root(), "host")
	asked, answer := make(chan struct{}), make(chan struct{})
	d.SetDuring(func(name string) {
		if name == "alice" {
			close(asked)
			<-answer
		}
	})
	login := func(user string) <-chan error {
		done := make(chan error, 1)
		go func() {
			m, err := s.Open([]string{user})
			if err == nil {
				m.Close()
			}
			done <- err
		}()
		return done
	}
	alice := login("alice")
	<-asked
	select {
	case err := <-login("bob"):
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("bob waits for alice")
	}
	close(answer)
	if err := <-alice; err != nil {
		t.Error(err)
	}
}

// An operator moves a maildrop away while the server runs.
func TestMaildropIsMovedAway(t *testing.T) {
	s, dir := newStore(t)
	deliver(t, s, "first\r\n", "alice")
	open(t, s, "alice").Close()
	if err := os.Rename(filepath.Join(dir, "alice"), filepath.Join(dir, "away")); err != nil {
		t.Fatal(err)
	}
	m := open(t, s, "alice")
	m.Close()
	if m.Len() != 0 {
		t.Error("the mail that was moved away is listed")
	}
	if err := os.RemoveAll(filepath.Join(dir, "alice")); err != nil {
		t.Fatal(err)
	}
	deliver(t, s, "second\r\n", "alice")
}

// A tmp that is removed, or made anew, under a maildrop that is open keeps no large
// message out.
func TestTmpIsRemoved(t *testing.T) {
	large := strings.Repeat("as large as that\r\n", 5000)
	for _, remake := range []bool{false, true} {
		s, dir := newStore(t)
		deliver(t, s, large, "alice")
		tmp := filepath.Join(dir, "alice/tmp")
		err := os.Remove(tmp)
		if err == nil && remake {
			err = os.Mkdir(tmp, 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
		deliver(t, s, large, "alice")
		if m := open(t, s, "alice"); m.Len() != 2 {
			t.Errorf("%d messages, made anew: %v", m.Len(), remake)
		}
	}
}

func TestLeftOversAreRemoved(t *testing.T) {
	s, dir := newStore(t)
	old, young := filepath.Join(dir, "alice/tmp/old"), filepath.Join(dir, "alice/tmp/young")
	write(t, old, "half")
	write(t, young, "half")
	long := time.Now().Add(-leftOver - time.Hour)
	if err := os.Chtimes(old, long, long); err != nil {
		t.Fatal(err)
	}
	slow := filepath.Join(dir, "alice/tmp/slow")
	write(t, slow, "half")
	day := time.Now().Add(-leftOver + time.Hour)
	if err := os.Chtimes(slow, day, day); err != nil {
		t.Fatal(err)
	}
	deliver(t, s, "x\r\n", "alice")
	if files, _ := os.ReadDir(filepath.Join(dir, "alice/tmp")); len(files) != 2 || files[0].Name() != "slow" || files[1].Name() != "young" {
		t.Errorf("tmp holds %v", files)
	}
}

func TestNamesAreConfined(t *testing.T) {
	s, dir := newStore(t)
	if err := os.Mkdir(filepath.Join(dir, "there"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"..", "../x", "a/b", "there/x", "/etc"} {
		if err := store(s, strings.NewReader("x"), name); err == nil {
			t.Errorf("delivered to %q", name)
		}
		if _, err := s.Open([]string{name}); err == nil {
			t.Errorf("opened %q", name)
		}
	}
}

func TestOtherProgramsFiles(t *testing.T) {
	s, dir := newStore(t)
	write(t, filepath.Join(dir, "alice/cur/1462313085.foreign:2,S"), "a\nb\r\nc\rd")
	write(t, filepath.Join(dir, "alice/cur/.hidden"), "no message")
	write(t, filepath.Join(dir, "alice/new/1462313084.with space"), "x\n")
	write(t, filepath.Join(dir, "alice/new/:2,S"), "nameless\n")
	write(t, filepath.Join(dir, "alice/1462313083"), "this is a message\n<CR><LF>")
	for _, name := range []string{"notes", "2016-notes", "1462313083.bak", "1462313083~", "-1462313083"} {
		write(t, filepath.Join(dir, "alice", name), "no message")
	}
	write(t, filepath.Join(dir, "alice@localhost.com/1462313082"), "older\n")
	write(t, filepath.Join(dir, "alice@localhost.com/1462313083"), "of the same second\n")
	write(t, filepath.Join(dir, "alice@host"), "no directory")
	m := open(t, s, "alice", "alice@localhost", "alice@host", "alice@localhost.com")
	defer m.Close()
	want := []string{"nameless\r\n", "older\r\n", "this is a message\r\n<CR><LF>\r\n", "of the same second\r\n", "x\r\n", "a\r\nb\r\nc\rd\r\n"}
	if m.Len() != len(want) {
		t.Fatalf("%d messages, want %d", m.Len(), len(want))
	}
	seen := map[string]bool{}
	for i := range want {
		if got := read(t, m, i); got != want[i] {
			t.Errorf("message %d: %q, want %q", i, got, want[i])
		}
		id := m.UID(i)
		if id == "" || len(id) > 70 || strings.ContainsFunc(id, func(r rune) bool { return r < 0x21 || r > 0x7e }) || seen[id] {
			t.Errorf("unique-id %q", id)
		}
		seen[id] = true
	}
}

func TestMovedMessageIsFound(t *testing.T) {
	s, dir := newStore(t)
	deliver(t, s, "hello\r\n", "alice")
	m := open(t, s, "alice")
	id, file := m.UID(0), m.name(m.messages[0])
	if err := os.Rename(filepath.Join(dir, "alice/new", file), filepath.Join(dir, "alice/cur", file+":2,S")); err != nil {
		t.Fatal(err)
	}
	if got := read(t, m, 0); got != "hello\r\n" {
		t.Errorf("read %q", got)
	}
	m.Close()
	m = open(t, s, "alice")
	defer m.Close()
	if m.Len() != 1 || m.UID(0) != id {
		t.Errorf("the unique-id changed from %s to %s", id, m.UID(0))
	}
	if err := os.Rename(filepath.Join(dir, "alice/cur", file+":2,S"), filepath.Join(dir, "alice/cur", file+":2,FS")); err != nil {
		t.Fatal(err)
	}
	if err := m.Delete([]int{0}); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "alice/*/*")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if _, err := m.Open(0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a deleted message opens: %v", err)
	}
	if err := m.Delete([]int{0}); err != nil {
		t.Errorf("deleting what is gone: %v", err)
	}
}

// disturbed is a disk on which somebody else is at work too.
type disturbed struct {
	disk.Dir
	path   string
	before func(op, name string)
}

func (d disturbed) OpenRead(name string, size int64) (io.ReadCloser, error) {
	d.before("read", filepath.Join(d.path, name))
	return d.Dir.OpenRead(name, size)
}

func (d disturbed) OpenDir(name string) (disk.Dir, error) {
	below, err := d.Dir.OpenDir(name)
	return disturbed{below, filepath.Join(d.path, name), d.before}, err
}

func (d disturbed) LinkTo(oldname string, to disk.Dir, newname string) error {
	return d.Dir.LinkTo(oldname, to.(disturbed).Dir, newname)
}

func (d disturbed) RenameTo(oldname string, to disk.Dir, newname string) error {
	return d.Dir.RenameTo(oldname, to.(disturbed).Dir, newname)
}

func (d disturbed) Remove(name string) error {
	d.before("remove", name)
	return d.Dir.Remove(name)
}

// A message that is moved at the wrong moment, more than once, is not taken for
// one that is gone.
func TestMessageThatKeepsMoving(t *testing.T) {
	for _, op := range []string{"read", "remove"} {
		dir := t.TempDir()
		root, err := disk.OpenDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var before func(op, name string)
		s := On(disturbed{root, "", func(op, name string) { before(op, name) }}, "host")
		t.Cleanup(func() { s.Close() })
		before = func(string, string) {}
		for range 3 {
			deliver(t, s, "x\r\n", "alice")
		}
		m := open(t, s, "alice")
		defer m.Close()
		moved := map[string]int{}
		before = func(is, name string) {
			id := unique(filepath.Base(name))
			if is != op || moved[id] == 3 {
				return
			}
			moved[id]++
			if err := os.Rename(filepath.Join(dir, name), filepath.Join(dir, "alice/cur", fmt.Sprintf("%s:2,%s", id, "STF"[:moved[id]]))); err != nil {
				t.Error(err)
			}
		}
		for i := range 3 {
			if op == "read" {
				read(t, m, i)
			}
		}
		if err := m.Delete([]int{0, 1, 2}); err != nil {
			t.Error(err)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "alice/*/*")); len(left) > 0 {
			t.Errorf("%s: left %q, and said that they are gone", op, left)
		}
		if len(moved) != 3 {
			t.Errorf("moved: %v", moved)
		}
	}
}

// One that never rests is not said to be deleted.
func TestMessageThatNeverRests(t *testing.T) {
	dir := t.TempDir()
	root, err := disk.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	s := On(disturbed{root, "", func(_, name string) {
		if strings.Contains(name, "/new/") || strings.Contains(name, "/cur/") {
			n++
			os.Rename(filepath.Join(dir, name), filepath.Join(dir, "alice/cur", fmt.Sprintf("%s:2,%d", unique(filepath.Base(name)), n)))
		}
	}}, "host")
	t.Cleanup(func() { s.Close() })
	deliver(t, s, "x\r\n", "alice")
	m := open(t, s, "alice")
	defer m.Close()
	if err := m.Delete([]int{0}); err == nil {
		t.Error("it is said to be deleted")
	}
	if _, err := m.Open(0); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is said to be gone: %v", err)
	}
}

func TestLockWithinAProcess(t *testing.T) {
	s, _ := newStore(t)
	a, b := open(t, s, "alice"), open(t, s, "bob")
	if _, err := s.Open([]string{"alice"}); !errors.Is(err, ErrLocked) {
		t.Errorf("a second session: %v, want ErrLocked", err)
	}
	deliver(t, s, "meanwhile\r\n", "alice")
	a.Close()
	b.Close()
	again := open(t, s, "alice")
	defer again.Close()
	if again.Len() != 1 {
		t.Error("mail that arrived meanwhile is not there")
	}
}

// Users may have a file system each, whose roots have the same inode number.
func TestLockOfMountedMaildrops(t *testing.T) {
	s, dir := newStore(t)
	for _, user := range []string{"alice", "bob"} {
		at := filepath.Join(dir, user)
		if err := os.Mkdir(at, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("tmpfs", at, "tmpfs", 0, "size=256k,mode=700"); err != nil {
			t.Skipf("a file system can't be mounted: %v", err)
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(at, syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
	}
	defer open(t, s, "alice").Close()
	defer open(t, s, "bob").Close()
	if _, err := s.Open([]string{"alice"}); !errors.Is(err, ErrLocked) {
		t.Errorf("a second session: %v, want ErrLocked", err)
	}
}

func TestLockOffset(t *testing.T) {
	of := func(dev, ino uint64) int64 {
		offset, err := lockOffset(fakeInfo{sys: syscall.Stat_t{Dev: dev, Ino: ino}}, fakeInfo{sys: syscall.Stat_t{Dev: 7, Ino: 2}})
		if err != nil || offset < 0 {
			t.Errorf("device %d, inode %d: %d, %v", dev, ino, offset, err)
		}
		return offset
	}
	if of(7, 256) != 256 || of(7, 1<<63|5) != 5 {
		t.Error("on the data directory's device it is not the inode number")
	}
	if of(50, 256) == of(51, 256) || of(50, 256) == 256 {
		t.Error("the device makes no difference")
	}
}

type fakeInfo struct {
	fs.FileInfo
	sys syscall.Stat_t
}

func (i fakeInfo) Sys() any     { return &i.sys }
func (i fakeInfo) Name() string { return "fake" }

// Two stores are as two processes: each has the lock file open on its own.
func TestLockBetweenStores(t *testing.T) {
	s, dir := newStore(t)
	other, err := New(dir, "host")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	m := open(t, s, "alice")
	defer open(t, s, "bob").Close()
	for _, user := range []string{"alice", "bob"} {
		if _, err := other.Open([]string{user}); !errors.Is(err, ErrLocked) {
			t.Errorf("%s is open in two stores: %v, want ErrLocked", user, err)
		}
	}
	m.Close()
	open(t, other, "alice").Close()
	if _, err := other.Open([]string{"bob"}); !errors.Is(err, ErrLocked) {
		t.Errorf("bob's lock went with alice's: %v", err)
	}
}

func TestLockHoldsAcrossProcesses(t *testing.T) {
	s, dir := newStore(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "MAILDIR_TEST_HOLD="+dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 16)
	n, err := out.Read(said)
	if err != nil || string(said[:n]) != "<nil>\n" {
		t.Fatalf("the other process said %q, %v", said[:n], err)
	}
	if _, err := s.Open([]string{"alice"}); !errors.Is(err, ErrLocked) {
		t.Errorf("open in two processes: %v, want ErrLocked", err)
	}
	open(t, s, "bob").Close() // two users never wait for each other
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	in.Close()
	open(t, s, "alice").Close() // the lock died with its owner
}

func TestConcurrentDeliveries(t *testing.T) {
	s, _ := newStore(t)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if err := store(s, strings.NewReader("x\r\n"), "alice", fmt.Sprint("user", i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	m := open(t, s, "alice")
	defer m.Close()
	if m.Len() != 20 {
		t.Errorf("%d messages, want 20", m.Len())
	}
}

// A message in wire form comes back as it was; any other stored file gives what
// is listed, and has CRLF alone.
func FuzzWire(f *testing.F) {
	f.Add([]byte("a\r\nb\n\r\r\nc"), 1)
	f.Add([]byte("\r"), 3)
	f.Fuzz(func(t *testing.T, data []byte, chunk int) {
		chunk = max(1, min(chunk, 100))
		var size wireSize
		size.Write(data)
		wire, err := io.ReadAll(&smallReads{newWireReader(io.NopCloser(bytes.NewReader(data))), chunk})
		if err != nil || int64(len(wire)) != size.total() {
			t.Fatalf("%q: %d octets on the wire, %d counted, %v", data, len(wire), size.total(), err)
		}
		if bytes.Count(wire, []byte("\n")) != bytes.Count(wire, []byte("\r\n")) || len(wire) > 0 && !bytes.HasSuffix(wire, []byte("\r\n")) {
			t.Errorf("%q on the wire is %q", data, wire)
		}

		if bytes.Contains(wire, []byte("\r\r\n")) {
			return // a CR before CRLF: see diskWriter
		}
		var disk bytes.Buffer
		w := &diskWriter{file: &disk}
		defer w.release()
		if _, err := io.CopyBuffer(struct{ io.Writer }{w}, &smallReads{bytes.NewReader(wire), chunk}, make([]byte, chunk)); err != nil {
			t.Fatal(err)
		}
		rest, err := w.finish()
		disk.Write(rest)
		if err != nil || w.size.disk != int64(disk.Len()) || w.size.total() != int64(len(wire)) {
			t.Errorf("%q stored: %d on disk, %d on the wire, %v", wire, w.size.disk, w.size.total(), err)
		}
		back, _ := io.ReadAll(newWireReader(io.NopCloser(&disk)))
		if !bytes.Equal(back, wire) {
			t.Errorf("%q came back as %q", wire, back)
		}
	})
}

type smallReads struct {
	io.Reader
	most int
}

func (s *smallReads) Read(p []byte) (int, error) { return s.Reader.Read(p[:min(len(p), s.most)]) }
