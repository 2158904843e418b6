// Package keyring keeps a person's keys in a directory, under the names that
// hybrid.py gave them:
//
//	key.priv    the private key, PEM, mode 0600; never overwritten
//	key.pub     its public half
//	NAME.pub    the public key of the user NAME
//	server.pub  the public key of the registration server
//
// Any program may add and remove NAME.pub files.
package keyring

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"xm/hybrid"
	"xm/internal/safefile"
)

const (
	privateFile = "key.priv"
	publicFile  = "key.pub"
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

// Ring is an open key directory.
type Ring struct {
	root *os.Root
}

// Create opens a directory of keys, and makes it where it is missing.
func Create(dir string) (*Ring, error) {
	if err := safefile.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return Open(dir)
}

// Open opens a directory of keys.
func Open(dir string) (*Ring, error) {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: there is no directory %s", ErrNotFound, dir)
	}
	if err != nil {
		return nil, err
	}
	return &Ring{root}, nil
}

// Close releases the directory.
func (r *Ring) Close() error { return r.root.Close() }

// Private reads the private key.
func (r *Ring) Private() (*rsa.PrivateKey, error) {
	data, err := r.read(privateFile, "xm keygen makes one")
	if err != nil {
		return nil, err
	}
	key, err := hybrid.ParsePrivateKey(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.path(privateFile), err)
	}
	return key, nil
}

// Public reads the public key of a user, or of Server.
func (r *Ring) Public(name string) (*rsa.PublicKey, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	data, err := r.read(name+pubSuffix, "it is the key.pub of "+name)
	if err != nil {
		return nil, err
	}
	key, err := hybrid.ParsePublicKey(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.path(name+pubSuffix), err)
	}
	return key, nil
}

// Generate makes a key pair of so many bits. If either file exists, the error
// matches fs.ErrExist and both are as they were.
func (r *Ring) Generate(bits int) (*rsa.PrivateKey, error) {
	for _, file := range []string{privateFile, publicFile} {
		if _, err := r.root.Lstat(file); err == nil {
			return nil, fmt.Errorf("%s: %w", r.path(file), fs.ErrExist)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	key, err := hybrid.GenerateKey(bits)
	if err != nil {
		return nil, err
	}
	if err := safefile.WriteNew(r.root, privateFile, hybrid.MarshalPrivateKey(key), 0o600); err != nil {
		return nil, fmt.Errorf("%s: %w", r.path(privateFile), err)
	}
	return key, r.writePublic(key)
}

// Ensure reads the private key, or makes a key pair where there is none. It
// reports whether it made one.
func (r *Ring) Ensure() (key *rsa.PrivateKey, made bool, err error) {
	key, err = r.Private()
	if errors.Is(err, ErrNotFound) {
		key, err = r.Generate(hybrid.DefaultBits)
		return key, err == nil, err
	}
	if err != nil {
		return nil, false, err
	}
	_, err = r.RestorePublic()
	return key, false, err
}

// RestorePublic makes a lost key.pub again. It reports whether it had to.
func (r *Ring) RestorePublic() (made bool, err error) {
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
	if err := safefile.WriteNew(r.root, publicFile, hybrid.MarshalPublicKey(&key.PublicKey), 0o644); err != nil {
		return fmt.Errorf("%s: %w", r.path(publicFile), err)
	}
	return nil
}

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
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err == nil && len(data) > maxKeyFile {
		err = errors.New("too large for a key")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.path(file), err)
	}
	return data, nil
}

// checkName keeps names in the directory and on one line of a terminal.
func checkName(name string) error {
	if name == "" || name[0] == '.' || len(name)+len(pubSuffix) > maxFileName ||
		strings.ContainsFunc(name, func(r rune) bool { return r == '/' || r == '\\' || !unicode.IsPrint(r) }) {
		return fmt.Errorf("%q is %w", name, ErrName)
	}
	return nil
}
