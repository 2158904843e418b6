package userdb

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"xm/internal/safefile"
)

var errLocked = errors.New("another program is changing " + fileName + " and does not finish")

// lockPoll is how often a lock that another process holds is tried again.
const lockPoll = 5 * time.Millisecond

// lock waits until no other writer, of this process or another, is at work, or
// until ctx ends. It does not block in the kernel: whoever holds the lock for
// long must cost the others neither threads nor their stop. The kernel drops the
// lock of a process that dies.
func (db *DB) lock(ctx context.Context) (unlock func(), err error) {
	select {
	case db.writing <- struct{}{}:
	case <-ctx.Done():
		return nil, errLocked
	}
	defer func() {
		if err != nil {
			<-db.writing
		}
	}()
	f, err := safefile.OpenLock(db.root, lockName)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close(); <-db.writing }, nil
		}
		if err != syscall.EWOULDBLOCK && err != syscall.EINTR {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", lockName, err)
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			f.Close()
			return nil, errLocked
		}
	}
}
