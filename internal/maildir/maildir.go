// Package maildir is the mail store: one Maildir for each user, below one data
// directory.
//
// # The files
//
//	NAME/new/FILE, NAME/cur/FILE   messages; other programs may move a message
//	                               from new to cur and add ":2,flags" to its name
//	NAME/tmp/FILE                  messages being delivered; nobody reads them
//	NAME/<unix time>               messages that the original left; read and
//	                               deleted like the others, never written
//	NAME/.broken/                  what xm fsck --repair has set aside
//	.maildrops.lock                locked byte ranges, one for each open maildrop
//	.journal                       messages that are not durable elsewhere yet: see record
//
// FILE is <unix time>.M<microseconds>R<random>.<host>,S=<size>,W=<size>: S is
// the message's size on disk in octets, W its size in the form it has on the
// wire. A message is stored with LF line ends; its wire form has CRLF in the
// place of each LF that does not follow a CR, and ends with CRLF. A file without
// W, from another program, is read through to learn its size.
//
// A FILE up to its ":" identifies the message as long as it exists, so the
// unique-id is made of that; of what the original left, NAME/<unix time> is.
// Names hold 48 random bits, and none is reused. A file that has been in tmp for
// 36 hours was left by a crash and is removed.
//
// # Durability
//
// When Commit returns nil, the message is in the new directory of every
// recipient, and survives the loss of power at that instant. When it returns an
// error, no recipient has it. A crash before it returns leaves a recipient the
// whole message or nothing. When Delete returns nil, the deletions survive likewise:
// no deleted message comes back.
//
// A message of up to 64 KiB is durable in the journal first, which costs one sync
// that all share who deliver at the time; its file and its names follow within
// seconds, many together. After a crash of the system, Recover puts back what is
// missing or damaged: until xm has run, another program may see an empty file. A
// deletion by POP3 strikes the message out of the journal; one by another program
// may be undone by a crash in the seconds after the delivery. Where one process
// delivers already, where the file system is not known to keep the promise of
// syncfs(2), and while the journal is full, a message has syncs of its own: of its
// file and of its directories.
//
// The tests try what a crash may leave at each moment (package disktest), and that
// each fsync is needed.
//
// # Quotas
//
// A quota limits what deliveries of xm put into a maildrop. A message for several
// is stored in none if one of them is full. What others put there is counted,
// and what others delete makes room; see Quota and, for what may be missed,
// remembered.
//
// # Who may write
//
// Any program that keeps to the Maildir rules. A maildrop is locked by the
// POP3 sessions of all xm processes against each other, by an open file
// description lock (fcntl(2)) on one byte of .maildrops.lock, at the inode
// number of the maildrop's directory (lockOffset); deliveries take no lock.
package maildir

import (
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"xm/internal/disk"
	"xm/internal/safefile"
)

const lockName = ".maildrops.lock"

// ErrLocked is returned by Open for a maildrop that another session has open.
var ErrLocked = errors.New("the maildrop is open in another session")

// Store is the mail of all users.
type Store struct {
	// Quota tells the quota of a maildrop. nil means that none has one. It is
	// set before the first use of the Store.
	Quota func(maildrop string) Quota
	// Synced is told of each fsync of a delivery, by many goroutines. nil means nobody is. It is
	// set before the first use of the Store.
	Synced func(took time.Duration, err error)

	// Trouble, if not nil, is told what goes wrong where nobody waits for it. It is
	// set before the first use of the Store.
	Trouble func(error)
	// NoJournal has each message synced for itself. It is set before the first use
	// of the Store.
	NoJournal bool

	root  disk.Dir
	names sharedSync // of root
	host  string     // in file names
	boot  string     // tells the time between two starts of the system from others; "" if that is not known

	givingUp    sync.Mutex // held to give the journal up
	opening     sync.Mutex // guards what follows
	journal     *journal   // nil while this process has none
	nextOpening time.Time

	lost atomic.Int64 // how often a SyncAll has failed, which may have lost what is not in the journal yet

	preparing sync.Map // by maildrop: the *sync.Mutex of whoever makes its directories

	mu     sync.Mutex
	lock   disk.File          // nil until the first Open
	locked map[int64]struct{} // offsets that this process holds in lock
	ready  map[string]bool    // maildrops whose directories are known to be durable
	drops  map[string]*drop   // maildrops that are open
	// maildrops that are mounts, of another file system
	elsewhere map[string]bool
	usage     map[string]*remembered

	listings listings
	openDirs atomic.Int32 // of the sessions that read messages
}

// New opens the store in a data directory, which must exist. host goes into
// the names of messages.
func New(dataDir, host string) (*Store, error) {
	root, err := disk.OpenDir(dataDir)
	if err != nil {
		return nil, err
	}
	return On(root, host), nil
}

// On is New for a directory that is open, which Close closes.
func On(root disk.Dir, host string) *Store {
	return &Store{root: root, names: sharedSync{fsync: root.Sync, told: func(time.Time, error) {}}, host: hostInName(host), boot: bootID(),
		locked: map[int64]struct{}{}, ready: map[string]bool{},
		drops: map[string]*drop{}, elsewhere: map[string]bool{}, usage: map[string]*remembered{}}
}

// bootID is another after each start of the system (random(4)). It is read before a
// server takes from itself the right to read it.
var bootID = sync.OnceValue(func() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "" // what is in the journal is then compared with the maildrops in any case
	}
	return strings.TrimSpace(string(id))
})

func (s *Store) report(err error) {
	if s.Trouble != nil {
		s.Trouble(err)
	}
}

// hostInName keeps the whole file name within the 70 octets of a POP3
// unique-id, and off the characters that have a meaning in it.
func hostInName(host string) string {
	const most = 14
	host = strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f || strings.ContainsRune("/:,", r) {
			return '_'
		}
		return r
	}, host)
	return host[:min(len(host), most)]
}

// Close releases the data directory and all locks.
func (s *Store) Close() error {
	err := s.GiveUpJournal()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock != nil {
		s.lock.Close()
	}
	for _, d := range s.drops {
		d.close()
	}
	return errors.Join(err, s.root.Close())
}

func (s *Store) synced(began time.Time, err error) {
	if s.Synced != nil {
		s.Synced(time.Since(began), err)
	}
}

// prepare makes a maildrop's directories, durably.
func (s *Store) prepare(name string) error {
	if strings.Contains(name, "/") {
		return fmt.Errorf("%q is not the name of a maildrop", name)
	}
	if s.isReady(name) {
		return nil
	}
	// One user does not wait for another's disk.
	mu, _ := s.preparing.LoadOrStore(name, new(sync.Mutex))
	mu.(*sync.Mutex).Lock()
	defer mu.(*sync.Mutex).Unlock()
	if s.isReady(name) {
		return nil
	}
	mark := s.names.mark()
	made, err := s.makeDirs(name)
	if err == nil {
		err = disk.SyncDir(s.root, name)
	}
	if err == nil {
		err = s.names.sync(mark)
	}
	if err != nil {
		// An fsync that failed may have lost them for good, so they are made anew
		// next time. One that is in use stays.
		for _, dir := range slices.Backward(made) {
			_ = s.root.Remove(dir)
		}
		return err
	}
	if err := s.sweep(path.Join(name, "tmp")); err != nil {
		return err
	}
	if err := s.locate(name); err != nil {
		return err
	}
	s.setReady(name, true)
	return nil
}

// locate finds out whether a maildrop is on the file system of the data
// directory.
func (s *Store) locate(name string) error {
	here, err := s.root.Stat(".")
	if err != nil {
		return err
	}
	there, err := s.root.Stat(name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.elsewhere, name)
	if !sameDisk(here, there) {
		s.elsewhere[name] = true
	}
	return nil
}

func (s *Store) anyElsewhere(names []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.elsewhere) > 0 && slices.ContainsFunc(names, func(name string) bool { return s.elsewhere[name] })
}

// makeDirs returns what it has made, also when it fails. What root makes belongs to
// the owner of the data directory, who delivers there.
func (s *Store) makeDirs(name string) (made []string, err error) {
	for _, dir := range []string{name, path.Join(name, "tmp"), path.Join(name, "new"), path.Join(name, "cur")} {
		err := s.root.Mkdir(dir, 0o700)
		if err == nil {
			made = append(made, dir)
			err = s.giveAway(dir)
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return made, err
		}
	}
	return made, nil
}

// giveAway gives a directory to the owner of the one that it is in.
func (s *Store) giveAway(dir string) error {
	parent, err := s.root.Stat(path.Dir(dir))
	if err != nil {
		return err
	}
	d, err := s.root.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return safefile.GiveTo(d, parent)
}

// leftOver is the age at which a file in tmp is nobody's any more.
const leftOver = 36 * time.Hour

// sweep removes what crashes left in a tmp directory.
func (s *Store) sweep(tmp string) error {
	entries, err := disk.ReadDir(s.root, tmp)
	if err != nil {
		return err
	}
	for _, e := range entries {
		st, err := e.Info()
		if err == nil && st.Mode().IsRegular() && time.Since(st.ModTime()) > leftOver {
			err = s.root.Remove(path.Join(tmp, e.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (s *Store) isReady(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready[name]
}

func (s *Store) setReady(name string, ready bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ready {
		s.ready[name] = true
	} else {
		delete(s.ready, name)
	}
}

// acquire locks a maildrop against other sessions of this process and others.
func (s *Store) acquire(name string) (release func(), err error) {
	st, err := s.root.Stat(name)
	if err != nil {
		return nil, err
	}
	data, err := s.root.Stat(".")
	if err != nil {
		return nil, err
	}
	offset, err := lockOffset(st, data)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.locked[offset]; taken {
		return nil, ErrLocked
	}
	if s.lock == nil {
		if s.lock, err = safefile.OpenLock(s.root, lockName); err != nil {
			return nil, err
		}
	}
	if err := lockByte(s.lock, offset, unix.F_WRLCK, unix.F_OFD_SETLK); err != nil {
		return nil, err
	}
	s.locked[offset] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.locked, offset)
		_ = lockByte(s.lock, offset, unix.F_UNLCK, unix.F_OFD_SETLK) // fails only after Close, which has released it
	}, nil
}

// lockOffset is the inode number of a maildrop's directory. Where that is on
// another device than the data directory, that goes in: each user's file system
// may have the same number at its root.
func lockOffset(maildrop, data fs.FileInfo) (int64, error) {
	sys, ok := maildrop.Sys().(*syscall.Stat_t)
	home, ok2 := data.Sys().(*syscall.Stat_t)
	if !ok || !ok2 {
		return 0, fmt.Errorf("%s has no inode number", maildrop.Name())
	}
	n := sys.Ino
	if sys.Dev != home.Dev {
		n ^= bits.Reverse64(uint64(sys.Dev)) >> 1 // inode numbers are small, or random
	}
	return int64(n &^ (1 << 63)), nil
}

// lockByte locks or unlocks one byte; wait is F_OFD_SETLK or F_OFD_SETLKW. The lock belongs to the open file, so it
// goes when the process dies, and closing another descriptor does not drop it.
func lockByte(f disk.File, offset int64, kind int16, wait int) error {
	l := unix.Flock_t{Type: kind, Whence: 0, Start: offset, Len: 1}
	err := unix.FcntlFlock(f.Fd(), wait, &l)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return ErrLocked
	}
	return err
}
