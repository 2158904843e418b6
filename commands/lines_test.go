package commands

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A line that was cut off takes none with it that comes after.
func TestLineAfterOneThatWasCutOff(t *testing.T) {
	path := filepath.Join(t.TempDir(), seenFile)
	if err := os.WriteFile(path, []byte("aa 1\nbb"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, line := range []string{"cc 2", "dd 3"} {
		if _, err := f.Seek(0, 0); err != nil {
			t.Fatal(err)
		}
		if err := noteLine(f, line); err != nil {
			t.Error(err)
		}
	}
	if text, err := os.ReadFile(path); string(text) != "aa 1\nbb\ncc 2\ndd 3\n" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := f.Seek(0, 0); err != nil {
		t.Fatal(err)
	}
	if err := noteLine(f, "cc 4"); !errors.Is(err, errReplayed) {
		t.Error(err)
	}
}
