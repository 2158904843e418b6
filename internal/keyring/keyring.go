// Package keyring keeps a person's keys in a directory, under the names that
// hybrid.py gave them:
//
//	key.priv    the private key, PEM, mode 0600; it may have a passphrase
//	key.pub     its public half
//	NAME.pub    the public key of the user NAME
//	server.pub  the public key of the registration server
//	former/     what was replaced or removed, as key.DATE.priv, key.DATE.pub
//	            and NAME.DATE.pub; old mail can't be read and verified without
//	trust/NAME  what is known of the key in NAME.pub: lines "key FINGERPRINT",
//	            "from SERVER", "fetched TIME" and "verified TIME" (RFC 3339)
//	changed/    as NAME.pub, keys that a directory gave where another was known:
//	            they are of no use until they are accepted
//	servers/    as HOST:PORT.pub, the keys of other people's registration servers
//	next/       key.priv, one that is about to replace the other; mail for it is read, too
//
// What trust/ says counts for the key with that fingerprint alone, so that nothing
// is believed of another that takes its place.
//
// DATE is the time in UTC, as 20060102T150405Z, with -2, -3 ... where that is
// taken. No key that was in use is ever overwritten or destroyed. Writers lock the directory
// itself (flock). Any program may add and remove NAME.pub files.
package keyring

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode"

	"xm/internal/disk"
	"xm/internal/safefile"
)

const (
	privateFile = Own + privSuffix
	publicFile  = Own + pubSuffix
	privSuffix  = ".priv"
	pubSuffix   = ".pub"
	// Own is the name of one's own key, and Server that of the registration
	// server's.
	Own    = "key"
	Server = "server"
)

const (
	maxFileName = 255
	maxKeyFile  = 1 << 20 // octets
)

var (
	// ErrNotFound is matched by the error for a key that is not in the ring.
	ErrNotFound = errors.New("no such key")
	// ErrName is matched by the error for a name that no key can have.
	ErrName = errors.New("not a key's name")
)

// Ask gets the passphrase of a private key, whose file is shown to the person.
type Ask func(file string) ([]byte, error)

// Ring is an open key directory. It is for one goroutine.
type Ring struct {
	root        disk.Dir
	ask         Ask
	passphrases [][]byte          // all that were given, since they may open other keys
	opened      map[string][]byte // the passphrase of each file that has one
	loose       map[string]bool   // private keys that others can read, and whether Loose told so
}

// Create opens a directory of keys, and makes it where it is missing.
func Create(dir string, ask Ask) (*Ring, error) {
	if err := safefile.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return Open(dir, ask)
}

// Open opens a directory of keys. ask is called for private keys that are
// encrypted, where no passphrase that it gave before opens them. If it is nil,
// such a key is an error that matches hybrid.ErrPassphraseNeeded.
func Open(dir string, ask Ask) (*Ring, error) {
	root, err := disk.OpenDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: there is no directory %s", ErrNotFound, dir)
	}
	if err != nil {
		return nil, err
	}
	return &Ring{root: root, ask: ask, opened: map[string][]byte{}, loose: map[string]bool{}}, nil
}

// Close releases the directory.
func (r *Ring) Close() error { return r.root.Close() }

func (r *Ring) path(file string) string { return filepath.Join(r.root.Name(), file) }

// read reads a key file; hint says where a missing one comes from.
func (r *Ring) read(file, hint string) ([]byte, error) {
	f, err := r.root.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s (%s)", ErrNotFound, r.path(file), hint)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.path(file), err)
	}
	defer f.Close()
	r.checkMode(file, f)
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err == nil && len(data) > maxKeyFile {
		err = errors.New("too large for a key")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.path(file), err)
	}
	return data, nil
}

// checkMode notes a private key that is not private.
func (r *Ring) checkMode(file string, f disk.File) {
	st, err := f.Stat()
	path := r.path(file)
	if _, known := r.loose[path]; err == nil && !known && strings.HasSuffix(file, privSuffix) && st.Mode().Perm()&0o077 != 0 {
		r.loose[path] = false
	}
}

// Loose returns the private keys that were read and that group or others may
// read or change, each of them once.
func (r *Ring) Loose() []string {
	var paths []string
	for path, told := range r.loose {
		if !told {
			paths = append(paths, path)
			r.loose[path] = true
		}
	}
	slices.Sort(paths)
	return paths
}

// lock waits until nobody else changes the directory. The kernel drops the lock
// of a process that dies.
func (r *Ring) lock() (unlock func(), err error) {
	dir, err := r.root.Open(".")
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX); err != nil {
		dir.Close()
		return nil, fmt.Errorf("lock %s: %w", r.root.Name(), err)
	}
	return func() { dir.Close() }, nil
}

// checkName keeps names in the directory and on one line of a terminal.
func checkName(name string) error {
	if name == "" || name[0] == '.' || len(name)+len(pubSuffix) > maxFileName ||
		strings.ContainsFunc(name, func(r rune) bool { return r == '/' || r == '\\' || !unicode.IsPrint(r) }) {
		return fmt.Errorf("%q is %w", name, ErrName)
	}
	return nil
}
