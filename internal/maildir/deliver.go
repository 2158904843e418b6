package maildir

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"xm/internal/safefile"
)

// Deliver stores the message that r gives, in its wire form, in each of the
// maildrops, which are made where they are missing. It is all or nothing, also
// when r fails: see the package doc for what is promised.
func (s *Store) Deliver(maildrops []string, r io.Reader) error {
	if len(maildrops) == 0 {
		return errors.New("a message for nobody")
	}
	for _, name := range maildrops {
		if err := s.prepare(name); err != nil {
			return err
		}
	}
	err := s.deliver(maildrops, r)
	if errors.Is(err, fs.ErrNotExist) {
		// Somebody removed a directory that was there before: look again next time.
		for _, name := range maildrops {
			s.setReady(name, false)
		}
	}
	return err
}

func (s *Store) deliver(maildrops []string, r io.Reader) error {
	unique := s.uniqueName()
	tmp := path.Join(maildrops[0], "tmp", unique)
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	f, err := s.root.OpenFile(tmp, flags, 0o600)
	if errors.Is(err, fs.ErrNotExist) { // somebody moved the maildrop away
		s.setReady(maildrops[0], false)
		if err = s.prepare(maildrops[0]); err == nil {
			f, err = s.root.OpenFile(tmp, flags, 0o600)
		}
	}
	if err != nil {
		return err
	}
	defer func() {
		f.Close()              // again, where all went well
		_ = s.root.Remove(tmp) // a left-over in tmp is harmless: nobody reads it
	}()
	w := newDiskWriter(f)
	if _, err := io.CopyBuffer(w, r, make([]byte, bufferSize)); err != nil {
		return err
	}
	disk, wire, err := w.finish()
	if err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return s.publish(maildrops, tmp, fmt.Sprintf("%s,S=%d,W=%d", unique, disk, wire))
}

// publish gives the finished file its name in every maildrop, one body for all
// of them, and takes them all back if it can't.
func (s *Store) publish(maildrops []string, tmp, name string) (err error) {
	var done []string
	defer func() {
		if err != nil {
			for _, p := range done {
				err = errors.Join(err, s.root.Remove(p), safefile.SyncDir(s.root, path.Dir(p)))
			}
		}
	}()
	for _, drop := range maildrops {
		p := path.Join(drop, "new", name)
		if err := s.root.Link(tmp, p); err != nil {
			return err
		}
		done = append(done, p)
	}
	for _, drop := range maildrops {
		if err := safefile.SyncDir(s.root, path.Join(drop, "new")); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) uniqueName() string {
	var random [6]byte
	rand.Read(random[:])
	now := time.Now()
	return fmt.Sprintf("%d.M%06dR%x.%s", now.Unix(), now.Nanosecond()/1000, random, s.host)
}
