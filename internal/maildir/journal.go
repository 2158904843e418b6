package maildir

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"xm/internal/disk"
	"xm/internal/safefile"
)

// What the journal holds: two halves, each with a header and records one after
// the other. One half takes records while the other's messages are made durable
// in their maildrops, all together.
//
// It is no part of a copy: it holds what was deleted long ago, too.
const journalName = ".journal"

// halfSize is one for all programs. A message that would not fit gets its own
// syncs; so do all while both halves are full.
var halfSize int64 = 16 << 20

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

// rest is how long a message stays in the journal at most, if the disk keeps up.
// A message that another program deletes meanwhile comes back if the power fails.
const rest = 5 * time.Second

// again is when what went wrong with the journal is tried again.
const again = 30 * time.Second

// journal makes messages durable before they are so in their maildrops: one
// sync of one file serves all that have come together, for any maildrops, where a
// message would need one for its file and one for each directory. See the package
// doc for the promise, and record for the format.
type journal struct {
	store *Store
	file  disk.File
	syncs sharedSync // of file

	mu      sync.Mutex // held to write to the file: records are whole up to any one that is
	halves  [2]half
	current int
	places  map[string]place // by the name of a message: the records that are still needed
	closed  bool
	timer   *time.Timer // of the checkpoint to come

	marking sync.Mutex // held to mark records, and not while messages are put back

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

// errNoRoom is returned for a message that can't be in the journal now.
var errNoRoom = errors.New("the journal has no room")

// entry is a message in the journal that is on its way to its maildrops.
type entry struct {
	journal *journal
	place
}

// add records a message, durably. The caller puts it into its maildrops and
// calls done, or cancel. lost is Store.lost from before anything of it was written
// to its maildrops.
func (j *journal) add(r *record, lost int64) (*entry, error) {
	mark := j.syncs.mark()
	e, err := j.write(r, lost)
	if err != nil {
		return nil, err
	}
	if err := j.syncs.sync(mark); err != nil {
		e.done()
		return nil, err
	}
	return e, nil
}

func (j *journal) write(r *record, lost int64) (*entry, error) {
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
		j.close1(j.current) // what comes after a hole would not be found
		return nil, err
	}
	e := &entry{j, place{j.current, start(j.current) + h.end, r}}
	r.content = nil
	j.places[r.name] = e.place
	h.end += size
	h.pending++
	j.entries.Add(1)
	h.unsure = h.unsure || lost != j.store.lost.Load()
	if j.timer == nil {
		j.timer = time.AfterFunc(rest, j.flush)
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
	_, _ = j.file.WriteAt(make([]byte, until-h.filled), start(j.current)+h.filled) // at worst the sync is slow
	h.filled = until
}

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
		j.close1(j.current)
		j.current = 1 - j.current
	}
	return false
}

// close1 lets a half take no more records, and begin anew when the messages in
// it are in their maildrops. j.mu is held.
func (j *journal) close1(half int) {
	h := &j.halves[half]
	h.closing = true
	if h.pending == 0 && !h.busy && !h.failed {
		h.busy = true
		j.checkpoints.Go(func() { j.checkpoint(half) })
	}
}

// flush begins those halves anew that hold records.
func (j *journal) flush() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.timer = nil; !j.closed {
		j.closeBoth()
	}
}

// closeBoth is close1 for the halves that hold records. j.mu is held.
func (j *journal) closeBoth() {
	for i := range j.halves {
		if h := &j.halves[i]; h.end > headerSize || h.failed {
			h.failed = false
			j.close1(i)
		}
	}
}

// done takes note that a message is in its maildrops, or in none. Nothing
// happens for a nil entry.
func (e *entry) done() {
	if e == nil {
		return
	}
	j := e.journal
	defer j.entries.Done()
	j.mu.Lock()
	defer j.mu.Unlock()
	h := &j.halves[e.half]
	if h.pending--; h.closing {
		j.close1(e.half)
	}
}

// cancel takes a message back that could not be put into its maildrops. Nothing
// happens for a nil entry.
func (e *entry) cancel() error {
	if e == nil {
		return nil
	}
	defer e.done()
	return e.journal.strike(e.record.maildrops, []string{e.record.name})
}

// strike marks messages as deleted from the maildrops, durably, so that no
// crash brings them back. Those that are not in the journal don't matter.
func (j *journal) strike(maildrops, names []string) error {
	mark := j.syncs.mark()
	struck, err := j.writeMarks(maildrops, names)
	if err != nil || !struck {
		return err
	}
	return j.syncs.sync(mark)
}

func (j *journal) writeMarks(maildrops, names []string) (struck bool, err error) {
	j.marking.Lock()
	defer j.marking.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, name := range names {
		p, ok := j.places[name]
		if !ok {
			continue
		}
		n, err := p.record.strike(j.file, p.offset, maildrops)
		if err != nil {
			return false, err
		}
		struck = struck || n
	}
	return struck, nil
}

// checkpoint makes what is in a half durable in its maildrops, and begins the half
// anew. Where that fails, the records stay, and it is tried again.
func (j *journal) checkpoint(half int) {
	j.checkpointing.Lock()
	defer j.checkpointing.Unlock()
	err := j.syncAll()
	if j.isUnsure(half) {
		err = j.rescue(half, err)
	}
	if err == nil {
		err = j.begin(half)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	h := &j.halves[half]
	h.busy, h.failed = false, err != nil
	if err == nil {
		h.closing = false
		return
	}
	j.store.report(fmt.Errorf("messages of %s can't be made durable in their maildrops, and stay in it: %w", journalName, err))
	if !j.closed {
		time.AfterFunc(again, j.flush)
	}
}

// syncAll makes durable what is in the maildrops. The kernel tells of an error
// once: what it has lost, no later sync makes durable, nor tells of.
func (j *journal) syncAll() error {
	err := j.store.root.SyncAll()
	if err != nil {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.store.lost.Add(1)
		for i := range j.halves {
			j.halves[i].unsure = true
		}
	}
	return err
}

func (j *journal) isUnsure(half int) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.halves[half].unsure
}

// rescue writes the messages of a half once more, into new files, as nobody knows
// which of the others were lost.
func (j *journal) rescue(half int, cause error) error {
	err := j.rewrite(half)
	if err == nil {
		err = j.syncAll()
	}
	if err != nil {
		return errors.Join(cause, err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.halves[half].unsure = false
	return nil
}

// rewrite is rescue without the sync. Whoever deletes a message meanwhile waits, so
// that it does not come back.
func (j *journal) rewrite(half int) error {
	j.marking.Lock()
	defer j.marking.Unlock()
	if err := lockMarks(j.file); err != nil {
		return err
	}
	_, records, err := readHalf(j.file, half)
	if err == nil {
		err = j.store.putBack(records, whileRunning)
	}
	return errors.Join(err, unlockMarks(j.file))
}

// begin makes a half empty, durably: nothing of it comes back from then on.
func (j *journal) begin(half int) error {
	mark := j.syncs.mark()
	epoch, err := beginHalf(j.file, half, j.store.boot, func() error { return j.syncs.sync(mark) })
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	h := &j.halves[half]
	h.epoch, h.end, h.mark = epoch, headerSize, mark
	h.filled = max(h.filled, headerSize)
	for name, p := range j.places {
		if p.half == half {
			delete(j.places, name)
		}
	}
	return nil
}

// close makes all durable in the maildrops, when those that are pending are there.
func (j *journal) close() error {
	j.mu.Lock()
	j.closed = true
	if j.timer != nil {
		j.timer.Stop()
	}
	j.closeBoth()
	j.mu.Unlock()
	j.entries.Wait()
	j.checkpoints.Wait()
	return j.file.Close()
}

// ownJournal is the journal, if this process may write to it: one process may at
// a time, the others do without. It is nil for the latter.
func (s *Store) ownJournal() *journal {
	s.opening.Lock()
	defer s.opening.Unlock()
	if s.journal != nil || s.NoJournal || time.Now().Before(s.nextOpening) {
		return s.journal
	}
	j, err := s.openJournal()
	switch {
	case err == nil:
		s.journal = j
	case errors.Is(err, ErrLocked):
		s.nextOpening = time.Now().Add(time.Second)
	default:
		s.nextOpening = time.Now().Add(again)
		if !errors.Is(err, errors.ErrUnsupported) {
			s.report(fmt.Errorf("deliveries are slower, as %s can't be used: %w", journalName, err))
		}
	}
	return s.journal
}

// GiveUpJournal has the deliveries of this Store do without the journal from now on,
// and returns when another Store can have it.
func (s *Store) GiveUpJournal() error {
	s.givingUp.Lock()
	defer s.givingUp.Unlock()
	s.opening.Lock()
	j := s.journal
	s.journal, s.NoJournal = nil, true
	s.opening.Unlock()
	if j == nil {
		return nil
	}
	return j.close()
}

func (s *Store) openJournal() (*journal, error) {
	if err := s.root.SyncsAll(); err != nil {
		return nil, err
	}
	f, err := s.lockJournal(safefile.OpenLock)
	if err != nil {
		return nil, err
	}
	j := &journal{store: s, file: f, places: map[string]place{}, syncs: s.shared(func() error { return f.SyncData() })}
	if err := errors.Join(j.prepare(), unlockMarks(f)); err != nil {
		f.Close()
		return nil, err
	}
	return j, nil
}

func (j *journal) prepare() error {
	if err := j.store.root.Sync(); err != nil { // it has its name
		return err
	}
	if err := j.store.recoverFrom(j.file); err != nil {
		return err
	}
	for i := range j.halves {
		if err := j.begin(i); err != nil {
			return err
		}
	}
	return nil
}

func openJournalFile(root disk.Dir, name string) (disk.File, error) {
	return root.OpenFile(name, os.O_RDWR, 0)
}

// lockJournal opens the journal for its owner, with the marks locked. The error is
// ErrLocked if another process has it, which has put back what is to be: the owner
// locks the marks first, until then.
func (s *Store) lockJournal(open func(root disk.Dir, name string) (disk.File, error)) (disk.File, error) {
	f, err := open(s.root, journalName)
	if err != nil {
		return nil, err
	}
	err = lockMarks(f)
	if err == nil {
		err = lockByte(f, ownerByte, unix.F_WRLCK, unix.F_OFD_SETLK)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Recover puts messages that were delivered before a crash back into their
// maildrops where the crash has taken or damaged them. Programs that use a Store
// call it first. It does nothing while another process is delivering, as that one
// has done it.
func (s *Store) Recover() error {
	f, err := s.lockJournal(openJournalFile)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return s.recoverFrom(f)
}

// IsJournal reports whether a file of the data directory is one that a copy has no
// use for, if Recover was called before.
func IsJournal(name string) bool { return name == journalName }

// recoverFrom leaves a journal without records.
func (s *Store) recoverFrom(f disk.File) error {
	live := false
	for half := range 2 {
		h, records, err := readHalf(f, half)
		if err != nil {
			return err
		}
		live = live || len(records) > 0
		how := afterCrash
		// As long as the system has not stopped, what a process wrote is there
		// without its doing: records that are in no maildrop were never accepted. Those
		// that are may have met a sync that failed.
		if h.boot != "" && h.boot == s.boot {
			how = whileRunning
		}
		if err := s.putBack(records, how); err != nil {
			return fmt.Errorf("put back what a crash took: %w", err)
		}
	}
	if !live {
		return nil
	}
	if err := s.root.SyncAll(); err != nil {
		s.lost.Add(1)
		return err
	}
	for half := range 2 {
		if _, err := beginHalf(f, half, s.boot, func() error { return f.SyncData() }); err != nil {
			return err
		}
	}
	return nil
}

// strike marks messages of a maildrop as deleted in the journal, whoever writes
// it: see journal.strike.
func (s *Store) strike(maildrop string, names []string) error {
	s.opening.Lock()
	j := s.journal
	s.opening.Unlock()
	if j != nil {
		return j.strike([]string{maildrop}, names)
	}
	f, err := openJournalFile(s.root, journalName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	wanted := map[string]bool{}
	for _, name := range names {
		wanted[name] = true
	}
	return strikeOthers(f, maildrop, func(name string) bool { return wanted[name] })
}

// Forget has no crash bring back anything of a maildrop, whose directory somebody has
// removed: a user who gets the name later must not get the mail of the one before.
func (s *Store) Forget(maildrop string) error {
	s.setReady(maildrop, false)
	if err := s.root.Sync(); err != nil {
		return err
	}
	s.opening.Lock()
	j := s.journal
	s.opening.Unlock()
	if j != nil {
		return j.strike([]string{maildrop}, j.names())
	}
	f, err := openJournalFile(s.root, journalName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return strikeOthers(f, maildrop, func(string) bool { return true })
}

// names are those of all messages in the journal.
func (j *journal) names() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Collect(maps.Keys(j.places))
}

// strikeOthers marks what another process has recorded. Closing f ends the lock.
func strikeOthers(f disk.File, maildrop string, wanted func(name string) bool) error {
	if err := lockMarks(f); err != nil {
		return err
	}
	struck := false
	for half := range 2 {
		_, records, err := readHalf(f, half)
		if err != nil {
			return err
		}
		for _, r := range records {
			if !wanted(r.name) {
				continue
			}
			n, err := r.strike(f, r.offset, []string{maildrop})
			if err != nil {
				return err
			}
			struck = struck || n
		}
	}
	if !struck {
		return nil
	}
	return f.SyncData()
}
