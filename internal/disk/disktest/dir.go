package disktest

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"xm/internal/disk"
)

// dir is a directory of a Disk.
type dir struct {
	disk  *Disk
	inode int
	path  string
}

func (d dir) Name() string { return d.path }
func (d dir) Close() error { return nil }
func (d dir) Sync() error {
	return d.fail("sync", ".", d.disk.sync(d.inode, d.path))
}

func (d dir) fail(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: path.Join(d.path, name), Err: err}
}

func (d dir) CanSyncAll() error { return nil }

// Mount is one at all times: who plays a crash sees to what follows from it.
func (d dir) Mount() string { return "mount" }

func (d dir) SyncAll() error {
	return d.fail("syncfs", ".", d.disk.sync(everything, "*"))
}

// do runs one operation, unless there is a fault.
func (d dir) do(op, name string, f func() error) error {
	err := d.disk.fault(op, path.Join(d.path, name))
	if err == nil {
		d.disk.mu.Lock()
		defer d.disk.mu.Unlock()
		err = f()
	}
	return d.fail(op, name, err)
}

func (d dir) Open(name string) (disk.File, error) { return d.OpenFile(name, os.O_RDONLY, 0) }

func (d dir) OpenRead(name string, _ int64) (io.ReadCloser, error) { return d.Open(name) }

func (d dir) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	var opened *file
	err := d.do("open", name, func() error {
		n, err := d.disk.find(d.inode, name)
		switch {
		case err == syscall.ENOENT && flag&os.O_CREATE != 0:
			in, last, err := d.disk.walk(d.inode, name)
			if err != nil {
				return err
			}
			n = d.disk.newInode(perm)
			d.disk.name(in, last, n)
		case err != nil:
			return err
		case flag&os.O_EXCL != 0:
			return syscall.EEXIST
		}
		opened = &file{disk: d.disk, inode: n, path: path.Join(d.path, name)}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return opened, nil
}

// Scan gives the names in their order, so that tests repeat.
func (d dir) Scan(name string, each func(disk.Entry) error) error {
	var entries []disk.Entry
	err := d.do("open", name, func() error {
		n, err := d.disk.find(d.inode, name)
		if err == nil && !d.disk.inodes[n].mode.IsDir() {
			err = syscall.ENOTDIR
		}
		if err != nil {
			return err
		}
		for name, of := range d.disk.inodes[n].names {
			entries = append(entries, disk.Entry{Name: name, Type: d.disk.inodes[of].mode.Type()})
		}
		return nil
	})
	slices.SortFunc(entries, func(a, b disk.Entry) int { return strings.Compare(a.Name, b.Name) })
	for _, e := range entries {
		if err := each(e); err != nil {
			return err
		}
	}
	return err
}

func (d dir) OpenDir(name string) (disk.Dir, error) {
	var n int
	err := d.do("open", name, func() (err error) {
		n, err = d.disk.find(d.inode, name)
		if err == nil && !d.disk.inodes[n].mode.IsDir() {
			return syscall.ENOTDIR
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return dir{d.disk, n, path.Join(d.path, name)}, nil
}

func (d dir) Mkdir(name string, perm fs.FileMode) error {
	return d.do("mkdir", name, func() error {
		in, last, err := d.disk.walk(d.inode, name)
		if err != nil {
			return err
		}
		if _, ok := d.disk.inodes[in].names[last]; ok {
			return syscall.EEXIST
		}
		d.disk.name(in, last, d.disk.newInode(fs.ModeDir|perm))
		return nil
	})
}

func (d dir) Link(oldname, newname string) error   { return d.LinkTo(oldname, d, newname) }
func (d dir) Rename(oldname, newname string) error { return d.RenameTo(oldname, d, newname) }

func (d dir) LinkTo(oldname string, to disk.Dir, newname string) error {
	return d.give(oldname, to.(dir), newname, false)
}

func (d dir) RenameTo(oldname string, to disk.Dir, newname string) error {
	return d.give(oldname, to.(dir), newname, true)
}

func (d dir) CreateUnnamed(perm fs.FileMode) (disk.File, error) {
	if d.disk.Named {
		return nil, d.fail("open", "", errors.ErrUnsupported)
	}
	const name = "(unnamed)"
	var created *file
	err := d.do("open", name, func() error {
		created = &file{disk: d.disk, inode: d.disk.newInode(perm), path: path.Join(d.path, name)}
		d.disk.inodes[created.inode].unnamed = true
		return nil
	})
	if err != nil {
		return nil, err
	}
	return created, nil
}

func (d dir) LinkFile(f disk.File, name string) error {
	return d.do("link", name, func() error {
		in, last, err := d.disk.walk(d.inode, name)
		if err != nil {
			return err
		}
		if _, ok := d.disk.inodes[in].names[last]; ok {
			return syscall.EEXIST
		}
		n := f.(*file).inode
		d.disk.name(in, last, n)
		d.disk.log = append(d.disk.log, event{inode: n, pieces: []piece{{inode: n, linked: true}}})
		return nil
	})
}

func (d dir) give(oldname string, to dir, newname string, rename bool) error {
	return to.do("link", newname, func() error {
		from, old, err := d.disk.walk(d.inode, oldname)
		if err != nil {
			return err
		}
		n, ok := d.disk.inodes[from].names[old]
		if !ok {
			return syscall.ENOENT
		}
		in, last, err := d.disk.walk(to.inode, newname)
		if err != nil {
			return err
		}
		if _, ok := d.disk.inodes[in].names[last]; ok && !rename {
			return syscall.EEXIST
		}
		d.disk.name(in, last, n)
		if rename {
			d.disk.name(from, old, none)
		}
		return nil
	})
}

func (d dir) Remove(name string) error {
	return d.do("remove", name, func() error {
		in, last, err := d.disk.walk(d.inode, name)
		if err != nil {
			return err
		}
		n, ok := d.disk.inodes[in].names[last]
		if !ok {
			return syscall.ENOENT
		}
		if len(d.disk.inodes[n].names) > 0 {
			return syscall.ENOTEMPTY
		}
		d.disk.name(in, last, none)
		return nil
	})
}

func (d dir) Stat(name string) (fs.FileInfo, error) { return d.Lstat(name) }

func (d dir) Leads(name string, to fs.FileInfo) (bool, error) {
	st, err := d.Stat(name)
	return err == nil && st.Sys().(*syscall.Stat_t).Ino == to.Sys().(*syscall.Stat_t).Ino, err
}

func (d dir) Lstat(name string) (st fs.FileInfo, err error) {
	err = d.do("stat", name, func() error {
		n, err := d.disk.find(d.inode, name)
		if err == nil {
			st = d.disk.info(path.Base(name), n)
		}
		return err
	})
	return st, err
}
