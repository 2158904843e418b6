package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Limits are those of one maildrop. 0 means no limit.
type Limits struct {
	Octets   int64 `toml:"octets"`
	Messages int64 `toml:"messages"`
}

// Quota limits the maildrops: all of them, and in the place of that those of
// single users.
type Quota struct {
	Limits
	Users map[string]Limits `toml:"users"`
}

// Of gives the limits of a user's maildrop.
func (q Quota) Of(user string) Limits {
	if l, ok := q.Users[user]; ok {
		return l
	}
	return q.Limits
}

func (q Quota) check() error {
	if err := q.Limits.check("quota"); err != nil {
		return err
	}
	for _, user := range slices.Sorted(maps.Keys(q.Users)) {
		if err := q.Users[user].check(fmt.Sprintf("quota.users.%q", user)); err != nil {
			return err
		}
	}
	return nil
}

func (l Limits) check(setting string) error {
	if l.Octets < 0 || l.Messages < 0 {
		return fmt.Errorf("%s: octets and messages can't be negative", setting)
	}
	return nil
}

const postmaster = "postmaster"

// foldPostmaster makes an alias of the setting that is short for it.
func (c *Config) foldPostmaster() error {
	if c.Postmaster == "" {
		return nil
	}
	for name := range c.Aliases {
		if strings.EqualFold(name, postmaster) {
			return fmt.Errorf("postmaster is set twice: by itself and as aliases.%s", name)
		}
	}
	if c.Aliases == nil {
		c.Aliases = map[string][]string{}
	}
	c.Aliases[postmaster] = []string{c.Postmaster}
	c.SetBy("aliases."+postmaster, c.sources[postmaster])
	c.Postmaster = "" // the settings in force have it once
	return nil
}

// checkAliases leaves it to package userdb what a name may be.
func (c *Config) checkAliases() error {
	for _, name := range slices.Sorted(maps.Keys(c.Aliases)) {
		if targets := c.Aliases[name]; name == "" || len(targets) == 0 || slices.Contains(targets, "") {
			return fmt.Errorf("aliases.%q: an alias is a name and one or more users or aliases", name)
		}
	}
	return nil
}
