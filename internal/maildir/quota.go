package maildir

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"xm/internal/disk"
)

// ErrFull is matched by the error of Room, and of Commit, for a maildrop whose
// quota has no room for the message.
var ErrFull = errors.New("the maildrop is full")

// ErrTooLarge is matched by errors that match ErrFull too, for a message that is
// larger than the whole quota: it will never fit.
var ErrTooLarge = fmt.Errorf("a message larger than the quota: %w", ErrFull)

// Quota limits a maildrop: the octets of its messages on disk and their number,
// those in new and cur and those that the original left there. 0 means no
// limit.
type Quota struct {
	Octets, Messages int64
}

// admits reports whether a message of size octets fits in beside the others.
func (q Quota) admits(u Usage, size int64) bool {
	return (q.Octets == 0 || size <= q.Octets-u.Octets) && (q.Messages == 0 || u.Messages < q.Messages)
}

// Usage is what a quota limits.
type Usage struct {
	Octets, Messages int64
}

// Room reports whether a message of size octets would fit into a maildrop now:
// nil, ErrFull, ErrTooLarge, or what keeps that from being known. 0 stands for an unknown
// size. It is a forecast: Commit decides.
func (s *Store) Room(maildrop string, size int64) error {
	return s.admit([]string{maildrop}, max(size, 1), nil)
}

// Usage counts the messages of a maildrop, which need not exist.
func (s *Store) Usage(maildrop string) (Usage, error) {
	c, err := s.count(maildrop)
	return c.Usage, err
}

// admit checks the quotas of the maildrops, which are sorted and differ, for one
// message more in each, and then calls link, if any, to put it there. No other
// delivery of this process comes between the check and the link.
func (s *Store) admit(maildrops []string, size int64, link func() error) error {
	var admitted []*remembered
	for _, name := range maildrops {
		quota := s.quota(name)
		if quota == (Quota{}) {
			continue
		}
		if quota.Octets > 0 && size > quota.Octets {
			return fmt.Errorf("%w: %s may have %d octets", ErrTooLarge, name, quota.Octets)
		}
		r := s.remembered(name)
		r.mu.Lock() // in the one order of all deliveries
		defer r.mu.Unlock()
		if err := r.check(s, quota, size); err != nil {
			return err
		}
		admitted = append(admitted, r)
	}
	if link == nil {
		return nil
	}
	if err := link(); err != nil {
		return err
	}
	for _, r := range admitted {
		r.add(s, size)
	}
	return nil
}

func (s *Store) quota(maildrop string) Quota {
	if s.Quota == nil {
		return Quota{}
	}
	return s.Quota(maildrop)
}

// counted is the usage of a maildrop at one moment.
type counted struct {
	Usage
	seen    [3]stamp // of the directories that were counted
	settled bool     // any change since then has changed the stamps
}

// stamp tells one content of a directory from another. The zero stamp is that of
// a directory that does not exist.
type stamp struct {
	inode        uint64
	mtime, ctime syscall.Timespec
}

// settleTime is how long a directory must have been at rest before its stamp tells
// all: two changes within one tick of the file system's clock look alike. Some
// have whole seconds (ext4 with inodes of 128 octets, ext3, NFS), or two.
const (
	settleTime       = 100 * time.Millisecond
	settleTimeCoarse = 2*time.Second + settleTime
)

// remembered is the usage of a maildrop that has a quota, as this process last
// knew it. It is trusted while the stamps of the directories are those that were
// seen after the last count or delivery of our own.
//
// What others do between our link and our look at the stamp after it, or in the
// same tick of the clock, is missed until the next change. So nothing is refused
// by a count that may have missed something: it is made again. What is accepted
// may go over the quota by what other processes delivered in such a moment.
type remembered struct {
	mu       sync.Mutex
	maildrop string
	counted
}

func (s *Store) remembered(maildrop string) *remembered {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.usage[maildrop]
	if r == nil {
		r = &remembered{maildrop: maildrop}
		s.usage[maildrop] = r
	}
	return r
}

// check returns an error that matches ErrFull if a message of size octets does
// not fit.
func (r *remembered) check(s *Store, q Quota, size int64) error {
	now, err := s.stamps(r.maildrop)
	if err != nil {
		return err
	}
	if now == r.seen && (r.settled || q.admits(r.Usage, size)) {
		return r.verdict(q, size)
	}
	if r.counted, err = s.count(r.maildrop); err != nil {
		return err
	}
	return r.verdict(q, size)
}

func (r *remembered) verdict(q Quota, size int64) error {
	if !q.admits(r.Usage, size) {
		return fmt.Errorf("%w: %s has %d octets in %d messages", ErrFull, r.maildrop, r.Octets, r.Messages)
	}
	return nil
}

// add takes note of our own delivery.
func (r *remembered) add(s *Store, size int64) {
	r.Octets += size
	r.Messages++
	r.settled = false
	var err error
	if r.seen[1], err = s.stamp(path.Join(r.maildrop, "new")); err != nil {
		r.counted = counted{} // which no directory's stamp matches
	}
}

// attempts is how often a count is made again because of changes meanwhile. The
// last one is at worst off by those.
const attempts = 3

// count counts what a maildrop holds.
func (s *Store) count(maildrop string) (c counted, err error) {
	for range attempts {
		c = counted{settled: true}
		if c.seen, err = s.stamps(maildrop); err != nil {
			return counted{}, err
		}
		for i, dir := range counts(maildrop) {
			c.settled = c.settled && c.seen[i].settled()
			if err := s.countDir(&c.Usage, dir, i == 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return counted{}, err
			}
		}
		if now, err := s.stamps(maildrop); err != nil {
			return counted{}, err
		} else if now == c.seen {
			return c, nil
		}
	}
	c.settled = false
	return c, nil
}

// counts are the directories that hold a maildrop's messages. The first holds
// those that the original left.
func counts(maildrop string) [3]string {
	return [3]string{maildrop, path.Join(maildrop, "new"), path.Join(maildrop, "cur")}
}

func (s *Store) countDir(u *Usage, dir string, originals bool) error {
	entries, err := disk.ReadDir(s.root, dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name
		if !e.Type.IsRegular() || name[0] == '.' || originals && !isOriginals(name) {
			continue
		}
		size, ok := numberInName(name, "S=")
		if !ok || size >= mostOctets {
			st, err := s.root.Lstat(path.Join(dir, name))
			if errors.Is(err, fs.ErrNotExist) {
				continue // moved or deleted since the directory was read
			}
			if err != nil {
				return err
			}
			size = st.Size()
		}
		u.Octets += size
		u.Messages++
	}
	return nil
}

// isOriginals reports whether a file beside new and cur is a message.
func isOriginals(name string) bool { return strings.Trim(name, "0123456789") == "" }

// settled reports whether any later change gives another stamp.
func (st stamp) settled() bool {
	atRest := settleTime
	if st.ctime.Nsec == 0 {
		atRest = settleTimeCoarse
	}
	return time.Since(time.Unix(st.ctime.Unix())) > atRest
}

// append adds the stamp to b, as many octets for any.
func (st stamp) append(b []byte) []byte {
	for _, n := range []uint64{st.inode, uint64(st.mtime.Nano()), uint64(st.ctime.Nano())} {
		b = binary.NativeEndian.AppendUint64(b, n)
	}
	return b
}

func (s *Store) stamps(maildrop string) (all [3]stamp, err error) {
	for i, dir := range counts(maildrop) {
		if all[i], err = s.stamp(dir); err != nil {
			return all, err
		}
	}
	return all, nil
}

func (s *Store) stamp(dir string) (stamp, error) {
	st, err := s.root.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return stamp{}, nil
	}
	if err != nil {
		return stamp{}, err
	}
	return stampOf(st)
}

func stampOf(st os.FileInfo) (stamp, error) {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{}, fmt.Errorf("%s has no time of change", st.Name())
	}
	return stamp{sys.Ino, sys.Mtim, sys.Ctim}, nil
}
