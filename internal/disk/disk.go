// Package disk is the file system as far as users.txt and the mail store need
// it: few operations, below one directory. OpenDir gives the real one. Tests run
// the same code on others, which record what is done and what of it a crash may
// undo (package disktest), or fail.
package disk

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Dir is an open directory. Names are paths below it, which they can't leave,
// as with os.Root. It may be used concurrently.
type Dir interface {
	// Name is the path that the directory was opened with.
	Name() string
	Open(name string) (File, error)
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// OpenRead is Open for a regular file that is only read, and often. It, or the
	// first Read, fails for anything else, links included, and waits for nobody. size
	// is what the file is said to have; negative if that is not known. If it is so, a
	// Read may give io.EOF with the end of the file.
	OpenRead(name string, size int64) (io.ReadCloser, error)
	// Scan calls each for what a directory holds, but for "." and "..", in no order,
	// until each fails.
	Scan(name string, each func(Entry) error) error
	// OpenDir opens a directory below this one. The caller closes it.
	OpenDir(name string) (Dir, error)
	Mkdir(name string, perm fs.FileMode) error
	Link(oldname, newname string) error
	Rename(oldname, newname string) error
	// LinkTo and RenameTo give a file in this directory a name in another one of
	// the same kind. Neither name is a path.
	LinkTo(oldname string, to Dir, newname string) error
	RenameTo(oldname string, to Dir, newname string) error
	// CreateUnnamed opens a new file, to be read and written, that has no name: when
	// it is closed it is gone, unless LinkFile has given it one, in this directory
	// or in another of the same file system. The error matches errors.ErrUnsupported
	// where that can't be done.
	CreateUnnamed(perm fs.FileMode) (File, error)
	// LinkFile names a file of CreateUnnamed, which is still open. It replaces nothing.
	LinkFile(f File, name string) error
	Remove(name string) error
	Stat(name string) (fs.FileInfo, error)
	Lstat(name string) (fs.FileInfo, error)
	// Leads reports whether name leads to the file that st is of. A link on the way may
	// leave the directory, which harms nobody: nothing is opened.
	Leads(name string, st fs.FileInfo) (bool, error)
	// Sync makes the names in the directory durable, not those in directories
	// below it. After an error the names made since the last success may be lost,
	// whatever a later Sync returns.
	Sync() error
	// Mount is another for each mount of the file system of the directory, as long as
	// the system runs; "" if it is not known.
	Mount() string
	// CanSyncAll returns an error that matches errors.ErrUnsupported if SyncAll does
	// not keep its promise here.
	CanSyncAll() error
	// SyncAll makes all durable that was written or named by now on the file system
	// of the directory: syncfs(2). After an error any of it may be lost, whatever a
	// later SyncAll returns.
	SyncAll() error
	Close() error
}

// File is an open file.
type File interface {
	io.Reader
	io.ReaderAt
	io.Writer
	io.WriterAt
	io.Seeker
	io.Closer
	Stat() (fs.FileInfo, error)
	Chmod(mode fs.FileMode) error
	Chown(uid, gid int) error
	// Sync makes the content durable. After an error it may be lost, whatever a
	// later Sync returns.
	Sync() error
	// SyncData is Sync, but for the times of the file: fdatasync(2).
	SyncData() error
	// StartSync has the disk begin with octets that a Sync or SyncData is to make
	// durable. It waits for nothing and promises nothing.
	StartSync(offset, size int64)
	// Fd is the descriptor, for locks.
	Fd() uintptr
}

// LostAndFound is a directory that some file systems have at their root, for root
// alone: it is nobody's data.
const LostAndFound = "lost+found"

// OpenDir opens a directory.
func OpenDir(path string) (Dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return newDir(root)
}

func newDir(root *os.Root) (Dir, error) {
	self, err := root.Open(".")
	if err != nil {
		root.Close()
		return nil, err
	}
	return dir{root, self, int(self.Fd())}, nil
}

// dir is a real directory.
type dir struct {
	*os.Root
	self *os.File // for what os.Root can't do
	fd   int      // self's
}

func (d dir) Close() error { return errors.Join(d.self.Close(), d.Root.Close()) }

func (d dir) Open(name string) (File, error) { return opened(d.Root.Open(name)) }

func (d dir) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	if flag&os.O_EXCL != 0 && isName(name) {
		return d.create(name, flag, perm)
	}
	return opened(d.Root.OpenFile(name, flag, perm))
}

// create is OpenFile for a new file in the directory itself, without the system
// calls that find out whether the file could be waited for.
func (d dir) create(name string, flag int, perm fs.FileMode) (File, error) {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Openat(d.fd, name, flag|unix.O_NOFOLLOW|unix.O_CLOEXEC, uint32(perm.Perm()))
		return err
	})
	runtime.KeepAlive(d.self)
	if err != nil {
		return nil, &fs.PathError{Op: "openat", Path: name, Err: err}
	}
	return file{os.NewFile(uintptr(fd), name)}, nil
}

// opened keeps a nil *os.File out of a File.
func opened(f *os.File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

func (d dir) OpenDir(name string) (Dir, error) {
	root, err := d.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	return newDir(root)
}

func (d dir) LinkTo(oldname string, to Dir, newname string) error {
	return between("linkat", d, oldname, to, newname, func(from, to int) error {
		return unix.Linkat(from, oldname, to, newname, 0)
	})
}

func (d dir) RenameTo(oldname string, to Dir, newname string) error {
	return between("renameat", d, oldname, to, newname, func(from, to int) error {
		return unix.Renameat(from, oldname, to, newname)
	})
}

func between(op string, from dir, oldname string, to Dir, newname string, do func(from, to int) error) error {
	there, ok := to.(dir)
	err := fs.ErrInvalid
	if ok && isName(oldname) && isName(newname) {
		err = do(from.fd, there.fd)
		runtime.KeepAlive(from.self)
		runtime.KeepAlive(there.self)
	}
	if err != nil {
		return &os.LinkError{Op: op, Old: oldname, New: newname, Err: err}
	}
	return nil
}

// Leads has one system call, where Stat has three for a path. It asks for no times: since
// Linux 6.13 a file whose times were asked for gets new ones with its next write, however
// soon that is, and on some file systems each sync has to write them, too.
func (d dir) Leads(name string, to fs.FileInfo) (bool, error) {
	var st unix.Statx_t
	err := retry(func() error { return unix.Statx(d.fd, name, 0, unix.STATX_INO, &st) })
	runtime.KeepAlive(d.self)
	switch err {
	case nil:
	case unix.ENOSYS, unix.EPERM: // what old kernels and sandboxes say to statx
		return d.leadsByStat(name, to)
	default:
		return false, &fs.PathError{Op: "statx", Path: name, Err: err}
	}
	sys, ok := to.Sys().(*syscall.Stat_t)
	return ok && sys.Ino == st.Ino && uint64(sys.Dev) == unix.Mkdev(st.Dev_major, st.Dev_minor), nil
}

// leadsByStat is Leads without statx.
func (d dir) leadsByStat(name string, to fs.FileInfo) (bool, error) {
	st, err := d.Root.Stat(name)
	return err == nil && os.SameFile(st, to), err
}

// SameFile is os.SameFile, for any Dir.
func SameFile(a, b fs.FileInfo) bool {
	x, ok1 := a.Sys().(*syscall.Stat_t)
	y, ok2 := b.Sys().(*syscall.Stat_t)
	return ok1 && ok2 && x.Ino == y.Ino && x.Dev == y.Dev
}

func isName(s string) bool { return s != "" && s != "." && s != ".." && strings.IndexByte(s, '/') < 0 }

func (d dir) Sync() error { return d.self.Sync() }

// ReadFile returns the content of a file.
func ReadFile(d Dir, name string) ([]byte, error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// SyncDir makes the names in a directory below d durable.
func SyncDir(d Dir, name string) error {
	below, err := d.OpenDir(name)
	if err != nil {
		return err
	}
	defer below.Close()
	return below.Sync()
}
