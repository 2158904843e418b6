package userdb

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"xm/internal/disk"
	"xm/internal/safefile"
)

// statName is the file that tells who is logged in: one user a line,
//
//	name on|off time
//
// with the time since when (RFC 3339, UTC). It is written some time after the
// fact, and costs no login anything. Processes that write it hold an open file
// description lock (fcntl(2)), for reading, on .userstat.lock as long as they run;
// while nobody holds one, nobody is on, whatever the file says.
const (
	statName     = "userstat"
	statLockName = ".userstat.lock"
	// statDelay is how long a change waits for others, to be written with them.
	statDelay = 2 * time.Second
	// statPatience bounds the wait for other writers.
	statPatience = 10 * time.Second
)

// Status is whether a user is logged in, and since when that is so. The zero
// Status is that of a user who never was.
type Status struct {
	On    bool
	Since time.Time
}

// Presence keeps userstat for a process that serves logins. Its methods may be
// called concurrently, and none of them but Close waits for a disk.
type Presence struct {
	db   *DB
	lock disk.File // nil if there is none to be had
	log  *slog.Logger
	done chan struct{}
	wake chan struct{} // holds a token while there is something to write
	wg   sync.WaitGroup

	mu       sync.Mutex
	sessions map[string]int    // by name; those who are on
	news     map[string]Status // what is not written yet
}

// Watch starts to keep userstat. Whoever is on in it is no longer, unless another
// process keeps it, too. The caller calls Close. Where the file can't be kept, on a
// full disk say, the log says so: that is no reason to serve nobody.
func (db *DB) Watch() *Presence {
	p := &Presence{db: db, log: db.log, done: make(chan struct{}), wake: make(chan struct{}, 1),
		sessions: map[string]int{}, news: map[string]Status{}}
	if err := p.start(); err != nil {
		p.log.Warn(statName+" does not tell who is logged in", "err", err)
	}
	p.wg.Go(p.run)
	return p
}

// start joins the processes that keep userstat. The first one ends the sessions of
// those who were killed.
func (p *Presence) start() (err error) {
	if p.lock, err = safefile.OpenLock(p.db.root, statLockName); err != nil {
		return err
	}
	err = setLock(p.lock, unix.F_OFD_SETLK, unix.F_WRLCK)
	if err == nil {
		err = p.endSessions()
	} else if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		err = nil
	}
	return errors.Join(err, setLock(p.lock, unix.F_OFD_SETLKW, unix.F_RDLCK))
}

// endSessions writes that nobody is on any more. If that fails, it is news that is
// written later.
func (p *Presence) endSessions() error {
	stats, err := p.db.readStats()
	if err != nil {
		return err
	}
	for user, st := range stats {
		if st.On {
			p.news[user] = Status{false, time.Now()}
		}
	}
	if err = p.flush(); err != nil {
		p.wake <- struct{}{}
	}
	return err
}

func setLock(f disk.File, command int, kind int16) error {
	for {
		err := unix.FcntlFlock(f.Fd(), command, &unix.Flock_t{Type: kind})
		if err != unix.EINTR {
			return err
		}
	}
}

// watched reports whether a process keeps userstat.
func (db *DB) watched() (bool, error) {
	f, err := db.root.Open(statLockName)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK} // comes back as what is in its way
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock)
	return lock.Type != unix.F_UNLCK, err
}

// Enter notes that a session of a user has begun. The caller calls leave, once or
// more, when it has ended.
func (p *Presence) Enter(user string) (leave func()) {
	p.count(user, 1)
	return sync.OnceFunc(func() { p.count(user, -1) })
}

func (p *Presence) count(user string, change int) {
	p.mu.Lock()
	before := p.sessions[user]
	now := before + change
	if p.sessions[user] = now; now == 0 {
		delete(p.sessions, user)
	}
	if (before == 0) != (now == 0) {
		p.news[user] = Status{now > 0, time.Now()}
	}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Close writes what is left to write: that nobody of this process is on.
func (p *Presence) Close() error {
	close(p.done)
	p.wg.Wait()
	p.mu.Lock()
	for user := range p.sessions {
		p.news[user] = Status{false, time.Now()}
	}
	p.mu.Unlock()
	err := p.flush()
	if p.lock != nil {
		err = errors.Join(err, p.lock.Close())
	}
	return err
}

// run writes what has become news, at most every statDelay.
func (p *Presence) run() {
	for {
		select {
		case <-p.wake:
		case <-p.done:
			return
		}
		select {
		case <-time.After(statDelay):
		case <-p.done:
			return
		}
		if err := p.flush(); err != nil {
			p.log.Warn(statName+" can't be written", "err", err)
		}
	}
}

// flush writes the news. If that fails, they are kept for the next time.
func (p *Presence) flush() error {
	ctx, cancel := context.WithTimeout(context.Background(), statPatience)
	defer cancel()
	return p.flushWithin(ctx)
}

func (p *Presence) flushWithin(ctx context.Context) error {
	p.mu.Lock()
	news := p.news
	p.news = map[string]Status{}
	p.mu.Unlock()
	if len(news) == 0 {
		return nil
	}
	err := p.write(ctx, news)
	if err == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.Copy(news, p.news)
	p.news = news
	return err
}

// write puts news into the file. Users who are gone go.
func (p *Presence) write(ctx context.Context, news map[string]Status) error {
	return p.db.locked(ctx, func() error {
		s, err := p.db.load()
		if err != nil {
			return err
		}
		stats, err := p.db.readStats()
		if err != nil {
			return err
		}
		maps.Copy(stats, news)
		var lines []string
		for _, r := range s.records {
			if st, ok := stats[r.Name.String()]; ok {
				lines = append(lines, st.line(r.Name.String()))
			}
		}
		return p.db.writeLines(statName, lines)
	})
}

// Stats tells of all users who ever logged in whether they are, by name. Lines
// that can't be read are passed over.
func (db *DB) Stats() (map[string]Status, error) {
	stats, err := db.readStats()
	if err != nil {
		return nil, err
	}
	watched, err := db.watched()
	if err != nil {
		return nil, err
	}
	for user, st := range stats {
		stats[user] = Status{st.On && watched, st.Since}
	}
	return stats, nil
}

func (db *DB) readStats() (map[string]Status, error) {
	lines, err := db.readLines(statName)
	if err != nil {
		return nil, err
	}
	stats := make(map[string]Status, len(lines))
	for _, line := range lines {
		if user, st, ok := parseStatus(line); ok {
			stats[user] = st
		}
	}
	return stats, nil
}

func parseStatus(line string) (user string, st Status, ok bool) {
	words := strings.Fields(line)
	if len(words) != 3 || words[1] != "on" && words[1] != "off" {
		return "", Status{}, false
	}
	since, err := parseTime(words[2])
	if err != nil {
		return "", Status{}, false
	}
	return words[0], Status{words[1] == "on", since}, true
}

func (st Status) line(user string) string {
	state := "off"
	if st.On {
		state = "on"
	}
	return user + " " + state + " " + formatTime(st.Since)
}
