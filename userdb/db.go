// Package userdb keeps the users of a server in users.txt: who they are, how
// their passwords are checked and what their public keys are.
//
// # The file
//
// users.txt lies in the data directory and holds one user a line:
//
//	name,salt,hash
//	name,salt,hash,base64(PEM public keys)
//
// name is "local@domain" or a bare "local" (ParseName says what it may be).
// hash is one of
//
//   - 64 hex digits: SHA-256 of the password followed by the salt. The original
//     wrote these. They are accepted, and replaced by the other form at the
//     first login that carries the password.
//   - SCRAM-SHA-256$ITERATIONS:SALT$STORED_KEY:SERVER_KEY, base64, with the
//     values of RFC 5803; salt repeats SALT. The password goes through SASLprep
//     (RFC 4013) first. 4,096 to 1,000,000 iterations are accepted.
//
// The public keys are PEM blocks; the first is the user's RSA key, and others
// are kept for programs that know them. Empty lines and lines that begin with
// "#" are left alone, and so is a line that can't be read, which is reported
// with its number and hides no other line.
//
// # Who may write
//
// Any process that holds an exclusive flock(2) on .users.txt.lock, by replacing
// the file as a whole (package safefile). Readers take no lock. An editor that
// replaces the file is safe too, as long as nobody else changes it meanwhile.
//
// # Names
//
// A bare name receives mail for local@ every local domain; any other name for
// itself alone. Local parts are compared exactly and then without case, domains
// without case. Two names that could receive the same mail can't both be
// created; neither can a name that differs from another by a sub-address
// ("alice+x" beside "alice") or by case alone, or whose maildrop (a directory
// of the data directory) still exists.
package userdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"xm/internal/safefile"
)

const (
	fileName = "users.txt"
	lockName = ".users.txt.lock"
)

// ErrTaken is matched by the error of Add for a name that exists, overlaps
// another or has a maildrop.
var ErrTaken = errors.New("the name is taken")

var errLocked = errors.New("another program is changing " + fileName + " and does not finish")

// DB is an open users.txt. Its methods may be called concurrently, and other
// processes may change the file meanwhile.
type DB struct {
	root     *os.Root
	locals   []string // local domains, folded
	log      *slog.Logger
	snap     atomic.Pointer[snapshot]
	sessions loginCache
	seen     atomic.Bool   // there were users at some time
	writing  chan struct{} // holds a token while this process writes
	derive   chan struct{} // holds one for each derivation under way
	decoy    Record        // what a password is checked against where there is no user
}

// Open opens the users of a data directory, which must exist; users.txt need
// not. localDomains are the domains that bare names receive mail for.
func Open(dataDir string, localDomains []string, log *slog.Logger) (*DB, error) {
	root, err := os.OpenRoot(dataDir)
	if err != nil {
		return nil, err
	}
	decoy, err := NewRecord(Name{local: "decoy"}, "decoy", DefaultIterations)
	if err != nil {
		root.Close()
		return nil, err
	}
	db := &DB{root: root, log: log, decoy: decoy,
		writing: make(chan struct{}, 1), derive: make(chan struct{}, runtime.GOMAXPROCS(0))}
	for _, d := range localDomains {
		if !db.Local(d) { // the host name may be among the configured
			db.locals = append(db.locals, fold(d))
		}
	}
	db.sessions.init()
	return db, nil
}

// Close releases the data directory.
func (db *DB) Close() error { return db.root.Close() }

// Users returns the users in the file's order, and an error that joins one
// error for each line that can't be read, if any. Users are returned in any
// case.
func (db *DB) Users() ([]Record, error) {
	s, err := db.load()
	if err != nil {
		return nil, err
	}
	return s.records, errors.Join(s.broken...)
}

// Local reports whether domain is one whose addresses are all ours, so that an
// unknown name there does not exist anywhere.
func (db *DB) Local(domain string) bool {
	return slices.Contains(db.locals, fold(domain))
}

// Find returns the user who receives the mail for local@domain, sub-addresses
// ("alice+lists") included. domain is empty for an address without one, which
// finds a user if it can only mean one.
func (db *DB) Find(local, domain string) (Record, bool, error) {
	s, err := db.load()
	if err != nil {
		return Record{}, false, err
	}
	for _, l := range []string{local, base(local)} {
		if r, ok := s.find(l, db.domains(domain)); ok {
			return r, true, nil
		}
		if s.unreadable(l, db.domains(domain)) {
			return Record{}, false, fmt.Errorf("the record of %q can't be read", l)
		}
	}
	return Record{}, false, nil
}

// domains are those that a name may have to receive mail for domain: groups in
// order of preference. A name that only one domain of a group has is meant.
func (db *DB) domains(domain string) [][]string {
	switch {
	case domain == "":
		return [][]string{{""}, db.locals}
	case db.Local(domain):
		return [][]string{{domain}, {""}}
	}
	return [][]string{{domain}}
}

// byLogin finds the user whom a login name means: a sub-address is no login.
func (s *snapshot) byLogin(db *DB, login string) (Record, bool) {
	local, domain, _ := cutLast(login, '@')
	return s.find(local, db.domains(domain))
}

// Maildrops lists the directories, below the data directory, that hold the
// mail of a user: the user's Maildir first. The others hold what the original
// left for a bare name, which it stored under the address as it was given,
// unless that is another user's name.
func (db *DB) Maildrops(n Name) ([]string, error) {
	dirs := []string{n.String()}
	if n.domain != "" {
		return dirs, nil
	}
	s, err := db.load()
	if err != nil {
		return nil, err
	}
	for _, d := range db.locals {
		qualified := Name{n.local, d}
		if len(s.folded[qualified.folded()]) == 0 {
			dirs = append(dirs, qualified.String())
		}
	}
	return dirs, nil
}

// Add appends a user. The error matches ErrTaken if the name can't be had. ctx
// bounds the wait for other writers.
func (db *DB) Add(ctx context.Context, r Record) error {
	line := r.String()
	if again, err := ParseRecord(line); err != nil || again.String() != line || strings.ContainsAny(line, "\r\n") {
		return fmt.Errorf("the record of %s would not be read as it is written: %w", r.Name, err)
	}
	return db.update(ctx, func(s *snapshot) ([]string, error) {
		for _, other := range s.names() {
			if db.overlap(r.Name, other) {
				return nil, fmt.Errorf("%w: %s exists", ErrTaken, other)
			}
		}
		dir, err := db.leftMaildrop(r.Name)
		if err != nil {
			return nil, err
		}
		if dir != "" {
			return nil, fmt.Errorf("%w: a maildrop %s exists; it must be moved away first", ErrTaken, dir)
		}
		return append(s.lines, line), nil
	})
}

// replace puts new in the place of old, if the line still is old's.
func (db *DB) replace(ctx context.Context, old, new Record) error {
	return db.update(ctx, func(s *snapshot) ([]string, error) {
		i := slices.IndexFunc(s.lines, func(line string) bool { return trimCR(line) == old.raw })
		if i < 0 {
			return nil, fmt.Errorf("the record of %s was changed meanwhile", old.Name)
		}
		s.lines[i] = new.String()
		return s.lines, nil
	})
}

// overlap reports whether two names could receive the same mail, or could be
// taken for one another.
func (db *DB) overlap(a, b Name) bool {
	if fold(base(a.local)) != fold(base(b.local)) {
		return false
	}
	return fold(a.domain) == fold(b.domain) ||
		a.domain == "" && db.Local(b.domain) || b.domain == "" && db.Local(a.domain)
}

// leftMaildrop returns the name of a directory that a former user of the name,
// or of one that overlaps it, left.
func (db *DB) leftMaildrop(n Name) (string, error) {
	entries, err := fs.ReadDir(db.root.FS(), ".")
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if other, err := parseName(e.Name()); err == nil && e.IsDir() && db.overlap(n, other) {
			return e.Name(), nil
		}
	}
	return "", nil
}

// update replaces the file's lines by what change returns, with the file locked
// against other writers and freshly read.
func (db *DB) update(ctx context.Context, change func(*snapshot) ([]string, error)) error {
	unlock, err := db.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	s, err := readSnapshot(db.root)
	if err != nil {
		return err
	}
	lines, err := change(s)
	if err != nil {
		return err
	}
	db.snap.Store(nil)
	return safefile.Replace(db.root, fileName, []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

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

// Authenticate reports whether password is that of the user whom login names,
// and which user that is. A wrong password and an unknown user cost the same.
// The error is for what keeps the check from being made.
func (db *DB) Authenticate(ctx context.Context, login, password string) (Name, bool, error) {
	s, err := db.load()
	if err != nil {
		return Name{}, false, err
	}
	r, known := s.byLogin(db, login)
	if known && db.sessions.has(r, password) {
		return r.Name, true, nil
	}
	right, err := db.check(ctx, r, known, password)
	if err != nil || !right {
		return Name{}, false, err
	}
	db.sessions.add(db.strengthen(r, password), password)
	return r.Name, true, nil
}

// check verifies a password against a user's record, or against the decoy where
// there is none. A few checks run at once.
func (db *DB) check(ctx context.Context, r Record, known bool, password string) (bool, error) {
	select {
	case db.derive <- struct{}{}:
		defer func() { <-db.derive }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if known && r.verify(password) {
		return true, nil
	}
	if !known || r.Kind() != db.decoy.Kind() {
		db.decoy.verify(password)
	}
	return false, nil
}

// strengthenTime is how long a login waits for other writers of users.txt.
const strengthenTime = 100 * time.Millisecond

// strengthen replaces a record of the original's by a SCRAM one, and returns
// the record that now stands for the user. That it could not is no reason to
// refuse a right password: the next login tries again.
func (db *DB) strengthen(old Record, password string) Record {
	if old.Kind() == db.decoy.Kind() {
		return old
	}
	r, err := NewRecord(old.Name, password, DefaultIterations)
	if err == nil {
		r.Keys = old.Keys
		ctx, cancel := context.WithTimeout(context.Background(), strengthenTime)
		defer cancel()
		err = db.replace(ctx, old, r)
	}
	if err != nil {
		db.log.Warn("the SHA-256 record stays", "user", old.Name.String(), "err", err)
		return old
	}
	db.log.Info("SHA-256 record replaced by SCRAM-SHA-256", "user", old.Name.String())
	return r
}
