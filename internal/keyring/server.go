package keyring

import (
	"crypto/rsa"
	"errors"
	"path"
	"time"

	"xm/hybrid"
	"xm/internal/safefile"
)

const serversDir = "servers"

// ServerKey reads the pinned key of a registration server: server.pub for one's
// own, and servers/ADDR.pub for another.
func (r *Ring) ServerKey(addr string, own bool) (*rsa.PublicKey, error) {
	if own {
		return r.Public(Server)
	}
	if err := checkName(addr); err != nil {
		return nil, err
	}
	return r.public(serverFile(addr), "the server is not known yet")
}

func serverFile(addr string) string { return path.Join(serversDir, addr+pubSuffix) }

// PinServer makes a key that of a registration server, which must not have one.
// It returns the file's path.
func (r *Ring) PinServer(addr string, own bool, key *rsa.PublicKey) (file string, err error) {
	data := hybrid.MarshalPublicKey(key)
	if own {
		_, _, err := r.Import(Server, data, false)
		return r.path(Server + pubSuffix), err
	}
	if err := checkName(addr); err != nil {
		return "", err
	}
	if err := safefile.Mkdir(r.root, serversDir, 0o700); err != nil {
		return "", err
	}
	return r.path(serverFile(addr)), r.writeNew(serverFile(addr), data, 0o644)
}

// OwnServer tells where one is registered; "" if that is not known.
func (r *Ring) OwnServer() (addr string, err error) {
	key, err := r.Public(Server)
	if errors.Is(err, ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	t, err := r.readTrust(Server, key)
	return t.From, err
}

// SetOwnServer remembers where one is registered: whose key server.pub is.
func (r *Ring) SetOwnServer(addr string) error {
	return r.note(Server, func(t *Trust) { t.From, t.Fetched = addr, time.Now() })
}
