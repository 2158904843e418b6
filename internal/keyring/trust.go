package keyring

import (
	"bufio"
	"bytes"
	"crypto/rsa"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"xm/hybrid"
	"xm/internal/safefile"
)

const (
	trustDir   = "trust"
	changedDir = "changed"
)

// State is what is known of somebody's key, in a word.
type State string

const (
	Unknown  State = "unknown"  // there is no key
	Known    State = "known"    // there is one
	Verified State = "verified" // somebody compared its fingerprint
	Changed  State = "changed"  // the directory has another than the known one
)

// Trust is what is known of somebody's key, beside the key. Times are zero where
// something did not happen.
type Trust struct {
	State    State
	From     string    // the server that it was fetched from, if it was
	Fetched  time.Time // when that was, at the last time
	Verified time.Time
}

// Trust tells what is known of the key of a name.
func (r *Ring) Trust(name string) (Trust, error) {
	key, err := r.Public(name)
	if errors.Is(err, ErrNotFound) {
		return Trust{State: Unknown}, nil
	}
	if err != nil {
		return Trust{}, err
	}
	t, err := r.readTrust(name, key)
	if err != nil {
		return Trust{}, err
	}
	t.State = Known
	if !t.Verified.IsZero() {
		t.State = Verified
	}
	_, err = r.root.Lstat(changedFile(name))
	if err == nil {
		t.State = Changed
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return t, err
}

func trustFile(name string) string   { return path.Join(trustDir, name) }
func changedFile(name string) string { return path.Join(changedDir, name+pubSuffix) }

// readTrust reads what the file in trust/ says about key. What it says about
// another, which had the name before, does not count.
func (r *Ring) readTrust(name string, key *rsa.PublicKey) (t Trust, err error) {
	data, err := r.read(trustFile(name), "")
	if errors.Is(err, ErrNotFound) {
		return Trust{}, nil
	}
	if err != nil {
		return Trust{}, err
	}
	about := ""
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		word, value, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "key":
			about = value
		case "from":
			t.From = value
		case "fetched":
			t.Fetched, err = time.Parse(time.RFC3339, value)
		case "verified":
			t.Verified, err = time.Parse(time.RFC3339, value)
		}
		if err != nil {
			return Trust{}, fmt.Errorf("%s: %q is no time as 2026-12-31T12:00:00Z", r.path(trustFile(name)), value)
		}
	}
	if about != hybrid.Fingerprint(key) {
		return Trust{}, nil
	}
	return t, lines.Err()
}

// writeTrust writes the file in trust/. The directory is locked.
func (r *Ring) writeTrust(name string, key *rsa.PublicKey, t Trust) error {
	if err := safefile.Mkdir(r.root, trustDir, 0o700); err != nil {
		return err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "key %s\n", hybrid.Fingerprint(key))
	if t.From != "" {
		fmt.Fprintf(&text, "from %s\n", t.From)
	}
	writeTime(&text, "fetched", t.Fetched)
	writeTime(&text, "verified", t.Verified)
	return safefile.Replace(r.root, trustFile(name), []byte(text.String()), 0o644)
}

func writeTime(text *strings.Builder, word string, at time.Time) {
	if !at.IsZero() {
		fmt.Fprintf(text, "%s %s\n", word, at.UTC().Format(time.RFC3339))
	}
}

// note changes what trust/ says about the key of a name.
func (r *Ring) note(name string, change func(*Trust)) error {
	unlock, err := r.lock()
	if err != nil {
		return err
	}
	defer unlock()
	key, err := r.Public(name)
	if err != nil {
		return err
	}
	t, err := r.readTrust(name, key)
	if err != nil {
		return err
	}
	change(&t)
	return r.writeTrust(name, key, t)
}

// Fetched takes a key that the server from gave. If another is known, that stays,
// the new one waits in changed/, and the error matches ErrChanged.
func (r *Ring) Fetched(name string, data []byte, from string, at time.Time) (*rsa.PublicKey, error) {
	if strings.ContainsAny(from, "\r\n") {
		return nil, errors.New("a server's name has no line ends")
	}
	key, _, err := r.Import(name, data, false)
	if errors.Is(err, ErrChanged) {
		return key, errors.Join(err, r.keepChanged(name, data))
	}
	if err != nil {
		return nil, err
	}
	if err := r.dropChanged(name); err != nil { // what waited was taken back
		return nil, err
	}
	return key, r.note(name, func(t *Trust) { t.From, t.Fetched = from, at })
}

func (r *Ring) keepChanged(name string, data []byte) error {
	unlock, err := r.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if data, err = PublicBlocks(data); err != nil {
		return err
	}
	if err := safefile.Mkdir(r.root, changedDir, 0o700); err != nil {
		return err
	}
	return safefile.Replace(r.root, changedFile(name), data, 0o644)
}

func (r *Ring) dropChanged(name string) error {
	if err := r.root.Remove(changedFile(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Accept takes the key that waits in changed/ in the place of the known one,
// which is kept in former/: kept is its path.
func (r *Ring) Accept(name string) (key *rsa.PublicKey, kept string, err error) {
	if err := checkOther(name); err != nil {
		return nil, "", err
	}
	data, err := r.read(changedFile(name), "no changed key waits to be accepted")
	if err != nil {
		return nil, "", err
	}
	if key, kept, err = r.Import(name, data, true); err != nil {
		return nil, "", err
	}
	return key, kept, r.dropChanged(name)
}

// Verify notes that somebody compared the fingerprint of the key of a name. key
// is the one that was shown: the error matches ErrChanged if it is there no more.
func (r *Ring) Verify(name string, key *rsa.PublicKey, at time.Time) error {
	if err := checkOther(name); err != nil {
		return err
	}
	if err := r.sameKey(name+pubSuffix, key); err != nil {
		return err
	}
	return r.note(name, func(t *Trust) { t.Verified = at })
}
