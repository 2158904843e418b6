package maildir

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"sync"
	"syscall"
	"time"

	"xm/internal/disk"
	"xm/internal/safefile"
)

// Delivery is a message on its way into one or more maildrops. One goroutine
// uses it.
type Delivery struct {
	store     *Store
	maildrops []string
	unique    string // the beginning of the message's name
	lost      int64  // Store.lost when it began
	home      *drop  // the first maildrop, whose tmp the message is in
	inTmp     bool   // under its unique name, until Commit
	file      disk.File
	content   diskWriter
	ended     bool
	linked    []string // maildrops that have it
	unsynced  []link   // of them, those whose directory is still to be synced
}

// Begin starts to store a message for the maildrops, which are made where they
// are missing. Whoever gets a Delivery calls Abort in the end, in any case.
func (s *Store) Begin(maildrops []string) (*Delivery, error) {
	if len(maildrops) == 0 {
		return nil, errors.New("a message for nobody")
	}
	// Sorted, the quotas are locked in one order; a name given twice counts once.
	d := &Delivery{store: s, unique: s.uniqueName(), lost: s.lost.Load(), maildrops: slices.Compact(slices.Sorted(slices.Values(maildrops)))}
	for _, name := range d.maildrops[1:] {
		if err := s.prepare(name); err != nil {
			return nil, err
		}
	}
	err := d.create(s.use)
	if errors.Is(err, fs.ErrNotExist) { // somebody removed the maildrop
		err = d.create(s.useNow)
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

func (d *Delivery) create(use func(maildrop string) (*drop, error)) (err error) {
	if d.home, err = use(d.maildrops[0]); err != nil {
		return err
	}
	d.file, err = d.home.tmp.OpenFile(d.unique, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		d.store.leave(d.home)
		return err
	}
	d.inTmp, d.content.file = true, d.file
	if err := safefile.GiveTo(d.file, d.home.inode); err != nil {
		d.Abort()
		return err
	}
	return nil
}

// Write takes the message in its wire form, in any pieces. After an error,
// Commit returns that error.
func (d *Delivery) Write(p []byte) (int, error) {
	if d.ended {
		return 0, fs.ErrClosed
	}
	if _, err := d.content.Write(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Commit puts the message into every maildrop, durably. If it returns an error,
// none has it: see the package doc for what is promised. The error matches ErrFull
// if a quota has no room for it.
func (d *Delivery) Commit() error {
	if d.ended {
		return fs.ErrClosed
	}
	defer d.Abort()
	disk, _, content, err := d.content.finish()
	if err != nil {
		return err
	}
	name := d.name()
	recorded, err := d.record(name, content)
	if err != nil {
		return err
	}
	if recorded == nil {
		began := time.Now()
		err := d.file.Sync()
		if d.store.synced(began, err); err != nil {
			return err
		}
	}
	if err := d.file.Close(); err != nil {
		return errors.Join(err, recorded.cancel())
	}
	if err := d.publish(name, disk, recorded == nil); err != nil {
		return errors.Join(err, recorded.cancel())
	}
	recorded.done()
	return nil
}

// record makes the message durable in the journal. It returns nil if it is not
// for the journal: if it is large, say, or that has no room.
func (d *Delivery) record(name string, content []byte) (*entry, error) {
	if content == nil || d.store.anyElsewhere(d.maildrops) {
		return nil, nil
	}
	j := d.store.ownJournal()
	r := &record{name: name, maildrops: d.maildrops, content: content}
	if j == nil || !r.valid() {
		return nil, nil
	}
	e, err := j.add(r, d.lost)
	if errors.Is(err, errNoRoom) {
		return nil, nil
	}
	return e, err
}

// Abort drops the message. After Commit it does nothing.
func (d *Delivery) Abort() {
	if d.ended {
		return
	}
	d.ended = true
	d.content.release()
	d.file.Close() // again, where Commit came that far
	if d.inTmp {
		_ = d.home.tmp.Remove(d.unique) // a left-over in tmp is harmless: nobody reads it
	}
	d.store.leave(d.home)
}

// publish gives the finished file its name in every maildrop, one body for all
// of them, and takes them all back if it can't. With sync, the names are durable
// then.
func (d *Delivery) publish(name string, size int64, sync bool) error {
	err := d.store.admit(d.maildrops, size, func() error { return d.link(name, sync) })
	if err == nil {
		err = d.settle()
	}
	if err == nil {
		return nil
	}
	for _, l := range d.unsynced {
		d.store.leave(l.drop)
	}
	for _, maildrop := range d.linked {
		err = errors.Join(err, d.store.root.Remove(path.Join(maildrop, "new", name)))
	}
	return err
}

// link is a message's name in a maildrop.
type link struct {
	drop *drop
	mark int // of before it was made
}

// mostUnsynced is how many directories are synced at a time: a message for many
// must not take all descriptors.
const mostUnsynced = 16

func (d *Delivery) link(name string, sync bool) error {
	last := len(d.maildrops) - 1
	for i, maildrop := range d.maildrops {
		if len(d.unsynced) == mostUnsynced {
			if err := d.settle(); err != nil {
				return err
			}
		}
		drop, err := d.store.useNow(maildrop)
		if err != nil {
			return err
		}
		l := link{drop, drop.names.mark()}
		if i < last {
			err = d.home.tmp.LinkTo(d.unique, drop.new, name)
		} else if err = d.home.tmp.RenameTo(d.unique, drop.new, name); err == nil {
			d.inTmp = false // so no name is left to be removed
		}
		if errors.Is(err, syscall.EXDEV) {
			err = d.copyTo(drop, name)
		}
		if err == nil {
			d.linked = append(d.linked, maildrop)
		}
		if err != nil || !sync {
			d.store.leave(drop)
		} else {
			d.unsynced = append(d.unsynced, l)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copyTo is for a maildrop on another file system than the first one.
func (d *Delivery) copyTo(drop *drop, name string) error {
	from, err := d.home.tmp.Open(d.unique)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := drop.tmp.OpenFile(d.unique, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	err = errors.Join(err, safefile.GiveTo(to, drop.inode), to.Sync(), to.Close())
	if err == nil {
		err = drop.tmp.RenameTo(d.unique, drop.new, name)
	}
	if err != nil {
		_ = drop.tmp.Remove(d.unique) // a left-over in tmp is harmless: nobody reads it
	}
	return err
}

// settle syncs the directories of the last links, all at once.
func (d *Delivery) settle() error {
	errs := make([]error, len(d.unsynced))
	var others sync.WaitGroup
	for i, l := range d.unsynced {
		if i > 0 {
			others.Go(func() { errs[i] = l.drop.names.sync(l.mark) })
		}
	}
	if len(errs) > 0 {
		errs[0] = d.unsynced[0].drop.names.sync(d.unsynced[0].mark)
	}
	others.Wait()
	for _, l := range d.unsynced {
		d.store.leave(l.drop)
	}
	d.unsynced = d.unsynced[:0]
	return errors.Join(errs...)
}

func (s *Store) uniqueName() string {
	var random [6]byte
	rand.Read(random[:])
	now := time.Now()
	return fmt.Sprintf("%d.M%06dR%x.%s", now.Unix(), now.Nanosecond()/1000, random, s.host)
}
