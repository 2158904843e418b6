package keyring

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"xm/hybrid"
	"xm/internal/disk"
	"xm/internal/safefile"
)

// OwnKey is a private key of the person's.
type OwnKey struct {
	Key    *rsa.PrivateKey
	File   string
	Former bool
}

// Private reads the private key.
func (r *Ring) Private() (*rsa.PrivateKey, error) { return r.private(privateFile) }

func (r *Ring) private(file string) (*rsa.PrivateKey, error) {
	data, err := r.read(file, "xm keygen makes one")
	if err != nil {
		return nil, err
	}
	key, err := hybrid.ParsePrivateKey(data)
	if errors.Is(err, hybrid.ErrPassphraseNeeded) && r.ask != nil {
		key, err = r.decrypt(file, data)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.path(file), err)
	}
	return key, nil
}

// decrypt tries the passphrases that are known, and then asks for another.
func (r *Ring) decrypt(file string, data []byte) (*rsa.PrivateKey, error) {
	for _, p := range r.passphrases {
		if key, err := hybrid.DecryptPrivateKey(data, p); !errors.Is(err, hybrid.ErrWrongPassphrase) {
			r.opened[file] = p
			return key, err
		}
	}
	p, err := r.ask(r.path(file))
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(r.passphrases, func(known []byte) bool { return bytes.Equal(known, p) }) {
		return nil, hybrid.ErrWrongPassphrase
	}
	r.passphrases = append(r.passphrases, p)
	r.opened[file] = p
	return hybrid.DecryptPrivateKey(data, p)
}

// OwnKeys reads the private key, the former ones, the newest first, and last the
// one in next/: the server may give that away already. Keys but the first that
// can't be read don't keep the others from use: unread says why.
func (r *Ring) OwnKeys() (keys []OwnKey, unread []error, err error) {
	current, err := r.Private()
	if err != nil {
		return nil, nil, err
	}
	keys = []OwnKey{{Key: current, File: r.path(privateFile)}}
	formers, err := r.formers(Own)
	if err != nil {
		return nil, nil, err
	}
	var files []string
	for _, f := range formers {
		files = append(files, f.stem()+privSuffix)
	}
	for _, file := range append(files, nextFile()) {
		key, err := r.private(file)
		switch {
		case errors.Is(err, ErrNotFound): // only its public half is there
		case err != nil:
			unread = append(unread, err)
		case !slices.ContainsFunc(keys, func(k OwnKey) bool { return k.Key.Equal(key) }):
			keys = append(keys, OwnKey{Key: key, File: r.path(file), Former: file != nextFile()})
		}
	}
	return keys, unread, nil
}

// Free returns nil if neither key.priv nor key.pub exists. If one does, the error
// matches fs.ErrExist.
func (r *Ring) Free() error {
	for _, file := range []string{privateFile, publicFile} {
		if _, err := r.root.Lstat(file); err == nil && file == publicFile {
			return fmt.Errorf("%s: %w, without its %s: put that back, or move %[1]s away", r.path(file), fs.ErrExist, privateFile)
		} else if err == nil {
			return fmt.Errorf("%s: %w", r.path(file), fs.ErrExist)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Generate makes a key pair of so many bits, under a passphrase unless that is
// empty. If either file exists, the error matches fs.ErrExist and both are as
// they were.
func (r *Ring) Generate(bits int, passphrase []byte) (*rsa.PrivateKey, error) {
	unlock, err := r.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := r.Free(); err != nil {
		return nil, err
	}
	key, err := hybrid.GenerateKey(bits)
	if err != nil {
		return nil, err
	}
	return key, r.writePair(Own, key, passphrase)
}

// Regenerate makes a key pair in the place of the one that is there, which is
// kept in former/: kept is the path of its private key.
//
// At any time, a crash leaves an old or a new key.priv, and the old one in
// former/ before there is a new one. key.pub may be missing then, but is never
// that of another key: RestorePublic makes it.
func (r *Ring) Regenerate(bits int, passphrase []byte) (key *rsa.PrivateKey, kept string, err error) {
	key, err = hybrid.GenerateKey(bits)
	if err != nil {
		return nil, "", err
	}
	data, err := marshal(key, passphrase)
	if err != nil {
		return nil, "", err
	}
	unlock, err := r.lock()
	if err != nil {
		return nil, "", err
	}
	defer unlock()
	kept, err = r.keep(Own, privSuffix, pubSuffix)
	if err != nil {
		return nil, "", err
	}
	if err := r.remove(publicFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, "", err
	}
	if err := r.replace(privateFile, data, 0o600); err != nil {
		return nil, "", err
	}
	return key, kept, r.writePublic(key)
}

// remove removes a file that keep has kept, durably.
func (r *Ring) remove(file string) error {
	if err := r.root.Remove(file); err != nil {
		return err
	}
	return disk.SyncDir(r.root, ".")
}

// replace puts a file in the place of one that keep has kept. It does not take
// over the mode of the old one, which may be loose.
func (r *Ring) replace(file string, data []byte, perm fs.FileMode) error {
	f, err := safefile.Create(r.root, file, perm)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Commit()
}

// Ensure reads the private key, or makes a key pair where there is none, under a
// passphrase unless that is empty. It reports whether it made one. A key.pub that
// is there has to be that key's.
func (r *Ring) Ensure(passphrase []byte) (key *rsa.PrivateKey, made bool, err error) {
	key, err = r.Private()
	if errors.Is(err, ErrNotFound) {
		key, err = r.Generate(hybrid.DefaultBits, passphrase)
		if !errors.Is(err, fs.ErrExist) {
			return key, err == nil, err
		}
		exists := err
		key, err = r.Private() // another process was faster
		if errors.Is(err, ErrNotFound) {
			err = exists // as key.pub alone
		}
	}
	if err != nil {
		return nil, false, err
	}
	if _, err = r.RestorePublic(); err != nil {
		return nil, false, err
	}
	public, err := r.Public(Own)
	if err == nil && !public.Equal(&key.PublicKey) {
		err = fmt.Errorf("%s is not the half of %s: move it away, and it is made again", r.path(publicFile), privateFile)
	}
	return key, false, err
}

// RestorePublic makes a lost key.pub again. It reports whether it had to.
func (r *Ring) RestorePublic() (made bool, err error) {
	unlock, err := r.lock()
	if err != nil {
		return false, err
	}
	defer unlock()
	if _, err := r.root.Lstat(publicFile); !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	key, err := r.Private()
	if err != nil {
		return false, err
	}
	return true, r.writePublic(key)
}

func (r *Ring) writePublic(key *rsa.PrivateKey) error {
	return r.writeNew(publicFile, hybrid.MarshalPublicKey(&key.PublicKey), 0o644)
}

// writePair writes both halves of a key, the private one first: the other can be
// made from it.
func (r *Ring) writePair(stem string, key *rsa.PrivateKey, passphrase []byte) error {
	data, err := marshal(key, passphrase)
	if err != nil {
		return err
	}
	if err := r.writeNew(stem+privSuffix, data, 0o600); err != nil {
		return err
	}
	return r.writeNew(stem+pubSuffix, hybrid.MarshalPublicKey(&key.PublicKey), 0o644)
}

func (r *Ring) writeNew(file string, data []byte, perm fs.FileMode) error {
	if err := safefile.WriteNew(r.root, file, data, perm); err != nil {
		return fmt.Errorf("%s: %w", r.path(file), err)
	}
	return nil
}

func marshal(key *rsa.PrivateKey, passphrase []byte) ([]byte, error) {
	if len(passphrase) == 0 {
		return hybrid.MarshalPrivateKey(key), nil
	}
	return hybrid.MarshalEncryptedPrivateKey(key, passphrase)
}
