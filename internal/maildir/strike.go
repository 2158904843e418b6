package maildir

import (
	"errors"
	"io/fs"
	"maps"
	"slices"

	"xm/internal/disk"
)

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
		n, err := p.record.mark(j.file, p.offset, maildrops, markDeleted)
		if err != nil {
			return false, err
		}
		struck = struck || n
	}
	return struck, nil
}

// strike marks messages of a maildrop as deleted in the journal, whoever writes
// it: see journal.strike.
func (s *Store) strike(maildrop string, names []string) error {
	if j := s.openedJournal(); j != nil {
		return j.strike([]string{maildrop}, names)
	}
	wanted := map[string]bool{}
	for _, name := range names {
		wanted[name] = true
	}
	return s.strikeOthers(maildrop, func(name string) bool { return wanted[name] })
}

// Forget has no crash bring back anything of a maildrop, whose directory somebody has
// removed: a user who gets the name later must not get the mail of the one before.
func (s *Store) Forget(maildrop string) error {
	if err := s.root.Sync(); err != nil {
		return err
	}
	if j := s.openedJournal(); j != nil {
		return j.strike([]string{maildrop}, j.names())
	}
	return s.strikeOthers(maildrop, func(string) bool { return true })
}

func (s *Store) openedJournal() *journal {
	s.opening.Lock()
	defer s.opening.Unlock()
	return s.journal
}

// names are those of all messages in the journal.
func (j *journal) names() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Collect(maps.Keys(j.places))
}

// withMarks calls do while no other process marks records or puts messages back. It is
// given the journal, nil if there is none.
func (s *Store) withMarks(do func(journal disk.File) error) error {
	f, err := openJournalFile(s.root, JournalName)
	if errors.Is(err, fs.ErrNotExist) {
		return do(nil)
	}
	if err != nil {
		return err
	}
	defer f.Close() // which ends the lock
	if err := lockMarks(f); err != nil {
		return err
	}
	return do(f)
}

// strikeOthers marks what another process has recorded.
func (s *Store) strikeOthers(maildrop string, wanted func(name string) bool) error {
	return s.withMarks(func(f disk.File) error {
		struck := false
		for half := 0; half < 2 && f != nil; half++ {
			_, err := eachRecord(f, half, func(r *record) error {
				if !wanted(r.name) {
					return nil
				}
				n, err := r.mark(f, r.offset, []string{maildrop}, markDeleted)
				struck = struck || n
				return err
			})
			if err != nil && !errors.Is(err, errHeader) { // nobody reads the records of such a half
				return err
			}
		}
		if !struck {
			return nil
		}
		return f.SyncData()
	})
}
