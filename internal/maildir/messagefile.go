package maildir

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"syscall"

	"xm/internal/disk"
	"xm/internal/safefile"
)

// messageFile is the file of a message that is on its way.
type messageFile struct {
	disk.File
	home *drop  // where it was made
	tmp  string // its name in home.tmp; "" if it has none
}

// newNamedFile makes the file in the tmp of a maildrop.
func newNamedFile(home *drop, unique string) (*messageFile, error) {
	f, err := home.tmp.OpenFile(unique, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return given(&messageFile{f, home, unique})
}

// newUnnamedFile makes a file without a name, which needs no second directory, and of
// which a crash leaves nothing. Where the disk has no such files, it is called unique.
//
// It is for what is in the journal until all of the disk has been synced: an ext4 without
// a journal of its own does not sync, with a directory, that its files have got a name,
// and takes one that had none when it was synced for deleted.
func newUnnamedFile(home *drop, unique string) (*messageFile, error) {
	if home.named.Load() {
		return newNamedFile(home, unique)
	}
	f, err := home.new.CreateUnnamed(0o600)
	switch {
	case err == nil:
		return given(&messageFile{f, home, ""})
	case errors.Is(err, errors.ErrUnsupported):
		home.named.Store(true)
		return newNamedFile(home, unique)
	}
	return nil, err
}

// given gives the file to the owner of its maildrop.
func given(m *messageFile) (*messageFile, error) {
	if err := safefile.GiveTo(m.File, m.home.inode); err != nil {
		m.discard()
		return nil, err
	}
	return m, nil
}

// link puts the message into a maildrop. After the last one it has no name
// elsewhere.
func (m *messageFile) link(to *drop, name string, last bool) (err error) {
	switch {
	case m.tmp == "":
		err = to.new.LinkFile(m.File, name)
	case !last:
		err = m.home.tmp.LinkTo(m.tmp, to.new, name)
	default:
		err = m.home.tmp.RenameTo(m.tmp, to.new, name)
		if err == nil {
			m.tmp = ""
		}
	}
	switch {
	case errors.Is(err, fs.ErrExist) && m.isAt(to, name): // this maildrop is a link to one before
		return nil
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, syscall.EPERM): // no hard links, or not for us
		m.home.named.Store(true)
	case !errors.Is(err, syscall.EXDEV):
		return err
	}
	return m.copy(to, name)
}

// isAt reports whether a maildrop has the message by that name.
func (m *messageFile) isAt(to *drop, name string) bool {
	there, err1 := to.new.Lstat(name)
	mine, err2 := m.Stat()
	return err1 == nil && err2 == nil && disk.SameFile(there, mine)
}

// copy is link for a maildrop to which no link leads: that of another file system, say.
func (m *messageFile) copy(to *drop, name string) error {
	f, err := to.tmp.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, io.NewSectionReader(m.File, 0, math.MaxInt64))
	err = errors.Join(err, safefile.GiveTo(f, to.inode), f.Sync(), f.Close())
	if err == nil {
		err = to.tmp.RenameTo(name, to.new, name)
	}
	if err != nil {
		_ = to.tmp.Remove(name) // a left-over in tmp is harmless: nobody reads it
	}
	return err
}

// discard ends the use of the file, which goes if it is in no maildrop. What closing tells
// of a write that failed, a sync has told or will tell.
func (m *messageFile) discard() {
	m.File.Close()
	if m.tmp != "" {
		_ = m.home.tmp.Remove(m.tmp) // a left-over in tmp is harmless: nobody reads it
	}
}
