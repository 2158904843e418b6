package safefile

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"xm/internal/disk"
	"xm/internal/disk/disktest"
)

// promised is noted when a file's content, or "" for a directory, is durable.
type promised struct{ name, content string }

var contents = []string{strings.Repeat("old ", 200), strings.Repeat("new ", 300), "newest"}

// happen replaces a file twice, makes another and a directory with one more, and
// sets one aside; an fsync fails on the way.
func happen(d *disktest.Disk) {
	root := d.Root()
	note := func(err error, name, content string) {
		if err == nil {
			d.Note(promised{name, content})
		}
	}
	for _, c := range contents {
		note(Replace(root, "f", []byte(c), 0o600), "f", c)
	}
	d.SetFault(failOnce(d, false))
	for range 2 {
		note(WriteNew(root, "key", []byte("key"), 0o600), "key", "key")
	}
	d.SetFault(failOnce(d, true))
	for range 2 {
		note(Mkdir(root, "d", 0o700), "d", "")
	}
	note(WriteNew(root, "d/key", []byte("key"), 0o600), "d/key", "key")
	err := Mkdir(root, "aside", 0o700)
	moves := []Move{{From: "key", To: Aside("key", "aside"), Err: err}}
	MoveAll(root, moves)
	note(moves[0].Err, movedKey, moves[0].To)
}

// movedKey is noted, with the path, when the key is set aside.
const movedKey = "key, moved"

// failOnce has the next fsync fail: that of a directory or that of a file.
func failOnce(d *disktest.Disk, directory bool) func(op, name string) error {
	return func(op, name string) error {
		if op == "sync" && (name == ".") == directory {
			d.SetFault(nil)
			return syscall.EIO
		}
		return nil
	}
}

func check(after *disktest.Disk, notes []any) error {
	last := map[string]string{}
	for _, n := range notes {
		last[n.(promised).name] = n.(promised).content
	}
	for _, name := range []string{"f", "key", "d/key"} {
		is, err := disk.ReadFile(after.Root(), name)
		want, was := last[name]
		if name == "key" && was && errors.Is(err, fs.ErrNotExist) {
			is, err = readOnly(after.Root(), "aside")
		}
		switch {
		case errors.Is(err, fs.ErrNotExist) && !was:
		case err != nil:
			return err
		case string(is) == want || string(is) == "key" || !was && string(is) == contents[0]:
		case name != "f" || !newer(string(is), want):
			return fmt.Errorf("%s holds %.20q, %d octets", name, is, len(is))
		}
	}
	if to, moved := last[movedKey]; moved {
		if _, err := after.Root().Lstat("key"); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("what was moved to %s is there still: %v", to, err)
		}
	}
	if _, made := last["d"]; made {
		_, err := after.Root().Stat("d")
		return err
	}
	return nil
}

// readOnly reads the only file of a directory.
func readOnly(root disk.Dir, dir string) ([]byte, error) {
	entries, err := disk.ReadDir(root, dir)
	if err != nil {
		return nil, err
	}
	if len(entries) != 1 {
		return nil, fmt.Errorf("%s holds %v", dir, entries)
	}
	return disk.ReadFile(root, dir+"/"+entries[0].Name)
}

// newer reports whether a content of f may be there when another is promised.
func newer(is, promised string) bool {
	after := promised == ""
	for _, c := range contents {
		if c == is {
			return after
		}
		after = after || c == promised
	}
	return false
}

// What was replaced or made survives a crash at any moment, and no crash leaves
// a part of it. No fsync can be left out.
func TestCrash(t *testing.T) {
	disktest.Mutate(t, func(ignored func(string) bool, quick bool) error {
		d := disktest.New()
		d.Ignored, d.Quick = ignored, quick
		happen(d)
		states, err := d.Crashes(1, check)
		t.Log(states, "states")
		return err
	})
}
