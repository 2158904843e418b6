package commands

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A pipe that nobody opens at its other end does not keep a command from ending.
func TestInterruptedWhileOpening(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := openFile(ctx, fifo, 0o600, nil); !errors.Is(err, errInterrupted) {
		t.Errorf("openFile: %v", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	defer r.Close()
	if _, err := io.ReadAll(newInterruptible(ctx, r)); !errors.Is(err, errInterrupted) {
		t.Errorf("reading: %v", err)
	}
}

// A message that is set aside is not on the disk in clear, and reads as it was,
// as often as it is wanted.
func TestHidden(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "spool"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	message := bytes.Repeat([]byte("a secret. "), 20_000)
	h, err := hide(bytes.NewReader(message), func() (io.ReadWriteSeeker, error) { return f, nil })
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got, err := io.ReadAll(h); err != nil || !bytes.Equal(got, message) {
			t.Errorf("read %d octets, %v", len(got), err)
		}
		if _, err := h.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
	}
	if disk, err := os.ReadFile(f.Name()); err != nil || len(disk) != len(message) || bytes.Contains(disk, []byte("secret")) {
		t.Errorf("on the disk are %d octets, %v", len(disk), err)
	}
}
