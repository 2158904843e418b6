package commands

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf16"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
	"xm/internal/mailclient"
	"xm/internal/safefile"
	"xm/userdb"
)

func user() *cli.Command {
	return &cli.Command{
		Name:  "user",
		Usage: "manage the users of a server",
		Subcommands: []*cli.Command{{
			Name:        "add",
			Usage:       "add a user, who can receive mail at once",
			ArgsUsage:   "NAME",
			Description: "NAME is local@domain, or a bare local, which receives mail for all local domains.",
			Flags:       []cli.Flag{passwordFileFlag()},
			Action:      runUserAdd,
		}, {
			Name:   "list",
			Usage:  "list the users",
			Flags:  []cli.Flag{jsonFlag()},
			Action: runUserList,
		}},
	}
}

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print JSON"}
}

// openUsers opens users.txt of the configured data directory, which is made where
// it is missing if create says so.
func openUsers(c *cli.Context, create bool) (*userdb.DB, error) {
	cfg, err := loadConfig(c)
	if err != nil {
		return nil, err
	}
	if create {
		if err := safefile.MkdirAll(cfg.DataDir, 0o700); err != nil {
			return nil, err
		}
	}
	return userdb.Open(cfg.DataDir, userOptions(cfg), slog.New(slog.DiscardHandler))
}

// lockPatience is how long other writers of users.txt may take.
const lockPatience = 30 * time.Second

func runUserAdd(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	name, err := userdb.ParseName(c.Args().First())
	if err != nil {
		return usageError{err.Error()}
	}
	db, err := openUsers(c, true)
	if err != nil {
		return err
	}
	defer db.Close()
	password, err := readPassword(c, c.String("password-file"), fmt.Sprintf("New password of %s: ", name), true)
	if err != nil {
		return err
	}
	r, err := userdb.NewRecord(name, password, userdb.DefaultIterations)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, lockPatience)
	defer cancel()
	if err := db.Add(ctx, r); err != nil {
		return err
	}
	say(c, "added %s", name)
	return nil
}

// listedUser is a user in the output of xm user list.
type listedUser struct {
	Name        string    `json:"name"`
	Password    string    `json:"password"` // how it is kept
	Fingerprint string    `json:"fingerprint,omitempty"`
	Maildrop    *maildrop `json:"maildrop,omitempty"` // in JSON alone: it has to be counted
}

// maildrop is what one holds, and its quota: 0 for no limit.
type maildrop struct {
	Octets        int64 `json:"octets"`
	Messages      int64 `json:"messages"`
	QuotaOctets   int64 `json:"quota_octets"`
	QuotaMessages int64 `json:"quota_messages"`
}

func runUserList(c *cli.Context) error {
	if err := wantArgs(c, 0, 0); err != nil {
		return err
	}
	db, err := openUsers(c, false)
	if err != nil {
		return err
	}
	defer db.Close()
	records, broken := db.Users()
	if broken != nil && records == nil {
		return broken
	}
	if broken != nil {
		say(c, "%v", broken)
	}
	users := []listedUser{}
	for _, r := range records {
		users = append(users, listedUser{Name: r.Name.String(), Password: r.Kind(), Fingerprint: fingerprintOf(r)})
	}
	if c.Bool("json") {
		if err := countMaildrops(c, users); err != nil {
			return err
		}
		return printJSON(c, users)
	}
	w := tabwriter.NewWriter(c.App.Writer, 0, 8, 2, ' ', 0)
	for _, u := range users {
		fmt.Fprintf(w, "%s\t%s\t%s\n", u.Name, u.Password, u.Fingerprint)
	}
	return w.Flush()
}

func countMaildrops(c *cli.Context, users []listedUser) error {
	cfg, err := loadConfig(c)
	if err != nil {
		return err
	}
	store, err := openStore(cfg)
	if err != nil {
		return err
	}
	defer store.Close()
	for i, u := range users {
		used, err := store.Usage(u.Name)
		if err != nil {
			return err
		}
		quota := store.Quota(u.Name)
		users[i].Maildrop = &maildrop{used.Octets, used.Messages, quota.Octets, quota.Messages}
	}
	return nil
}

// fingerprintOf shows a user's key, if there is one that this program knows.
func fingerprintOf(r userdb.Record) string {
	key, err := hybrid.ParsePublicKey(r.Keys)
	if err != nil {
		return ""
	}
	return hybrid.Fingerprint(key)
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
