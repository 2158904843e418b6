package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// tooMany is how many names do not fit one buffer, however short they are.
const tooMany = scanSize/24 + 1

// fill makes a directory with many names, some of them of other types, and returns
// what they are.
func fill(t *testing.T) (path string, want map[string]fs.FileMode) {
	t.Helper()
	path = t.TempDir()
	want = map[string]fs.FileMode{
		"dir": fs.ModeDir, "link": fs.ModeSymlink, "pipe": fs.ModeNamedPipe, "socket": fs.ModeSocket,
		"\xff odd\nname": 0, ".hidden": 0,
	}
	l, err := net.Listen("unix", filepath.Join(path, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	for i := range 2 * tooMany {
		want[fmt.Sprintf("%0*d", 1+i%255, i)] = 0
	}
	for name, mode := range want {
		to := filepath.Join(path, name)
		switch mode {
		case 0:
			err = os.WriteFile(to, nil, 0o600)
		case fs.ModeDir:
			err = os.Mkdir(to, 0o700)
		case fs.ModeNamedPipe:
			err = syscall.Mkfifo(to, 0o600)
		case fs.ModeSymlink:
			err = os.Symlink("missing", to)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return path, want
}

// All names of a directory are found, once, with their types, whether or not the
// file system tells them.
func TestScan(t *testing.T) {
	path, want := fill(t)
	d, err := OpenDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	entries, err := ReadDir(d, filepath.Base(path))
	if err != nil || len(entries) != len(want) {
		t.Errorf("%d names, want %d: %v", len(entries), len(want), err)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for _, e := range entries {
		if mode, ok := want[e.Name]; !ok || mode != e.Type {
			t.Errorf("%q: type %v, want %v, %v", e.Name, e.Type, mode, ok)
		}
		if found, err := typeOf(fd, e.Name, unix.DT_UNKNOWN); found != e.Type || err != nil {
			t.Errorf("%q: type %v by its inode, want %v; %v", e.Name, found, e.Type, err)
		}
	}
	if _, err := typeOf(fd, "removed", unix.DT_UNKNOWN); err != unix.ENOENT {
		t.Errorf("what is removed: %v", err)
	}
	for name, want := range map[string]error{"missing": fs.ErrNotExist, "pipe": syscall.ENOTDIR, "socket": syscall.ENOTDIR} {
		if _, err := ReadDir(d, filepath.Base(path)+"/"+name); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	if _, err := ReadDir(d, "../"+filepath.Base(filepath.Dir(path))); err == nil {
		t.Error("a directory outside is read")
	}
	calls, stop := 0, errors.New("stop")
	if err := d.Scan(filepath.Base(path), func(Entry) error { calls++; return stop }); err != stop || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

// Nothing is made of a file, let alone asked about it.
func TestScanIsCheap(t *testing.T) {
	path, want := fill(t)
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	allocations := testing.AllocsPerRun(1, func() {
		if err := d.Scan(".", func(Entry) error { return nil }); err != nil {
			t.Error(err)
		}
	})
	if most := float64(len(want) / 10); allocations > most {
		t.Errorf("%v allocations for %d names, want %v at most", allocations, len(want), most)
	}
}

// What is called . and .. is passed over, and nothing else, not even an inode of 0.
func TestParseEntries(t *testing.T) {
	var b []byte
	for i, name := range []string{".", "..", "a", "...", "longer-than-that"} {
		length := (int(nameAt) + len(name) + 8) &^ 7 // a zero ends the name, and fields are aligned
		entry := make([]byte, length)
		binary.NativeEndian.PutUint64(entry, uint64(i%2))
		binary.NativeEndian.PutUint16(entry[lengthAt:], uint16(length))
		entry[typeAt] = unix.DT_REG
		copy(entry[nameAt:], name)
		b = append(b, entry...)
	}
	var names []string
	if err := parseEntries(-1, b, func(e Entry) error { names = append(names, e.Name); return nil }); err != nil {
		t.Error(err)
	}
	if want := []string{"a", "...", "longer-than-that"}; !slices.Equal(names, want) {
		t.Errorf("found %q, want %q", names, want)
	}
}
