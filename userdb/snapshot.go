package userdb

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"xm/internal/disk"
)

// snapshot is one reading of the file.
type snapshot struct {
	lines       []string // as they stand, without line ends
	records     []Record
	broken      []error        // one for each line that can't be read
	badSettings []error        // one for each line of users.settings that can't be read, or is nobody's
	lost        []lost         // whose lines those are, as far as can be told, and those that were set aside
	folded      map[string]int // the first of the records with a folded name
	next        []int          // for each record, another with the same folded name, or -1

	settings    map[string]setting // by exact names
	withAliases []setting          // those that have some, in the file's order
	aliases     aliases            // those of the config, and the users' own
	versions    map[string]version // of each file
	looked      atomic.Int64       // when the files were last seen to be of these versions; by sinceStart
}

// lost is a user whose line can't be read.
type lost struct {
	name  Name
	err   error // of the line
	aside bool  // it is in BrokenLines
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

// load returns the current content, from memory if the files are unchanged.
func (db *DB) load() (*snapshot, error) {
	if s := db.snap.Load(); s != nil && db.current(s) {
		return s, nil
	}
	s, err := db.read()
	if err != nil {
		return nil, err
	}
	if time.Since(s.changed()) > settled {
		db.snap.Store(s)
		for _, err := range s.problems() {
			db.log.Warn("passed over a broken line", "err", err)
		}
	}
	return s, nil
}

// sinceStart is a time that no change of the clock moves.
func sinceStart() time.Duration { return time.Since(start) }

var start = time.Now()

// current reports whether the files are still those that were read, or were so a
// moment ago.
func (db *DB) current(s *snapshot) bool {
	now, looked := sinceStart(), s.looked.Load()
	if now-time.Duration(looked) < db.fresh && looked > db.written.Load() {
		return true
	}
	for name, v := range s.versions {
		st, err := db.root.Stat(name)
		if err == nil && versionOf(st) == v || errors.Is(err, fs.ErrNotExist) && v == (version{}) {
			continue
		}
		return false
	}
	s.looked.Store(int64(now))
	return true
}

// problems are those of all lines.
func (s *snapshot) problems() []error { return slices.Concat(s.broken, s.badSettings) }

// changed is when the younger of the files was.
func (s *snapshot) changed() time.Time {
	var last time.Time
	for _, v := range s.versions {
		if t := time.Unix(v.ctime.Unix()); t.After(last) {
			last = t
		}
	}
	return last
}

// read reads the files, for writers too. The settings come first: Remove removes
// the user before them, so that no disabled user is seen without. The lines that
// SetAside moves come last: it puts them there before it takes them away.
func (db *DB) read() (*snapshot, error) {
	s := &snapshot{versions: map[string]version{}, settings: map[string]setting{}}
	s.looked.Store(int64(sinceStart()))
	content := map[string]string{}
	for _, name := range []string{settingsName, fileName, BrokenLines} {
		var err error
		if content[name], s.versions[name], err = readFile(db.root, name); err != nil {
			return nil, err
		}
	}
	if err := db.notGone(s.versions); err != nil {
		return nil, err
	}
	s.parse(content[fileName])
	s.parseAside(content[BrokenLines])
	s.parseSettings(content[settingsName])
	s.aliases = db.aliases.with(s)
	return s, nil
}

// notGone returns an error for a file that was there before. While somebody moves
// it about, nobody must lose mail, get in, or be given a name that is in it.
func (db *DB) notGone(versions map[string]version) error {
	for name, v := range versions {
		if name == BrokenLines { // a person removes it
			continue
		}
		if v != (version{}) {
			db.seen.Store(name, true)
		} else if _, was := db.seen.Load(name); was {
			// Unless it has been made only now.
			if _, err := db.root.Stat(name); errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%s is gone", name)
			}
		}
	}
	return nil
}

// readFile reads a file, which need not exist.
func readFile(root disk.Dir, name string) (content string, v version, err error) {
	f, err := root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", version{}, nil
	}
	if err != nil {
		return "", version{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", version{}, err
	}
	var b strings.Builder
	b.Grow(int(min(st.Size(), 1<<30)))
	_, err = io.Copy(&b, f)
	return b.String(), versionOf(st), err
}

func (s *snapshot) parse(content string) {
	s.lines = splitLines(content)
	s.records = make([]Record, 0, len(s.lines))
	s.folded, s.next = make(map[string]int, len(s.lines)), make([]int, 0, len(s.lines))
	for i, line := range s.lines {
		if line = trimCR(line); isRemark(line) {
			continue
		}
		r, err := ParseRecord(line)
		unreadable := err != nil
		if !unreadable {
			err = s.index(r)
		}
		if err == nil {
			continue
		}
		err = fmt.Errorf("%s, line %d: %w", fileName, i+1, err)
		s.broken = append(s.broken, err)
		if name, ok := likelyName(line); ok && unreadable {
			s.lost = append(s.lost, lost{name, err, false})
		}
	}
}

// parseAside takes note of whose lines were set aside: until a person has looked at
// them, they are those users' all the same.
func (s *snapshot) parseAside(content string) {
	for _, line := range splitLines(content) {
		if name, ok := likelyName(line); ok {
			s.lost = append(s.lost, lost{name, errAside, true})
		}
	}
}

var errAside = errors.New("it was set aside in " + BrokenLines + ": mend it and move it back, or remove it")

func (s *snapshot) index(r Record) error {
	if len(s.exactly(r.Name)) > 0 {
		return fmt.Errorf("%s stands on an earlier line already", r.Name)
	}
	key := r.Name.folded()
	before, ok := s.folded[key]
	if !ok {
		before = -1
	}
	s.folded[key] = len(s.records)
	s.next = append(s.next, before)
	s.records = append(s.records, r)
	return nil
}

// alike are the indices of the records with a folded name.
func (s *snapshot) alike(n Name) (found []int) {
	i, ok := s.folded[n.folded()]
	for ; ok && i >= 0; i = s.next[i] {
		found = append(found, i)
	}
	return found
}

// exactly are those of them that are spelled alike: one, or none.
func (s *snapshot) exactly(n Name) []int {
	return slices.DeleteFunc(s.alike(n), func(i int) bool { return s.records[i].Name.exact() != n.exact() })
}

// find looks for a name with the given local part in the groups of domains, as
// it is spelled and else without case. Of several names it finds none: mail
// must not go to the wrong one.
func (s *snapshot) find(local string, groups [][]string) (Record, bool) {
	for _, at := range []func(Name) []int{s.exactly, s.alike} {
		if r, ok := findOne(s, groups, func(domain string) []int { return at(Name{local, domain}) }); ok {
			return r, true
		}
	}
	return Record{}, false
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

// unreadable returns an error if a broken line has a name that find looked for.
func (s *snapshot) unreadable(local string, groups [][]string) error {
	for _, group := range groups {
		for _, domain := range group {
			n := Name{local, domain}
			for _, l := range s.lost {
				if l.name.folded() == n.folded() {
					return fmt.Errorf("the record of %s can't be read: %w", l.name, l.err)
				}
			}
		}
	}
	return nil
}

func firstField(line string) string {
	name, _, _ := strings.Cut(line, ",")
	return name
}

// likelyName is the name that a broken line is probably meant for: what stands
// before the first character that ends a name in any file of users.
func likelyName(line string) (Name, bool) {
	line = strings.TrimLeft(line, " \t"+byteOrderMark)
	if i := strings.IndexAny(line, ",:; \t"); i >= 0 {
		line = line[:i]
	}
	n, err := ParseName(nfc(line))
	return n, err == nil
}

// isRemark reports whether a line is not meant to say anything.
func isRemark(line string) bool { return line == "" || line[0] == '#' }

func trimCR(line string) string { return strings.TrimSuffix(line, "\r") }
