package maildir

import (
	"errors"
	"io/fs"
	"path"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"xm/internal/disk"
)

// drop is a maildrop whose directories are open, so that a delivery needs few
// system calls and shares its syncs with others.
type drop struct {
	name    string
	tmp     disk.Dir
	new     disk.Dir
	dirSync sharedSync  // of new
	inode   fs.FileInfo // of new
	users   int         // deliveries at work here; guarded by Store.mu
	named   atomic.Bool // files without a name can't be used here
}

// maxDrops is how many maildrops stay open while no delivery uses them. Each
// takes four descriptors.
const maxDrops = 128

// mostDrops is maxDrops, or less where the process may have few descriptors: half of them
// are for others, who may come when there are no deliveries that would close any.
func mostDrops() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return maxDrops
	}
	return int(min(maxDrops, limit.Cur/8))
}

// use opens a maildrop, which is made where it is missing, or takes one that is
// still open, and was there a short while ago. The caller ends it with leave.
func (s *Store) use(name string) (*drop, error) {
	if d := s.kept(name); d != nil {
		return d, nil
	}
	return s.useNow(name)
}

// kept is a maildrop that is open; nil if none is. leave ends it.
func (s *Store) kept(name string) *drop {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.drops[name]
	if d != nil {
		d.users++
	}
	return d
}

// useNow is use for one that is there now.
func (s *Store) useNow(name string) (*drop, error) {
	if err := s.prepare(name); err != nil {
		return nil, err
	}
	d, err := s.inPlace(name)
	switch {
	case err == nil && s.isReadyAs(name, d.inode):
		return d, nil
	case err == nil:
		s.leave(d)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	// Somebody moved it away, or has made another one, which need not be durable.
	s.notReady(name)
	if err := s.prepare(name); err != nil {
		return nil, err
	}
	return s.inPlace(name)
}

// inPlace takes the open maildrop if it still is what has the name.
func (s *Store) inPlace(name string) (*drop, error) {
	if d := s.kept(name); d != nil {
		here, err := s.root.Leads(name+"/new", d.inode)
		if here {
			return d, nil
		}
		s.leave(d)
		if err != nil {
			return nil, err
		}
	}
	d, err := s.openDrop(name)
	if err != nil {
		return nil, err
	}
	return s.keep(d), nil
}

func (s *Store) openDrop(name string) (*drop, error) {
	tmp, err := s.root.OpenDir(path.Join(name, "tmp"))
	if err != nil {
		return nil, err
	}
	newDir, err := s.root.OpenDir(path.Join(name, "new"))
	if err != nil {
		tmp.Close()
		return nil, err
	}
	st, err := newDir.Stat(".")
	if err != nil {
		tmp.Close()
		newDir.Close()
		return nil, err
	}
	return &drop{name: name, tmp: tmp, new: newDir, dirSync: sharedSync{fsync: func() error { return newDir.Sync() }, told: s.dirSynced}, inode: st, users: 1}, nil
}

// keep makes d the one that others find, unless one is there that is as good.
func (s *Store) keep(d *drop) *drop {
	s.mu.Lock()
	defer s.mu.Unlock()
	other := s.drops[d.name]
	if other != nil && disk.SameFile(other.inode, d.inode) {
		d.close()
		other.users++
		return other
	}
	if other != nil && other.users == 0 {
		other.close()
		delete(s.drops, d.name)
	}
	for name, idle := range s.drops { // any one: map order is random
		if len(s.drops) < s.mostDrops {
			break
		}
		if idle.users == 0 {
			idle.close()
			delete(s.drops, name)
		}
	}
	s.drops[d.name] = d
	return d
}

// leave closes d if nobody would find it any more.
func (s *Store) leave(d *drop) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.users--; d.users > 0 {
		return
	}
	if s.drops[d.name] != d {
		d.close()
	} else if len(s.drops) > s.mostDrops {
		d.close()
		delete(s.drops, d.name)
	}
}

// letGo has the maildrop of d prepared and opened again by whoever uses it next: its tmp
// is gone, which inPlace does not look at.
func (s *Store) letGo(d *drop) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ready, d.name)
	if s.drops[d.name] == d {
		delete(s.drops, d.name) // leave closes it
	}
}

func (d *drop) close() {
	d.tmp.Close()
	d.new.Close()
}

// sameDisk reports whether two files are of one file system.
func sameDisk(a, b fs.FileInfo) bool {
	x, ok1 := a.Sys().(*syscall.Stat_t)
	y, ok2 := b.Sys().(*syscall.Stat_t)
	return ok1 && ok2 && x.Dev == y.Dev
}
