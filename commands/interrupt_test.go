package commands_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Ctrl-C in the middle of a message leaves no file behind, and what was there as
// it was.
func TestInterruptedEncrypt(t *testing.T) {
	dir := t.TempDir()
	run := func(args ...string) *exec.Cmd {
		cmd := exec.Command("xm", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "TMPDIR="+dir)
		return cmd
	}
	if out, err := run("keygen").CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	if err := os.WriteFile(filepath.Join(dir, "enc"), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, output := range []string{"enc", "-"} {
		cmd := run("encrypt", "key", "-o", output)
		in, stderr := startWithInput(t, cmd)
		// More than pipes and buffers hold: when it is written, the work goes on.
		if _, err := in.Write(make([]byte, 4<<20)); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		err := cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(stderr.String(), "interrupted") {
			t.Errorf("-o %s: %v, exit code %d, %q", output, err, code, stderr.String())
		}
		in.Close()
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if len(files) != 3 { // enc, key.priv, key.pub
			t.Errorf("-o %s left %v", output, files)
		}
		if got, _ := os.ReadFile(filepath.Join(dir, "enc")); string(got) != "precious" {
			t.Errorf("-o %s: enc holds %q", output, got)
		}
	}
}

// A pipe that nobody reads on does not keep a command from ending.
func TestInterruptedWhileWriting(t *testing.T) {
	dir := t.TempDir()
	xm := func(args ...string) *exec.Cmd {
		cmd := exec.Command("xm", args...)
		cmd.Dir = dir
		return cmd
	}
	if out, err := xm("keygen").CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	if err := os.WriteFile(filepath.Join(dir, "big"), make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := xm("encrypt", "key", "-i", "big", "-o", "-")
	unread, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := unread.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(stderr.String(), "interrupted") {
		t.Errorf("%v, exit code %d, %q", err, code, stderr.String())
	}
}

// An import that is broken off tells how much of it is there: once more, and that
// is there twice.
func TestInterruptedImport(t *testing.T) {
	dir := t.TempDir()
	run := func(args ...string) *exec.Cmd {
		cmd := exec.Command("xm", args...)
		cmd.Dir = dir
		return cmd
	}
	add := run("user", "add", "alice", "--password-file", "-")
	add.Stdin = strings.NewReader("secret\n")
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	cmd := run("mailbox", "import", "alice", "-")
	in, stderr := startWithInput(t, cmd)
	// When it is written, the first message is there.
	second := strings.Repeat(strings.Repeat("x", 63)+"\n", 4<<20/64)
	if _, err := io.WriteString(in, "From x\n\none\n\nFrom x\n\n"+second); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	in.Close()
	if want := "-: interrupted; the messages before it, 1 of them, are imported"; !strings.Contains(stderr.String(), want) {
		t.Errorf("%q, want %q", stderr.String(), want)
	}
}

// startWithInput starts a command whose input the test writes.
func startWithInput(t *testing.T, cmd *exec.Cmd) (in io.WriteCloser, stderr *strings.Builder) {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr = new(strings.Builder)
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return in, stderr
}
