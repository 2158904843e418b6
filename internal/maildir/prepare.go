package maildir

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"xm/internal/disk"
	"xm/internal/safefile"
)

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
	mark := s.dirSync.mark()
	made, err := s.makeDirs(name)
	var inode fs.FileInfo
	if err == nil {
		inode, err = s.root.Stat(path.Join(name, "new"))
	}
	if err == nil {
		err = disk.SyncDir(s.root, name)
	}
	if err == nil {
		err = s.dirSync.sync(mark)
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
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready[name] = inode
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

func (s *Store) isElsewhere(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.elsewhere[name]
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
			err = safefile.GiveToParent(s.root, dir)
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return made, err
		}
	}
	return made, nil
}

// leftOver is the age at which a file in tmp is nobody's any more.
const leftOver = 36 * time.Hour

// isLeftOver reports whether a file of a tmp directory was left there by a crash.
func isLeftOver(st fs.FileInfo) bool {
	return st.Mode().IsRegular() && time.Since(st.ModTime()) > leftOver
}

// sweep removes what crashes left in a tmp directory.
func (s *Store) sweep(tmp string) error {
	entries, err := disk.ReadDir(s.root, tmp)
	if err != nil {
		return err
	}
	for _, e := range entries {
		file := path.Join(tmp, e.Name)
		st, err := s.root.Lstat(file)
		if err == nil && isLeftOver(st) {
			err = s.root.Remove(file)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.EROFS) {
			return err
		}
	}
	return nil
}

func (s *Store) isReady(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready[name] != nil
}

// isReadyAs reports whether it is this one of that name that is ready, of whose new st is.
func (s *Store) isReadyAs(name string, st fs.FileInfo) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	ready := s.ready[name]
	return ready != nil && disk.SameFile(ready, st)
}

// notReady has a maildrop prepared again.
func (s *Store) notReady(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ready, name)
}
