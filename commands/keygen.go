package commands

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"fmt"
	"io/fs"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
	"xm/internal/keyring"
)

func keygen() *cli.Command {
	return &cli.Command{
		Name:  "keygen",
		Usage: "make a key pair: key.priv and key.pub",
		Description: "Writes key.priv (keep it secret) and key.pub (give it away, as NAME.pub) into the\n" +
			"keys directory, and prints the fingerprint. It never overwrites either; a lost key.pub\n" +
			"is made again from key.priv. With --passphrase, key.priv is of use only to those who\n" +
			"know that: an encrypted PKCS#8 key, as openssl has them.\n\n" +
			"With --force, a pair that is there is moved to former/ in the keys directory: mail to\n" +
			"it can still be read. Those who write to you need the new key.pub.",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "bits", Usage: "size of the RSA key: 2048, 3072 or 4096 `BITS`", Value: hybrid.DefaultBits},
			outputFlag("write the private and the public key to `FILE` instead", ""),
			&cli.BoolFlag{Name: "passphrase", Usage: "ask for a passphrase for the private key"},
			passphraseFlag(),
			&cli.BoolFlag{Name: "force", Usage: "make another key pair, and keep the one that is there in former/"},
		},
		Action: runKeygen,
	}
}

func runKeygen(c *cli.Context) error {
	if err := wantArgs(c, 0, 0); err != nil {
		return err
	}
	switch bits := c.Int("bits"); bits {
	case 2048, 3072, 4096:
	default:
		return usageErrorf("--bits %d: 2048, 3072 and 4096 are supported", bits)
	}
	if c.Bool("passphrase") && c.IsSet("passphrase-file") {
		return usageErrorf("--passphrase asks for what --passphrase-file gives: one of them is too much")
	}
	if c.IsSet("o") {
		return keygenTo(c, c.String("o"))
	}
	ring, err := createKeys(c)
	if err != nil {
		return err
	}
	defer ring.Close()
	if !c.Bool("force") {
		// Known before anybody thinks of a passphrase.
		if err := ring.Free(); err != nil {
			return keyExists(c, ring, err)
		}
	}
	return keygenIn(c, ring)
}

// keygenIn makes a pair in the ring.
func keygenIn(c *cli.Context, ring *keyring.Ring) error {
	p, err := keygenPassphrase(c)
	if err != nil {
		return err
	}
	var key *rsa.PrivateKey
	var kept string
	if c.Bool("force") {
		key, kept, err = ring.Regenerate(c.Int("bits"), p)
	} else {
		key, err = ring.Generate(c.Int("bits"), p)
	}
	if err != nil {
		return err
	}
	say(c, "key.priv and key.pub are in %s", keysDir(c))
	if kept != "" {
		say(c, "the key that was there is now %s", kept)
	}
	return printFingerprint(c, &key.PublicKey)
}

// keygenPassphrase gets a passphrase if one is wanted.
func keygenPassphrase(c *cli.Context) ([]byte, error) {
	if !c.Bool("passphrase") && !c.IsSet("passphrase-file") {
		return nil, nil
	}
	return newPassphrase(c, "New passphrase of key.priv: ")
}

// keyExists refuses to make a key, except for the half that can be made from the
// other.
func keyExists(c *cli.Context, ring *keyring.Ring, exists error) error {
	if !errors.Is(exists, fs.ErrExist) {
		return exists
	}
	made, err := ring.RestorePublic()
	warnLoose(c, ring)
	if err != nil {
		return fmt.Errorf("key.pub is missing, and can't be made again: %w", err)
	}
	if made {
		say(c, "key.priv was there: only key.pub was made, in %s", keysDir(c))
		return nil
	}
	return fmt.Errorf("%w: a key is never overwritten; --force makes another and keeps this one in former/, another directory (--keys) can have another", exists)
}

// keygenTo writes both halves, one after the other, to one place. An existing
// file is not overwritten: it may hold a key.
func keygenTo(c *cli.Context, path string) error {
	if c.Bool("force") {
		return usageErrorf("--force is for the keys directory: a FILE is never overwritten")
	}
	p, err := keygenPassphrase(c)
	if err != nil {
		return err
	}
	key, err := hybrid.GenerateKey(c.Int("bits"))
	if err != nil {
		return err
	}
	private := hybrid.MarshalPrivateKey(key)
	if p != nil {
		if private, err = hybrid.MarshalEncryptedPrivateKey(key, p); err != nil {
			return err
		}
	}
	both := bytes.Join([][]byte{private, hybrid.MarshalPublicKey(&key.PublicKey)}, nil)
	if err := writeNewOutput(c, path, both, 0o600); err != nil {
		return err
	}
	say(c, "fingerprint %s", hybrid.Fingerprint(&key.PublicKey))
	return nil
}
