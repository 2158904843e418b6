package commands

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/urfave/cli/v2"
)

// asked is a context that does something when it is asked for its error, as the copier
// does before each file.
type asked struct {
	context.Context
	do func()
}

func (a asked) Err() error {
	a.do()
	return nil
}

// A message that another program moves from cur back to new, as unread, is in the copy.
func TestCopyOfMailThatMovesBack(t *testing.T) {
	dir := t.TempDir()
	drop := filepath.Join(dir, "alice")
	for _, name := range []string{"new/1.A", "cur/2.B:2,S", "tmp/3.C"} {
		file := filepath.Join(drop, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := cli.NewContext(&cli.App{ErrWriter: io.Discard}, nil, nil)
	c.Context = asked{context.Background(), func() {
		_ = os.Rename(filepath.Join(drop, "cur/2.B:2,S"), filepath.Join(drop, "new/2.B")) // once
	}}
	b := &copier{c: c}
	if err := b.drop(drop, filepath.Join(dir, "copy")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"new/1.A": "new/1.A", "new/2.B": "cur/2.B:2,S"} {
		if text, err := os.ReadFile(filepath.Join(dir, "copy", name)); string(text) != want {
			t.Errorf("%s holds %q, %v", name, text, err)
		}
	}
}
