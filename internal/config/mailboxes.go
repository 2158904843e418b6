package config

import (
	"errors"
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

func (l Limits) check() error {
	if l.Octets < 0 || l.Messages < 0 {
		return errors.New("quota: octets and messages can't be negative")
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
