// Package maildir is the mail store: one Maildir for each user, below one data
// directory.
//
// # The files
//
//	NAME/new/FILE, NAME/cur/FILE   messages; other programs may move a message
//	                               from new to cur, and back, and add ":2,flags" to
//	                               its name
//	NAME/tmp/FILE                  messages being delivered, where the disk has no
//	                               files without a name; nobody reads them
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
// that all share who deliver at the time. Its file is written meanwhile, and gets its
// names then; all these are made durable within seconds, many together. After a
// crash of the system, or of the disk, Recover puts back what is missing or damaged:
// until xm has run, another program may see an empty file. A maildrop that can't be
// written to then is not opened before its messages are put back. A deletion by POP3
// strikes the message out of the journal; one by another program may be undone by a
// crash in the seconds after the delivery. Where one process delivers already, where the
// file system is not known to keep the promise of syncfs(2), and while the journal is
// full, a message has syncs of its own: of its file and of its directories.
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
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"xm/internal/disk"
)

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

	root      disk.Dir
	dirSync   sharedSync // of root
	host      string     // in file names
	mostDrops int        // that stay open
	uptime    string     // tells the time in which nothing that was written can be lost from others; "" if that is not known

	givingUp    sync.Mutex // held to give the journal up
	opening     sync.Mutex // guards what follows
	journal     *journal   // nil while this process has none
	nextOpening time.Time

	preparing sync.Map // by maildrop: the *sync.Mutex of whoever makes its directories

	mu     sync.Mutex
	lock   disk.File              // nil until the first Open
	locked map[int64]struct{}     // offsets that this process holds in lock
	ready  map[string]fs.FileInfo // of new in maildrops whose directories are known to be durable
	drops  map[string]*drop       // maildrops that are open
	// maildrops that are mounts, of another file system
	elsewhere   map[string]bool
	usage       map[string]*remembered
	unrecovered map[string]error // maildrops that are not to be opened: see Recover
	recovering  sync.Mutex       // held by a login that tries to help

	background sync.WaitGroup // what nobody waits for but Close
	lostNames  atomic.Bool    // an fsync of messages' names has failed since the last SyncAll
	listings   listings
	openDirs   atomic.Int32 // of the sessions that read messages
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
	return &Store{root: root, dirSync: sharedSync{fsync: func() error { return root.Sync() }, told: func(time.Time, error) {}}, host: hostInName(host), uptime: uptime(root), mostDrops: mostDrops(),
		locked: map[int64]struct{}{}, ready: map[string]fs.FileInfo{},
		drops: map[string]*drop{}, elsewhere: map[string]bool{}, usage: map[string]*remembered{}}
}

// uptime is another after each start of the system, and each mount: a disk that goes
// away for a while, or ends in an error, loses what was not synced just as well.
func uptime(root disk.Dir) string {
	boot, mount := bootID(), root.Mount()
	if boot == "" || mount == "" {
		return ""
	}
	return boot + "/" + mount
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
	s.background.Wait()
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

// dirSynced is synced for a directory of messages.
func (s *Store) dirSynced(began time.Time, err error) {
	s.noteLostNames(err)
	s.synced(began, err)
}

// noteLostNames takes note of an fsync of a directory that may have lost the names of
// messages, some of which are in the journal.
func (s *Store) noteLostNames(err error) {
	if err != nil {
		s.lostNames.Store(true)
	}
}

func (s *Store) synced(began time.Time, err error) {
	if s.Synced != nil {
		s.Synced(time.Since(began), err)
	}
}
