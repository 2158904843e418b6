package commands

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/urfave/cli/v2"

	"xm/userdb"
)

// serversOwn stands for the config's quota.
const serversOwn = "default"

func userSet() *cli.Command {
	return &cli.Command{
		Name:      "set",
		Usage:     "change the quota and the aliases of a user",
		ArgsUsage: "NAME",
		Description: "An alias is a further name whose mail the user gets; those for several are in [aliases] of\n" +
			"the config. N is 0 for no limit, and default for what [quota] of the config says.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "octets", Usage: "the maildrop may hold `N` octets"},
			&cli.StringFlag{Name: "messages", Usage: "the maildrop may hold `N` messages"},
			&cli.StringSliceFlag{Name: "alias", Usage: "add the alias `NAME`. May be repeated"},
			&cli.StringSliceFlag{Name: "no-alias", Usage: "take the alias `NAME` away. May be repeated"},
		},
		Action: withUser(1, 1, false, runUserSet),
	}
}

func runUserSet(o operator, name userdb.Name) error {
	change, err := readSettings(o.c)
	if err != nil {
		return err
	}
	return o.set(name, change)
}

func (o operator) set(name userdb.Name, change func(*userdb.Settings) error) error {
	ctx, cancel := o.patience()
	defer cancel()
	_, err := o.Set(ctx, name, change)
	return err
}

// readSettings makes of the flags what they do.
func readSettings(c *cli.Context) (func(*userdb.Settings) error, error) {
	if c.NumFlags() == 0 {
		return nil, usageErrorf("there is nothing to set: see %s --help", commandPath(c))
	}
	octets, err := readLimit(c, "octets")
	if err != nil {
		return nil, err
	}
	messages, err := readLimit(c, "messages")
	if err != nil {
		return nil, err
	}
	added, err := readNames(c.StringSlice("alias"))
	if err != nil {
		return nil, err
	}
	removed, err := readNames(c.StringSlice("no-alias"))
	if err != nil {
		return nil, err
	}
	return func(s *userdb.Settings) error {
		if c.IsSet("octets") {
			s.Octets = octets
		}
		if c.IsSet("messages") {
			s.Messages = messages
		}
		for _, a := range removed {
			i := slices.Index(s.Aliases, a)
			if i < 0 {
				return fmt.Errorf("%w: there is no alias %s", errNotFound, a)
			}
			s.Aliases = slices.Delete(s.Aliases, i, i+1)
		}
		for _, a := range added {
			if !slices.Contains(s.Aliases, a) {
				s.Aliases = append(s.Aliases, a)
			}
		}
		return nil
	}, nil
}

// readLimit gives nil for the server's own limit.
func readLimit(c *cli.Context, flag string) (*int64, error) {
	text := c.String(flag)
	if text == serversOwn || !c.IsSet(flag) {
		return nil, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return nil, usageErrorf("--%s %s: it is a number of 0 or more, or %s", flag, text, serversOwn)
	}
	return &n, nil
}

func readNames(texts []string) (names []userdb.Name, err error) {
	for _, text := range texts {
		name, err := readName(text)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// userSwitch is xm user disable and enable.
func userSwitch(verb, usage string, disabled bool) *cli.Command {
	return &cli.Command{
		Name:      verb,
		Usage:     usage,
		ArgsUsage: "NAME",
		Action: withUser(1, 1, false, func(o operator, name userdb.Name) error {
			return o.set(name, func(s *userdb.Settings) error { s.Disabled = disabled; return nil })
		}),
	}
}
