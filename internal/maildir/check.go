package maildir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"xm/internal/disk"
	"xm/internal/safefile"
)

// asideName is the directory of a maildrop into which Check moves what is
// broken. POP3 does not show it, and nothing in it counts.
const asideName = ".broken"

// Problem is something in the data directory that is not as it should be.
type Problem struct {
	Path string `json:"path"` // below the data directory
	What string `json:"problem"`
	Done string `json:"done,omitempty"` // about it; "" for nothing
}

// Mended notes what was done about the problem, or why it could not be.
func (p *Problem) Mended(done string, err error) {
	switch {
	case err == nil:
		p.Done = done
	case errors.Is(err, fs.ErrNotExist):
		p.Done = "gone meanwhile"
	default:
		p.What += fmt.Sprintf("; it can't be mended: %v", err)
	}
}

// Maildrops lists the directories of the data directory that are maildrops, with
// or without a user, and those of which that can't be told.
func (s *Store) Maildrops() (names []string, unread []Problem, err error) {
	entries, err := disk.ReadDir(s.root, ".")
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		if !e.Type.IsDir() || e.Name[0] == '.' || e.Name == disk.LostAndFound {
			continue
		}
		below, err := disk.ReadDir(s.root, e.Name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			unread = append(unread, Problem{Path: e.Name, What: unreadable(err)})
		}
		for _, b := range below {
			if n := b.Name; n == "new" || n == "cur" || n == "tmp" || isOriginals(n) {
				names = append(names, e.Name)
				break
			}
		}
	}
	return names, unread, nil
}

func unreadable(err error) string { return fmt.Sprintf("it can't be read: %v", err) }

// Check reads a whole maildrop, if there is one of that name, and returns what is
// wrong with it: directories that are missing or something else, what others may read,
// left-overs in tmp, and in new and cur what is no file, can't be read, or has another
// size than its name says.
//
// With repair it makes the directories, takes the permissions away, and moves the
// rest into NAME/.broken, durably; a message of which W alone is wrong gets another
// name. Nothing is deleted or overwritten. Servers may be running.
func (s *Store) Check(maildrop string, repair bool) []Problem {
	c := &checker{store: s, maildrop: maildrop, repair: repair}
	st, err := s.root.Stat(maildrop)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		c.report(maildrop, "it can't be used as a maildrop: %v", err)
		return c.problems
	case !st.IsDir():
		c.report(maildrop, "it is no directory, so its user gets no mail: move it away")
		return c.problems
	}
	c.mode(maildrop, st)
	c.each(maildrop, c.original)
	for _, sub := range []struct {
		name  string
		check func(file string, st fs.FileInfo)
	}{{"tmp", c.leftOver}, {"new", c.message}, {"cur", c.message}} {
		if dir := path.Join(maildrop, sub.name); c.directory(dir) {
			c.each(dir, sub.check)
		}
	}
	return c.problems
}

// checker is one run of Check.
type checker struct {
	store    *Store
	maildrop string
	repair   bool
	problems []Problem
	moves    []safefile.Move // of files of the directory at hand
	moving   []int           // for each, the problem that it mends
}

// report returns the problem, which is valid until the next one.
func (c *checker) report(file, format string, args ...any) *Problem {
	c.problems = append(c.problems, Problem{Path: file, What: fmt.Sprintf(format, args...)})
	return &c.problems[len(c.problems)-1]
}

// broken reports what is to be set aside.
func (c *checker) broken(file, format string, args ...any) {
	c.report(file, format, args...)
	c.move(file, safefile.Aside(file, path.Join(c.maildrop, asideName)))
}

// move has the last problem mended by a move.
func (c *checker) move(file, to string) {
	c.moves = append(c.moves, safefile.Move{From: file, To: to})
	c.moving = append(c.moving, len(c.problems)-1)
}

// moveAll makes the moves, if there is to be a repair.
func (c *checker) moveAll() {
	if c.repair && len(c.moves) > 0 {
		aside := path.Join(c.maildrop, asideName)
		for i, m := range c.moves {
			if path.Dir(m.To) == aside {
				c.moves[i].Err = safefile.Mkdir(c.store.root, aside, 0o700)
			}
		}
		move := func(disk.File) error { safefile.MoveAll(c.store.root, c.moves); return nil }
		if c.store.withMarks(move) != nil { // nobody can put anything back from the journal then
			safefile.MoveAll(c.store.root, c.moves)
		}
		for i, m := range c.moves {
			c.problems[c.moving[i]].Mended(fmt.Sprintf("moved to %q", m.To), m.Err)
		}
	}
	c.moves, c.moving = nil, nil
}

// directory checks one of the maildrop's directories, and reports whether it can be read.
func (c *checker) directory(dir string) bool {
	st, err := c.store.root.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		st, err = c.store.root.Lstat(dir) // a link may lead nowhere
	}
	if err == nil && !st.IsDir() {
		c.broken(dir, "it is no directory: %v", st.Mode())
		c.moveAll()
		st, err = c.store.root.Lstat(dir)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p := c.report(dir, "the directory is missing")
		if c.repair {
			p.Mended("made", safefile.Mkdir(c.store.root, dir, 0o700))
		}
		return false
	case err != nil:
		c.report(dir, "%s", unreadable(err))
		return false
	case !st.IsDir():
		return false
	}
	c.mode(dir, st)
	return true
}

// mode checks that a file or directory is its owner's alone.
func (c *checker) mode(name string, st fs.FileInfo) {
	perm := st.Mode().Perm()
	if perm&0o077 == 0 {
		return
	}
	p := c.report(name, "others may use it: mode %#o", perm)
	if c.repair {
		p.Mended(fmt.Sprintf("changed to mode %#o", perm&^0o077), c.chmod(name, perm&^0o077))
	}
}

func (c *checker) chmod(name string, perm fs.FileMode) error {
	f, err := c.store.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Chmod(perm)
}

// each checks what is in a directory, and then moves what is to be.
func (c *checker) each(dir string, check func(file string, st fs.FileInfo)) {
	entries, err := disk.ReadDir(c.store.root, dir)
	if err != nil {
		c.report(dir, "%s", unreadable(err))
	}
	for _, e := range entries {
		if e.Name[0] == '.' {
			continue
		}
		file := path.Join(dir, e.Name)
		st, err := c.store.root.Lstat(file)
		switch {
		case err == nil:
			check(file, st)
		case !errors.Is(err, fs.ErrNotExist): // what has gone since the directory was read is no problem
			c.report(file, "%s", unreadable(err))
		}
	}
	c.moveAll()
}

// original checks what lies beside new and cur: the original's messages.
func (c *checker) original(file string, st fs.FileInfo) {
	if isOriginals(st.Name()) && !st.IsDir() {
		c.read(file, st)
	}
}

func (c *checker) leftOver(file string, st fs.FileInfo) {
	if isLeftOver(st) {
		c.broken(file, "a delivery did not end: the file is of %s", st.ModTime().Format(time.DateTime))
	}
}

func (c *checker) message(file string, st fs.FileInfo) {
	size := c.read(file, st)
	if size == nil {
		return
	}
	name := path.Base(file)
	if s, ok := numberInName(name, "S="); ok && s != size.disk {
		c.broken(file, "it has %d octets, and S=%d in its name", size.disk, s)
		return
	}
	w, ok := numberInName(name, "W=")
	if !ok || w == size.total() {
		return
	}
	right := path.Join(path.Dir(file), strings.Replace(name, fmt.Sprintf(",W=%d", w), fmt.Sprintf(",W=%d", size.total()), 1))
	const what = "it has %d octets on the wire, and W=%d in its name"
	if _, err := c.store.root.Lstat(right); err == nil { // another message has the name that would be right
		c.broken(file, what, size.total(), w)
		return
	}
	c.report(file, what, size.total(), w)
	c.move(file, right)
}

// read reads a file through. It gives nil for one that is gone, or that it has
// reported as broken.
func (c *checker) read(file string, st fs.FileInfo) *wireSize {
	if !st.Mode().IsRegular() {
		c.broken(file, "it is no file: %v", st.Mode())
		return nil
	}
	var size wireSize
	f, err := c.store.root.Open(file)
	if err == nil {
		_, err = io.Copy(&size, f)
		f.Close()
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		c.broken(file, "%s", unreadable(err))
		return nil
	}
	c.mode(file, st)
	return &size
}
