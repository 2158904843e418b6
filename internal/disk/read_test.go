package disk

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A pipe, a link or a directory in the place of a file is not read, and keeps
// nobody waiting, with openat2 and without.
func TestOpenReadWantsAFile(t *testing.T) {
	path := t.TempDir()
	for _, err := range []error{
		os.WriteFile(filepath.Join(path, "file"), []byte("text"), 0o600),
		syscall.Mkfifo(filepath.Join(path, "pipe"), 0o600),
		os.Symlink("file", filepath.Join(path, "link")),
		os.Mkdir(filepath.Join(path, "dir"), 0o700),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	opened, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	without := func(name string, _ int64) (io.ReadCloser, error) { return opened.(dir).openRegular(name) }
	for how, open := range map[string]func(string, int64) (io.ReadCloser, error){"openat2": opened.OpenRead, "os.Root": without} {
		for size := range int64(7) { // right or wrong
			r, err := open("file", size-1)
			if err != nil {
				t.Fatal(err)
			}
			if text, err := io.ReadAll(r); string(text) != "text" || err != nil {
				t.Errorf("%s: read %q, %v", how, text, err)
			}
			r.Close()
		}
		for _, name := range []string{"pipe", "link", "dir"} {
			done := make(chan error, 1)
			go func() {
				r, err := open(name, -1)
				if err == nil {
					_, err = r.Read(make([]byte, 1))
					r.Close()
				}
				if err == io.EOF {
					err = nil // as an empty file
				}
				done <- err
			}()
			select {
			case err := <-done:
				if err == nil || errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s: the %s opens: %v", how, name, err)
				}
			case <-time.After(10 * time.Second):
				t.Fatalf("%s: opening the %s waits", how, name)
			}
		}
	}
}
