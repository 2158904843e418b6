package commands

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"xm/internal/disk"
	"xm/internal/safefile"
)

// localMail is a Maildir that mail is downloaded into. Its file .xm-fetched has
// a line "ID TIME OCTETS" for each message that was: when, in Unix seconds, and its
// size on the server, 0 if that is not known. It is locked for as long as one xm
// writes. A message's file is "TIME.ID.xm", so that one whose line a crash has
// prevented is found, too.
type localMail struct {
	root    disk.Dir
	state   disk.File
	fetched map[string]download
}

type download struct {
	at     time.Time
	octets int64 // on the server; 0 if not known
}

const fetchedFile = ".xm-fetched"

func openLocal(dir string) (*localMail, error) {
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err := safefile.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	root, err := disk.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	l := &localMail{root: root, fetched: map[string]download{}}
	if err := l.load(); err != nil {
		l.close()
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return l, nil
}

func (l *localMail) close() {
	if l.state != nil {
		l.state.Close()
	}
	l.root.Close()
}

func (l *localMail) load() (err error) {
	if l.state, err = l.root.OpenFile(fetchedFile, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		return err
	}
	if err := syscall.Flock(int(l.state.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return errors.New("another xm fetch is at work there")
	}
	lines := bufio.NewScanner(l.state)
	for lines.Scan() {
		if id, d, ok := parseFetched(lines.Text()); ok {
			l.fetched[id] = d
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	for _, sub := range []string{"new", "cur"} {
		if err := l.loadNames(sub); err != nil {
			return err
		}
	}
	return nil
}

// parseFetched reads a line, in which OCTETS may be missing.
func parseFetched(text string) (id string, d download, ok bool) {
	fields := strings.Fields(text)
	if len(fields) < 2 {
		return "", download{}, false
	}
	seconds, err := strconv.ParseInt(fields[1], 10, 64)
	if err == nil && len(fields) > 2 {
		d.octets, err = strconv.ParseInt(fields[2], 10, 64)
	}
	d.at = time.Unix(seconds, 0)
	return fields[0], d, err == nil
}

// hasOfOtherSize reports whether a message of that id, but not of that size, was
// fetched.
func (l *localMail) hasOfOtherSize(id string, octets int64) bool {
	had := l.fetched[id].octets
	return had > 0 && had != octets
}

// loadNames finds messages that were stored, but not noted.
func (l *localMail) loadNames(sub string) error {
	entries, err := disk.ReadDir(l.root, sub)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, _, _ := strings.Cut(e.Name, ":")
		parts := strings.Split(name, ".")
		if len(parts) != 3 || parts[2] != "xm" {
			continue
		}
		if _, noted := l.fetched[parts[1]]; !noted {
			if err := l.note(parts[1], 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// add stores a message. When it returns nil, the message is on the disk.
func (l *localMail) add(m incoming, write func(io.Writer) error) error {
	name := fmt.Sprintf("new/%d.%s.xm", time.Now().Unix(), m.id)
	if err := writeNewFile(l.root, name, write); err != nil {
		return err
	}
	return l.note(m.id, m.Octets)
}

func (l *localMail) note(id string, octets int64) error {
	now := time.Now()
	if err := addLine(l.state, fmt.Sprintf("%s %d %d", id, now.Unix(), octets)); err != nil {
		return err
	}
	l.fetched[id] = download{now, octets}
	return l.state.Sync()
}
