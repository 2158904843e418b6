package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

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
	if path == stdio {
		_, err := c.App.Writer.Write(data)
		return err
	}
	path, err := followLinks(path)
	if err != nil {
		return err
	}
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		return writeThrough(path, data)
	}
	return replaceFile(path, data, perm)
}

const maxLinks = 40 // as many as Linux follows

// followLinks finds the file that a path means, which need not exist.
func followLinks(path string) (string, error) {
	for range maxLinks {
		target, err := os.Readlink(path)
		if err != nil { // no link, or nothing at all
			return path, nil
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	return "", fmt.Errorf("%s: too many symbolic links", path)
}

func writeThrough(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

func replaceFile(path string, data []byte, perm fs.FileMode) error {
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
	return f.Commit()
}

// mustNotExist refuses a regular file that is there already.
func mustNotExist(path string) error {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case st.Mode().IsRegular():
		return fmt.Errorf("%s exists, and is not overwritten", path)
	}
	return nil
}
