// Package safefile writes files so that a reader, or a crash, sees the old
// content or the new, never a part of either.
//
// A new content goes to a temporary file in the same directory, which is
// fsynced and then renamed (or linked) to its name; the directory is fsynced
// last, so that the name survives a power loss too. Temporary names begin with
// TempPrefix; one that is found at rest was left by a crash and may be removed.
package safefile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"xm/internal/disk"
)

// TempPrefix begins the name of every temporary file.
const TempPrefix = ".tmp-"

// File is a file being written: it has no name that a reader would look for
// until Commit or CommitNew.
type File struct {
	disk.File
	root      disk.Dir
	tmp, name string
	done      bool
}

// Create starts a file that is to become name, a path below root, with the
// given permissions. The caller ends it with Commit or CommitNew, and calls
// Abort in any case.
func Create(root disk.Dir, name string, perm fs.FileMode) (*File, error) {
	tmp := filepath.Join(filepath.Dir(name), TempPrefix+rand.Text())
	f, err := create(root, tmp, os.O_EXCL, perm)
	if err != nil {
		return nil, err
	}
	return &File{File: f, root: root, tmp: tmp, name: name}, nil
}

// Commit makes the file durable and puts it in the place of a regular file that
// has its name, if any.
func (f *File) Commit() error {
	old, err := f.root.Lstat(f.name)
	if err == nil && !old.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", f.name)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return f.publish(f.root.Rename)
}

// CommitNew makes the file durable under its name if that is free; otherwise
// the error matches fs.ErrExist and the existing file is untouched.
func (f *File) CommitNew() error {
	return f.publish(f.giveNew)
}

// giveNew gives the file a name that is free. Where the file system has no hard
// links, as FAT, an empty file takes the name before it is replaced: a crash
// between may leave that.
func (f *File) giveNew(from, to string) error {
	err := f.root.Link(from, to)
	if !errors.Is(err, syscall.EPERM) { // link(2): "does not support the creation of hard links"
		return err
	}
	empty, err := f.root.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(empty.Close(), f.root.Rename(from, to))
	if err != nil {
		_ = f.root.Remove(to)
	}
	return err
}

func (f *File) publish(give func(from, to string) error) error {
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.File.Close(); err != nil {
		return err
	}
	if err := give(f.tmp, f.name); err != nil {
		return err
	}
	f.removeTemp()
	return disk.SyncDir(f.root, filepath.Dir(f.name))
}

// inherit takes the mode and the owner over from the file to be replaced.
func (f *File) inherit() error {
	old, err := f.root.Lstat(f.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := f.Chmod(old.Mode().Perm()); err != nil {
		return err
	}
	return GiveTo(f.File, old)
}

// GiveTo makes the owner of like the owner of f, if this process may do that.
func GiveTo(f disk.File, like fs.FileInfo) error {
	owner, ok := like.Sys().(*syscall.Stat_t)
	if !ok || euid != 0 || owner.Uid == 0 && owner.Gid == egid {
		return nil
	}
	err := f.Chown(int(owner.Uid), int(owner.Gid))
	if errors.Is(err, syscall.EINVAL) {
		// In a user namespace, such as that of a container without root, an owner
		// whom it does not map is shown as nobody, and can't be given anything:
		// see user_namespaces(7). Whoever is root there is nobody special outside.
		return nil
	}
	return err
}

// Who makes files in this process.
var euid, egid = os.Geteuid(), uint32(os.Getegid())

// create makes a new file that belongs to the owner of its directory: what
// root puts into a server's directory is the server's.
func create(root disk.Dir, name string, flag int, perm fs.FileMode) (disk.File, error) {
	dir, err := root.Stat(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	f, err := root.OpenFile(name, flag|os.O_RDWR|os.O_CREATE, perm)
	if err != nil {
		return nil, err
	}
	if err := GiveTo(f, dir); err != nil {
		f.Close()
		if flag&os.O_EXCL != 0 { // nobody else knows of it yet
			_ = root.Remove(name)
		}
		return nil, err
	}
	return f, nil
}

// OpenLock opens a file that exists to be locked, and makes it where it is
// missing.
func OpenLock(root disk.Dir, name string) (disk.File, error) {
	return create(root, name, 0, 0o600)
}

// Abort removes what was written, unless it was committed.
func (f *File) Abort() {
	if f.done {
		return
	}
	f.File.Close() // already closed where a commit failed late
	f.removeTemp()
}

// removeTemp forgets the temporary name. After a rename it is gone already,
// and a failure leaves a file that its prefix marks as a left-over.
func (f *File) removeTemp() {
	f.done = true
	_ = f.root.Remove(f.tmp)
}

// Replace makes data the content of name below root. A file that is replaced
// hands down its mode and, as far as this process may give files away, its
// owner: root editing a server's file must not lock the server out.
func Replace(root disk.Dir, name string, data []byte, perm fs.FileMode) error {
	return write(root, name, data, perm, func(f *File) error {
		if err := f.inherit(); err != nil {
			return err
		}
		return f.Commit()
	})
}

// WriteNew creates name below root with data; it never overwrites. See
// File.CommitNew.
func WriteNew(root disk.Dir, name string, data []byte, perm fs.FileMode) error {
	return write(root, name, data, perm, (*File).CommitNew)
}

func write(root disk.Dir, name string, data []byte, perm fs.FileMode, commit func(*File) error) error {
	f, err := Create(root, name, perm)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return commit(f)
}

// Mkdir makes a directory below root where it is missing, durably. It belongs to
// the owner of the directory that it is in.
func Mkdir(root disk.Dir, name string, perm fs.FileMode) error {
	err := root.Mkdir(name, perm)
	if errors.Is(err, fs.ErrExist) {
		return isDir(root, name)
	}
	if err != nil {
		return err
	}
	err = GiveToParent(root, name)
	if err == nil {
		err = disk.SyncDir(root, filepath.Dir(name))
	}
	if err != nil {
		_ = root.Remove(name) // so that it is made anew next time: see disk.Dir's Sync
	}
	return err
}

func isDir(root disk.Dir, name string) error {
	st, err := root.Stat(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !st.IsDir() { // a link may lead nowhere
		err = fmt.Errorf("%s is not a directory", name)
	}
	return err
}

// GiveToParent makes the owner of the directory that name is in the owner of what has
// the name, if this process may do that.
func GiveToParent(root disk.Dir, name string) error {
	parent, err := root.Stat(filepath.Dir(name))
	if err != nil {
		return err
	}
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return GiveTo(f, parent)
}

// MkdirAll makes a directory and its parents where they are missing, durably.
func MkdirAll(dir string, perm fs.FileMode) error {
	if st, err := os.Stat(dir); err == nil {
		if st.IsDir() {
			return nil
		}
		return fmt.Errorf("%s is not a directory", dir)
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	root, err := disk.OpenDir(parent)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := Mkdir(root, filepath.Base(dir), perm); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	return nil
}
