package trace

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
)

// Source is a part of the log. Open reads it from its beginning.
type Source struct {
	Name string // for errors
	Open func() (io.ReadCloser, error)
}

// maxLine is what a record may have: a message may have many recipients. Longer
// lines are passed over.
const maxLine = 4 << 20

// eachLine gives the lines of all sources, without their line ends. A source that
// begins as a gzip file does is unpacked. The error names those that failed.
func eachLine(ctx context.Context, log []Source, take func(line []byte)) (all error) {
	for _, s := range log {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := s.read(ctx, take); err != nil {
			all = errors.Join(all, fmt.Errorf("%s: %w", s.Name, err))
		}
	}
	return all
}

func (s Source) read(ctx context.Context, take func(line []byte)) (err error) {
	src, err := s.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	in := bufio.NewReaderSize(src, 64<<10)
	// RFC 1952, section 2.3.1. An error comes again from the next read.
	if begin, _ := in.Peek(2); string(begin) == "\x1f\x8b" {
		unpacked, err := gzip.NewReader(in)
		if err != nil {
			return err
		}
		in = bufio.NewReaderSize(unpacked, 64<<10)
	}
	for {
		line, err := readLine(in)
		if len(line) > 0 {
			take(line)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// readLine returns the next line, which is valid until the next call; nil for one
// that is too long.
func readLine(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		line = append([]byte(nil), line...)
		for err == bufio.ErrBufferFull {
			var more []byte
			more, err = in.ReadSlice('\n')
			if len(line) <= maxLine {
				line = append(line, more...)
			}
		}
	}
	if len(line) > maxLine {
		return nil, err
	}
	for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r') {
		line = line[:len(line)-1]
	}
	return line, err
}
