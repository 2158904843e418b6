package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// A path leads to what was there as long as that is there.
func TestLeads(t *testing.T) {
	path := t.TempDir()
	for _, name := range []string{"a/new", "b/new"} {
		if err := os.MkdirAll(filepath.Join(path, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	opened, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	st, err := opened.Stat("a/new")
	if err != nil {
		t.Fatal(err)
	}
	for how, leads := range map[string]func(string, fs.FileInfo) (bool, error){"statx": opened.Leads, "os.Root": opened.(dir).leadsByStat} {
		for name, want := range map[string]bool{"a/new": true, "b/new": false, ".": false} {
			if here, err := leads(name, st); here != want || err != nil {
				t.Errorf("%s: %s leads to a/new: %v, %v", how, name, here, err)
			}
		}
		if here, err := leads("c/new", st); here || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: what is missing: %v, %v", how, here, err)
		}
	}
}
