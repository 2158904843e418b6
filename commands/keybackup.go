package commands

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
	"xm/internal/keyring"
)

func keyBackup() *cli.Command {
	return &cli.Command{
		Name:      "backup",
		Usage:     "write all your private keys into FILE, under a passphrase",
		ArgsUsage: "FILE",
		Description: "The current key, the former ones, and one in next/ that a broken-off rotation left, as\n" +
			"openssl reads them (encrypted PKCS#8, PEM). FILE is not overwritten; - is standard\n" +
			"output. Keep it, and the passphrase, where a fire or a thief who takes this machine\n" +
			"does not get at them.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "passphrase-file", Usage: "read the passphrase from the first line of `FILE`, for the backup and for the keys that have one; - is standard input"},
		},
		Action: withKeys(1, 1, runKeyBackup),
	}
}

func runKeyBackup(c *cli.Context, ring *keyring.Ring) error {
	keys, unread, err := ownKeys(c, ring)
	if err != nil {
		return err
	}
	if len(unread) > 0 {
		return fmt.Errorf("a backup has all keys, and one can't be read: %w: repair it, or move it out of former/", errors.Join(unread...))
	}
	p, err := newPassphrase(c, "New passphrase of the backup: ")
	if err != nil {
		return err
	}
	var backup bytes.Buffer
	for _, k := range keys {
		data, err := hybrid.MarshalEncryptedPrivateKey(k.Key, p)
		if err != nil {
			return err
		}
		backup.Write(data)
	}
	path := c.Args().First()
	if err := writeNewOutput(c, path, backup.Bytes(), 0o600); err != nil {
		return err
	}
	for _, k := range keys {
		say(c, "backed up %s: %s", k.File, hybrid.Fingerprint(&k.Key.PublicKey))
	}
	return nil
}

func keyRestore() *cli.Command {
	return &cli.Command{
		Name:      "restore",
		Usage:     "put the private keys in FILE back",
		ArgsUsage: "FILE",
		Description: "FILE is what xm key backup wrote; - is standard input. The first key becomes key.priv\n" +
			"where there is none; the others go to former/, where mail to them can be read. Nothing\n" +
			"is overwritten. The keys keep the passphrase of FILE, unless --no-passphrase is given.",
		Flags: []cli.Flag{
			passphraseFlag(),
			&cli.BoolFlag{Name: "no-passphrase", Usage: "put the keys back without a passphrase"},
		},
		Action: runKeyRestore,
	}
}

func runKeyRestore(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	path := c.Args().First()
	keys, known, err := readBackup(c, path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	p := known
	if c.Bool("no-passphrase") {
		p = nil
	}
	ring, err := createKeys(c)
	if err != nil {
		return err
	}
	defer ring.Close()
	restored, err := ring.Restore(keys, p, known)
	warnLoose(c, ring)
	for _, r := range restored {
		fingerprint := hybrid.Fingerprint(&r.Key.PublicKey)
		if r.File == "" {
			say(c, "there already: %s", fingerprint)
		} else {
			say(c, "restored %s: %s", r.File, fingerprint)
		}
	}
	return err
}

// readBackup reads all private keys in a file, and the passphrase that they have.
func readBackup(c *cli.Context, path string) (keys []*rsa.PrivateKey, p []byte, err error) {
	data, err := readInput(c, path)
	if err != nil {
		return nil, nil, err
	}
	blocks := hybrid.SplitPrivateKeys(data)
	if len(blocks) == 0 {
		return nil, nil, errors.New("it holds no private key")
	}
	for _, block := range blocks {
		key, err := hybrid.ParsePrivateKey(block)
		if errors.Is(err, hybrid.ErrPassphraseNeeded) {
			if p == nil {
				if p, err = askPassphrase(c)(path); err != nil {
					return nil, nil, err
				}
			}
			key, err = hybrid.DecryptPrivateKey(block, p)
		}
		if err != nil {
			return nil, nil, err
		}
		keys = append(keys, key)
	}
	return keys, p, nil
}
