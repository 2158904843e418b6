package keyring

import (
	"crypto/rsa"
	"errors"
	"io/fs"
	"path"

	"xm/hybrid"
	"xm/internal/disk"
	"xm/internal/safefile"
)

const nextDir = "next"

func nextFile() string { return path.Join(nextDir, privateFile) }

// Next reads the key that is to replace key.priv, in next/, or makes one of so
// many bits, with the passphrase of key.priv. made tells which: one that was there
// is left from an attempt to replace it whose end is not known. Private must have
// been called before.
func (r *Ring) Next(bits int) (key *rsa.PrivateKey, made bool, err error) {
	key, err = r.private(nextFile())
	if err == nil || !errors.Is(err, ErrNotFound) {
		return key, false, err
	}
	if key, err = hybrid.GenerateKey(bits); err != nil {
		return nil, false, err
	}
	data, err := marshal(key, r.opened[privateFile])
	if err != nil {
		return nil, false, err
	}
	unlock, err := r.lock()
	if err != nil {
		return nil, false, err
	}
	defer unlock()
	if err := safefile.Mkdir(r.root, nextDir, 0o700); err != nil {
		return nil, false, err
	}
	return key, true, r.writeNew(nextFile(), data, 0o600)
}

// UseNext puts the key in next/ in the place of key.priv, which is kept in
// former/: kept is its path. A crash leaves what Regenerate's does, or the next
// key where it was.
func (r *Ring) UseNext() (kept string, err error) {
	unlock, err := r.lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	next, err := r.private(nextFile())
	if err != nil {
		return "", err
	}
	if kept, err = r.keep(Own, privSuffix, pubSuffix); err != nil {
		return "", err
	}
	if err := r.remove(publicFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := r.root.Rename(nextFile(), privateFile); err != nil {
		return "", err
	}
	for _, dir := range []string{".", nextDir} {
		if err := disk.SyncDir(r.root, dir); err != nil {
			return "", err
		}
	}
	return kept, r.writePublic(next)
}
