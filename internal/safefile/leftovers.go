package safefile

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"path"
	"strings"
	"time"

	"xm/internal/disk"
)

// restAge is the age at which a temporary file is at rest.
const restAge = time.Hour

// LeftOver is a temporary file that a crash left.
type LeftOver struct {
	Name string    // in its directory
	Time time.Time // of its last change
}

// LeftOvers lists what crashes left in a directory below root. Files that may
// still be written to are none.
func LeftOvers(root disk.Dir, dir string) (found []LeftOver, err error) {
	entries, err := disk.ReadDir(root, dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name, TempPrefix) || !e.Type.IsRegular() {
			continue
		}
		st, err := root.Lstat(path.Join(dir, e.Name))
		if errors.Is(err, fs.ErrNotExist) { // it was none
			continue
		}
		if err != nil {
			return nil, err
		}
		if time.Since(st.ModTime()) > restAge {
			found = append(found, LeftOver{e.Name, st.ModTime()})
		}
	}
	return found, nil
}

// SetAside moves a file of a directory below root into another, which is made
// where it is missing, under a name that is free, and returns its path. It has that
// name durably before it loses the other: at worst, a crash leaves it with both.
func SetAside(root disk.Dir, dir, name, aside string) (to string, err error) {
	if err := Mkdir(root, aside, 0o700); err != nil {
		return "", err
	}
	from, to := path.Join(dir, name), path.Join(aside, name+"-"+rand.Text())
	if err := root.Link(from, to); err != nil {
		return "", err
	}
	if err := disk.SyncDir(root, aside); err != nil {
		return "", err
	}
	if err := root.Remove(from); err != nil {
		return "", err
	}
	return to, disk.SyncDir(root, dir)
}
