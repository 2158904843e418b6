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

// Maildrops lists the directories of the data directory that are maildrops, with
// or without a user.
func (s *Store) Maildrops() (names []string, err error) {
	entries, err := disk.ReadDir(s.root, ".")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !e.Type.IsDir() || e.Name[0] == '.' {
			continue
		}
		below, err := disk.ReadDir(s.root, e.Name)
		if err != nil {
			return nil, err
		}
		for _, b := range below {
			if n := b.Name; n == "new" || n == "cur" || n == "tmp" || isOriginals(n) {
				names = append(names, e.Name)
				break
			}
		}
	}
	return names, nil
}

// Check reads a whole maildrop and returns what is wrong with it: directories
// that are missing, what others may read, left-overs in tmp, and in new and cur
// what is no file, can't be read, or has another size than its name says.
//
// With repair it makes the directories, takes the permissions away, and moves the
// rest into NAME/.broken, durably; a message of which W alone is wrong gets another
// name. Nothing is deleted. Servers may be running.
func (s *Store) Check(maildrop string, repair bool) ([]Problem, error) {
	c := &checker{store: s, maildrop: maildrop, repair: repair}
	if err := c.directories(); err != nil {
		return c.problems, err
	}
	for _, check := range []struct {
		sub  string
		file func(file string, st fs.FileInfo) error
	}{{"", c.original}, {"tmp", c.leftOver}, {"new", c.message}, {"cur", c.message}} {
		if err := c.each(path.Join(maildrop, check.sub), check.file); err != nil {
			return c.problems, err
		}
	}
	return c.problems, nil
}

// checker is one run of Check.
type checker struct {
	store    *Store
	maildrop string
	repair   bool
	problems []Problem
	aside    []int // problems whose files of the directory at hand are to be set aside
}

func (c *checker) report(file, format string, args ...any) *Problem {
	c.problems = append(c.problems, Problem{Path: file, What: fmt.Sprintf(format, args...)})
	return &c.problems[len(c.problems)-1]
}

// directories checks that the directories are there.
func (c *checker) directories() error {
	missing := false
	for _, sub := range []string{"", "tmp", "new", "cur"} {
		dir := path.Join(c.maildrop, sub)
		st, err := c.store.root.Lstat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			missing = true
			if p := c.report(dir, "the directory is missing"); c.repair {
				p.Done = "made"
			}
		case err != nil:
			return err
		case !st.IsDir():
			return fmt.Errorf("%s is not a directory", dir)
		default:
			if err := c.mode(dir, st); err != nil {
				return err
			}
		}
	}
	if missing && c.repair {
		c.store.setReady(c.maildrop, false)
		return c.store.prepare(c.maildrop)
	}
	return nil
}

// mode checks that a file or directory is its owner's alone.
func (c *checker) mode(name string, st fs.FileInfo) error {
	perm := st.Mode().Perm()
	if perm&0o077 == 0 {
		return nil
	}
	p := c.report(name, "others may use it: mode %#o", perm)
	if !c.repair {
		return nil
	}
	f, err := c.store.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	p.Done = fmt.Sprintf("mode %#o", perm&^0o077)
	return f.Chmod(perm &^ 0o077)
}

// each checks what is in a directory, and then sets aside what is to be.
func (c *checker) each(dir string, check func(file string, st fs.FileInfo) error) error {
	entries, err := disk.ReadDir(c.store.root, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // reported, and not repaired
	}
	if err != nil {
		return err
	}
	c.aside = nil
	for _, e := range entries {
		if e.Name[0] == '.' {
			continue
		}
		file := path.Join(dir, e.Name)
		st, err := c.store.root.Lstat(file)
		if err == nil {
			err = check(file, st)
		}
		// What has gone since the directory was read is no problem.
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if !c.repair || len(c.aside) == 0 {
		return nil
	}
	return c.setAside(dir)
}

func (c *checker) broken(file, format string, args ...any) {
	c.report(file, format, args...)
	c.aside = append(c.aside, len(c.problems)-1)
}

// original checks what lies beside new and cur: the original's messages.
func (c *checker) original(file string, st fs.FileInfo) error {
	if !isOriginals(st.Name()) || st.IsDir() {
		return nil
	}
	_, err := c.read(file, st)
	return err
}

func (c *checker) leftOver(file string, st fs.FileInfo) error {
	if st.Mode().IsRegular() && time.Since(st.ModTime()) > leftOver {
		c.broken(file, "a delivery did not end: the file is of %s", st.ModTime().Format(time.DateTime))
	}
	return nil
}

func (c *checker) message(file string, st fs.FileInfo) error {
	size, err := c.read(file, st)
	if size == nil || err != nil {
		return err
	}
	name := path.Base(file)
	if s, ok := numberInName(name, "S="); ok && s != size.disk {
		c.broken(file, "it has %d octets, and S=%d in its name", size.disk, s)
		return nil
	}
	w, ok := numberInName(name, "W=")
	if !ok || w == size.total() {
		return nil
	}
	p := c.report(file, "it has %d octets on the wire, and W=%d in its name", size.total(), w)
	if !c.repair {
		return nil
	}
	right := strings.Replace(name, fmt.Sprintf(",W=%d", w), fmt.Sprintf(",W=%d", size.total()), 1)
	p.Done = "renamed to " + right
	return c.store.root.Rename(file, path.Join(path.Dir(file), right))
}

// read reads a file through. It gives nil for one that it has reported as broken.
func (c *checker) read(file string, st fs.FileInfo) (*wireSize, error) {
	if !st.Mode().IsRegular() {
		c.broken(file, "it is no file: %v", st.Mode())
		return nil, nil
	}
	var size wireSize
	f, err := c.store.root.Open(file)
	if err == nil {
		_, err = io.Copy(&size, f)
		f.Close()
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		c.broken(file, "it can't be read: %v", err)
		return nil, nil
	}
	return &size, c.mode(file, st)
}

// setAside moves what is broken in dir into the maildrop's .broken. It has its
// name there, durably, before it loses the other: no crash loses it.
func (c *checker) setAside(dir string) error {
	root, aside := c.store.root, path.Join(c.maildrop, asideName)
	if err := safefile.Mkdir(root, aside, 0o700); err != nil {
		return err
	}
	for _, i := range c.aside {
		p := &c.problems[i]
		to := path.Join(aside, path.Base(dir)+"-"+path.Base(p.Path)+"-"+c.store.uniqueName())
		give := root.Link
		if st, err := root.Lstat(p.Path); err == nil && st.IsDir() {
			give = root.Rename
		}
		if err := give(p.Path, to); err != nil {
			return err
		}
		p.Done = "moved to " + to
	}
	if err := disk.SyncDir(root, aside); err != nil {
		return err
	}
	for _, i := range c.aside {
		if err := root.Remove(c.problems[i].Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return disk.SyncDir(root, dir)
}
