package maildir

import (
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"syscall"

	"golang.org/x/sys/unix"

	"xm/internal/disk"
	"xm/internal/safefile"
)

const lockName = ".maildrops.lock"

// ErrLocked is returned by Open for a maildrop that another session has open.
var ErrLocked = errors.New("the maildrop is open in another session")

// acquire locks a maildrop against other sessions of this process and others.
func (s *Store) acquire(name string) (release func(), err error) {
	st, err := s.root.Stat(name)
	if err != nil {
		return nil, err
	}
	data, err := s.root.Stat(".")
	if err != nil {
		return nil, err
	}
	offset, err := lockOffset(st, data)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.locked[offset]; taken {
		return nil, ErrLocked
	}
	if s.lock == nil {
		s.lock, err = safefile.OpenLock(s.root, lockName)
	}
	switch {
	case err == nil:
		err = lockByte(s.lock, offset, unix.F_WRLCK, unix.F_OFD_SETLK)
	case errors.Is(err, unix.EROFS): // a disk on which nobody can delete anything
		err = nil
	}
	if err != nil {
		return nil, err
	}
	s.locked[offset] = struct{}{}
	return func() { s.unlock(offset) }, nil
}

func (s *Store) unlock(offset int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.locked, offset)
	if s.lock != nil {
		_ = lockByte(s.lock, offset, unix.F_UNLCK, unix.F_OFD_SETLK) // fails only after Close, which has released it
	}
}

// lockOffset is the inode number of a maildrop's directory. Where that is on
// another device than the data directory, that goes in: each user's file system
// may have the same number at its root.
func lockOffset(maildrop, data fs.FileInfo) (int64, error) {
	sys, ok := maildrop.Sys().(*syscall.Stat_t)
	home, ok2 := data.Sys().(*syscall.Stat_t)
	if !ok || !ok2 {
		return 0, fmt.Errorf("%s has no inode number", maildrop.Name())
	}
	n := sys.Ino
	if sys.Dev != home.Dev {
		n ^= bits.Reverse64(uint64(sys.Dev)) >> 1 // inode numbers are small, or random
	}
	return int64(n &^ (1 << 63)), nil
}

// lockByte locks or unlocks one byte; wait is F_OFD_SETLK or F_OFD_SETLKW. The lock
// belongs to the open file, so it goes when the process dies, and closing another
// descriptor does not drop it.
func lockByte(f disk.File, offset int64, kind int16, wait int) error {
	l := unix.Flock_t{Type: kind, Whence: 0, Start: offset, Len: 1}
	err := unix.FcntlFlock(f.Fd(), wait, &l)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return ErrLocked
	}
	return err
}
