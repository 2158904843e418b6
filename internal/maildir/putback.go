package maildir

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"

	"xm/internal/safefile"
)

// What putBack does with messages that are in their maildrops, and with others.
const (
	afterCrash   = iota // write all
	whileRunning        // there was no crash since they were recorded: write those anew that are there, and add none
)

// putBack writes messages of the journal into their maildrops, but for those that
// were deleted or put back there, and finishes deletions. It trusts no file that is
// there: one that a sync has failed for looks well, and is not on the disk. Nothing of it
// is durable before SyncAll. A maildrop that is not there any more gets nothing. failed
// are the maildrops that can't be written to, and why.
func (s *Store) putBack(records []*record, how int) (failed map[string]error) {
	byMaildrop := map[string]map[string]wanted{}
	for _, r := range records {
		for i, m := range r.maildrops {
			if r.marks[i] == markPutBack {
				continue
			}
			if byMaildrop[m] == nil {
				byMaildrop[m] = map[string]wanted{}
			}
			byMaildrop[m][r.name] = wanted{r, r.marks[i] == markDeleted}
		}
	}
	failed = map[string]error{}
	for maildrop, messages := range byMaildrop {
		if err := s.putInto(maildrop, messages, how); err != nil {
			failed[maildrop] = err
		}
	}
	return failed
}

// failures makes one error of them.
func failures(failed map[string]error) error {
	var errs []error
	for _, maildrop := range slices.Sorted(maps.Keys(failed)) {
		errs = append(errs, fmt.Errorf("%s: %w", maildrop, failed[maildrop]))
	}
	return errors.Join(errs...)
}

// wanted is what a maildrop is to have of a record.
type wanted struct {
	*record
	deleted bool
}

func (s *Store) putInto(maildrop string, messages map[string]wanted, how int) error {
	newDir := path.Join(maildrop, "new")
	here, err := s.root.Stat(".")
	if err != nil {
		return err
	}
	there, err := s.root.Stat(maildrop)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !sameDisk(here, there) { // what is there had syncs of its own
		return nil
	}
	if _, err := s.makeDirs(maildrop); err != nil {
		return err
	}
	found := map[string]string{} // the files, by name
	for _, dir := range []string{newDir, path.Join(maildrop, "cur")} {
		files, err := s.filesOf(dir, messages)
		if err != nil {
			return err
		}
		for _, file := range files {
			name := unique(file)
			m, at := messages[name], path.Join(dir, file)
			switch {
			case m.deleted || s.isAt(found[name]):
				err = s.root.Remove(at)
			default:
				found[name] = at
				err = s.write(maildrop, m.record, at)
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	for name, m := range messages {
		if how == whileRunning || m.deleted || found[name] != "" {
			continue
		}
		if err := s.write(maildrop, m.record, path.Join(newDir, name)); err != nil {
			return err
		}
	}
	return nil
}

// isAt reports whether a message is still where it was found: other programs may
// have moved it, and found it is twice then.
func (s *Store) isAt(file string) bool {
	if file == "" {
		return false
	}
	_, err := s.root.Lstat(file)
	return err == nil
}

// filesOf lists those files of a directory that hold the messages.
func (s *Store) filesOf(dir string, messages map[string]wanted) (files []string, err error) {
	err = s.scan(dir, func(file string) error {
		if _, ok := messages[unique(file)]; ok {
			files = append(files, file)
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return files, err
}

// write makes a file anew, through tmp.
func (s *Store) write(maildrop string, r *record, file string) error {
	tmp := path.Join(maildrop, "tmp", r.name)
	if err := s.root.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	owner, err := s.root.Stat(maildrop)
	if err != nil {
		return err
	}
	f, err := s.root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(r.content)
	err = errors.Join(err, safefile.GiveTo(f, owner), f.Close())
	if err == nil {
		err = s.root.Rename(tmp, file)
	}
	return err
}
