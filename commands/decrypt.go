package commands

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
)

func decrypt() *cli.Command {
	return &cli.Command{
		Name:      "decrypt",
		Usage:     "verify that enc is from USER and decrypt it: writes dec",
		ArgsUsage: "USER",
		Description: "Verifies with USER.pub and decrypts with key.priv. Unless signature and content\n" +
			"are both good, nothing is written, dec stays as it was, and the exit code is 3.\n\n" +
			"   xm decrypt -i - -o - alice < enc",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "i", Usage: "read the payload from `FILE`; - is standard input", Value: "enc"},
			outputFlag("write the message to `FILE`", "dec"),
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
	from, err := ring.Public(c.Args().First())
	if err != nil {
		return err
	}
	to, err := ownKey(c, ring)
	if err != nil {
		return err
	}
	payload, err := readInput(c, c.String("i"))
	if err != nil {
		return err
	}
	message, err := hybrid.Open(payload, to, from)
	if err != nil {
		return fmt.Errorf("%s: %w", c.String("i"), err)
	}
	return writeOutput(c, c.String("o"), message, 0o600)
}
