package maildir

import (
	"errors"
	"io"
	"io/fs"

	"xm/internal/disk"
)

// Maildrop is one user's mail as it was when it was opened, locked against
// other sessions. Messages are numbered from 0, oldest first.
type Maildrop struct {
	store    *Store
	maildrop string // the directory that deliveries go to
	release  func()
	*listing
	open [firstOriginals]disk.Dir // those that messages are read from; nil where none is kept
	gone []bool                   // by message, since they were last looked for; nil if they never were
}

// Open locks a user's maildrop and lists it. maildrops are its directories: the
// Maildir, which is made if it is missing, and others in which the original
// left mail. The error is ErrLocked if another session has it open.
func (s *Store) Open(maildrops []string) (*Maildrop, error) {
	if err := s.recovered(maildrops[0]); err != nil {
		return nil, err
	}
	m, err := s.open(maildrops)
	if errors.Is(err, fs.ErrNotExist) { // somebody moved it away
		s.notReady(maildrops[0])
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
	l, err := s.listed(maildrops)
	if err != nil {
		release()
		return nil, err
	}
	return &Maildrop{store: s, maildrop: maildrops[0], release: release, listing: l}, nil
}

// Close unlocks the maildrop.
func (m *Maildrop) Close() {
	m.closeDirs()
	m.release()
}

// Len is the number of messages.
func (m *Maildrop) Len() int { return len(m.messages) }

// Size is the size of message i on the wire, in octets.
func (m *Maildrop) Size(i int) int64 { return m.messages[i].size }

// UID identifies message i for as long as it exists: 1 to 70 octets of 0x21 to
// 0x7E (RFC 1939, section 7, UIDL).
func (m *Maildrop) UID(i int) string { return m.uid(m.messages[i]) }

// OpenWire gives message i in its wire form: Size(i) octets. The error is as for
// Open.
func (m *Maildrop) OpenWire(i int) (io.ReadCloser, error) {
	f, err := m.Open(i)
	if err != nil {
		return nil, err
	}
	return newWireReader(f), nil
}

// Open gives message i as it lies on the disk. The error matches fs.ErrNotExist if
// another program has deleted it.
func (m *Maildrop) Open(i int) (io.ReadCloser, error) {
	if m.isGone(i) {
		return nil, fs.ErrNotExist
	}
	var f io.ReadCloser
	err := m.find(i, func() (err error) {
		f, err = m.openRead(i)
		return err
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// openRead opens the file of message i, through its directory if that can be kept
// open: a path takes the system longer.
func (m *Maildrop) openRead(i int) (io.ReadCloser, error) {
	msg := m.messages[i]
	size, ok := m.diskSize(msg)
	if !ok {
		size = -1
	}
	if msg.dir >= firstOriginals {
		return m.store.root.OpenRead(m.path(msg), size)
	}
	if m.open[msg.dir] == nil && m.store.keepDir() {
		dir, err := m.store.root.OpenDir(m.dirs[msg.dir])
		if err != nil {
			m.store.letDir()
			return nil, err
		}
		m.open[msg.dir] = dir
	}
	if dir := m.open[msg.dir]; dir != nil {
		return dir.OpenRead(m.name(msg), size)
	}
	return m.store.root.OpenRead(m.path(msg), size)
}

// closeDirs lets go of the directories, of which others may have taken the place.
func (m *Maildrop) closeDirs() {
	for i, dir := range m.open {
		if dir != nil {
			dir.Close()
			m.store.letDir()
		}
		m.open[i] = nil
	}
}

// maxOpenDirs is how many directories the sessions that read messages keep open.
const maxOpenDirs = 128

func (s *Store) keepDir() bool {
	if s.openDirs.Add(1) <= maxOpenDirs {
		return true
	}
	s.letDir()
	return false
}

func (s *Store) letDir() { s.openDirs.Add(-1) }

func (m *Maildrop) isGone(i int) bool { return m.gone != nil && m.gone[i] }

// moves is how often a message is looked for that is where it was no more: a
// program may move it again meanwhile.
const moves = 10

var errMoves = errors.New("a message is moved again and again")

// find calls do for message i, and again when it is known where it has been moved to.
// The error matches fs.ErrNotExist if it is gone for certain.
func (m *Maildrop) find(i int, do func() error) error {
	err := do()
	if m.messages[i].dir >= firstOriginals { // which nobody moves
		return err
	}
	for range moves {
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := m.relocate(); err != nil {
			return err
		}
		if err = do(); m.isGone(i) {
			return err
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return errMoves
	}
	return err
}

// relocate finds out where other programs have moved the messages, all at once:
// one that has moved is rarely alone.
func (m *Maildrop) relocate() error {
	m.closeDirs()
	type place struct {
		dir  uint16
		file string
	}
	places := map[string]place{}
	note := func(dir uint16) func(file string) error {
		return func(file string) error {
			places[unique(file)] = place{dir, file}
			return nil
		}
	}
	// In the order of lister.list, for its reasons.
	before, err := m.store.stamp(m.dirs[inNew])
	if err != nil {
		return err
	}
	if err := m.store.scan(m.dirs[inNew], note(inNew)); err != nil {
		return err
	}
	if err := m.store.scanMoving(m.dirs[inCur], note(inCur), note(inCur)); err != nil {
		return err
	}
	if err := m.store.scanChanged(m.dirs[inNew], before, note(inNew)); err != nil {
		return err
	}
	moved := &listing{dirs: m.dirs, twice: m.twice}
	gone := make([]bool, m.Len())
	for i, msg := range m.messages {
		name := m.name(msg)
		if msg.dir < firstOriginals {
			now, found := places[m.unique(msg)]
			if gone[i] = !found; found {
				name, msg.dir = now.file, now.dir
			}
		}
		if err := moved.append(msg, name); err != nil {
			return err
		}
	}
	m.listing, m.gone = moved, gone
	return nil
}

// Delete removes the messages, durably. One that is gone already counts as
// removed. The error joins one for each message that is still there.
func (m *Maildrop) Delete(messages []int) error {
	if err := m.strike(messages); err != nil {
		return err
	}
	var errs []error
	dirs := map[uint16]bool{}
	ids := map[string]bool{}
	for _, i := range messages {
		err := fs.ErrNotExist
		if !m.isGone(i) {
			err = m.find(i, func() error { return m.store.root.Remove(m.path(m.messages[i])) })
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		dirs[m.messages[i].dir] = true
		if m.isGone(i) { // whoever removed it may have moved it before, and need not have synced either
			dirs[inCur] = true
		}
		ids[m.unique(m.messages[i])] = true
	}
	if m.twice {
		errs = append(errs, m.removeCopies(ids, dirs))
	}
	if dirs[inCur] {
		// Whoever moved it from new need not have synced that: the name there could
		// come back.
		dirs[inNew] = true
	}
	for dir := range dirs {
		err := disk.SyncDir(m.store.root, m.dirs[dir])
		m.store.noteLostNames(err)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// removeCopies removes the second names of messages that are removed: a program
// that moves them by a link may have been cut off.
func (m *Maildrop) removeCopies(ids map[string]bool, dirs map[uint16]bool) error {
	var errs []error
	for _, dir := range []uint16{inNew, inCur} {
		var copies []string
		err := m.store.scan(m.dirs[dir], func(file string) error {
			if ids[unique(file)] {
				copies = append(copies, m.dirs[dir]+"/"+file)
			}
			return nil
		})
		errs = append(errs, err)
		for _, path := range copies {
			dirs[dir] = true
			if err := m.store.root.Remove(path); !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// strike has no crash bring the messages back from the journal.
func (m *Maildrop) strike(messages []int) error {
	var names []string
	for _, i := range messages {
		if msg := m.messages[i]; msg.dir < firstOriginals {
			names = append(names, m.unique(msg))
		}
	}
	return m.store.strike(m.maildrop, names)
}
