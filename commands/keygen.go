package commands

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
)

func keygen() *cli.Command {
	return &cli.Command{
		Name:  "keygen",
		Usage: "make a key pair: key.priv and key.pub",
		Description: "Writes key.priv (keep it secret) and key.pub (give it away, as NAME.pub) into the\n" +
			"keys directory, and prints the fingerprint. It never overwrites either.",
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
	ring, err := openKeys(c)
	if err != nil {
		return err
	}
	defer ring.Close()
	key, err := ring.Generate(c.Int("bits"))
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: a key is never overwritten; use another directory with --keys, or move it away", err)
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(c.App.Writer, hybrid.Fingerprint(&key.PublicKey))
	say(c, "key.priv and key.pub are in %s", c.String("keys"))
	return nil
}

// keygenTo writes both halves, one after the other, to one place. An existing
// file is not overwritten: it may hold a key.
func keygenTo(c *cli.Context, path string) error {
	if path != stdio {
		if err := mustNotExist(path); err != nil {
			return err
		}
	}
	key, err := hybrid.GenerateKey(c.Int("bits"))
	if err != nil {
		return err
	}
	both := bytes.Join([][]byte{hybrid.MarshalPrivateKey(key), hybrid.MarshalPublicKey(&key.PublicKey)}, nil)
	if err := writeOutput(c, path, both, 0o600); err != nil {
		return err
	}
	say(c, "fingerprint %s", hybrid.Fingerprint(&key.PublicKey))
	return nil
}
