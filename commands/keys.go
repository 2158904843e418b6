package commands

import (
	"crypto/rsa"
	"fmt"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
	"xm/internal/keyring"
)

func passphraseFlag() cli.Flag {
	return &cli.StringFlag{Name: "passphrase-file", Usage: "read the passphrase of the private key from the first line of `FILE`; - is standard input"}
}

// ownKey reads the private key. Where it has a passphrase, that comes from
// --passphrase-file or is asked for.
func ownKey(c *cli.Context, ring *keyring.Ring) (*rsa.PrivateKey, error) {
	key, err := ring.Private()
	warnLoose(c, ring)
	return key, err
}

// ownKeys reads the private key and the former ones, the newest first; unread
// says why some could not be read. It may ask for a passphrase for each of them:
// what the current key does is to be tried before, with ownKey.
func ownKeys(c *cli.Context, ring *keyring.Ring) (keys []keyring.OwnKey, unread []error, err error) {
	keys, unread, err = ring.OwnKeys()
	warnLoose(c, ring)
	return keys, unread, err
}

// ensureOwnKey reads the private key, or makes a pair where there is none, with
// the passphrase in --passphrase-file if that is given.
func ensureOwnKey(c *cli.Context, ring *keyring.Ring) (key *rsa.PrivateKey, made bool, err error) {
	var p []byte
	if c.IsSet("passphrase-file") {
		if p, err = passphraseFromFile(c); err != nil {
			return nil, false, err
		}
	}
	key, made, err = ring.Ensure(p)
	warnLoose(c, ring)
	return key, made, err
}

// warnLoose names the private keys that were used and are not private.
func warnLoose(c *cli.Context, ring *keyring.Ring) {
	for _, file := range ring.Loose() {
		say(c, "warning: others can get at the private key %s: run chmod 600 %s", file, file)
	}
}

// printFingerprint prints that of a key, as data.
func printFingerprint(c *cli.Context, key *rsa.PublicKey) error {
	_, err := fmt.Fprintln(c.App.Writer, hybrid.Fingerprint(key))
	return err
}

// askPassphrase returns what keyring asks for the passphrase of a private key.
func askPassphrase(c *cli.Context) keyring.Ask {
	return func(file string) ([]byte, error) {
		if c.IsSet("passphrase-file") {
			return passphraseFromFile(c)
		}
		prompt := fmt.Sprintf("Passphrase of %s: ", file)
		text, err := once(c, prompt, func() (string, error) { return passphrase.ask(c, prompt) })
		return []byte(text), err
	}
}

// newPassphrase gets one from --passphrase-file, or asks twice.
func newPassphrase(c *cli.Context, prompt string) ([]byte, error) {
	if c.IsSet("passphrase-file") {
		return passphraseFromFile(c)
	}
	text, err := passphrase.askTwice(c, prompt)
	return []byte(text), err
}

// passphraseFromFile reads --passphrase-file, once: standard input has it once.
func passphraseFromFile(c *cli.Context) ([]byte, error) {
	file := c.String("passphrase-file")
	if isStdin(c, file) && readsStdin(c) {
		return nil, usageErrorf("standard input can't be both the passphrase and something else")
	}
	text, err := once(c, "passphrase in "+file, func() (string, error) { return passphrase.fromFile(c, file) })
	if err != nil {
		return nil, err
	}
	return []byte(text), nil
}

// readsStdin tells whether the command takes something else than a passphrase
// from standard input.
func readsStdin(c *cli.Context) bool {
	if isStdin(c, c.String("i")) || isStdin(c, c.String("password-file")) {
		return true
	}
	words := c.Args().Slice()
	switch c.Command.Name {
	case "encrypt", "send":
		if len(c.StringSlice("r")) > 0 {
			words = append([]string{""}, words...) // no USER among them
		}
		return c.String("i") == "" && (len(words) < 2 || slices.Equal(words[1:], []string{stdio}))
	case "register":
		return c.String("i") == "" && len(words) == 0 && !c.IsSet("server")
	case "restore":
		return len(words) > 0 && isStdin(c, words[0])
	}
	return false
}

// isStdin tells a name for standard input, such as /dev/stdin. Whatever reads a line
// of it has taken more than that line.
func isStdin(c *cli.Context, path string) bool {
	if path == stdio {
		return true
	}
	in, ok := c.App.Reader.(*os.File)
	if !ok {
		return false
	}
	st, err1 := in.Stat()
	named, err2 := os.Stat(path)
	return err1 == nil && err2 == nil && os.SameFile(st, named)
}
