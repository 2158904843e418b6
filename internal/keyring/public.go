package keyring

import (
	"bytes"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"xm/hybrid"
	"xm/internal/disk"
)

// ErrChanged is matched by the error for a key that differs from the known one
// of the same name.
var ErrChanged = errors.New("this is not the key that is known")

// PublicKey is a user's public key, or one's own.
type PublicKey struct {
	Name   string
	Key    *rsa.PublicKey
	File   string
	Former bool
}

// Public reads the public key of a user, or of Server.
func (r *Ring) Public(name string) (*rsa.PublicKey, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	return r.public(name+pubSuffix, "it is the key.pub of "+name)
}

func (r *Ring) public(file, hint string) (*rsa.PublicKey, error) {
	data, err := r.read(file, hint)
	if err != nil {
		return nil, err
	}
	key, err := hybrid.ParsePublicKey(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.path(file), err)
	}
	return key, nil
}

// publicOf reads a public key of a name, current or former. Where the file of
// one's own is lost, a private key without a passphrase tells it as well.
func (r *Ring) publicOf(name, stem string) (key *rsa.PublicKey, file string, err error) {
	key, err = r.public(stem+pubSuffix, "it is the key.pub of "+name)
	if name != Own || !errors.Is(err, ErrNotFound) {
		return key, r.path(stem + pubSuffix), err
	}
	data, privErr := r.read(stem+privSuffix, "")
	if privErr != nil {
		return nil, "", err
	}
	private, err := hybrid.ParsePrivateKey(data)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", r.path(stem+privSuffix), err)
	}
	return &private.PublicKey, r.path(stem + privSuffix), nil
}

// PublicKeys reads the public key of a user, of Server or of Own, and the former
// ones, in this order, the newest first. There may be former ones alone. Those
// that can't be read don't keep the others from use: unread says why.
func (r *Ring) PublicKeys(name string) (keys []PublicKey, unread []error, err error) {
	if err := checkName(name); err != nil {
		return nil, nil, err
	}
	formers, err := r.formers(name)
	if err != nil {
		return nil, nil, err
	}
	key, file, err := r.publicOf(name, name)
	switch {
	case err == nil:
		keys = append(keys, PublicKey{Name: name, Key: key, File: file})
	case !errors.Is(err, ErrNotFound) || formers == nil:
		return nil, nil, err
	}
	for _, f := range formers {
		key, file, err := r.publicOf(name, f.stem())
		if err != nil {
			unread = append(unread, err)
			continue
		}
		keys = append(keys, PublicKey{Name: name, Key: key, File: file, Former: true})
	}
	return keys, unread, nil
}

// List reads all public keys, one's own first, and those of one name together,
// as PublicKeys gives them.
func (r *Ring) List() (keys []PublicKey, unread []error, err error) {
	names, err := r.names()
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		more, bad, err := r.PublicKeys(name)
		keys, unread = append(keys, more...), append(unread, bad...)
		if err != nil {
			unread = append(unread, err)
		}
	}
	return keys, unread, nil
}

// names finds whose keys are in the ring.
func (r *Ring) names() ([]string, error) {
	entries, err := disk.ReadDir(r.root, ".")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name, pubSuffix); ok && checkName(name) == nil {
			names = append(names, name)
		} else if e.Name == privateFile {
			names = append(names, Own)
		}
	}
	formers, err := r.formers("")
	for _, f := range formers {
		names = append(names, f.name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if at := slices.Index(names, Own); at > 0 {
		names = slices.Insert(slices.Delete(names, at, at+1), 0, Own)
	}
	return names, err
}

// Export reads what to give to others: the public key of a user, of Server or of
// Own, with the blocks of other types beside it.
func (r *Ring) Export(name string) ([]byte, error) {
	if _, err := r.Public(name); err != nil {
		return nil, err
	}
	data, err := r.read(name+pubSuffix, "")
	if err != nil {
		return nil, err
	}
	if data, err = PublicBlocks(data); err != nil {
		return nil, fmt.Errorf("%s: %w", r.path(name+pubSuffix), err)
	}
	return data, nil
}

// Import makes the public key in PEM data that of a user, or of Server. If
// another is known, the error matches ErrChanged, unless replace is set: then
// the known one is kept in former/, and kept is its path.
func (r *Ring) Import(name string, data []byte, replace bool) (key *rsa.PublicKey, kept string, err error) {
	if err := checkOther(name); err != nil {
		return nil, "", err
	}
	if key, err = hybrid.ParsePublicKey(data); err != nil {
		return nil, "", err
	}
	if data, err = PublicBlocks(data); err != nil {
		return nil, "", err
	}
	unlock, err := r.lock()
	if err != nil {
		return nil, "", err
	}
	defer unlock()
	file := name + pubSuffix
	old, err := r.read(file, "")
	switch {
	case errors.Is(err, ErrNotFound):
		return key, "", r.writeNew(file, data, 0o644)
	case err != nil:
		return nil, "", err
	case bytes.Equal(old, data):
		return key, "", nil
	case !replace:
		return key, "", r.sameKey(file, key)
	}
	if kept, err = r.keep(name, pubSuffix); err != nil {
		return nil, "", err
	}
	if err := r.replace(file, data, 0o644); err != nil {
		return nil, "", err
	}
	return key, kept, r.dropChanged(name)
}

// sameKey compares a key with the known one.
func (r *Ring) sameKey(file string, key *rsa.PublicKey) error {
	known, err := r.public(file, "")
	if err != nil || known.Equal(key) {
		return err
	}
	return fmt.Errorf("%s: %w:\nknown  %s\ngiven  %s", r.path(file), ErrChanged, hybrid.Fingerprint(known), hybrid.Fingerprint(key))
}

// PublicBlocks takes the PEM blocks out of what surrounds them. Those of types
// that nobody knows yet belong to the key.
func PublicBlocks(data []byte) ([]byte, error) {
	var blocks []byte
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if strings.Contains(block.Type, "PRIVATE") {
			return nil, fmt.Errorf("it holds a private key (%q): only the public half is to be given to others", block.Type)
		}
		blocks = append(blocks, pem.EncodeToMemory(block)...)
	}
	return blocks, nil
}

// Remove forgets the key of a user, or of Server. It is kept in former/, since
// old mail can't be verified without: kept is its path.
func (r *Ring) Remove(name string) (kept string, err error) {
	if err := checkOther(name); err != nil {
		return "", err
	}
	unlock, err := r.lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	file := name + pubSuffix
	if _, err := r.root.Lstat(file); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w: %s", ErrNotFound, r.path(file))
	}
	if kept, err = r.keep(name, pubSuffix); err != nil {
		return "", err
	}
	if err := r.dropChanged(name); err != nil {
		return "", err
	}
	return kept, r.remove(file)
}

// checkOther wants a name that is not one's own.
func checkOther(name string) error {
	if name == Own {
		return fmt.Errorf("%w of somebody else: %q is your own, which xm keygen makes", ErrName, name)
	}
	return checkName(name)
}
