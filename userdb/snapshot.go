package userdb

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"time"

	"xm/internal/disk"
)

// snapshot is one reading of the file.
type snapshot struct {
	lines   []string // as they stand, without line ends
	records []Record
	broken  []error // one for each line that can't be read
	lost    []Name  // the names on those lines, as far as they can
	exact   map[string]int
	folded  map[string][]int // indices into records
	version version
}

// version tells one content of the file from another. The zero version is that
// of a file that does not exist.
type version struct {
	inode        uint64
	size         int64
	mtime, ctime syscall.Timespec
}

// settled is how long a file must have been at rest before its version is
// trusted: two changes within one tick of the file system's clock look alike.
const settled = 100 * time.Millisecond

func versionOf(st fs.FileInfo) version {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return version{size: st.Size()}
	}
	return version{sys.Ino, sys.Size, sys.Mtim, sys.Ctim}
}

// load returns the current content, from memory if the file is unchanged.
func (db *DB) load() (*snapshot, error) {
	if s := db.snap.Load(); s != nil {
		st, err := db.root.Stat(fileName)
		if err == nil && versionOf(st) == s.version || errors.Is(err, fs.ErrNotExist) && s.version == (version{}) {
			return s, nil
		}
	}
	s, err := readSnapshot(db.root)
	if err != nil {
		return nil, err
	}
	if s.version == (version{}) && db.seen.Load() {
		// Nobody must lose mail while somebody moves the file about.
		return nil, fmt.Errorf("%s is gone", fileName)
	}
	if len(s.records) > 0 {
		db.seen.Store(true)
	}
	if changed := time.Unix(s.version.ctime.Unix()); time.Since(changed) > settled {
		db.snap.Store(s)
		for _, err := range s.broken {
			db.log.Warn("passed over a broken line", "err", err)
		}
	}
	return s, nil
}

func readSnapshot(root disk.Dir) (*snapshot, error) {
	s := &snapshot{exact: map[string]int{}, folded: map[string][]int{}}
	f, err := root.Open(fileName)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	s.version = versionOf(st)
	content, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	s.parse(string(content))
	return s, nil
}

func (s *snapshot) parse(content string) {
	if content == "" {
		return
	}
	s.lines = strings.Split(strings.TrimSuffix(content, "\n"), "\n")
	for i, line := range s.lines {
		line = trimCR(line)
		if line == "" || line[0] == '#' {
			continue
		}
		r, err := ParseRecord(line)
		if err == nil {
			err = s.index(r)
		} else if name, err := ParseName(firstField(line)); err == nil {
			s.lost = append(s.lost, name)
		}
		if err != nil {
			s.broken = append(s.broken, fmt.Errorf("%s, line %d: %w", fileName, i+1, err))
		}
	}
}

func (s *snapshot) index(r Record) error {
	if _, ok := s.exact[r.Name.exact()]; ok {
		return fmt.Errorf("%s stands on an earlier line already", r.Name)
	}
	s.exact[r.Name.exact()] = len(s.records)
	s.folded[r.Name.folded()] = append(s.folded[r.Name.folded()], len(s.records))
	s.records = append(s.records, r)
	return nil
}

// find looks for a name with the given local part in the groups of domains, as
// it is spelled and else without case. Of several names it finds none: mail
// must not go to the wrong one.
func (s *snapshot) find(local string, groups [][]string) (Record, bool) {
	if r, ok := findOne(s, groups, func(domain string) []int {
		if i, ok := s.exact[Name{local, domain}.exact()]; ok {
			return []int{i}
		}
		return nil
	}); ok {
		return r, true
	}
	return findOne(s, groups, func(domain string) []int {
		return s.folded[Name{local, domain}.folded()]
	})
}

func findOne(s *snapshot, groups [][]string, at func(domain string) []int) (Record, bool) {
	for _, group := range groups {
		var found []int
		for _, domain := range group {
			found = append(found, at(domain)...)
		}
		if len(found) == 1 {
			return s.records[found[0]], true
		}
		if len(found) > 1 {
			break
		}
	}
	return Record{}, false
}

// unreadable reports whether a broken line has a name that find looked for.
func (s *snapshot) unreadable(local string, groups [][]string) bool {
	for _, group := range groups {
		for _, domain := range group {
			if slices.ContainsFunc(s.lost, func(n Name) bool { return n.folded() == Name{local, domain}.folded() }) {
				return true
			}
		}
	}
	return false
}

// names are all names in the file, on broken lines too.
func (s *snapshot) names() []Name {
	names := slices.Clone(s.lost)
	for _, r := range s.records {
		names = append(names, r.Name)
	}
	return names
}

func firstField(line string) string {
	name, _, _ := strings.Cut(line, ",")
	return name
}

func trimCR(line string) string { return strings.TrimSuffix(line, "\r") }
