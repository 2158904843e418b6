package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// A file without a name gets one when it is asked for, in either way; without one it
// leaves nothing.
func TestUnnamed(t *testing.T) {
	path := t.TempDir()
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ways := map[string]func(f File, name string) error{
		"linkat": d.LinkFile,
		"proc":   func(f File, name string) error { return linkThroughProc(int(f.Fd()), d.(dir).fd, name) },
	}
	for way, link := range ways {
		f, err := d.CreateUnnamed(0o640)
		if errors.Is(err, errors.ErrUnsupported) {
			t.Skip("the file system of temporary files has none without a name")
		}
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.Write([]byte(way)); err != nil {
			t.Fatal(err)
		}
		if names, err := os.ReadDir(path); err != nil || len(names) > 0 {
			t.Errorf("%s: before it has a name: %v, %v", way, names, err)
		}
		for _, name := range []string{"one", "two"} {
			if err := link(f, name); err != nil {
				t.Errorf("%s: %v", way, err)
			}
			if text, err := os.ReadFile(filepath.Join(path, name)); string(text) != way {
				t.Errorf("%s: %s holds %q, %v", way, name, text, err)
			}
		}
		if err := link(f, "one"); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: a name that is taken: %v", way, err)
		}
		for _, name := range []string{"one", "two"} {
			if err := os.Remove(filepath.Join(path, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := d.LinkFile(file{}, "../one"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a path: %v", err)
	}
}

// A directory that was removed has no room for files, by any name.
func TestUnnamedInRemovedDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dir")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	f, err := d.CreateUnnamed(0o600)
	if err == nil { // as some file systems do
		defer f.Close()
		err = d.LinkFile(f, "one")
	}
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}

// Where /proc does not have the file, that can't be done: it is not that the directory is
// gone.
func TestLinkWithoutProc(t *testing.T) {
	d, err := OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := linkThroughProc(1<<20, d.(dir).fd, "one"); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}
