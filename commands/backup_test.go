package commands_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"xm/internal/maildir"
)

// The journal is not copied: it holds messages that were deleted.
func TestBackupWithoutJournal(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	store, err := maildir.New(data, "host")
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	d, err := store.Begin([]string{"alice"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Abort()
	fmt.Fprint(d, "hello\r\n")
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("xm", "backup", "saved")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	copied, err := os.ReadDir(filepath.Join(dir, "saved", "data"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range copied {
		if e.Name() == maildir.JournalName {
			t.Errorf("%s is copied", e.Name())
		}
	}
	if messages, err := filepath.Glob(filepath.Join(dir, "saved", "data", "alice", "new", "*")); err != nil || len(messages) != 1 {
		t.Errorf("%v, %v", messages, err)
	}
}

// Messages that move while they are copied are copied, once.
func TestBackupOfMovingMail(t *testing.T) {
	dir := t.TempDir()
	drop := filepath.Join(dir, "data", "alice")
	for _, sub := range []string{"new", "cur", "tmp"} {
		if err := os.MkdirAll(filepath.Join(drop, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	const messages = 2000
	name := func(i int) string { return fmt.Sprintf("%d.M1R%d.x", 1e9+i, i) }
	for i := range messages {
		if err := os.WriteFile(filepath.Join(drop, "new", name(i)), []byte(name(i)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	moved := make(chan error)
	go func() {
		var err error
		for i := 0; i < messages && err == nil; i++ {
			seen := filepath.Join(drop, "cur", name(i)+":2,S")
			if err = os.Rename(filepath.Join(drop, "new", name(i)), seen); err == nil && i%2 == 0 {
				err = os.Rename(seen, filepath.Join(drop, "cur", name(i)+":2,RS"))
			}
		}
		moved <- err
	}()
	cmd := exec.Command("xm", "backup", "saved")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := <-moved; err != nil {
		t.Fatal(err)
	}
	copies := map[string]int{}
	for _, sub := range []string{"new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(dir, "saved", "data", "alice", sub))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			id, _, _ := strings.Cut(e.Name(), ":")
			copies[id]++
			if text, err := os.ReadFile(filepath.Join(dir, "saved", "data", "alice", sub, e.Name())); string(text) != id {
				t.Errorf("%s holds %q, %v", e.Name(), text, err)
			}
		}
	}
	for i := range messages {
		if n := copies[name(i)]; n != 1 {
			t.Errorf("%s is there %d times", name(i), n)
		}
	}
}
