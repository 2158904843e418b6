package disktest

import (
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// file is an open file.
type file struct {
	disk   *Disk
	inode  int
	path   string
	offset int
	lock   *os.File // for Fd
}

func (f *file) Read(p []byte) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	content := f.disk.inodes[f.inode].content
	if f.offset >= len(content) {
		return 0, io.EOF
	}
	n := copy(p, content[f.offset:])
	f.offset += n
	return n, nil
}

func (f *file) Write(p []byte) (int, error) {
	fault := f.disk.fault("write", f.path)
	if fault != nil {
		p = p[:len(p)/2]
	}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.disk.write(f.inode, f.offset, p)
	f.offset += len(p)
	return len(p), fault
}

func (f *file) ReadAt(p []byte, offset int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	content := f.disk.inodes[f.inode].content
	n := copy(p, content[min(int(offset), len(content)):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(p []byte, offset int64) (int, error) {
	at := &file{disk: f.disk, inode: f.inode, path: f.path, offset: int(offset)}
	return at.Write(p)
}

func (f *file) Seek(offset int64, whence int) (int64, error) {
	if whence != io.SeekStart {
		return 0, fs.ErrInvalid
	}
	f.offset = int(offset)
	return offset, nil
}

func (f *file) Stat() (fs.FileInfo, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return f.disk.info(path.Base(f.path), f.inode), nil
}

func (f *file) Chmod(mode fs.FileMode) error { return nil }
func (f *file) Chown(uid, gid int) error     { return nil }

func (f *file) Sync() error {
	if err := f.disk.sync(f.inode, f.path); err != nil {
		return &fs.PathError{Op: "sync", Path: f.path, Err: err}
	}
	return nil
}

// SyncData is Sync: a Disk has no times to save.
func (f *file) SyncData() error { return f.Sync() }

// StartSync does nothing: what was written may be durable at any time.
func (f *file) StartSync(int64, int64) {}

// Fd is that of a real file, which is nobody else's.
func (f *file) Fd() uintptr {
	if f.lock == nil {
		fd, err := unix.MemfdCreate("disktest", unix.MFD_CLOEXEC)
		if err != nil {
			panic(err)
		}
		f.lock = os.NewFile(uintptr(fd), "disktest")
	}
	return f.lock.Fd()
}

func (f *file) Close() error {
	if f.lock != nil {
		f.lock.Close()
	}
	return nil
}

// info is a fs.FileInfo.
type info struct {
	name string
	inode
	sys syscall.Stat_t
}

func (d *Disk) info(name string, n int) info {
	i := info{name: name, inode: *d.inodes[n]}
	i.sys.Ino = uint64(n + 1)
	i.sys.Mtim = syscall.NsecToTimespec(i.changed.UnixNano())
	i.sys.Ctim = i.sys.Mtim
	return i
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return int64(len(i.content)) }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return i.changed }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return &i.sys }
