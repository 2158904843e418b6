package maildir

import (
	"errors"
	"fmt"
	"time"
)

// retire lets a half take no more records, and begin anew when the messages in
// it are in their maildrops. j.mu is held.
func (j *journal) retire(half int) {
	h := &j.halves[half]
	h.closing = true
	if h.pending == 0 && !h.busy && !h.failed {
		h.busy = true
		j.checkpoints.Go(func() { j.checkpoint(half) })
	}
}

// flush begins those halves anew that hold records.
func (j *journal) flush() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.timer = nil; !j.closed {
		j.retireUsed()
	}
}

// retireUsed is retire for the halves that hold records. j.mu is held.
func (j *journal) retireUsed() {
	for i := range j.halves {
		if h := &j.halves[i]; h.end > headerSize || h.failed {
			h.failed = false
			j.retire(i)
		}
	}
}

// checkpoint makes what is in a half durable in its maildrops, and begins the half
// anew. Where that fails, the records stay, and it is tried again.
func (j *journal) checkpoint(half int) {
	j.checkpointing.Lock()
	defer j.checkpointing.Unlock()
	err := j.syncAll()
	if j.isUnsure(half) {
		err = j.rescue(half, err)
	}
	if err == nil {
		err = j.begin(half)
	}
	if errors.Is(err, errReplaced) { // nobody will read it
		err = nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	h := &j.halves[half]
	h.busy, h.failed = false, err != nil
	if err == nil {
		h.closing = false
		return
	}
	j.store.report(fmt.Errorf("messages of %s can't be made durable in their maildrops, and stay in it: %w", JournalName, err))
	if !j.closed {
		time.AfterFunc(again, j.flush)
	}
}

// syncAll makes durable what is in the maildrops. The kernel tells of an error
// once: what it has lost, no later sync makes durable, nor tells of. It may have told a
// delivery that has syncs of its own.
func (j *journal) syncAll() error {
	err := j.store.root.SyncAll()
	if lost := j.store.lostNames.Swap(false); lost && err == nil {
		err = errLost
	}
	if err != nil {
		j.mu.Lock()
		defer j.mu.Unlock()
		for i := range j.halves {
			j.halves[i].unsure = true
		}
	}
	return err
}

func (j *journal) isUnsure(half int) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.halves[half].unsure
}

// rescue writes the messages of a half once more, into new files, as nobody knows
// which of the others were lost.
func (j *journal) rescue(half int, cause error) error {
	err := j.rewrite(half)
	if err == nil {
		err = j.syncAll()
	}
	if err != nil {
		return errors.Join(cause, err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.halves[half].unsure = false
	return nil
}

// rewrite is rescue without the sync. Whoever deletes a message meanwhile waits, so
// that it does not come back.
func (j *journal) rewrite(half int) error {
	j.marking.Lock()
	defer j.marking.Unlock()
	if err := lockMarks(j.file); err != nil {
		return err
	}
	_, records, err := readHalf(j.file, half)
	if err == nil {
		mark := j.syncs.mark()
		err = confirm(j.file, half, func() error { return j.syncs.sync(mark) })
	}
	if errors.Is(err, errReplaced) { // nobody will read it, and its records are good all the same
		err = nil
	}
	if err == nil {
		err = failures(j.store.putBack(records, whileRunning))
	}
	return errors.Join(err, unlockMarks(j.file))
}

// begin makes a half empty, durably: nothing of it comes back from then on.
func (j *journal) begin(half int) error {
	mark := j.syncs.mark()
	epoch, err := beginHalf(j.file, half, j.store.uptime, func() error { return j.syncs.sync(mark) })
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	h := &j.halves[half]
	h.epoch, h.end, h.mark = epoch, headerSize, mark
	h.filled = max(h.filled, headerSize)
	for name, p := range j.places {
		if p.half == half {
			delete(j.places, name)
		}
	}
	return nil
}

// close makes all durable in the maildrops, when those that are pending are there.
func (j *journal) close() error {
	j.mu.Lock()
	j.closed = true
	if j.timer != nil {
		j.timer.Stop()
	}
	j.retireUsed()
	j.mu.Unlock()
	j.entries.Wait()
	j.checkpoints.Wait()
	return j.file.Close()
}
