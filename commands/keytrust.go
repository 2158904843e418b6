package commands

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
	"xm/internal/keyring"
	"xm/userdb"
)

func keyFetch() *cli.Command {
	return &cli.Command{
		Name:      "fetch",
		Usage:     "get the key of NAME from the directory of their domain, and print its fingerprint",
		ArgsUsage: "NAME",
		Description: "The directory is the registration server that --server names, or [directories] of the\n" +
			"config for the domain, or for a name without a domain or with yours your own server, or\n" +
			"else the domain itself, on port 60085. Its answer counts if it is signed with the key that\n" +
			"is pinned: server.pub for your own server, servers/HOST:PORT.pub for another. A server that\n" +
			"is asked for the first time shows its key, for you to say yes, or for --server-key.\n\n" +
			"Another key than the known one is not taken: xm key accept NAME does that.",
		Flags: serverFlags(),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 1, 1); err != nil {
				return err
			}
			name, err := readName(c.Args().First())
			if err != nil {
				return err
			}
			ring, err := createKeys(c)
			if err != nil {
				return err
			}
			defer ring.Close()
			return runKeyFetch(c, ring, name)
		},
	}
}

func runKeyFetch(c *cli.Context, ring *keyring.Ring, name userdb.Name) error {
	d, err := openDirectories(c, ring)
	if err != nil {
		return err
	}
	key, err := d.fetch(name)
	if err != nil {
		return err
	}
	t, err := ring.Trust(name.String())
	if err != nil {
		return err
	}
	say(c, "the key of %s is from %s, and %s", name, t.From, t.State)
	return printFingerprint(c, key)
}

func keyAccept() *cli.Command {
	return &cli.Command{
		Name:      "accept",
		Usage:     "take the changed key of NAME that was fetched",
		ArgsUsage: "NAME",
		Description: "The known key is kept in former/, so that old mail can still be verified. The new one is\n" +
			"not verified, whatever the known one was.",
		Action: withKeys(1, 1, func(c *cli.Context, ring *keyring.Ring) error {
			name := c.Args().First()
			key, kept, err := ring.Accept(name)
			if err != nil {
				return err
			}
			if kept != "" {
				say(c, "the key that was known is now %s", kept)
			}
			return printFingerprint(c, key)
		}),
	}
}

func keyVerify() *cli.Command {
	return &cli.Command{
		Name:      "verify",
		Usage:     "compare the fingerprint of the key of NAME, and remember that it is right",
		ArgsUsage: "NAME",
		Description: "Read it to each other, by telephone, say: NAME sees it with xm key show key. What is\n" +
			"remembered is in trust/, and counts for this key alone.",
		Flags:  []cli.Flag{&cli.StringFlag{Name: "fingerprint", Usage: "compare with `FINGERPRINT`, without a question"}},
		Action: withKeys(1, 1, runKeyVerify),
	}
}

func runKeyVerify(c *cli.Context, ring *keyring.Ring) error {
	name := c.Args().First()
	key, err := ring.Public(name)
	if err != nil {
		return err
	}
	shown := hybrid.Fingerprint(key)
	var same bool
	if c.IsSet("fingerprint") {
		same, err = sameFingerprint(c, "fingerprint", key)
	} else {
		say(c, "the key of %s has the fingerprint\n    %s", name, shown)
		same, err = confirm(c, fmt.Sprintf("Does %s say the same? (yes/no) ", name), "--fingerprint FINGERPRINT, with the one that "+name+" gives")
	}
	if err != nil {
		return err
	}
	if !same {
		return fmt.Errorf("%w: the key of %s has the fingerprint %s, which is another; nothing was changed", hybrid.ErrNotAuthentic, name, shown)
	}
	if err := ring.Verify(name, key, time.Now()); err != nil {
		return err
	}
	say(c, "the key of %s is verified", name)
	return nil
}
