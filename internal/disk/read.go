package disk

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// errNoFile is the error for what is no regular file.
var errNoFile = errors.New("not a regular file")

// OpenRead has one system call: os.Root has a dozen for a file in a Maildir, more
// than all the rest of a RETR. A kernel without openat2 gets them for a path.
func (d dir) OpenRead(path string, size int64) (io.ReadCloser, error) {
	fd, err := openRead(d.fd, path)
	runtime.KeepAlive(d.self)
	switch {
	case err == nil:
		return &reader{fd: fd, left: size}, nil
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM): // EPERM: a container's filter
		return d.openRegular(path)
	}
	return nil, &fs.PathError{Op: "open", Path: path, Err: err}
}

func openRead(dir int, path string) (fd int, err error) {
	// A pipe in the place of the message must not keep us waiting.
	const flags = unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK
	err = retry(func() (err error) {
		if isName(path) { // which leads nowhere else
			fd, err = openat(dir, path, flags)
		} else {
			fd, err = unix.Openat2(dir, path, &unix.OpenHow{Flags: flags, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS})
		}
		return err
	})
	return fd, err
}

// openat is unix.Openat for a name, without the copy of it that goes to the heap: a file
// is opened for each message that is sent.
func openat(dir int, name string, flags int) (fd int, err error) {
	var zeroEnded [unix.NAME_MAX + 1]byte
	if copy(zeroEnded[:unix.NAME_MAX], name) < len(name) {
		return -1, unix.ENAMETOOLONG
	}
	if strings.IndexByte(name, 0) >= 0 {
		return -1, unix.EINVAL
	}
	n, _, errno := syscall.Syscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(&zeroEnded)), uintptr(flags|unix.O_LARGEFILE), 0, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

// openRegular is OpenRead without openat2. os.Root follows links below the
// directory, so what is opened is compared with what has the name.
func (d dir) openRegular(path string) (io.ReadCloser, error) {
	named, err := d.Root.Lstat(path)
	if err != nil {
		return nil, err
	}
	f, err := d.Root.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && named.Mode().IsRegular() && os.SameFile(named, st) {
		return f, nil
	}
	f.Close()
	return nil, &fs.PathError{Op: "open", Path: path, Err: cmp.Or(err, errNoFile)}
}

// reader is a file that is open for reading alone.
type reader struct {
	fd   int
	left int64 // of the size that it is to have; negative if that is not known
	some bool  // it has been read from
}

func (f *reader) Read(p []byte) (n int, err error) {
	if err := retry(func() (err error) { n, err = unix.Read(f.fd, p); return err }); err != nil {
		return 0, os.NewSyscallError("read", err)
	}
	if n == 0 && len(p) > 0 {
		return 0, f.end()
	}
	f.some = f.some || n > 0
	// A short read at that size tells as much as another one would.
	if f.left -= int64(n); f.left == 0 && n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// end is what a read tells that gives nothing: an empty file is at its end, and so
// is a pipe, which is no message.
func (f *reader) end() error {
	var st unix.Stat_t
	if f.some {
		return io.EOF
	}
	if err := unix.Fstat(f.fd, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return errNoFile
	}
	return io.EOF
}

func (f *reader) Close() error {
	err := unix.Close(f.fd)
	f.fd = -1 // whoever gets that number next is not to be closed again
	return os.NewSyscallError("close", err)
}

// retry calls a system call until no signal interrupts it.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}
