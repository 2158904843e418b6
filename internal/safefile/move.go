package safefile

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"path"
	"strings"
	"syscall"

	"xm/internal/disk"
)

// Move is a file that gets another name, or a directory that does.
type Move struct {
	From, To string // below one root
	Err      error  // why it has not; matches fs.ErrNotExist if nothing has the name From
}

// MoveAll moves files below root to names that are free, durably: none is overwritten,
// and each has its new name before it loses the old one, where files can have two. At
// worst, a crash leaves it with both.
func MoveAll(root disk.Dir, moves []Move) {
	eachOf(moves, func(m *Move) error { return give(root, m) })
	syncAll(root, moves, func(m Move) string { return path.Dir(m.To) })
	eachOf(moves, func(m *Move) error { return take(root, m) })
	syncAll(root, moves, func(m Move) string { return path.Dir(m.From) })
}

// eachOf does something to those of which nothing has failed so far.
func eachOf(moves []Move, do func(*Move) error) {
	for i := range moves {
		if m := &moves[i]; m.Err == nil {
			m.Err = do(m)
		}
	}
}

// give gives a file its new name. A directory can have but one, and so can a file where
// there are no hard links: see File.giveNew.
func give(root disk.Dir, m *Move) error {
	st, err := root.Lstat(m.From)
	if err != nil {
		return err
	}
	if !st.IsDir() {
		err := root.Link(m.From, m.To)
		if !errors.Is(err, syscall.EPERM) {
			return err
		}
	}
	if _, err := root.Lstat(m.To); err == nil {
		return &fs.PathError{Op: "rename", Path: m.To, Err: fs.ErrExist}
	}
	return root.Rename(m.From, m.To)
}

// take takes the old name from a file, unless another file has it by now.
func take(root disk.Dir, m *Move) error {
	moved, err := root.Lstat(m.To)
	if err != nil {
		return err
	}
	st, err := root.Lstat(m.From)
	if err == nil && disk.SameFile(st, moved) {
		err = root.Remove(m.From)
	}
	if errors.Is(err, fs.ErrNotExist) { // it was a directory, or others have moved it meanwhile
		return nil
	}
	return err
}

// syncAll syncs the directories of what has been moved, each once.
func syncAll(root disk.Dir, moves []Move, dirOf func(Move) string) {
	synced := map[string]error{}
	eachOf(moves, func(m *Move) error {
		dir := dirOf(*m)
		err, done := synced[dir]
		if !done {
			err = disk.SyncDir(root, dir)
			synced[dir] = err
		}
		return err
	})
}

// Aside is a free name for a file that is moved into the directory aside. It begins as
// the old one does, up to what may come behind the name of a message, and tells the
// directory that it was in: what is put back there, under this name, is a message.
func Aside(file, aside string) string {
	stem, dir := path.Base(file), path.Base(path.Dir(file))
	if i := strings.IndexAny(stem, ",:"); i > 0 {
		stem = stem[:i]
	}
	stem = stem[:min(len(stem), maxPart)]
	if dir != "." {
		stem += "." + dir[:min(len(dir), maxPart)]
	}
	return path.Join(aside, stem+"."+rand.Text())
}

// maxPart leaves room for two of them and what else Aside adds, in the 255 octets of a
// file's name.
const maxPart = 100
