package maildir

import (
	"errors"
	"io/fs"
	"sync"
	"time"

	"xm/internal/disk"
)

// JournalName is the file, in the data directory, that holds the journal: two halves,
// each with a header and records one after the other. One half takes records while the
// other's messages are made durable in their maildrops, all together.
//
// It is no part of a copy, if Recover was called before: it holds what was deleted
// long ago, too.
const JournalName = ".journal"

// halfSize is one for all programs. A message that would not fit gets its own
// syncs; so do all while both halves are full.
var halfSize int64 = 64 << 20

// extent is how much of a half is filled with zeros before records are written there:
// it is the growth of a file that makes a sync slow.
var extent int64 = 1 << 20

// The octets of the journal that are locked: by the process that writes
// records, as long as it runs, and by whoever begins a half anew, marks what others
// have recorded, or puts messages back.
const (
	ownerByte = 0
	marksByte = 1
)

// checkpointAfter is how long a message stays in the journal at most, if the disk keeps up.
// A message that another program deletes meanwhile comes back if the power fails.
const checkpointAfter = 5 * time.Second

// again is when what went wrong with the journal is tried again.
const again = 30 * time.Second

// journal makes messages durable before they are so in their maildrops: one
// sync of one file serves all that have come together, for any maildrops, where a
// message would need one for its file and one for each directory. See the package
// doc for the promise, and record for the format.
type journal struct {
	store    *Store
	file     disk.File
	inode    fs.FileInfo // of file
	syncs    sharedSync  // of file
	replaced sync.Once   // file has lost its name

	mu      sync.Mutex // held to write to the file: a record is written whole before the next one begins
	halves  [2]half
	current int
	places  map[string]place // by the name of a message: the records that are still needed
	closed  bool
	timer   *time.Timer // of the checkpoint to come

	marking sync.Mutex // held by whoever marks records, and by whoever puts messages back: never both at a time

	entries       sync.WaitGroup // messages that are pending
	checkpoints   sync.WaitGroup
	checkpointing sync.Mutex // one at a time
}

// half is one half of the journal.
type half struct {
	epoch   uint64 // of its records; others are of an earlier use
	end     int64  // where the next record goes
	filled  int64  // up to there it has been written
	mark    int    // of syncs, when it was begun
	unsure  bool   // a SyncAll failed that may have lost messages of it, which are to be written anew
	pending int    // messages that are in no maildrop, or not in all
	closing bool   // it takes no records until it has begun anew
	busy    bool   // ... and that is under way
	failed  bool   // ... or to be tried again, by flush
}

// place is where a record is.
type place struct {
	half   int
	offset int64
	record *record // without content
}

func start(half int) int64 { return int64(half) * halfSize }

// errReplaced is the error for a journal whose file has lost its name.
var errReplaced = errors.New(JournalName + " was removed or replaced")

// syncFile is the fsync of syncs. What is durable in a file without its name is lost.
func (j *journal) syncFile() error {
	if err := j.file.SyncData(); err != nil {
		return err
	}
	here, err := j.store.root.Leads(JournalName, j.inode)
	if here || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	j.replaced.Do(func() { j.store.background.Go(func() { j.store.replace(j) }) })
	return errReplaced
}

// errNoRoom is returned for a message that can't be in the journal now.
var errNoRoom = errors.New("the journal has no room")

// entry is a message in the journal that is on its way to its maildrops.
type entry struct {
	journal *journal
	place
	size int64
	mark int // of the journal's syncs
}

// add records a message, which sync makes durable. The caller puts it into its maildrops
// then, or calls cancel, and calls done in any case. Nothing of it was written there before.
func (j *journal) add(r *record) (*entry, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	size := r.size()
	if !j.makeRoom(size) {
		return nil, errNoRoom
	}
	h := &j.halves[j.current]
	b := r.encode(h.epoch)
	defer b.release()
	j.fill(h, h.end+size)
	if _, err := j.file.WriteAt(b.octets, start(j.current)+h.end); err != nil {
		j.retire(j.current) // what comes after a hole would not be found
		return nil, err
	}
	e := &entry{j, place{j.current, start(j.current) + h.end, r}, size, h.mark}
	r.content = nil
	j.places[r.name] = e.place
	h.end += size
	h.pending++
	j.entries.Add(1)
	if j.timer == nil {
		j.timer = time.AfterFunc(checkpointAfter, j.flush)
	}
	return e, nil
}

// fill writes zeros where the file may not have been written yet, and a record is to
// end. j.mu is held.
func (j *journal) fill(h *half, end int64) {
	if end <= h.filled {
		return
	}
	until := min(halfSize, end+extent)
	for ; h.filled < until; h.filled += int64(len(zeros)) {
		b := zeros[:min(int64(len(zeros)), until-h.filled)]
		_, _ = j.file.WriteAt(b, start(j.current)+h.filled) // at worst the sync is slow
	}
	h.filled = until
}

// zeros are what a half is filled with. Nobody writes there.
var zeros [256 << 10]byte

// makeRoom reports whether the current half takes a record of that size, which
// may have become the other one. j.mu is held.
func (j *journal) makeRoom(size int64) bool {
	if j.closed || size > halfSize-headerSize {
		return false
	}
	for range j.halves {
		h := &j.halves[j.current]
		// After a sync that failed a record may be missing, and those behind it would
		// not be found.
		if !h.closing && h.end+size <= halfSize && h.mark == j.syncs.mark() {
			return true
		}
		j.retire(j.current)
		j.current = 1 - j.current
	}
	return false
}

// sync waits until the message is durable, with something to do meanwhile. Where that
// would hold the sync up, the disk begins before.
func (e *entry) sync(meanwhile func()) error {
	return e.journal.syncs.syncWhile(e.mark, func(first bool) {
		if first {
			e.journal.file.StartSync(e.offset, e.size)
		}
		meanwhile()
	})
}

// done takes note that a message is in its maildrops, or in none.
func (e *entry) done() {
	j := e.journal
	defer j.entries.Done()
	j.mu.Lock()
	defer j.mu.Unlock()
	h := &j.halves[e.half]
	if h.pending--; h.closing {
		j.retire(e.half)
	}
}

// cancel takes a message back that could not be put into its maildrops.
func (e *entry) cancel() error {
	return e.journal.strike(e.record.maildrops, []string{e.record.name})
}
