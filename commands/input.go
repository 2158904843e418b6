package commands

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"xm/hybrid"
)

// stdio is the file name that means standard input or output.
const stdio = "-"

func inputFlag(usage string) cli.Flag {
	return &cli.StringFlag{Name: "i", Usage: usage + "; - is standard input"}
}

func outputFlag(usage, value string) cli.Flag {
	return &cli.StringFlag{Name: "o", Usage: usage + "; - is standard output", Value: value}
}

func quietFlag() cli.Flag {
	return &cli.BoolFlag{Name: "quiet", Usage: "show no progress"}
}

// input is an open input. Its Reader can seek exactly if it is a regular file,
// and gives up when the command is interrupted.
type input struct {
	io.Reader
	size  int64 // -1 if unknown
	close func() error
}

// openInput opens a file, or standard input.
func openInput(c *cli.Context, path string) (input, error) {
	if path != stdio {
		f, err := await(c.Context, func() (*os.File, error) { return os.Open(path) })
		if err != nil {
			return input{}, err
		}
		return inputOf(c.Context, f, f.Close), nil
	}
	if _, ok := asTerminal(c.App.Reader); ok {
		say(c, "type, and end with Ctrl-D on a line of its own")
	}
	return inputOf(c.Context, c.App.Reader, func() error { return nil }), nil
}

// pipeSize is what a pipe may hold: fewer turns for both sides than with the
// usual 64 KiB.
const pipeSize = 1 << 20

// widen makes a pipe hold more, if it is one and that is allowed.
func widen(stream any) {
	if f, ok := stream.(*os.File); ok {
		_, _ = unix.FcntlInt(f.Fd(), unix.F_SETPIPE_SZ, pipeSize)
	}
}

func inputOf(ctx context.Context, r io.Reader, close func() error) input {
	widen(r)
	if f, ok := r.(*os.File); ok {
		// A file without a size may be one of /proc, which can't be sought in.
		if st, err := f.Stat(); err == nil && st.Mode().IsRegular() && st.Size() > 0 {
			return input{regularFile{f, ctx}, st.Size(), close}
		}
	}
	return input{newInterruptible(ctx, r), -1, close}
}

func inputOfBytes(message []byte) input {
	return input{bytes.NewReader(message), int64(len(message)), func() error { return nil }}
}

// regularFile never waits for long: to look for an interruption before each read is
// enough.
type regularFile struct {
	*os.File
	ctx context.Context
}

func (f regularFile) Read(p []byte) (int, error) {
	if f.ctx.Err() != nil {
		return 0, errInterrupted
	}
	return f.File.Read(p)
}

// await calls f, but leaves it behind when ctx ends: the process is about to end.
func await[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f()
		done <- result{v, err}
	}()
	select {
	case <-ctx.Done():
		var none T
		return none, errInterrupted
	case r := <-done:
		return r.value, r.err
	}
}

// interruptible stops waiting for a reader when ctx ends. The read that is under
// way is left behind: the process is about to end.
type interruptible struct {
	ctx context.Context
	r   io.Reader
	buf []byte // not p: a read that is left behind may still write to it
}

func newInterruptible(ctx context.Context, r io.Reader) *interruptible {
	return &interruptible{ctx: ctx, r: r}
}

func (i *interruptible) Read(p []byte) (int, error) {
	if len(i.buf) < len(p) {
		i.buf = make([]byte, len(p))
	}
	n, err := await(i.ctx, func() (int, error) { return i.r.Read(i.buf[:len(p)]) })
	return copy(p, i.buf[:n]), err
}

// readInput reads a whole file, or standard input.
func readInput(c *cli.Context, path string) ([]byte, error) {
	in, err := openInput(c, path)
	if err != nil {
		return nil, err
	}
	defer in.close()
	return io.ReadAll(in)
}

// newSpool returns a hybrid.Spool of private temporary files. They have no name
// once they are open, so nothing is left of them, whatever becomes of the
// process.
func newSpool() (hybrid.Spool, func()) {
	var files []*os.File
	make := func() (io.ReadWriteSeeker, error) {
		f, err := os.CreateTemp("", "xm-")
		if err != nil {
			return nil, fmt.Errorf("make a temporary file (in $TMPDIR): %w", err)
		}
		files = append(files, f)
		return f, os.Remove(f.Name())
	}
	return make, func() {
		for _, f := range files {
			f.Close()
		}
	}
}
