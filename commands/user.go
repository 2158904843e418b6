package commands

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/urfave/cli/v2"

	"xm/internal/config"
	"xm/internal/mailclient"
	"xm/internal/maildir"
	"xm/internal/safefile"
	"xm/userdb"
)

func user() *cli.Command {
	return &cli.Command{
		Name:  "user",
		Usage: "manage the users of a server",
		Description: "The users are lines of users.txt in the data directory; what that has no field for is in\n" +
			"users.settings, users.former and users.invites beside it. Servers see changes at once.",
		Subcommands: []*cli.Command{
			userAdd(), userPasswd(), userRemove(), userList(), userShow(), userSet(),
			userSwitch("disable", "let a user log in no more; mail is still received", true),
			userSwitch("enable", "let a disabled user log in again", false),
			userImport(), userExport(), userInvite(), userKey(),
		},
	}
}

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print JSON"}
}

// users of a server, as its operator sees them.
type operator struct {
	*userdb.DB
	c   *cli.Context
	cfg config.Config
}

// withUsers is the action of a command that needs the users of the configured data
// directory, which is made where it is missing if create says so.
func withUsers(least, most int, create bool, run func(operator) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		if err := wantArgs(c, least, most); err != nil {
			return err
		}
		cfg, err := loadConfig(c)
		if err != nil {
			return err
		}
		if create {
			if err := safefile.MkdirAll(cfg.DataDir, 0o700); err != nil {
				return err
			}
		}
		db, err := openUsers(cfg)
		if err != nil {
			return err
		}
		defer db.Close()
		return run(operator{db, c, cfg})
	}
}

// openUsers opens users.txt for a command, which tells itself what is wrong with it.
func openUsers(cfg config.Config) (*userdb.DB, error) {
	db, err := userdb.Open(cfg.DataDir, userOptions(cfg), slog.New(slog.DiscardHandler))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no data directory %s: name it with --data, or as data_dir in the config", cfg.DataDir)
	}
	return db, err
}

// withUser is withUsers for a command whose first argument is a user's name.
func withUser(least, most int, create bool, run func(operator, userdb.Name) error) cli.ActionFunc {
	return withUsers(least, most, create, func(o operator) error {
		name, err := readName(o.c.Args().First())
		if err != nil {
			return err
		}
		return run(o, name)
	})
}

// readName reads a user's name on the command line.
func readName(text string) (userdb.Name, error) {
	name, err := userdb.ParseName(text)
	if err != nil {
		return userdb.Name{}, usageError{err.Error()}
	}
	return name, nil
}

// lockPatience is how long other writers of users.txt may take.
const lockPatience = 30 * time.Second

// patience bounds the wait for them.
func (o operator) patience() (context.Context, context.CancelFunc) {
	return context.WithTimeout(o.c.Context, lockPatience)
}

// find returns the user of a name.
func (o operator) find(name userdb.Name) (userdb.Record, error) {
	r, found, err := o.Lookup(name)
	if err == nil && !found {
		err = fmt.Errorf("%w: %s", userdb.ErrNoUser, name)
	}
	return r, err
}

// withStore calls f with the users' mail.
func (o operator) withStore(f func(*maildir.Store) error) error {
	store, err := openStore(o.cfg, o.DB, warn(o.c))
	if err != nil {
		return err
	}
	return errors.Join(f(store), store.Close())
}

// printJSON prints JSON that a terminal can show: what is not printable is
// escaped.
func printJSON(c *cli.Context, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, r := range string(text) {
		if r == '\n' || mailclient.Printable(string(r)) == string(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&b, "\\u%04x", unit)
		}
	}
	_, err = fmt.Fprintln(c.App.Writer, b.String())
	return err
}
