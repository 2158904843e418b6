package commands

import (
	"crypto/rsa"
	"io"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
	"xm/internal/keyring"
)

// opener opens payloads from one user with all keys that can be meant, former
// ones of both sides too, and says when it was one of those.
type opener struct {
	c    *cli.Context
	ring *keyring.Ring
	from []keyring.PublicKey
	to   *rsa.PrivateKey
	more []keyring.OwnKey // read only where the current key does not do
}

func newOpener(c *cli.Context, ring *keyring.Ring, user string) (*opener, error) {
	from, unread, err := ring.PublicKeys(user)
	if err != nil {
		return nil, err
	}
	sayUnread(c, unread)
	to, err := ownKey(c, ring)
	if err != nil {
		return nil, err
	}
	return &opener{c: c, ring: ring, from: from, to: to}, nil
}

// open is hybrid.Opener's.
func (o *opener) open(dst io.Writer, src io.Reader) error {
	spool, cleanUp := newSpool()
	defer cleanUp()
	h := hybrid.Opener{Format: hybrid.Signed, To: []*rsa.PrivateKey{o.to}, More: o.formerKeys, Spool: spool}
	for _, key := range o.from {
		h.From = append(h.From, key.Key)
	}
	opened, err := h.Open(dst, src)
	if err != nil {
		return err
	}
	if key := o.from[opened.From]; key.Former {
		say(o.c, "signed with a former key of %s: %s", key.Name, key.File)
	}
	if opened.To > 0 {
		say(o.c, "encrypted for a former key of yours: %s", o.more[opened.To-1].File)
	}
	return nil
}

// formerKeys reads one's own former keys.
func (o *opener) formerKeys() (keys []*rsa.PrivateKey, err error) {
	all, err := ownKeys(o.c, o.ring)
	if err != nil {
		return nil, err
	}
	for _, key := range all {
		if key.Former {
			o.more = append(o.more, key)
			keys = append(keys, key.Key)
		}
	}
	return keys, nil
}
