package maildir

import (
	"errors"
	"io/fs"
	"path"
	"sync"
	"syscall"
	"time"

	"xm/internal/disk"
)

// drop is a maildrop whose directories are open, so that a delivery needs few
// system calls and shares its syncs with others.
type drop struct {
	name  string
	tmp   disk.Dir
	new   disk.Dir
	names sharedSync  // of new
	inode fs.FileInfo // of new
	users int         // deliveries at work here; guarded by Store.mu
}

// maxDrops is how many maildrops stay open while no delivery uses them. Each
// takes four descriptors.
const maxDrops = 128

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
	if errors.Is(err, fs.ErrNotExist) { // somebody moved it away
		s.setReady(name, false)
		if err := s.prepare(name); err != nil {
			return nil, err
		}
		d, err = s.inPlace(name)
	}
	return d, err
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
	return &drop{name: name, tmp: tmp, new: newDir, names: s.shared(func() error { return newDir.Sync() }), inode: st, users: 1}, nil
}

// keep makes d the one that others find, unless one is there that is as good.
func (s *Store) keep(d *drop) *drop {
	s.mu.Lock()
	defer s.mu.Unlock()
	other := s.drops[d.name]
	if other != nil && sameDir(other.inode, d.inode) {
		d.close()
		other.users++
		return other
	}
	if other != nil && other.users == 0 {
		other.close()
		delete(s.drops, d.name)
	}
	for name, idle := range s.drops { // any one: map order is random
		if len(s.drops) < maxDrops {
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
	} else if len(s.drops) > maxDrops {
		d.close()
		delete(s.drops, d.name)
	}
}

func (d *drop) close() {
	d.tmp.Close()
	d.new.Close()
}

// sameDir is os.SameFile, for any disk.
func sameDir(a, b fs.FileInfo) bool {
	x, ok1 := a.Sys().(*syscall.Stat_t)
	y, ok2 := b.Sys().(*syscall.Stat_t)
	return ok1 && ok2 && x.Ino == y.Ino && x.Dev == y.Dev
}

// sameDisk reports whether two files are of one file system.
func sameDisk(a, b fs.FileInfo) bool {
	x, ok1 := a.Sys().(*syscall.Stat_t)
	y, ok2 := b.Sys().(*syscall.Stat_t)
	return ok1 && ok2 && x.Dev == y.Dev
}

// sharedSync syncs a file or directory for all who wait at a time: one fsync
// serves all that was written before it began. Whoever finds none under way begins
// it at once, so that one who is alone waits for nobody.
type sharedSync struct {
	fsync func() error
	told  func(began time.Time, err error) // of each

	mu      sync.Mutex
	running bool
	next    *turn // of those who came while it ran
	failed  int   // how often it has failed
}

func (s *Store) shared(fsync func() error) sharedSync {
	return sharedSync{fsync: fsync, told: s.synced}
}

// turn is one fsync and those who wait for it.
type turn struct {
	lead chan struct{} // gets one token when the fsync before it has ended
	done chan struct{} // closed when this one has
	err  error
}

// mark is taken before that is written which sync is to make durable.
func (s *sharedSync) mark() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

var errLost = errors.New("another sync has failed meanwhile")

// sync makes durable what was written before. An fsync that failed since mark may
// have lost it, whatever a later one says.
func (s *sharedSync) sync(mark int) error {
	s.mu.Lock()
	t := s.next
	switch {
	case !s.running:
		s.running = true
		t = newTurn()
		t.lead <- struct{}{}
	case t == nil:
		t = newTurn()
		s.next = t
	}
	s.mu.Unlock()
	select {
	case <-t.lead:
		s.run(t)
	case <-t.done:
	}
	if t.err != nil {
		return t.err
	}
	if s.mark() != mark {
		return errLost
	}
	return nil
}

func newTurn() *turn { return &turn{lead: make(chan struct{}, 1), done: make(chan struct{})} }

// run syncs for one turn and passes the lead on.
func (s *sharedSync) run(t *turn) {
	s.mu.Lock()
	if s.next == t {
		s.next = nil // who comes from now on is not served by this turn
	}
	s.mu.Unlock()
	began := time.Now()
	t.err = s.fsync()
	s.told(began, t.err)
	s.mu.Lock()
	if t.err != nil {
		s.failed++
	}
	if s.running = s.next != nil; s.running {
		s.next.lead <- struct{}{}
	}
	s.mu.Unlock()
	close(t.done)
}
