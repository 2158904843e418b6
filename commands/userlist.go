package commands

import (
	"bufio"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
	"xm/internal/maildir"
	"xm/userdb"
)

func userList() *cli.Command {
	return &cli.Command{
		Name:  "list",
		Usage: "list the users: how the password is kept, the key's fingerprint, and who is on",
		Description: "on, and off, say since when a user is logged in, or no longer (POP3, some seconds late).\n" +
			"In JSON, what each maildrop holds is counted, too.",
		Flags:  []cli.Flag{jsonFlag()},
		Action: withUsers(0, 0, false, runUserList),
	}
}

// listedUser is a user in the output of xm user list.
type listedUser struct {
	Name        string     `json:"name"`
	Password    string     `json:"password"` // how it is kept
	Fingerprint string     `json:"fingerprint,omitempty"`
	Disabled    bool       `json:"disabled"`
	Aliases     []string   `json:"aliases"`
	Online      bool       `json:"online"`
	Since       *time.Time `json:"since,omitempty"`    // of being online, or not; none for never
	Maildrop    *maildrop  `json:"maildrop,omitempty"` // not in the list for people: it has to be counted
}

// maildrop is what one holds, and its quota: 0 for no limit.
type maildrop struct {
	Octets        int64 `json:"octets"`
	Messages      int64 `json:"messages"`
	QuotaOctets   int64 `json:"quota_octets"`
	QuotaMessages int64 `json:"quota_messages"`
}

func runUserList(o operator) error {
	records, broken := o.Users()
	if broken != nil && records == nil {
		return broken
	}
	if broken != nil {
		say(o.c, "%v\n%s", broken, brokenUsersMend)
	}
	stats, err := o.Stats()
	if err != nil {
		return err
	}
	users := []listedUser{}
	for _, r := range records {
		users = append(users, o.listed(r, stats))
	}
	if !o.c.Bool("json") {
		return printUsers(o.c, users)
	}
	store, err := openStore(o.cfg, o.DB, warn(o.c))
	if err != nil {
		return err
	}
	defer store.Close()
	for i := range users {
		if err := users[i].count(store); err != nil {
			return err
		}
	}
	return printJSON(o.c, users)
}

func (o operator) listed(r userdb.Record, stats map[string]userdb.Status) listedUser {
	u := listedUser{Name: r.Name.String(), Password: r.Kind(), Fingerprint: fingerprintOf(r.Keys), Aliases: []string{}}
	set, err := o.Settings(r.Name)
	u.Disabled = set.Disabled || err != nil // who can't log in
	for _, a := range set.Aliases {
		u.Aliases = append(u.Aliases, a.String())
	}
	if st, ok := stats[u.Name]; ok {
		u.Online, u.Since = st.On, &st.Since
	}
	return u
}

// count fills in what the maildrop holds.
func (u *listedUser) count(store *maildir.Store) error {
	used, err := store.Usage(u.Name)
	if err != nil {
		return err
	}
	quota := store.Quota(u.Name)
	u.Maildrop = &maildrop{used.Octets, used.Messages, quota.Octets, quota.Messages}
	return nil
}

func printUsers(c *cli.Context, users []listedUser) error {
	out := bufio.NewWriter(c.App.Writer)
	w := newColumns(out)
	for _, u := range users {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", u.Name, u.Password, u.Fingerprint, u.state())
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return out.Flush()
}

// state is whether the user is on, and whether they may be.
func (u listedUser) state() string {
	var words []string
	if u.Disabled {
		words = append(words, "disabled")
	}
	if u.Since != nil && u.Online {
		words = append(words, "on since "+u.Since.Local().Format(time.DateTime))
	} else if u.Since != nil {
		words = append(words, "off since "+u.Since.Local().Format(time.DateTime))
	}
	return strings.Join(words, ", ")
}

// fingerprintOf shows a user's key, if there is one that this program knows.
func fingerprintOf(keys []byte) string {
	key, err := hybrid.ParsePublicKey(keys)
	if err != nil {
		return ""
	}
	return hybrid.Fingerprint(key)
}

func userShow() *cli.Command {
	return &cli.Command{
		Name:      "show",
		Usage:     "show all that is known of a user",
		ArgsUsage: "NAME",
		Flags:     []cli.Flag{jsonFlag()},
		Action:    withUser(1, 1, false, runUserShow),
	}
}

// shownUser is a user in the output of xm user show.
type shownUser struct {
	listedUser
	FormerKeys []formerKey `json:"former_keys"`
}

type formerKey struct {
	Fingerprint string    `json:"fingerprint"`
	Replaced    time.Time `json:"replaced"`
}

func runUserShow(o operator, name userdb.Name) error {
	r, err := o.find(name)
	if err != nil {
		return err
	}
	stats, err := o.Stats()
	if err != nil {
		return err
	}
	if _, err := o.Settings(r.Name); err != nil {
		say(o.c, "%v", err)
	}
	u := shownUser{o.listed(r, stats), []formerKey{}}
	former, err := o.FormerKeys(r.Name)
	if err != nil {
		return err
	}
	for _, f := range former {
		u.FormerKeys = append(u.FormerKeys, formerKey{fingerprintOf(f.Keys), f.Replaced})
	}
	store, err := openStore(o.cfg, o.DB, warn(o.c))
	if err != nil {
		return err
	}
	defer store.Close()
	if err := u.count(store); err != nil {
		return err
	}
	if o.c.Bool("json") {
		return printJSON(o.c, u)
	}
	return u.print(o.c)
}

func (u shownUser) print(c *cli.Context) error {
	w := newColumns(c.App.Writer)
	fmt.Fprintf(w, "name\t%s\npassword\t%s\n", u.Name, u.Password)
	if u.Fingerprint != "" {
		fmt.Fprintf(w, "key\t%s\n", u.Fingerprint)
	}
	for _, f := range u.FormerKeys {
		fmt.Fprintf(w, "former key\t%s, until %s\n", f.Fingerprint, f.Replaced.Local().Format(time.DateTime))
	}
	if len(u.Aliases) > 0 {
		fmt.Fprintf(w, "aliases\t%s\n", strings.Join(u.Aliases, " "))
	}
	if state := u.state(); state != "" {
		fmt.Fprintf(w, "state\t%s\n", state)
	}
	fmt.Fprintf(w, "octets\t%d%s\nmessages\t%d%s\n", u.Maildrop.Octets, ofQuota(u.Maildrop.QuotaOctets), u.Maildrop.Messages, ofQuota(u.Maildrop.QuotaMessages))
	return w.Flush()
}

func ofQuota(most int64) string {
	if most == 0 {
		return ""
	}
	return fmt.Sprintf(" of %d", most)
}
