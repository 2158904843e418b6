package commands

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
	"xm/internal/keyring"
)

func key() *cli.Command {
	return &cli.Command{
		Name:  "key",
		Usage: "manage your keys and those of others",
		Description: "The keys are files in the keys directory: key.priv and key.pub are yours, NAME.pub is\n" +
			"that of NAME. What is replaced or removed is kept in former/: old mail can't be read\n" +
			"and verified without. A fingerprint is to be compared by another way than mail.",
		Subcommands: []*cli.Command{{
			Name:   "list",
			Usage:  "list the keys, with their fingerprints; key is your own",
			Flags:  []cli.Flag{jsonFlag()},
			Action: withKeys(0, 0, runKeyList),
		}, {
			Name:      "show",
			Usage:     "show the key of NAME, and the former ones; key is your own",
			ArgsUsage: "NAME",
			Flags:     []cli.Flag{jsonFlag()},
			Action:    withKeys(1, 1, runKeyShow),
		}, {
			Name:      "import",
			Usage:     "take the key of NAME from FILE, and print its fingerprint",
			ArgsUsage: "NAME FILE",
			Description: "FILE is the key.pub of NAME; - is standard input. If another key of NAME is known,\n" +
				"nothing is changed: it may be that of somebody who wants to read your mail.",
			Flags:  []cli.Flag{&cli.BoolFlag{Name: "replace", Usage: "take another key than the known one, which is kept in former/"}},
			Action: runKeyImport,
		}, {
			Name:        "remove",
			Usage:       "forget the key of NAME",
			ArgsUsage:   "NAME",
			Description: "It is kept in former/, so that old mail of NAME can still be verified.",
			Action:      withKeys(1, 1, runKeyRemove),
		}, {
			Name:      "export",
			Usage:     "print your public key, or that of NAME, to give it to others",
			ArgsUsage: "[NAME]",
			Flags:     []cli.Flag{passphraseFlag()},
			Action:    withKeys(0, 1, runKeyExport),
		}, keyFetch(), keyVerify(), keyAccept(), keyRotate(), keyBackup(), keyRestore()},
	}
}

// withKeys is the action of a command that needs the keys directory.
func withKeys(least, most int, run func(*cli.Context, *keyring.Ring) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		if err := wantArgs(c, least, most); err != nil {
			return err
		}
		ring, err := openKeys(c)
		if err != nil {
			return err
		}
		defer ring.Close()
		err = run(c, ring)
		warnLoose(c, ring)
		return err
	}
}

// listedKey is a key in the output of xm key list and show.
type listedKey struct {
	Name        string `json:"name"`
	Fingerprint string `json:"fingerprint"`
	Bits        int    `json:"bits"`
	File        string `json:"file"`
	Former      bool   `json:"former"`
	// Trust is known, verified or changed; of others' current keys alone.
	Trust keyring.State `json:"trust,omitempty"`
}

func listed(ring *keyring.Ring, keys []keyring.PublicKey) ([]listedKey, error) {
	list := []listedKey{}
	for _, k := range keys {
		l := listedKey{Name: k.Name, Fingerprint: hybrid.Fingerprint(k.Key), Bits: k.Key.N.BitLen(), File: k.File, Former: k.Former}
		if !k.Former && k.Name != keyring.Own {
			t, err := ring.Trust(k.Name)
			if err != nil {
				return nil, err
			}
			l.Trust = t.State
		}
		list = append(list, l)
	}
	return list, nil
}

func runKeyList(c *cli.Context, ring *keyring.Ring) error {
	keys, unread, err := ring.List()
	if err != nil {
		return err
	}
	sayUnread(c, unread)
	list, err := listed(ring, keys)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, list)
	}
	w := newColumns(c.App.Writer)
	for _, k := range list {
		fmt.Fprintf(w, "%s\t%s%s\n", k.Name, k.Fingerprint, k.remark())
	}
	return w.Flush()
}

// remark says what is out of the ordinary.
func (k listedKey) remark() string {
	switch {
	case k.Former:
		return "  former"
	case k.Trust == keyring.Verified, k.Trust == keyring.Changed:
		return "  " + string(k.Trust)
	}
	return ""
}

// shownKey is a key in the output of xm key show, with the former ones.
type shownKey struct {
	listedKey
	FormerKeys []listedKey `json:"former_keys"`
}

func runKeyShow(c *cli.Context, ring *keyring.Ring) error {
	keys, unread, err := ring.PublicKeys(c.Args().First())
	if err != nil {
		return err
	}
	sayUnread(c, unread)
	list, err := listed(ring, keys)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return fmt.Errorf("%w that can be read: %s", keyring.ErrNotFound, c.Args().First())
	}
	if c.Bool("json") {
		return printJSON(c, shownKey{list[0], list[1:]})
	}
	w := newColumns(c.App.Writer)
	for _, k := range list {
		title := "fingerprint"
		if k.Former {
			title = "former"
		}
		trust := ""
		if k.Trust != "" {
			trust = ", " + string(k.Trust)
		}
		fmt.Fprintf(w, "%s\t%s\n\t%d bits, %s%s\n", title, k.Fingerprint, k.Bits, k.File, trust)
	}
	return w.Flush()
}

func sayUnread(c *cli.Context, unread []error) {
	for _, err := range unread {
		say(c, "%v", err)
	}
}

func runKeyImport(c *cli.Context) error {
	if err := wantArgs(c, 2, 2); err != nil {
		return err
	}
	name, file := c.Args().Get(0), c.Args().Get(1)
	data, err := readInput(c, file)
	if err != nil {
		return err
	}
	ring, err := createKeys(c)
	if err != nil {
		return err
	}
	defer ring.Close()
	key, kept, err := ring.Import(name, data, c.Bool("replace"))
	if errors.Is(err, keyring.ErrChanged) {
		return fmt.Errorf("%w\nnothing was changed; ask %s, by another way than mail, which is right; --replace takes the new one", err, name)
	}
	if errors.Is(err, keyring.ErrName) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if kept != "" {
		say(c, "the key that was known is now %s", kept)
	}
	say(c, "the key of %s is in %s: compare its fingerprint with %s, by another way than mail", name, keysDir(c), name)
	return printFingerprint(c, key)
}

func runKeyRemove(c *cli.Context, ring *keyring.Ring) error {
	kept, err := ring.Remove(c.Args().First())
	if err != nil {
		return err
	}
	say(c, "the key of %s is now %s", c.Args().First(), kept)
	return nil
}

func runKeyExport(c *cli.Context, ring *keyring.Ring) error {
	name := keyring.Own
	if c.NArg() > 0 {
		name = c.Args().First()
	}
	data, err := ring.Export(name)
	if name == keyring.Own && errors.Is(err, keyring.ErrNotFound) { // key.priv has it, too
		key, err := ownKey(c, ring)
		if err != nil {
			return err
		}
		data = hybrid.MarshalPublicKey(&key.PublicKey)
	} else if err != nil {
		return err
	}
	_, err = c.App.Writer.Write(data)
	return err
}
