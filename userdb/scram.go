package userdb

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"xm/internal/disk"
	"xm/internal/safefile"
)

// Verifier is what a server must know of a user to check SCRAM-SHA-256
// (RFC 5802, section 3). StoredKey and ServerKey have 32 octets.
type Verifier struct {
	User                       string // empty if there is nobody whom the rest fits
	Iterations                 int
	Salt, StoredKey, ServerKey []byte
}

// SCRAM returns the verifier of the user whom login names. Where there is none,
// or where the record is one of the original's, it looks like any other, stays
// the same, and has no User; that of a disabled user is as it was before.
func (db *DB) SCRAM(login string) (Verifier, error) {
	s, err := db.load()
	if err != nil {
		return Verifier{}, err
	}
	// For known names too: if there is trouble with the key, they must not be
	// the only ones that work.
	v, err := db.decoyVerifier(login)
	if err != nil {
		return Verifier{}, err
	}
	r, known, err := s.admitted(db, login)
	if err != nil {
		return Verifier{}, err
	}
	if !known {
		r, _ = s.namesake(db, login)
	}
	if r.Kind() != scramKind {
		return v, nil
	}
	got, err := parseSCRAM(r.Hash)
	if err != nil {
		return Verifier{}, err
	}
	if !known {
		v.Salt, v.Iterations = got.salt, got.iterations
		return v, nil
	}
	return Verifier{r.Name.String(), got.iterations, got.salt, got.storedKey, got.serverKey}, nil
}

// namesake finds a user of the same canonical name for a login that finds none.
// robert@localhost.com has one salt, whether he logs in so or as robert; if
// robert@localhost had another, though it finds nobody, that would show that
// there is a robert.
func (s *snapshot) namesake(db *DB, login string) (Record, bool) {
	local, domain := db.canonical(login)
	for _, d := range append([]string{domain}, db.locals...) {
		if domain != "" && d != domain {
			break
		}
		if same := s.alike(Name{local, d}); len(same) > 0 {
			return s.records[slices.Min(same)], true
		}
	}
	return Record{}, false
}

// canonical is the same for all the spellings of a login that can find the same
// user: without case, and without a domain that a bare name can stand for.
func (db *DB) canonical(login string) (local, domain string) {
	local, domain, _ = cutDomain(login)
	if db.Local(domain) {
		domain = ""
	}
	return fold(local), foldDomain(domain)
}

const (
	decoyName = ".decoy.key"
	decoySize = sha256.Size
)

func (db *DB) decoyVerifier(login string) (Verifier, error) {
	salt, err := db.decoySalt(login)
	if err != nil {
		return Verifier{}, err
	}
	// Keys that nobody knows. They never leave, so they need not be stable.
	var keys [2 * sha256.Size]byte
	rand.Read(keys[:])
	return Verifier{"", db.iterations, salt, keys[:sha256.Size], keys[sha256.Size:]}, nil
}

// decoySalt makes up the salt of a login that has no SCRAM record: always the same.
func (db *DB) decoySalt(login string) ([]byte, error) {
	key, err := db.decoyKey()
	if err != nil {
		return nil, err
	}
	local, domain := db.canonical(login)
	return mac(key, local+"@"+domain)[:scramSaltSize], nil
}

// decoyKey reads the key that salts are invented with, and makes it if it is
// missing.
func (db *DB) decoyKey() ([]byte, error) {
	if key := db.salting.Load(); key != nil {
		return *key, nil
	}
	key, err := disk.ReadFile(db.root, decoyName)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = db.makeDecoyKey()
	}
	if err != nil {
		return nil, err
	}
	if len(key) != decoySize {
		return nil, fmt.Errorf("%s is damaged; without it, another is made", decoyName)
	}
	db.salting.Store(&key)
	return key, nil
}

// makeDecoyKey writes a key, and returns what then stands in the file: another
// process may have been faster.
func (db *DB) makeDecoyKey() ([]byte, error) {
	var key [decoySize]byte
	rand.Read(key[:])
	err := safefile.WriteNew(db.root, decoyName, key[:], 0o600)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return disk.ReadFile(db.root, decoyName)
}
