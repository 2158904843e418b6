package keyring

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"xm/hybrid"
)

// Restored is a key that Restore was given.
type Restored struct {
	Key  *rsa.PrivateKey
	File string // where it is; "" if it was there already
}

// Restore puts keys back, the newest first, under a passphrase unless that is
// empty. The first becomes key.priv where there is none; others go to former/,
// unless they are in the ring already. Nothing is overwritten. known is a
// passphrase that keys in the ring may have.
func (r *Ring) Restore(keys []*rsa.PrivateKey, passphrase, known []byte) ([]Restored, error) {
	unlock, err := r.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	there, err := r.privateHalves(known)
	if err != nil {
		return nil, err
	}
	var restored []Restored
	if _, err := r.root.Lstat(privateFile); errors.Is(err, fs.ErrNotExist) && len(keys) > 0 {
		if err := r.restoreCurrent(keys[0], passphrase); err != nil {
			return nil, err
		}
		restored = append(restored, Restored{keys[0], r.path(privateFile)})
		there = append(there, &keys[0].PublicKey)
		keys = keys[1:]
	}
	// The oldest first: what is added later counts as newer.
	for _, key := range slices.Backward(keys) {
		file := ""
		if !slices.ContainsFunc(there, func(k *rsa.PublicKey) bool { return k.Equal(&key.PublicKey) }) {
			if file, err = r.restoreFormer(key, passphrase); err != nil {
				return restored, err
			}
			there = append(there, &key.PublicKey)
		}
		restored = append(restored, Restored{key, file})
	}
	return restored, nil
}

// restoreCurrent wants a key.pub that was left alone to be this key's.
func (r *Ring) restoreCurrent(key *rsa.PrivateKey, passphrase []byte) error {
	public, err := r.Public(Own)
	if errors.Is(err, ErrNotFound) {
		return r.writePair(Own, key, passphrase)
	}
	if err != nil {
		return err
	}
	if !public.Equal(&key.PublicKey) {
		return fmt.Errorf("%s is the half of another key: move it away first, or restore into another directory (--keys)", r.path(publicFile))
	}
	data, err := marshal(key, passphrase)
	if err != nil {
		return err
	}
	return r.writeNew(privateFile, data, 0o600)
}

func (r *Ring) restoreFormer(key *rsa.PrivateKey, passphrase []byte) (file string, err error) {
	stem, err := r.newFormer(Own)
	if err != nil {
		return "", err
	}
	return r.path(stem + privSuffix), r.writePair(stem, key, passphrase)
}

// privateHalves finds the keys whose private half is in the ring, for certain:
// one that is damaged, or that the passphrase does not open, does not count.
func (r *Ring) privateHalves(passphrase []byte) ([]*rsa.PublicKey, error) {
	formers, err := r.formers(Own)
	if err != nil {
		return nil, err
	}
	stems := []string{Own}
	for _, f := range formers {
		stems = append(stems, f.stem())
	}
	var there []*rsa.PublicKey
	for _, stem := range stems {
		data, err := r.read(stem+privSuffix, "")
		if err != nil {
			continue
		}
		if key, err := hybrid.DecryptPrivateKey(data, passphrase); err == nil {
			there = append(there, &key.PublicKey)
		}
	}
	return there, nil
}
