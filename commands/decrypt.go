package commands

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
	"xm/internal/keyring"
	"xm/internal/safefile"
)

func decrypt() *cli.Command {
	return &cli.Command{
		Name:      "decrypt",
		Usage:     "verify that enc is from USER and decrypt it: writes dec",
		ArgsUsage: "USER",
		Description: "Verifies with USER.pub and decrypts with key.priv. Unless signature and content\n" +
			"are both good, nothing is written, dec stays as it was, and the exit code is 3.\n\n" +
			"   xm decrypt -i - -o - alice < enc | tar x",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "i", Usage: "read the payload from `FILE`; - is standard input", Value: "enc"},
			outputFlag("write the message to `FILE`", "dec"),
			quietFlag(),
			passphraseFlag(),
		},
		Action: runDecrypt,
	}
}

func runDecrypt(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	ring, err := openKeys(c)
	if err != nil {
		return err
	}
	defer ring.Close()
	opener, err := newOpener(c, ring, c.Args().First())
	if err != nil {
		return err
	}
	in, err := openInput(c, c.String("i"))
	if err != nil {
		return err
	}
	passes := int64(1)
	if _, ok := in.Reader.(io.Seeker); ok {
		passes = 2
	}
	in = withProgress(c, in, passes)
	defer in.close()
	return openInto(c, opener, in)
}

// newOpener opens payloads from a user.
func newOpener(c *cli.Context, ring *keyring.Ring, user string) (hybrid.Opener, error) {
	from, err := ring.Public(user)
	if err != nil {
		return hybrid.Opener{}, err
	}
	to, err := ownKey(c, ring)
	if err != nil {
		return hybrid.Opener{}, err
	}
	return hybrid.Opener{Format: hybrid.Signed, To: []*rsa.PrivateKey{to}, From: []*rsa.PublicKey{from}}, nil
}

func openInto(c *cli.Context, opener hybrid.Opener, in input) error {
	out, err := openOutput(c, c.String("o"), 0o600, (*safefile.File).Commit)
	if err != nil {
		return err
	}
	defer out.abort()
	spool, cleanUp := newSpool()
	defer cleanUp()
	opener.Spool = spool
	if _, err := opener.Open(out.Writer, in.Reader); err != nil {
		if errors.Is(err, hybrid.ErrNotAuthentic) {
			return fmt.Errorf("%s: %w", c.String("i"), err)
		}
		return err
	}
	return out.commit()
}
