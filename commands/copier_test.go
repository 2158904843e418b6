package commands

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/urfave/cli/v2"
)

// asked is a context that does something when it is asked for its error, as the copier
// does before each file.
type asked struct {
	context.Context
	do func() error
}

func (a asked) Err() error { return a.do() }

// copierThat calls do before each file.
func copierThat(do func() error) *copier {
	c := cli.NewContext(&cli.App{ErrWriter: io.Discard}, nil, nil)
	c.Context = asked{context.Background(), do}
	return &copier{c: c}
}

// maildirOf makes a Maildir of files that hold their names.
func maildirOf(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A message that another program moves from cur back to new, as unread, is in the copy.
func TestCopyOfMailThatMovesBack(t *testing.T) {
	dir := t.TempDir()
	drop := filepath.Join(dir, "alice")
	maildirOf(t, drop, "new/1.A", "cur/2.B:2,S", "tmp/3.C")
	b := copierThat(func() error {
		_ = os.Rename(filepath.Join(drop, "cur/2.B:2,S"), filepath.Join(drop, "new/2.B")) // once
		return nil
	})
	if err := b.drop(drop, filepath.Join(dir, "copy")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"new/1.A": "new/1.A", "new/2.B": "cur/2.B:2,S"} {
		if text, err := os.ReadFile(filepath.Join(dir, "copy", name)); string(text) != want {
			t.Errorf("%s holds %q, %v", name, text, err)
		}
	}
}

// Where the copy goes away there is nothing to wait for.
func TestCopyThatIsRemoved(t *testing.T) {
	dir := t.TempDir()
	maildirOf(t, filepath.Join(dir, "alice"), "new/1.A", "cur/2.B:2,S", "tmp/3.C")
	asked := 0
	b := copierThat(func() error {
		if asked++; asked > 100 {
			return context.Canceled
		}
		return os.RemoveAll(filepath.Join(dir, "copy"))
	})
	if err := b.drop(filepath.Join(dir, "alice"), filepath.Join(dir, "copy")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after %d files: %v", asked, err)
	}
}
