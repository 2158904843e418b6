package maildir

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"xm/internal/disk"
)

// listing is the messages of a maildrop at one moment, oldest first. It does not
// change once it is made: sessions share it. It takes about 90 octets a
// message.
type listing struct {
	dirs     []string        // below the data directory: new, cur, and where the original left mail
	names    strings.Builder // of the files, one after the other
	messages []message
	twice    bool // a file may be there that is another name of one of them
}

// message is one file of a listing.
type message struct {
	size    int64  // on the wire
	seconds int64  // that the name begins with: see seconds
	start   uint32 // of the name, in names
	length  uint8  // of the name; NAME_MAX is 255
	dir     uint16 // in dirs
}

// The places of a Maildir's directories in dirs.
const (
	inNew = iota
	inCur
	firstOriginals
)

func newListing(maildrops []string) *listing {
	dirs := []string{path.Join(maildrops[0], "new"), path.Join(maildrops[0], "cur")}
	return &listing{dirs: append(dirs, maildrops...)}
}

// lister makes a listing.
type lister struct {
	*listing
	store  *Store
	before *listing         // of the same maildrop; nil if none is known
	sizes  map[string]int64 // of those files in before that have no W
	young  bool             // a file may still be growing
	known  map[string]bool  // what is listed, by its unique name; nil until a directory is read again
}

// list lists a maildrop. new is read before cur, because a message moves that
// way: read in the other order, it could be missed. One that is marked as unread may
// move back (mutt does it), so new is read again if it has changed.
func (r *lister) list() error {
	before, err := r.store.stamp(r.dirs[inNew])
	if err != nil {
		return err
	}
	for dir, name := range r.dirs {
		err := r.scan(dir)
		// The others need not be there, nor be directories.
		optional := dir >= firstOriginals && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR))
		if err != nil && !optional {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := r.store.scanChanged(r.dirs[inNew], before, r.addUnknown(inNew)); err != nil {
		return err
	}
	r.sort()
	return nil
}

// scan adds the messages of a directory. One that other programs move there may be
// seen twice.
func (r *lister) scan(dir int) error {
	add := func(file string) error { return r.add(dir, file) }
	if dir != inCur {
		return r.store.scan(r.dirs[dir], add)
	}
	return r.store.scanMoving(r.dirs[dir], add, r.addUnknown(dir))
}

// addUnknown gives what adds those files of a directory that are not listed already.
func (r *lister) addUnknown(dir int) func(file string) error {
	return func(file string) error {
		if r.isKnown(file) {
			return nil
		}
		before := len(r.messages)
		err := r.add(dir, file)
		if len(r.messages) > before { // it may have moved on
			r.known[unique(file)] = true
		}
		return err
	}
}

// isKnown reports whether a message of new or cur is listed already.
func (r *lister) isKnown(file string) bool {
	if r.known == nil {
		r.known = make(map[string]bool, len(r.messages))
		for _, m := range r.messages {
			if m.dir < firstOriginals {
				r.known[unique(r.name(m))] = true
			}
		}
	}
	return r.known[unique(file)]
}

// passes is how often cur is read because of changes meanwhile.
const passes = 5

// scanMoving is scan for a directory in which other programs rename files: a file
// that gets another name while the directory is read may be passed over. So it is
// read again if it has changed, and again is called in the place of each then, for the
// same messages and others.
func (s *Store) scanMoving(dir string, each, again func(file string) error) error {
	for range passes {
		before, err := s.stamp(dir)
		if err != nil {
			return err
		}
		if err := s.scan(dir, each); err != nil {
			return err
		}
		each = again
		if after, err := s.stamp(dir); err != nil || after == before {
			return err
		}
	}
	return nil
}

// scanChanged is scan for a directory that has changed since it had that stamp.
func (s *Store) scanChanged(dir string, before stamp, each func(file string) error) error {
	if after, err := s.stamp(dir); err != nil || after == before {
		return err
	}
	return s.scan(dir, each)
}

// mostOctets is more than any message has: what a name says beyond it is no size, and
// could make the sum of all wrong.
const mostOctets = 1 << 50

// scan calls each for the regular files of a directory that are not hidden.
func (s *Store) scan(dir string, each func(file string) error) error {
	return s.root.Scan(dir, func(e disk.Entry) error {
		if e.Name[0] == '.' || !e.Type.IsRegular() {
			return nil
		}
		return each(e.Name)
	})
}

// add adds a file to the listing, if it is a message.
func (r *lister) add(dir int, file string) error {
	if dir >= firstOriginals && !isOriginals(file) {
		return nil
	}
	size, ok := numberInName(file, "W=")
	ok = ok && size < mostOctets
	if !ok {
		var err error
		size, err = r.measured(path.Join(r.dirs[dir], file))
		if errors.Is(err, fs.ErrNotExist) {
			return nil // moved or deleted since the directory was read
		}
		if err != nil {
			return err
		}
	}
	return r.append(message{size: size, seconds: seconds(file), dir: uint16(dir)}, file)
}

// measured is the size of a file without W, from memory if that is known: a
// message does not change.
func (r *lister) measured(file string) (int64, error) {
	if r.before != nil && r.sizes == nil {
		r.sizes = r.before.knownSizes()
	}
	if size, ok := r.sizes[file]; ok {
		return size, nil
	}
	size, changed, err := r.store.measure(file)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EIO) {
		// One file that can't be read must not keep its user from all the others.
		// Whoever opens it learns of the trouble.
		r.young = true
		var st fs.FileInfo
		if st, err = r.store.root.Lstat(file); err != nil {
			return 0, err
		}
		return st.Size(), nil
	}
	r.young = r.young || time.Since(changed) < grown
	return size, err
}

// knownSizes gives the sizes of the files without W, by path.
func (l *listing) knownSizes() map[string]int64 {
	sizes := map[string]int64{}
	for _, m := range l.messages {
		if _, ok := numberInName(l.name(m), "W="); !ok {
			sizes[l.path(m)] = m.size
		}
	}
	return sizes
}

// append adds a message whose file has that name.
func (l *listing) append(m message, name string) error {
	if int64(l.names.Len()) > math.MaxUint32-int64(len(name)) || len(l.dirs) > math.MaxUint16 {
		return errors.New("too many messages")
	}
	m.start, m.length = uint32(l.names.Len()), uint8(len(name))
	l.names.WriteString(name)
	l.messages = append(l.messages, m)
	return nil
}

// sort orders the messages, and leaves one of those that are the same: a message
// that moved while the directories were read.
func (l *listing) sort() {
	slices.SortFunc(l.messages, func(a, b message) int {
		if c := cmp.Compare(a.seconds, b.seconds); c != 0 {
			return c
		}
		return cmp.Or(cmp.Compare(unique(l.name(a)), unique(l.name(b))), cmp.Compare(a.dir, b.dir))
	})
	all := len(l.messages)
	l.messages = slices.Clip(slices.CompactFunc(l.messages, func(a, b message) bool {
		return a.dir < firstOriginals && b.dir < firstOriginals && a.seconds == b.seconds && unique(l.name(a)) == unique(l.name(b))
	}))
	l.twice = len(l.messages) < all
}

// octets is what the listing takes of memory.
func (l *listing) octets() int { return l.names.Cap() + cap(l.messages)*24 }

func (l *listing) name(m message) string {
	return l.names.String()[m.start : m.start+uint32(m.length)]
}

func (l *listing) path(m message) string {
	return l.dirs[m.dir] + "/" + l.name(m)
}

// diskSize is what the message's name says of its size on disk.
func (l *listing) diskSize(m message) (int64, bool) {
	if m.dir >= firstOriginals {
		return 0, false
	}
	return numberInName(l.name(m), "S=")
}

// unique is the part of a message's name that stays when other programs move or
// flag it.
func (l *listing) unique(m message) string {
	if m.dir >= firstOriginals {
		return l.path(m)
	}
	return unique(l.name(m))
}

// uid is Maildrop.UID's.
func (l *listing) uid(m message) string { return uidOf(l.unique(m)) }

func uidOf(id string) string {
	if id != "" && len(id) <= 70 && !strings.ContainsFunc(id, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:20])
}

// unique is the part of a file name that stays when flags change.
func unique(file string) string {
	id, _, _ := strings.Cut(file, ":")
	return id
}

// seconds is the unix time that a file name begins with; 0 if it does not.
func seconds(file string) int64 {
	digits := file[:len(file)-len(strings.TrimLeft(file, "0123456789"))]
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// numberInName finds what a Delivery put into a name: the number after "S=" or
// "W=".
func numberInName(file, key string) (int64, bool) {
	for field := range strings.SplitSeq(unique(file), ",") {
		if number, ok := strings.CutPrefix(field, key); ok {
			n, err := strconv.ParseInt(number, 10, 64)
			return n, err == nil && n >= 0
		}
	}
	return 0, false
}

// grown is when the size of a file is not looked for again. The original wrote
// its files where they lie.
const grown = time.Minute

// measure reads a message to learn its size on the wire, and when it was last
// changed.
func (s *Store) measure(file string) (octets int64, changed time.Time, err error) {
	f, err := s.root.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0) // it may be a pipe by now
	if err != nil {
		return 0, time.Time{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return 0, time.Time{}, err
	}
	if !st.Mode().IsRegular() {
		return 0, time.Time{}, fs.ErrNotExist // of a message
	}
	var size wireSize
	if _, err := io.Copy(&size, f); err != nil {
		return 0, time.Time{}, fmt.Errorf("%s: %w", file, err)
	}
	return size.total(), st.ModTime(), nil
}
