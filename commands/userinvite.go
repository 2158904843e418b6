package commands

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"xm/userdb"
)

func userInvite() *cli.Command {
	return &cli.Command{
		Name:  "invite",
		Usage: "print a code with which one person can register",
		Description: "The code is shown this once, and is good for one registration. --list shows the codes that\n" +
			"nobody has used yet, by IDs that don't tell them.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "expires", Usage: "the code is good for `TIME`, as 12h or 7d", Value: "7d"},
			&cli.StringFlag{Name: "note", Usage: "remember `TEXT` with it: whom it is for"},
			&cli.BoolFlag{Name: "list", Usage: "list the codes that are good"},
			&cli.StringFlag{Name: "revoke", Usage: "take the code with this `ID` back"},
			jsonFlag(),
		},
		Action: func(c *cli.Context) error {
			create := !c.Bool("list") && !c.IsSet("revoke") // a wrong directory has no codes, either
			return withUsers(0, 0, create, runUserInvite)(c)
		},
	}
}

// listedInvite is an invite in the output of xm user invite.
type listedInvite struct {
	Code    string    `json:"code,omitempty"` // in that which makes it
	ID      string    `json:"id,omitempty"`
	Expires time.Time `json:"expires"`
	Note    string    `json:"note"`
}

func runUserInvite(o operator) error {
	switch {
	case o.c.Bool("list") && o.c.IsSet("revoke"):
		return usageErrorf("--list shows codes, and --revoke takes one back: give one of them")
	case o.c.Bool("list"):
		return listInvites(o)
	case o.c.IsSet("revoke"):
		ctx, cancel := o.patience()
		defer cancel()
		err := o.Revoke(ctx, o.c.String("revoke"))
		if errors.Is(err, userdb.ErrInvite) {
			err = fmt.Errorf("%w: %w", errNotFound, err)
		}
		return err
	}
	ttl, err := parseDays(o.c.String("expires"))
	if err != nil {
		return err
	}
	ctx, cancel := o.patience()
	defer cancel()
	i := listedInvite{Expires: time.Now().Add(ttl).UTC().Truncate(time.Second), Note: o.c.String("note")}
	if i.Code, err = o.NewInvite(ctx, ttl, i.Note); err != nil {
		return err
	}
	if o.c.Bool("json") {
		return printJSON(o.c, i)
	}
	say(o.c, "good for one registration, until %s:", i.Expires.Local().Format(time.DateTime))
	_, err = fmt.Fprintln(o.c.App.Writer, i.Code)
	return err
}

func listInvites(o operator) error {
	all, broken := o.Invites()
	if broken != nil && all == nil {
		return broken
	}
	if broken != nil {
		say(o.c, "%v", broken)
	}
	list := []listedInvite{}
	for _, i := range all {
		list = append(list, listedInvite{ID: i.ID, Expires: i.Expires, Note: i.Note})
	}
	if o.c.Bool("json") {
		return printJSON(o.c, list)
	}
	w := newColumns(o.c.App.Writer)
	for _, i := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\n", i.ID, i.Expires.Local().Format(time.DateTime), i.Note)
	}
	return w.Flush()
}

// longest keeps a time within what a file can hold.
const longest = 100 * 365 * 24 * time.Hour

// parseDays reads a duration, for which days are a unit too.
func parseDays(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			text = fmt.Sprintf("%dh", 24*n)
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > longest {
		return 0, usageErrorf("%q is no time as 12h or 7d", text)
	}
	return d, nil
}
