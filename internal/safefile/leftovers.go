package safefile

import (
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
