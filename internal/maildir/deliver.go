package maildir

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Delivery is a message on its way into one or more maildrops. One goroutine
// uses it.
type Delivery struct {
	store     *Store
	maildrops []string
	unique    string       // the beginning of the message's name
	file      *messageFile // nil as long as all of the message is in memory
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
	d := &Delivery{store: s, unique: s.uniqueName(), maildrops: slices.Compact(slices.Sorted(slices.Values(maildrops)))}
	for _, name := range d.maildrops {
		if err := s.prepare(name); err != nil {
			return nil, err
		}
	}
	d.content.file = spilled{d}
	return d, nil
}

// spilled is the part of a message that does not stay in memory.
type spilled struct{ *Delivery }

func (s spilled) Write(p []byte) (int, error) {
	if err := s.write(p, newNamedFile); err != nil {
		return 0, err
	}
	return len(p), nil
}

// newFile is newNamedFile or newUnnamedFile.
type newFile func(home *drop, unique string) (*messageFile, error)

// write writes a part of the message to its file, which it makes first.
func (d *Delivery) write(p []byte, create newFile) error {
	if d.file == nil {
		err := d.makeFile(d.store.use, create)
		if errors.Is(err, fs.ErrNotExist) { // somebody removed the maildrop, or its tmp alone
			err = d.makeFile(d.store.useNow, create)
		}
		if err != nil {
			return err
		}
	}
	_, err := d.file.Write(p)
	return err
}

func (d *Delivery) makeFile(use func(maildrop string) (*drop, error), create newFile) error {
	home, err := use(d.maildrops[0])
	if err != nil {
		return err
	}
	if d.file, err = create(home, d.unique); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			d.store.letGo(home)
		}
		d.store.leave(home)
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
	deliverers.enter()
	defer deliverers.leave()
	content, err := d.content.finish()
	if err != nil {
		return err
	}
	name := d.name()
	recorded, err := d.record(name, content)
	if err != nil {
		return err
	}
	if recorded != nil {
		return d.commitRecorded(recorded, name, content)
	}
	return d.commitSynced(name, content)
}

// commitRecorded is Commit for a message that is in the journal.
func (d *Delivery) commitRecorded(recorded *entry, name string, content []byte) error {
	defer recorded.done()
	// Nobody sees the file before its record is durable, but it may be written.
	var written error
	if err := recorded.sync(func() { written = d.write(content, newUnnamedFile) }); err != nil {
		return errors.Join(err, written, recorded.cancel()) // the record may be on the disk all the same
	}
	if written == nil {
		written = d.publish(name, false)
	}
	if written != nil {
		return errors.Join(written, recorded.cancel())
	}
	return nil
}

// commitSynced is Commit for a message that has syncs of its own.
func (d *Delivery) commitSynced(name string, content []byte) error {
	if err := d.write(content, newNamedFile); err != nil {
		return err
	}
	began := time.Now()
	err := d.file.Sync()
	if d.store.synced(began, err); err != nil {
		return err
	}
	return d.publish(name, true)
}

// record puts the message into the journal. It returns nil if it is not for the
// journal: if it is large, say, or that has no room.
func (d *Delivery) record(name string, content []byte) (*entry, error) {
	if d.file != nil || d.store.anyElsewhere(d.maildrops) {
		return nil, nil
	}
	j := d.store.ownJournal()
	r := &record{name: name, maildrops: d.maildrops, content: content}
	if j == nil || !r.valid() {
		return nil, nil
	}
	e, err := j.add(r)
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
	if d.file != nil {
		d.file.discard()
		d.store.leave(d.file.home)
	}
}

// publish gives the finished file its name in every maildrop, one body for all
// of them, and takes them all back if it can't. With sync, the names are durable
// then.
func (d *Delivery) publish(name string, sync bool) error {
	err := d.store.admit(d.maildrops, d.content.size.disk, func() error { return d.link(name, sync) })
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
		err = errors.Join(err, d.store.takeBack(maildrop, name))
	}
	return err
}

// takeBack removes a message from a maildrop. Where that is still open it takes no
// descriptor: that there are none left may be why the message can't be delivered.
func (s *Store) takeBack(maildrop, name string) error {
	if d := s.kept(maildrop); d != nil {
		defer s.leave(d)
		return d.new.Remove(name)
	}
	return s.root.Remove(path.Join(maildrop, "new", name))
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
		l := link{drop, drop.dirSync.mark()}
		err = d.file.link(drop, name, i == last)
		if err == nil {
			d.linked = append(d.linked, maildrop)
		}
		durably := sync
		if err == nil && !sync && d.store.isElsewhere(maildrop) { // mounted since the message was recorded
			durably, err = true, d.file.Sync() // which has its name now: see newUnnamedFile
		}
		if err != nil || !durably {
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

// settle syncs the directories of the last links, all at once.
func (d *Delivery) settle() error {
	errs := make([]error, len(d.unsynced))
	var others sync.WaitGroup
	for i, l := range d.unsynced {
		if i > 0 {
			others.Go(func() { errs[i] = l.drop.dirSync.sync(l.mark) })
		}
	}
	if len(errs) > 0 {
		errs[0] = d.unsynced[0].drop.dirSync.sync(d.unsynced[0].mark)
	}
	others.Wait()
	for _, l := range d.unsynced {
		d.store.leave(l.drop)
	}
	d.unsynced = d.unsynced[:0]
	return errors.Join(errs...)
}

// Names are those of a message once it is committed, the same in all of its
// maildrops: of its file in new, and the unique-id that Maildrop.UID gives it.
func (d *Delivery) Names() (file, uid string) {
	file = d.name()
	return file, uidOf(file)
}

// name is that of the file, when all of the message is written.
func (d *Delivery) name() string {
	return d.unique + ",S=" + strconv.FormatInt(d.content.size.disk, 10) + ",W=" + strconv.FormatInt(d.content.size.total(), 10)
}

func (s *Store) uniqueName() string {
	var random [6]byte
	rand.Read(random[:])
	now := time.Now()
	return fmt.Sprintf("%d.M%06dR%x.%s", now.Unix(), now.Nanosecond()/1000, random, s.host)
}
