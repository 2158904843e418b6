package commands

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
	"xm/internal/keyring"
)

// opener opens payloads from one user with all keys that can be meant, former
// ones of both sides and one's own next key too, and says when it was one of those.
type opener struct {
	c    *cli.Context
	ring *keyring.Ring
	from []keyring.PublicKey
	to   *rsa.PrivateKey
	more []keyring.OwnKey  // read only where the current key does not do
	lost error             // another key that could not be read
	used []string          // what is to be said of the keys that were used
	by   keyring.PublicKey // whose signature it was
}

func newOpener(c *cli.Context, ring *keyring.Ring, user string) (*opener, error) {
	from, unread, err := ring.PublicKeys(user)
	if err != nil {
		return nil, err
	}
	sayUnread(c, unread)
	if len(from) == 0 {
		return nil, fmt.Errorf("%w: no key of %s can be read", keyring.ErrNotFound, user)
	}
	to, err := ownKey(c, ring)
	if err != nil {
		return nil, err
	}
	return &opener{c: c, ring: ring, from: from, to: to}, nil
}

// open is hybrid.Opener's.
func (o *opener) open(dst io.Writer, src io.Reader) error {
	stayWithin32MiB()
	spool, cleanUp := newSpool()
	defer cleanUp()
	h := hybrid.Opener{Format: hybrid.Signed, To: []*rsa.PrivateKey{o.to}, More: o.otherKeys, Spool: spool}
	for _, key := range o.from {
		h.From = append(h.From, key.Key)
	}
	opened, err := h.Open(dst, src)
	if errors.Is(err, hybrid.ErrOtherRecipient) && o.lost != nil {
		// It is the sender's, and may well be for the key that could not be read.
		return fmt.Errorf("it is for none of the keys that could be read: %v", o.lost)
	}
	if err != nil {
		return err
	}
	if o.by = o.from[opened.From]; o.by.Former {
		o.used = append(o.used, fmt.Sprintf("signed with a former key of %s: %s", o.by.Name, o.by.File))
	}
	if opened.To > 0 {
		o.used = append(o.used, useOf(o.more[opened.To-1]))
	}
	return nil
}

// useOf says that a key was used that is not the current one.
func useOf(k keyring.OwnKey) string {
	if k.Former {
		return "encrypted for a former key of yours: " + k.File
	}
	return "encrypted for your next key, " + k.File + ": run xm key rotate again"
}

// report names the former keys that were used: once the message is safe.
func (o *opener) report() {
	for _, text := range o.used {
		say(o.c, "%s", text)
	}
}

// otherKeys reads one's own keys but the current one.
func (o *opener) otherKeys() (keys []*rsa.PrivateKey, err error) {
	all, unread, err := ownKeys(o.c, o.ring)
	if o.c.Context.Err() != nil {
		return nil, errInterrupted
	}
	if err != nil {
		return nil, err
	}
	o.lost = errors.Join(unread...)
	o.more = all[1:]
	for _, key := range o.more {
		keys = append(keys, key.Key)
	}
	return keys, nil
}
