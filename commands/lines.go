package commands

import "io"

// lineFile is a file of lines that are only ever added to it.
type lineFile interface {
	io.ReadWriteSeeker
	io.ReaderAt
}

// addLine adds a line, where f is open to append. The one before may have been cut off,
// by a full disk or in a crash: it stays one of its own.
func addLine(f lineFile, line string) error {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	last := []byte{'\n'}
	if end > 0 {
		if _, err := f.ReadAt(last, end-1); err != nil {
			return err
		}
	}
	if last[0] != '\n' {
		line = "\n" + line
	}
	_, err = io.WriteString(f, line+"\n")
	return err
}
