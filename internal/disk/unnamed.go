package disk

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// CreateUnnamed is open(2) with O_TMPFILE. Where the kernel or the file system has
// no such thing, they say so in different ways.
func (d dir) CreateUnnamed(perm fs.FileMode) (File, error) {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Openat(d.fd, ".", unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, uint32(perm.Perm()))
		return err
	})
	defer runtime.KeepAlive(d.self)
	switch err {
	case nil:
		return file{os.NewFile(uintptr(fd), d.Name()+"/(unnamed)")}, nil
	case unix.EOPNOTSUPP, unix.EISDIR, unix.EINVAL:
		err = errors.ErrUnsupported
	case unix.EPERM: // which is what ext4 has for a directory that was removed
		var st unix.Stat_t
		if unix.Fstat(d.fd, &st) == nil && st.Nlink == 0 {
			err = unix.ENOENT
		}
	}
	return nil, &fs.PathError{Op: "openat", Path: d.Name(), Err: err}
}

// LinkFile takes the short way, which the kernel has for some only: for those with
// CAP_DAC_READ_SEARCH, and since Linux 6.10 for the thread that has opened the file and
// those that share its credentials. The other one is open(2)'s, through /proc.
func (d dir) LinkFile(f File, name string) error {
	unnamed, ok := f.(file)
	if !ok || !isName(name) {
		return &os.LinkError{Op: "linkat", Old: "(unnamed)", New: name, Err: fs.ErrInvalid}
	}
	fd := int(unnamed.Fd())
	err := unix.Linkat(fd, "", d.fd, name, unix.AT_EMPTY_PATH)
	if err == unix.ENOENT {
		err = linkThroughProc(fd, d.fd, name)
	}
	runtime.KeepAlive(unnamed.File)
	runtime.KeepAlive(d.self)
	if err != nil {
		return &os.LinkError{Op: "linkat", Old: unnamed.Name(), New: name, Err: err}
	}
	return nil
}

func linkThroughProc(fd, dir int, name string) error {
	path := "/proc/self/fd/" + strconv.Itoa(fd)
	err := unix.Linkat(unix.AT_FDCWD, path, dir, name, unix.AT_SYMLINK_FOLLOW)
	if err == unix.ENOENT && unix.Access(path, unix.F_OK) != nil { // there is no /proc
		return errors.ErrUnsupported
	}
	return err
}
