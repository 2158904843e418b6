package commands

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
	"xm/internal/keyring"
	"xm/internal/maildir"
	"xm/userdb"
)

func userAdd() *cli.Command {
	return &cli.Command{
		Name:      "add",
		Usage:     "add a user, who can receive mail at once",
		ArgsUsage: "NAME",
		Description: "NAME is local@domain, or a bare local, which receives mail for all local domains. One\n" +
			"that could be mistaken for another, or receive its mail, is refused.",
		Flags:  []cli.Flag{passwordFileFlag()},
		Action: withUser(1, 1, true, runUserAdd),
	}
}

func runUserAdd(o operator, name userdb.Name) error {
	r, err := o.newRecord(name)
	if err != nil {
		return err
	}
	ctx, cancel := o.patience()
	defer cancel()
	if err := o.Add(ctx, r); err != nil {
		return err
	}
	say(o.c, "added %s", name)
	return nil
}

// newRecord asks for a new password.
func (o operator) newRecord(name userdb.Name) (userdb.Record, error) {
	password, err := newPassword(o.c, name)
	if err != nil {
		return userdb.Record{}, err
	}
	return userdb.NewRecord(name, password, o.cfg.Login.Iterations)
}

func userPasswd() *cli.Command {
	return &cli.Command{
		Name:      "passwd",
		Usage:     "give a user another password; the public key stays",
		ArgsUsage: "NAME",
		Flags:     []cli.Flag{passwordFileFlag()},
		Action:    withUser(1, 1, false, runUserPasswd),
	}
}

func runUserPasswd(o operator, name userdb.Name) error {
	if _, err := o.find(name); err != nil {
		return err
	}
	r, err := o.newRecord(name)
	if err != nil {
		return err
	}
	return o.change(name, func(old userdb.Record) (userdb.Record, error) {
		old.Salt, old.Hash = r.Salt, r.Hash
		return old, nil
	})
}

// change changes a user's record.
func (o operator) change(name userdb.Name, change func(userdb.Record) (userdb.Record, error)) error {
	ctx, cancel := o.patience()
	defer cancel()
	_, err := o.Replace(ctx, name, change)
	return err
}

func userRemove() *cli.Command {
	return &cli.Command{
		Name:      "remove",
		Usage:     "remove a user; the mail stays",
		ArgsUsage: "NAME",
		Description: "As long as the mail is there, nobody else can have the name: move the directory away, or\n" +
			"remove it, now or later, with --with-mail.",
		Flags:  []cli.Flag{&cli.BoolFlag{Name: "with-mail", Usage: "remove the mail, too, for good"}},
		Action: withUser(1, 1, false, runUserRemove),
	}
}

func runUserRemove(o operator, name userdb.Name) error {
	r, found, err := o.Lookup(name)
	if err != nil {
		return err
	}
	if found {
		name = r.Name
	} else if err := o.checkNobodys(name); err != nil {
		return err
	}
	dirs, err := o.leftDirs(name)
	if err != nil {
		return err
	}
	if !o.c.Bool("with-mail") || len(dirs) == 0 {
		if err := o.removeUser(name); err != nil || len(dirs) == 0 {
			return err
		}
		say(o.c, "the mail of %s is kept, in %v of %s", name, dirs, o.cfg.DataDir)
		return nil
	}
	return o.removeAll(name, found, dirs)
}

// checkNobodys returns an error for a name whose mail is that of a user with
// another name: what the original left under an address is a bare name's.
func (o operator) checkNobodys(name userdb.Name) error {
	bare, err := userdb.ParseName(name.Local())
	if err != nil {
		return err
	}
	r, found, err := o.Lookup(bare)
	if err != nil || !found {
		return err
	}
	dirs, err := o.Maildrops(r.Name)
	if err == nil && slices.Contains(dirs, name.String()) {
		err = fmt.Errorf("%w: %s, whose mail is that of %s", userdb.ErrNoUser, name, r.Name)
	}
	return err
}

func (o operator) removeUser(name userdb.Name) error {
	ctx, cancel := o.patience()
	defer cancel()
	_, err := o.Remove(ctx, name, nil)
	return err
}

// leftDirs are the directories with a user's mail that exist.
func (o operator) leftDirs(name userdb.Name) ([]string, error) {
	all, err := o.Maildrops(name)
	if err != nil {
		return nil, err
	}
	var dirs []string
	root, err := os.OpenRoot(o.cfg.DataDir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	for _, dir := range all {
		if _, err := root.Lstat(dir); err == nil {
			dirs = append(dirs, dir)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return dirs, nil
}

// removeAll removes a user, if there is one, and then the mail, which nobody may
// have open meanwhile.
func (o operator) removeAll(name userdb.Name, exists bool, dirs []string) error {
	store, err := openStore(o.cfg, o.DB, warn(o.c))
	if err != nil {
		return err
	}
	defer store.Close()
	drop, err := store.Open(append([]string{name.String()}, dirs...))
	if errors.Is(err, maildir.ErrLocked) {
		return fmt.Errorf("%s is logged in: %w", name, err)
	}
	if err != nil {
		return err
	}
	defer drop.Close()
	if exists {
		if err := o.removeUser(name); err != nil {
			return err
		}
	}
	root, err := os.OpenRoot(o.cfg.DataDir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, dir := range append([]string{name.String()}, dirs...) {
		if err := errors.Join(root.RemoveAll(dir), store.Forget(dir)); err != nil {
			return err
		}
	}
	return nil
}

func userKey() *cli.Command {
	return &cli.Command{
		Name:      "key",
		Usage:     "print the public key of a user, or put the one in FILE in its place",
		ArgsUsage: "NAME [FILE]",
		Description: "FILE is a key.pub, - standard input. This is for somebody who has lost the key: make sure\n" +
			"that it is them. The old key is kept as a former one.",
		Flags:  []cli.Flag{&cli.BoolFlag{Name: "remove", Usage: "leave the user without a key"}},
		Action: withUser(1, 2, false, runUserKey),
	}
}

func runUserKey(o operator, name userdb.Name) error {
	switch {
	case o.c.Bool("remove") && o.c.NArg() == 2:
		return usageErrorf("either FILE or --remove")
	case o.c.Bool("remove"):
		return o.change(name, func(r userdb.Record) (userdb.Record, error) { r.Keys = nil; return r, nil })
	case o.c.NArg() == 2:
		return o.setKey(name, o.c.Args().Get(1))
	}
	r, err := o.find(name)
	if err != nil {
		return err
	}
	if len(r.Keys) == 0 {
		return fmt.Errorf("%w: %s has no public key", errNotFound, name)
	}
	_, err = o.c.App.Writer.Write(r.Keys)
	return err
}

func (o operator) setKey(name userdb.Name, file string) error {
	data, err := readInput(o.c, file)
	if err != nil {
		return err
	}
	key, err := hybrid.ParsePublicKey(data)
	if err == nil {
		data, err = keyring.PublicBlocks(data) // everybody can ask the server for it
	}
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := o.change(name, func(r userdb.Record) (userdb.Record, error) { r.Keys = data; return r, nil }); err != nil {
		return err
	}
	return printFingerprint(o.c, key)
}
