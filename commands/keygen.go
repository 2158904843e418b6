package commands

import (
	"bytes"
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
			"is made again from key.priv.",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "bits", Usage: "size of the RSA key: 2048, 3072 or 4096 `BITS`", Value: hybrid.DefaultBits},
			outputFlag("write the private and the public key to `FILE` instead", ""),
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
	if c.IsSet("o") {
		return keygenTo(c, c.String("o"))
	}
	ring, err := createKeys(c)
	if err != nil {
		return err
	}
	defer ring.Close()
	key, err := ring.Generate(c.Int("bits"))
	if errors.Is(err, fs.ErrExist) {
		return keyExists(c, ring, err)
	}
	if err != nil {
		return err
	}
	say(c, "key.priv and key.pub are in %s", keysDir(c))
	_, err = fmt.Fprintln(c.App.Writer, hybrid.Fingerprint(&key.PublicKey))
	return err
}

// keyExists refuses to make a key, except for the half that can be made from the
// other.
func keyExists(c *cli.Context, ring *keyring.Ring, exists error) error {
	if made, err := ring.RestorePublic(); err == nil && made {
		say(c, "key.priv was there: only key.pub was made, in %s", keysDir(c))
		return nil
	}
	return fmt.Errorf("%w: a key is never overwritten; another directory (--keys) can have another", exists)
}

// keygenTo writes both halves, one after the other, to one place. An existing
// file is not overwritten: it may hold a key.
func keygenTo(c *cli.Context, path string) error {
	key, err := hybrid.GenerateKey(c.Int("bits"))
	if err != nil {
		return err
	}
	both := bytes.Join([][]byte{hybrid.MarshalPrivateKey(key), hybrid.MarshalPublicKey(&key.PublicKey)}, nil)
	if err := writeNewOutput(c, path, both, 0o600); err != nil {
		return err
	}
	say(c, "fingerprint %s", hybrid.Fingerprint(&key.PublicKey))
	return nil
}
