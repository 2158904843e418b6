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
// with its number and hides no other line: the name that it begins with is not
// free, and mail and logins for it have to wait.
//
// # Who may write
//
// Any process that holds an exclusive flock(2) on .users.txt.lock, by replacing
// the file as a whole (package safefile). Readers take no lock. An editor that
// replaces the file is safe too, as long as nobody else changes it meanwhile. The
// same goes for the files below.
//
// # What users.txt has no field for
//
// Its form is the original's, so the rest is in files beside it, each described
// where it is read, and none needed:
//
//	users.settings   who is disabled, quotas, users' own aliases (Settings)
//	users.former     keys that users had before (FormerKeys)
//	users.invites    codes with which to register (Invite)
//	userstat         who is logged in (Presence)
//
// Whoever takes the name of a former user inherits nothing of it.
//
// .decoy.key, beside it, holds 32 random octets (0600). A name that has no SCRAM
// salt is shown one that is made from this key, always the same, so that nobody
// learns by asking which names exist. It is made when it is first needed and
// never changed. Losing it costs no user anything, but whoever asked before and
// asks again can tell.
//
// # Names
//
// A bare name receives mail for local@ every local domain; any other name for
// itself alone. Local parts are compared exactly and then without case, domains
// as they stand in DNS (A-labels, RFC 5890). Aliases are names too, which do not
// stand in this file; a user goes before an alias. Two names that could receive the same mail can't both be
// created; neither can a name that differs from another by a sub-address
// ("alice+x" beside "alice") or by case alone, or whose maildrop (a directory
// of the data directory) still exists, or whose line was set aside (SetAside).
package userdb

import (
	"cmp"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"xm/internal/disk"
)

const (
	fileName = "users.txt"
	lockName = ".users.txt.lock"
)

var (
	// ErrTaken is matched by the error of Add for a name that exists, overlaps
	// another or an alias, has a maildrop, or is easily mistaken.
	ErrTaken = errors.New("the name is taken")
	// ErrNoUser is matched by the errors of changes to a user who is not there.
	ErrNoUser = errors.New("no such user")
)

// DB is an open users.txt. Its methods may be called concurrently, and other
// processes may change the file meanwhile.
type DB struct {
	root       disk.Dir
	locals     []string // local domains, folded
	aliases    aliases  // those of the options
	log        *slog.Logger
	snap       atomic.Pointer[snapshot]
	sessions   loginCache
	salting    atomic.Pointer[[]byte] // the content of .decoy.key, once read
	seen       sync.Map               // the names of files that have been there
	written    atomic.Int64           // when this process wrote last; by sinceStart
	writing    chan struct{}          // holds a token while this process writes
	derive     chan struct{}          // holds one for each derivation under way; a core is left to the others
	fresh      time.Duration
	iterations int
	decoy      Record // what a password is checked against where there is no user
}

// Options are what users.txt does not say.
type Options struct {
	// LocalDomains are the domains that bare names receive mail for.
	LocalDomains []string
	// Iterations are those of PBKDF2 in the records that logins make; 0 stands
	// for DefaultIterations. A name that nobody has is shown the same number: who
	// changes it gives away which names have records from before.
	Iterations int
	// Aliases maps names to those of users and other aliases, who get their
	// mail. A bare name stands for itself at every local domain.
	Aliases map[string][]string
	// Fresh is how long what the files hold is used without another look at them; 0
	// for no time. A change that this DB makes is seen at once in any case.
	Fresh time.Duration
}

// Open opens the users of a data directory, which must exist; users.txt need
// not. It fails for an alias that can't be a name or leads back to itself.
func Open(dataDir string, options Options, log *slog.Logger) (*DB, error) {
	db := &DB{log: log, fresh: options.Fresh, writing: make(chan struct{}, 1), derive: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1)),
		iterations: cmp.Or(options.Iterations, DefaultIterations)}
	for _, d := range options.LocalDomains {
		if !db.Local(d) { // the host name may be among the configured
			db.locals = append(db.locals, foldDomain(d))
		}
	}
	if err := db.setAliases(options.Aliases); err != nil {
		return nil, err
	}
	db.sessions.init()
	var err error
	if db.decoy, err = NewRecord(Name{local: "decoy"}, "decoy", db.iterations); err != nil {
		return nil, err
	}
	if db.root, err = disk.OpenDir(dataDir); err != nil {
		return nil, err
	}
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
	return s.records, errors.Join(s.problems()...)
}

// Local reports whether domain is one whose addresses are all ours, so that an
// unknown name there does not exist anywhere.
func (db *DB) Local(domain string) bool {
	return slices.Contains(db.locals, foldDomain(domain))
}

// Find returns the user who receives the mail for local@domain, sub-addresses
// ("alice+lists") included. domain is empty for an address without one, which
// finds a user if it can only mean one.
func (db *DB) Find(local, domain string) (Record, bool, error) {
	s, err := db.load()
	if err != nil {
		return Record{}, false, err
	}
	return db.find(s, local, domain)
}

func (db *DB) find(s *snapshot, local, domain string) (Record, bool, error) {
	local = nfc(local)
	domains := db.domains(domain)
	for _, l := range []string{local, base(local)} {
		if r, ok := s.find(l, domains); ok {
			return r, true, nil
		}
		if err := s.unreadable(l, domains); err != nil {
			return Record{}, false, err
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
		if len(s.alike(qualified)) == 0 {
			dirs = append(dirs, qualified.String())
		}
	}
	return dirs, nil
}
