package commands

import (
	"crypto/rsa"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
	"xm/internal/regclient"
	"xm/internal/regwire"
)

func keyRotate() *cli.Command {
	return &cli.Command{
		Name:      "rotate",
		Usage:     "replace your key pair, here and on the server",
		ArgsUsage: "[NAME]",
		Description: "Makes a new pair, and tells the server, signed with both. key.priv then is the new one,\n" +
			"with the passphrase of the old, which is kept in former/: old mail can still be read.\n" +
			"Where the connection breaks, run it again: it goes on where it was. Those who have your\n" +
			"key are warned when they fetch the new one; they accept it with xm key accept.\n" +
			"NAME is you on the server; without it, user in [account] of the config.",
		Flags: serverFlags(passphraseFlag(),
			&cli.IntFlag{Name: "bits", Usage: "size of the RSA key: 2048, 3072 or 4096 `BITS`", Value: hybrid.DefaultBits}),
		Action: func(c *cli.Context) error { return withMember(c, false, (*member).rotate) },
	}
}

func (m *member) rotate() error {
	next, made, err := m.ring.Next(m.c.Int("bits"))
	if err != nil {
		return err
	}
	done := false
	if !made {
		say(m.c, "going on with the key that an attempt before left in next/")
		if done, err = m.onRecord(&next.PublicKey); err != nil {
			return err
		}
	}
	if !done {
		r := regwire.Request{Action: regwire.Change, Keys: string(hybrid.MarshalPublicKey(&next.PublicKey))}
		if err := m.do(r, next, m.key); err != nil {
			return fmt.Errorf("%w\nhere, your key is the one that it was: run it again to go on", err)
		}
	}
	kept, err := m.ring.UseNext()
	if err != nil {
		return fmt.Errorf("the server has your new key, and here it is still in next/: run it again: %w", err)
	}
	say(m.c, "the key that was there is now %s", kept)
	return printFingerprint(m.c, &next.PublicKey)
}

// onRecord reports whether the server has a key on record.
func (m *member) onRecord(key *rsa.PublicKey) (bool, error) {
	pem, _, err := m.server.Keys(m.c.Context, m.name.String())
	if errors.Is(err, regclient.ErrNoKey) {
		return false, nil
	}
	if err != nil {
		return false, refusedText(m.c.Context, err)
	}
	recorded, err := hybrid.ParsePublicKey(pem)
	return err == nil && recorded.Equal(key), err
}
