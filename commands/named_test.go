package commands

import (
	"context"
	"errors"
	"flag"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/urfave/cli/v2"
)

// A named pipe is opened once, when what is in it is wanted, and no longer waited for
// than the command is.
func TestNamedPipes(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	set := flag.NewFlagSet("", flag.ContinueOnError)
	if err := errors.Join((&cli.StringSliceFlag{Name: "a"}).Apply(set), set.Parse([]string{"-a", fifo})); err != nil {
		t.Fatal(err)
	}
	c := cli.NewContext(cli.NewApp(), set, nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c.Context = ctx
	l := composer{c: c}
	if err := l.attach(); err != nil || len(l.draft.Files) != 1 {
		t.Fatalf("%v, %v", l.draft.Files, err)
	}
	if _, err := l.draft.Files[0].Open(); !errors.Is(err, errInterrupted) {
		t.Errorf("attached: %v", err)
	}
	if _, err := password.fromFile(c, fifo); !errors.Is(err, errInterrupted) {
		t.Errorf("password: %v", err)
	}
}
