package maildir

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	"xm/internal/safefile"
)

// Delivery is a message on its way into one or more maildrops. One goroutine
// uses it.
type Delivery struct {
	store     *Store
	maildrops []string
	unique    string // the beginning of the message's name
	tmp       string // where it is until Commit
	file      *os.File
	content   diskWriter
	err       error // of the first Write that failed
	ended     bool
}

// Begin starts to store a message for the maildrops, which are made where they
// are missing. Whoever gets a Delivery calls Abort in the end, in any case.
func (s *Store) Begin(maildrops []string) (*Delivery, error) {
	if len(maildrops) == 0 {
		return nil, errors.New("a message for nobody")
	}
	// Sorted, the quotas are locked in one order; a name given twice counts once.
	d := &Delivery{store: s, unique: s.uniqueName(), maildrops: slices.Compact(slices.Sorted(slices.Values(maildrops)))}
	for _, name := range d.maildrops {
		if err := s.prepare(name); err != nil {
			return nil, err
		}
	}
	err := d.create()
	if errors.Is(err, fs.ErrNotExist) { // somebody moved the maildrop away
		s.setReady(d.maildrops[0], false)
		if err = s.prepare(d.maildrops[0]); err == nil {
			err = d.create()
		}
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

func (d *Delivery) create() (err error) {
	d.tmp = path.Join(d.maildrops[0], "tmp", d.unique)
	d.file, err = d.store.root.OpenFile(d.tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	d.content.file = d.file
	return err
}

// Write takes the message in its wire form, in any pieces. After an error,
// Commit returns that error.
func (d *Delivery) Write(p []byte) (int, error) {
	if d.ended {
		return 0, fs.ErrClosed
	}
	if d.err == nil {
		_, d.err = d.content.Write(p)
	}
	if d.err != nil {
		return 0, d.err
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
	if d.err != nil {
		return d.err
	}
	disk, wire, err := d.content.finish()
	if err != nil {
		return err
	}
	if err := d.file.Sync(); err != nil {
		return err
	}
	if err := d.file.Close(); err != nil {
		return err
	}
	err = d.publish(fmt.Sprintf("%s,S=%d,W=%d", d.unique, disk, wire), disk)
	if errors.Is(err, fs.ErrNotExist) {
		// Somebody removed a directory that was there before: look again next time.
		for _, name := range d.maildrops {
			d.store.setReady(name, false)
		}
	}
	return err
}

// Abort drops the message. After Commit it does nothing.
func (d *Delivery) Abort() {
	if d.ended {
		return
	}
	d.ended = true
	d.content.release()
	d.file.Close() // again, where Commit came that far
	if d.tmp != "" {
		_ = d.store.root.Remove(d.tmp) // a left-over in tmp is harmless: nobody reads it
	}
}

// publish gives the finished file its name in every maildrop, one body for all
// of them, and takes them all back if it can't.
func (d *Delivery) publish(name string, size int64) error {
	root := d.store.root
	var done []string
	err := d.store.admit(d.maildrops, size, func() (err error) {
		done, err = d.link(name)
		return err
	})
	for i := 0; err == nil && i < len(done); i++ {
		err = safefile.SyncDir(root, path.Dir(done[i]))
	}
	if err != nil {
		for _, p := range done {
			err = errors.Join(err, root.Remove(p), safefile.SyncDir(root, path.Dir(p)))
		}
	}
	return err
}

// link returns what it has linked, also when it fails.
func (d *Delivery) link(name string) (done []string, err error) {
	last := len(d.maildrops) - 1
	for i, drop := range d.maildrops {
		p := path.Join(drop, "new", name)
		if i < last {
			err = d.store.root.Link(d.tmp, p)
		} else if err = d.store.root.Rename(d.tmp, p); err == nil {
			d.tmp = "" // so no name is left to be removed
		}
		if err != nil {
			return done, err
		}
		done = append(done, p)
	}
	return done, nil
}

func (s *Store) uniqueName() string {
	var random [6]byte
	rand.Read(random[:])
	now := time.Now()
	return fmt.Sprintf("%d.M%06dR%x.%s", now.Unix(), now.Nanosecond()/1000, random, s.host)
}
