package commands

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
)

func encrypt() *cli.Command {
	return &cli.Command{
		Name:      "encrypt",
		Usage:     "encrypt a message for USER and sign it: writes enc",
		ArgsUsage: "USER [MESSAGE...]",
		Description: "Encrypts for the owner of USER.pub and signs with key.priv. Without MESSAGE,\n" +
			"standard input is encrypted. A MESSAGE on the command line can be seen by other\n" +
			"users of this machine; a pipe can not:\n\n" +
			"   xm encrypt -o - bob < letter | ssh host 'cat > enc'",
		Flags: []cli.Flag{
			inputFlag("encrypt `FILE`"),
			outputFlag("write the payload to `FILE`", "enc"),
			passphraseFlag(),
		},
		Action: runEncrypt,
	}
}

func runEncrypt(c *cli.Context) error {
	if err := wantArgs(c, 1, -1); err != nil {
		return err
	}
	payload, err := sealFor(c, c.Args().First())
	if err != nil {
		return err
	}
	return writeOutput(c, c.String("o"), payload, 0o644)
}

// sealFor makes the payload of the message that the command line gives, for the
// owner of name.pub.
func sealFor(c *cli.Context, name string) ([]byte, error) {
	ring, err := openKeys(c)
	if err != nil {
		return nil, err
	}
	defer ring.Close()
	to, err := ring.Public(name)
	if err != nil {
		return nil, err
	}
	from, err := ownKey(c, ring)
	if err != nil {
		return nil, err
	}
	message, err := messageFrom(c)
	if err != nil {
		return nil, err
	}
	return hybrid.Seal(message, to, from)
}

// messageFrom takes the message from the arguments after the first, from -i, or
// from standard input.
func messageFrom(c *cli.Context) ([]byte, error) {
	words := c.Args().Tail()
	if slices.Equal(words, []string{stdio}) {
		words = nil
	}
	switch {
	case len(words) > 0 && c.IsSet("i"):
		return nil, usageErrorf("a message stands on the command line already: -i is too much")
	case len(words) > 0:
		return []byte(strings.Join(words, " ")), nil
	case c.IsSet("i"):
		return readInput(c, c.String("i"))
	}
	return readInput(c, stdio)
}
