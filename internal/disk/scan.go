package disk

import (
	"encoding/binary"
	"io/fs"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Entry is a name in a directory.
type Entry struct {
	Name string
	Type fs.FileMode // the bits of fs.ModeType alone
}

// scanSize is how many octets of a directory are read at a time: some 400 names of
// messages.
const scanSize = 32 << 10

// Scan looks at no file. os.File does at each, in a directory that os.Root has
// opened: that takes several times as long, and reads all inodes of a large maildrop
// from the disk.
func (d dir) Scan(name string, each func(Entry) error) error {
	// A pipe in the place of the directory must not keep us waiting.
	f, err := d.Root.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	fd := int(f.Fd())
	buf := make([]byte, scanSize)
	for {
		var n int
		if err := retry(func() (err error) { n, err = unix.Getdents(fd, buf); return err }); err != nil {
			return &fs.PathError{Op: "getdents64", Path: name, Err: err}
		}
		if n == 0 {
			return nil
		}
		if err := parseEntries(fd, buf[:n], each); err != nil {
			return err
		}
	}
}

// Where the fields of a linux_dirent64 begin, see getdents64(2).
const (
	lengthAt = unsafe.Offsetof(unix.Dirent{}.Reclen)
	typeAt   = unsafe.Offsetof(unix.Dirent{}.Type)
	nameAt   = unsafe.Offsetof(unix.Dirent{}.Name)
)

// parseEntries calls each for the entries that the kernel has put into b. An inode of
// 0 means nothing: some FUSE file systems have no others.
func parseEntries(dir int, b []byte, each func(Entry) error) error {
	text := string(b) // of which the names are parts: one copy for all of them
	for len(b) > 0 {
		length := binary.NativeEndian.Uint16(b[lengthAt:])
		name, _, _ := strings.Cut(text[nameAt:length], "\x00")
		told := b[typeAt]
		b, text = b[length:], text[length:]
		if name == "." || name == ".." {
			continue
		}
		mode, err := typeOf(dir, name, told)
		if err == unix.ENOENT { // removed since
			continue
		}
		if err != nil {
			return &fs.PathError{Op: "stat", Path: name, Err: err}
		}
		if err := each(Entry{name, mode}); err != nil {
			return err
		}
	}
	return nil
}

// typeOf finds out what has the name, if the file system does not tell.
func typeOf(dir int, name string, told uint8) (fs.FileMode, error) {
	if told == unix.DT_UNKNOWN {
		var st unix.Stat_t
		if err := retry(func() error { return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) }); err != nil {
			return 0, err
		}
		told = uint8(st.Mode & unix.S_IFMT >> 12) // as IFTODT of <dirent.h>
	}
	switch told {
	case unix.DT_REG:
		return 0, nil
	case unix.DT_DIR:
		return fs.ModeDir, nil
	case unix.DT_LNK:
		return fs.ModeSymlink, nil
	case unix.DT_FIFO:
		return fs.ModeNamedPipe, nil
	case unix.DT_SOCK:
		return fs.ModeSocket, nil
	case unix.DT_BLK:
		return fs.ModeDevice, nil
	case unix.DT_CHR:
		return fs.ModeDevice | fs.ModeCharDevice, nil
	}
	return fs.ModeIrregular, nil
}

// ReadDir returns what a directory holds, in no order.
func ReadDir(d Dir, name string) (entries []Entry, err error) {
	err = d.Scan(name, func(e Entry) error {
		entries = append(entries, e)
		return nil
	})
	return entries, err
}
