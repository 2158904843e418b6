package commands_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"xm/commands"
	"xm/internal/line/linetest"
)

// TestMain lets the test binary be the program xm, for scripts and for tests
// that need a process of its own.
func TestMain(m *testing.M) {
	// Under the race detector, each xm would sleep for a second at its end.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	testscript.Main(m, map[string]func(){"xm": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(ctx, stop)
		err := commands.Run(ctx, commands.New(), os.Args)
		if err != nil {
			fmt.Fprintln(os.Stderr, "xm:", err)
		}
		notePeak()
		os.Exit(commands.ExitCode(err))
	}})
}

// Each script starts in an empty directory, with the original's files in $SEED.
// "exits CODE command..." runs a command that must fail with that code.
// "serve ARG..." runs xm ARG... serve until the script ends, on free ports, and
// sets $SMTP, $POP3 and $REGD to where that is, and $FINGERPRINT to its key's.
// "ids" sets $ID1, $ID2 ... from what xm inbox --json printed; "draft" sets
// $DRAFT to the only one in $HOME; "replay DIR" delivers the first message in a
// Maildir's directory again. $CERT and $CERT_KEY are files of a certificate for localhost.
//
// With -short, as the race detector's run has it, they are left out: each command
// is a process of its own, and most derive keys, which takes the detector long.
func TestScripts(t *testing.T) {
	if testing.Short() {
		t.Skip("scripts")
	}
	seed, err := filepath.Abs("testdata/seed")
	if err != nil {
		t.Fatal(err)
	}
	cert, certKey, _ := linetest.Certificate(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Deadline:            time.Now().Add(9 * time.Minute), // bounds a failing test alone
		Setup: func(e *testscript.Env) error {
			e.Setenv("SEED", seed)
			e.Setenv("CERT", cert)
			e.Setenv("CERT_KEY", certKey)
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("GORACE", os.Getenv("GORACE"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "serve": serve, "ids": ids, "draft": draft, "replay": replay, "certifies": certifies},
	})
}

func serve(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("serve can't fail")
	}
	cmd := exec.Command("xm", append(args, "serve", "--listen", "smtp=127.0.0.1:0", "--listen", "pop3=127.0.0.1:0", "--listen", "regd=127.0.0.1:0")...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(os.Environ(), "HOME="+ts.Getenv("HOME"), "XDG_CONFIG_HOME=")
	stderr, err := cmd.StderrPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	in := bufio.NewScanner(stderr)
	var log strings.Builder
	for ports := 0; ports < 3; {
		if !in.Scan() {
			ts.Fatalf("xm serve did not start:\n%s", log.String())
		}
		line := in.Text()
		log.WriteString(line + "\n")
		if strings.Contains(line, "msg=listening") {
			ts.Setenv(strings.ToUpper(field(line, "service=")), field(line, "addr="))
			ports++
		}
		if _, quoted, ok := strings.Cut(line, "fingerprint=\""); ok {
			fingerprint, _, _ := strings.Cut(quoted, "\"")
			ts.Setenv("FINGERPRINT", fingerprint)
		}
	}
	drained := make(chan struct{})
	go func() {
		for in.Scan() {
		}
		close(drained)
	}()
	ts.Defer(func() {
		cmd.Process.Kill()
		<-drained
		cmd.Wait()
	})
}

// certifies FILE NAME looks whether a certificate is for a host name.
func certifies(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: certifies FILE NAME")
	}
	block, _ := pem.Decode([]byte(ts.ReadFile(args[0])))
	if block == nil {
		ts.Fatalf("%s holds no PEM", args[0])
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	ts.Check(err)
	if err := cert.VerifyHostname(args[1]); neg == (err == nil) {
		ts.Fatalf("%s, %s: %v", args[0], args[1], err)
	}
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

// Whatever is wrong with a payload, decrypt says so in its own words and exits
// with 3. The vectors are package hybrid's.
func TestFailureVectors(t *testing.T) {
	files, err := filepath.Glob("../hybrid/testdata/failures/*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	for _, file := range files {
		vector, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want, payload, _ := bytes.Cut(vector, []byte("\n"))
		cmd := exec.Command("xm", "--keys", "testdata/seed", "decrypt", "-i", "-", "-o", "-", "test")
		cmd.Stdin = bytes.NewReader(payload)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		err = cmd.Run()
		if cmd.ProcessState.ExitCode() != 3 || out.Len() > 0 || !bytes.Contains(errs.Bytes(), want) {
			t.Errorf("%s: %v, %q, %q; want %q", file, err, &out, &errs, want)
		}
	}
}
