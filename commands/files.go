package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"xm/internal/safefile"
)

// stdio is the file name that means standard input or output.
const stdio = "-"

func inputFlag(usage string) cli.Flag {
	return &cli.StringFlag{Name: "i", Usage: usage + "; - is standard input"}
}

func outputFlag(usage, value string) cli.Flag {
	return &cli.StringFlag{Name: "o", Usage: usage + "; - is standard output", Value: value}
}

// readInput reads a whole file, or standard input.
func readInput(c *cli.Context, path string) ([]byte, error) {
	if path != stdio {
		return os.ReadFile(path)
	}
	if in, ok := c.App.Reader.(*os.File); ok && term.IsTerminal(int(in.Fd())) {
		say(c, "type, and end with Ctrl-D on a line of its own")
	}
	data, err := io.ReadAll(interruptible{c.Context, c.App.Reader})
	if err != nil {
		return nil, interrupted(c.Context, fmt.Errorf("read standard input: %w", err))
	}
	return data, nil
}

// interruptible stops waiting for a reader when ctx ends. The read that is under
// way is left behind: the process is about to end.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

func (i interruptible) Read(p []byte) (int, error) {
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	buf := make([]byte, len(p))
	go func() {
		n, err := i.r.Read(buf)
		done <- result{buf[:n], err}
	}()
	select {
	case <-i.ctx.Done():
		return 0, i.ctx.Err()
	case r := <-done:
		return copy(p, r.data), r.err
	}
}

// writeOutput puts data into a file, which appears complete or not at all, or on
// standard output. Devices and pipes are written to, never replaced.
func writeOutput(c *cli.Context, path string, data []byte, perm fs.FileMode) error {
	return output(c, path, data, perm, (*safefile.File).Commit)
}

// writeNewOutput is writeOutput for what must not replace a file, which may be a
// key.
func writeNewOutput(c *cli.Context, path string, data []byte, perm fs.FileMode) error {
	return output(c, path, data, perm, (*safefile.File).CommitNew)
}

func output(c *cli.Context, path string, data []byte, perm fs.FileMode, commit func(*safefile.File) error) error {
	var err error
	if path == stdio {
		_, err = c.App.Writer.Write(data)
	} else {
		err = writeFile(path, data, perm, commit)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func writeFile(path string, data []byte, perm fs.FileMode, commit func(*safefile.File) error) error {
	path, err := followLinks(path)
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return replaceFile(path, data, perm, commit)
	}
	// A file that may not be written to may not be replaced either.
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.Mode().IsRegular() {
		return replaceFile(path, data, perm, commit)
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

const maxLinks = 40 // as many as Linux follows

// followLinks finds the file that a path means, which need not exist.
func followLinks(path string) (string, error) {
	for range maxLinks {
		target, err := os.Readlink(path)
		if err != nil { // no link, or nothing at all
			return path, nil
		}
		if err := trustLink(path); err != nil {
			return "", err
		}
		if !filepath.IsAbs(target) {
			// The directory may be reached by links itself, which "..", in the
			// target, must not undo.
			dir, err := filepath.EvalSymlinks(filepath.Dir(path))
			if err != nil {
				return "", err
			}
			target = filepath.Join(dir, target)
		}
		path = target
	}
	return "", errors.New("too many symbolic links")
}

// trustLink refuses what the kernel does where fs.protected_symlinks is set: a
// link in a directory like /tmp that somebody else has put there.
func trustLink(path string) error {
	dir, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	if dir.Mode()&os.ModeSticky == 0 || dir.Mode().Perm()&0o002 == 0 {
		return nil
	}
	link, err := os.Lstat(path)
	if err != nil {
		return err
	}
	linkSys, ok1 := link.Sys().(*syscall.Stat_t)
	dirSys, ok2 := dir.Sys().(*syscall.Stat_t)
	if ok1 && ok2 && (int(linkSys.Uid) == os.Geteuid() || linkSys.Uid == dirSys.Uid) {
		return nil
	}
	return errors.New("it is somebody else's symbolic link")
}

func replaceFile(path string, data []byte, perm fs.FileMode, commit func(*safefile.File) error) error {
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer root.Close()
	f, err := safefile.Create(root, filepath.Base(path), perm)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return commit(f)
}
