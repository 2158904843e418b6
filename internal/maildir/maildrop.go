package maildir

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"xm/internal/safefile"
)

// Maildrop is one user's mail as it was when it was opened, locked against
// other sessions. Messages are numbered from 0, oldest first.
type Maildrop struct {
	store    *Store
	maildir  string
	release  func()
	messages []message
}

type message struct {
	dir, file string // below the data directory
	size      int64  // on the wire
	gone      bool   // when it was last looked for
}

// isOriginals reports whether a message lies outside of new and cur, where the
// original put it.
func (m message) isOriginals() bool { return path.Dir(m.dir) == "." }

// unique is the part of a message's name that stays when other programs move or
// flag it.
func (m message) unique() string {
	if m.isOriginals() {
		return path.Join(m.dir, m.file)
	}
	return unique(m.file)
}

// Open locks a user's maildrop and lists it. maildrops are its directories: the
// Maildir, which is made if it is missing, and others in which the original
// left mail. The error is ErrLocked if another session has it open.
func (s *Store) Open(maildrops []string) (*Maildrop, error) {
	m, err := s.open(maildrops)
	if errors.Is(err, fs.ErrNotExist) { // somebody moved it away
		s.setReady(maildrops[0], false)
		m, err = s.open(maildrops)
	}
	return m, err
}

func (s *Store) open(maildrops []string) (*Maildrop, error) {
	if err := s.prepare(maildrops[0]); err != nil {
		return nil, err
	}
	release, err := s.acquire(maildrops[0])
	if err != nil {
		return nil, err
	}
	m := &Maildrop{store: s, maildir: maildrops[0], release: release}
	if err := m.list(maildrops); err != nil {
		release()
		return nil, err
	}
	return m, nil
}

// Close unlocks the maildrop.
func (m *Maildrop) Close() { m.release() }

// Len is the number of messages.
func (m *Maildrop) Len() int { return len(m.messages) }

// Size is the size of message i on the wire, in octets.
func (m *Maildrop) Size(i int) int64 { return m.messages[i].size }

// UID identifies message i for as long as it exists: 1 to 70 octets of 0x21 to
// 0x7E (RFC 1939, section 7, UIDL).
func (m *Maildrop) UID(i int) string {
	id := m.messages[i].unique()
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

// Open gives message i in its wire form: Size(i) octets. The error matches
// fs.ErrNotExist if another program has deleted it.
func (m *Maildrop) Open(i int) (io.ReadCloser, error) {
	msg := &m.messages[i]
	if msg.gone {
		return nil, fs.ErrNotExist
	}
	f, err := m.store.root.Open(msg.path())
	if errors.Is(err, fs.ErrNotExist) {
		if err := m.relocate(); err != nil {
			return nil, err
		}
		f, err = m.store.root.Open(msg.path())
	}
	if err != nil {
		return nil, err
	}
	return newWireReader(f), nil
}

func (m message) path() string { return path.Join(m.dir, m.file) }

// relocate finds out where other programs have moved the messages, all at once:
// one that has moved is rarely alone.
func (m *Maildrop) relocate() error {
	places := map[string]message{}
	for _, sub := range []string{"new", "cur"} {
		dir := path.Join(m.maildir, sub)
		entries, err := readDir(m.store.root, dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			places[unique(e.Name())] = message{dir: dir, file: e.Name()}
		}
	}
	for i := range m.messages {
		msg := &m.messages[i]
		if msg.isOriginals() {
			continue
		}
		now, found := places[msg.unique()]
		if msg.gone = !found; found {
			msg.dir, msg.file = now.dir, now.file
		}
	}
	return nil
}

// Delete removes the messages, durably. One that is gone already counts as
// removed. The error joins one for each message that is still there.
func (m *Maildrop) Delete(messages []int) error {
	var errs []error
	dirs := map[string]bool{}
	relocated := false
	for _, i := range messages {
		err := m.remove(i)
		if errors.Is(err, fs.ErrNotExist) && !relocated {
			relocated = true
			if err = m.relocate(); err == nil {
				err = m.remove(i)
			}
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		dirs[m.messages[i].dir] = true
	}
	for dir := range dirs {
		errs = append(errs, safefile.SyncDir(m.store.root, dir))
	}
	return errors.Join(errs...)
}

func (m *Maildrop) remove(i int) error {
	return m.store.root.Remove(m.messages[i].path())
}

// list fills in the messages. new is read before cur, because a message moves
// that way: read in the other order, it could be missed.
func (m *Maildrop) list(maildrops []string) error {
	seen := map[string]bool{}
	for _, sub := range []string{"new", "cur"} {
		if err := m.listDir(path.Join(maildrops[0], sub), func(name string) bool {
			fresh := name[0] != '.' && !seen[unique(name)]
			seen[unique(name)] = true
			return fresh
		}); err != nil {
			return err
		}
	}
	for _, dir := range maildrops {
		err := m.listDir(dir, isOriginals)
		// The others need not be there, nor be directories.
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			return err
		}
	}
	slices.SortFunc(m.messages, func(a, b message) int {
		return cmp.Or(cmp.Compare(seconds(a.file), seconds(b.file)), cmp.Compare(a.file, b.file), cmp.Compare(a.dir, b.dir))
	})
	return nil
}

func (m *Maildrop) listDir(dir string, wanted func(name string) bool) error {
	entries, err := readDir(m.store.root, dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !wanted(e.Name()) {
			continue
		}
		msg := message{dir: dir, file: e.Name()}
		size, ok := numberInName(msg.file, "W=")
		if !ok {
			size, err = m.measure(msg)
			if errors.Is(err, fs.ErrNotExist) {
				continue // moved or deleted since the directory was read
			}
			if err != nil {
				return err
			}
		}
		msg.size = size
		m.messages = append(m.messages, msg)
	}
	return nil
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

func (m *Maildrop) measure(msg message) (int64, error) {
	f, err := m.store.root.Open(msg.path())
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var size wireSize
	if _, err := io.Copy(&size, f); err != nil {
		return 0, fmt.Errorf("%s: %w", msg.file, err)
	}
	return size.total(), nil
}
