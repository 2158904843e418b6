package commands_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"xm/commands"
)

// TestMain lets the test binary be the program xm, for scripts and for tests
// that need a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"xm": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(ctx, stop)
		err := commands.Run(ctx, commands.New(), os.Args)
		if err != nil {
			fmt.Fprintln(os.Stderr, "xm:", err)
		}
		os.Exit(commands.ExitCode(err))
	}})
}

// Each script starts in an empty directory, with the original's files in $SEED.
// "exits CODE command..." runs a command that must fail with that code.
func TestScripts(t *testing.T) {
	seed, err := filepath.Abs("testdata/seed")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Deadline:            time.Now().Add(5 * time.Minute), // bounds a failing test alone
		Setup: func(e *testscript.Env) error {
			e.Setenv("SEED", seed)
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("GORACE", "atexit_sleep_ms=10") // each xm would sleep for a second
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE command...")
	}
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		code = -1
		if exit, ok := err.(interface{ ExitCode() int }); ok {
			code = exit.ExitCode()
		}
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}
