package maildir

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"xm/internal/disk"
	"xm/internal/safefile"
)

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
			s.report(fmt.Errorf("deliveries are slower, as %s can't be used: %w", JournalName, err))
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

// replace has deliveries begin another journal in the place of one whose file has lost
// its name, and makes durable what that holds.
func (s *Store) replace(j *journal) {
	s.opening.Lock()
	mine := s.journal == j
	if mine {
		s.journal = nil
	}
	s.opening.Unlock()
	if !mine { // whoever has given it up closes it
		return
	}
	s.report(fmt.Errorf("%w while it was in use: another one is made", errReplaced))
	if err := j.close(); err != nil {
		s.report(err)
	}
}

func (s *Store) openJournal() (*journal, error) {
	if err := s.root.CanSyncAll(); err != nil {
		return nil, err
	}
	f, err := s.lockJournal(safefile.OpenLock)
	if err != nil {
		return nil, err
	}
	inode, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	j := &journal{store: s, file: f, inode: inode, places: map[string]place{}}
	j.syncs = sharedSync{fsync: j.syncFile, told: s.synced}
	err = j.prepare()
	if err == nil {
		err = unlockMarks(f)
	}
	if err != nil {
		f.Close() // ends both locks at once: see lockJournal
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
// ErrLocked if another process has it. That one has put back all that is to be: who still
// tries holds the marks, too, and lets both locks go at once if that fails.
func (s *Store) lockJournal(open func(root disk.Dir, name string) (disk.File, error)) (disk.File, error) {
	f, err := open(s.root, JournalName)
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
// has done it. Maildrops that it can't put messages back into are not to be opened
// before that can be done: what they hold may be empty or cut off.
func (s *Store) Recover() error {
	f, err := s.lockJournal(openJournalFile)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrLocked) || errors.Is(err, unix.EROFS) && s.isAtRest() {
		s.setUnrecovered(nil)
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return s.recoverFrom(f)
}

// isAtRest is for a disk that can only be read: it reports whether the journal holds
// nothing, as servers that have ended in order leave it.
func (s *Store) isAtRest() bool {
	f, err := s.root.Open(JournalName)
	if err != nil {
		return false
	}
	defer f.Close()
	for half := range 2 {
		if _, records, err := readHalf(f, half); err != nil || len(records) > 0 {
			return false
		}
	}
	return true
}

// recoverFrom leaves a journal without records, or with those of maildrops that messages
// can't be put back into.
func (s *Store) recoverFrom(f disk.File) error {
	var halves [2][]*record
	unrecovered := map[string]error{}
	var uptimes [2]string
	for half := range halves {
		h, records, err := readHalf(f, half)
		if errors.Is(err, errHeader) {
			s.report(fmt.Errorf("%w: mail from just before a crash, if there was one, may be missing; what %s holds of it can be read by hand, see xm-store(7)", err, JournalName))
		} else if err != nil {
			return err
		}
		halves[half], uptimes[half] = records, h.uptime
		for _, r := range records {
			r.stillWanted(func(maildrop string) { unrecovered[maildrop] = errUnrecovered })
		}
	}
	if len(halves[0])+len(halves[1]) == 0 {
		s.setUnrecovered(nil)
		return nil
	}
	s.setUnrecovered(unrecovered) // until it is known which could be put back, none of them is opened
	failed := map[string]error{}
	for half, records := range halves {
		if len(records) == 0 {
			continue
		}
		if err := confirm(f, half, func() error { return f.SyncData() }); err != nil {
			return err
		}
		maps.Copy(failed, s.putBack(records, s.howToPutBack(uptimes[half])))
	}
	if err := s.root.SyncAll(); err != nil {
		return err
	}
	s.setUnrecovered(failed)
	if len(failed) > 0 {
		return errors.Join(fmt.Errorf("put back what a crash took: %w", failures(failed)), notePutBack(f, halves, failed))
	}
	for half := range halves {
		if _, err := beginHalf(f, half, s.uptime, func() error { return f.SyncData() }); err != nil {
			return err
		}
	}
	return nil
}

// howToPutBack tells what is to be done with the records of a half. As long as this is the
// same mount, in the same run of the system, what a process wrote is there without its
// doing: records that are in no maildrop were never accepted. Those that are may have met
// a sync that failed. A service in a sandbox of its own (systemd's ProtectSystem) has
// another mount at each start, so if it is killed, that counts as a crash.
func (s *Store) howToPutBack(uptime string) int {
	if uptime != "" && uptime == s.uptime {
		return whileRunning
	}
	return afterCrash
}

// notePutBack has the records not put back again, which would undo what other programs do
// with the messages, but for the maildrops that failed.
func notePutBack(f disk.File, halves [2][]*record, failed map[string]error) error {
	for _, r := range slices.Concat(halves[:]...) {
		var done []string
		r.stillWanted(func(maildrop string) {
			if failed[maildrop] == nil {
				done = append(done, maildrop)
			}
		})
		if _, err := r.mark(f, r.offset, done, markPutBack); err != nil {
			return err
		}
	}
	return nil // without a sync: another crash may undo that as well
}

var errUnrecovered = errors.New("messages from before a crash are not put back yet")

// setUnrecovered notes which maildrops are not to be opened, and why.
func (s *Store) setUnrecovered(maildrops map[string]error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unrecovered = maildrops
}

// recovered returns an error for a maildrop that is not to be opened, which is tried to
// be helped first.
func (s *Store) recovered(maildrop string) error {
	if s.whyUnrecovered(maildrop) == nil {
		return nil
	}
	s.recovering.Lock()
	defer s.recovering.Unlock()
	if s.whyUnrecovered(maildrop) == nil { // somebody else's login has helped
		return nil
	}
	if err := s.Recover(); err != nil {
		s.report(err)
	}
	return s.whyUnrecovered(maildrop)
}

func (s *Store) whyUnrecovered(maildrop string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unrecovered[maildrop]
}
