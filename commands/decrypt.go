package commands

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
	"xm/internal/safefile"
)

func decrypt() *cli.Command {
	return &cli.Command{
		Name:      "decrypt",
		Usage:     "verify that enc is from USER and decrypt it: writes dec",
		ArgsUsage: "USER",
		Description: "Verifies with USER.pub and decrypts with key.priv. Unless signature and content\n" +
			"are both good, nothing is written, dec stays as it was, and the exit code is 3. Former\n" +
			"keys, of both sides, are tried too, and named where they were used.\n\n" +
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
	o, err := newOpener(c, ring, c.Args().First())
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
	return openInto(c, o, in)
}

func openInto(c *cli.Context, o *opener, in input) error {
	out, err := openOutput(c, c.String("o"), 0o600, (*safefile.File).Commit)
	if err != nil {
		return err
	}
	defer out.abort()
	if err := o.open(out.Writer, in.Reader); err != nil {
		if errors.Is(err, hybrid.ErrNotAuthentic) {
			return fmt.Errorf("%s: %w", c.String("i"), err)
		}
		return err
	}
	if err := out.commit(); err != nil {
		return err
	}
	o.report()
	return nil
}
