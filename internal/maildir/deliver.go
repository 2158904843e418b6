package maildir

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"xm/internal/disk"
)

// Delivery is a message on its way into one or more maildrops. One goroutine
// uses it.
type Delivery struct {
	store     *Store
	maildrops []string
	unique    string // the beginning of the message's name
	home      *drop  // the first maildrop, whose tmp the message is in
	inTmp     bool   // under its unique name, until Commit
	file      disk.File
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
	return nil
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
	began := time.Now()
	err = d.file.Sync()
	d.store.synced(began, err)
	if err != nil {
		return err
	}
	if err := d.file.Close(); err != nil {
		return err
	}
	return d.publish(fmt.Sprintf("%s,S=%d,W=%d", d.unique, disk, wire), disk)
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
// of them, and takes them all back if it can't.
func (d *Delivery) publish(name string, size int64) error {
	var links []link
	err := d.store.admit(d.maildrops, size, func() (err error) {
		links, err = d.link(name)
		return err
	})
	for i := 0; err == nil && i < len(links); i++ {
		err = links[i].drop.new.sync(links[i].mark)
	}
	for _, l := range links {
		if err != nil {
			err = errors.Join(err, l.drop.new.dir.Remove(name))
		}
		d.store.leave(l.drop)
	}
	return err
}

// link is a message's name in a maildrop.
type link struct {
	drop *drop
	mark int // of before it was made
}

// link returns what it has linked, also when it fails.
func (d *Delivery) link(name string) (links []link, err error) {
	last := len(d.maildrops) - 1
	for i, maildrop := range d.maildrops {
		drop, err := d.store.useNow(maildrop)
		if err != nil {
			return links, err
		}
		l := link{drop, drop.new.mark()}
		if i < last {
			err = d.home.tmp.LinkTo(d.unique, drop.new.dir, name)
		} else if err = d.home.tmp.RenameTo(d.unique, drop.new.dir, name); err == nil {
			d.inTmp = false // so no name is left to be removed
		}
		if err != nil {
			d.store.leave(drop)
			return links, err
		}
		links = append(links, l)
	}
	return links, nil
}

func (s *Store) uniqueName() string {
	var random [6]byte
	rand.Read(random[:])
	now := time.Now()
	return fmt.Sprintf("%d.M%06dR%x.%s", now.Unix(), now.Nanosecond()/1000, random, s.host)
}
