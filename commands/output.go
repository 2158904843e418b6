package commands

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"xm/internal/disk"
	"xm/internal/safefile"
)

// output is where a command writes to. Nothing of a file is seen before commit.
type output struct {
	io.Writer // an io.WriteSeeker exactly if it is a new file
	commit    func() error
	abort     func() // releases everything; does nothing after commit
}

// writeOutput puts data into a file, which appears complete or not at all, or on
// standard output. Devices and pipes are written to, never replaced.
func writeOutput(c *cli.Context, path string, data []byte, perm fs.FileMode) error {
	return writeData(c, path, data, perm, (*safefile.File).Commit)
}

// writeNewOutput is writeOutput for what must not replace a file, which may be a
// key.
func writeNewOutput(c *cli.Context, path string, data []byte, perm fs.FileMode) error {
	return writeData(c, path, data, perm, (*safefile.File).CommitNew)
}

func writeData(c *cli.Context, path string, data []byte, perm fs.FileMode, commit func(*safefile.File) error) error {
	out, err := openOutput(c, path, perm, commit)
	if err != nil {
		return err
	}
	defer out.abort()
	if _, err := out.Write(data); err != nil {
		return err
	}
	return out.commit()
}

// openOutput prepares an output; commit says how a new file gets its name.
func openOutput(c *cli.Context, path string, perm fs.FileMode, commit func(*safefile.File) error) (output, error) {
	if path == stdio {
		widen(c.App.Writer)
		return output{named{interruptibleWriter(c.Context, c.App.Writer), path}, func() error { return nil }, func() {}}, nil
	}
	out, err := openFile(c.Context, path, perm, commit)
	if err != nil {
		return output{}, nameError(path, err)
	}
	return out, nil
}

func openFile(ctx context.Context, name string, perm fs.FileMode, commit func(*safefile.File) error) (output, error) {
	if st, err := os.Stat(name); err == nil && (!st.Mode().IsRegular() || isDescriptor(name)) {
		return openStream(ctx, name)
	}
	path, err := followLinks(name)
	if err != nil {
		return output{}, err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return newFile(name, path, perm, commit)
	}
	// A file that may not be written to may not be replaced either.
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return output{}, err
	}
	if err := errors.Join(f.Close(), mayReplace(path)); err != nil {
		return output{}, err
	}
	return newFile(name, path, perm, commit)
}

// isDescriptor tells a name for something that is open, such as /dev/stdout:
// that is to be written to, even if it is a file.
func isDescriptor(name string) bool {
	for _, dir := range []string{"/dev/fd/", "/dev/std", "/proc/"} {
		if strings.HasPrefix(name, dir) {
			return true
		}
	}
	return false
}

// openStream opens a device or a pipe, which may take as long as nobody reads
// it.
func openStream(ctx context.Context, name string) (output, error) {
	f, err := await(ctx, func() (*os.File, error) { return os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0) })
	if err != nil {
		return output{}, err
	}
	widen(f)
	return output{named{interruptibleWriter(ctx, f), name}, f.Close, func() { f.Close() }}, nil
}

// mayReplace keeps private keys: a sender decides what is in a message, and a
// slip of the hand where it goes.
func mayReplace(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return nil // what can't be read, but written to, is no key of ours
	}
	defer f.Close()
	begin := make([]byte, 4096)
	n, err := io.ReadFull(f, begin)
	if err != nil && err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if bytes.Contains(begin[:n], []byte("PRIVATE KEY-----")) {
		return errors.New("it holds a private key, which is never overwritten")
	}
	return nil
}

// interruptibleWriter gives up writing to a pipe when ctx ends: that may wait for
// its reader for ever.
func interruptibleWriter(ctx context.Context, w io.Writer) io.Writer {
	if f, ok := w.(*os.File); ok {
		if st, err := f.Stat(); err == nil && st.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) != 0 {
			return pipeWriter{ctx, w}
		}
	}
	return w
}

type pipeWriter struct {
	ctx context.Context
	w   io.Writer
}

func (p pipeWriter) Write(data []byte) (int, error) {
	return await(p.ctx, func() (int, error) { return p.w.Write(data) })
}

func newFile(name, path string, perm fs.FileMode, commit func(*safefile.File) error) (output, error) {
	root, err := disk.OpenDir(filepath.Dir(path))
	if err != nil {
		return output{}, err
	}
	f, err := safefile.Create(root, filepath.Base(path), perm)
	if err != nil {
		root.Close()
		return output{}, err
	}
	return output{
		struct {
			named
			io.Seeker
		}{named{f, name}, f},
		func() error { return nameError(name, commit(f)) },
		func() { f.Abort(); root.Close() },
	}, nil
}

// named tells in errors what it writes to: the name that was asked for, not that
// of a temporary file.
type named struct {
	w    io.Writer
	name string
}

func (n named) Write(p []byte) (int, error) {
	written, err := n.w.Write(p)
	return written, nameError(n.name, err)
}

func nameError(name string, err error) error {
	if err == nil {
		return nil
	}
	var file *fs.PathError
	if errors.As(err, &file) {
		err = file.Err
	}
	return fmt.Errorf("write %s: %w", name, err)
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
