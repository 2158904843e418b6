package userdb

import (
	"fmt"
	"slices"
	"strings"

	"xm/internal/disk"
)

// claims are the names that stand in the way of some wanted ones. The keys are the
// looks of the wanted names; names that have none of these looks are not kept.
type claims struct {
	db *DB
	by map[string][]claim
}

type claim struct {
	name Name
	why  string // with the name for each %[1]s
}

// claimed collects what stands in the way of wanted names: users, on lines that
// can't be read or were set aside too, and aliases, but for those of one user, if any.
func (db *DB) claimed(s *snapshot, but Name, wanted []Name) *claims {
	c := &claims{db, make(map[string][]claim, len(wanted))}
	for _, n := range wanted {
		for _, look := range n.looks() {
			c.by[look] = nil
		}
	}
	for _, l := range s.lost {
		why := "%[1]s exists"
		if l.aside {
			why = "a line of %[1]s is in " + BrokenLines + "; mend it and move it back, or remove it"
		}
		c.add(l.name, why)
	}
	for _, r := range s.records {
		c.add(r.Name, "%[1]s exists")
	}
	for _, a := range s.aliases {
		if a.owner == (Name{}) || a.owner != but {
			c.add(a.name, "%[1]s is an alias")
		}
	}
	return c
}

// addLeft adds what is left of users who are not in the file: maildrops, and links
// to some.
func (c *claims) addLeft() error {
	entries, err := disk.ReadDir(c.db.root, ".")
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b disk.Entry) int { return strings.Compare(a.Name, b.Name) })
	for _, e := range entries {
		if n, err := parseName(e.Name); err == nil && !e.Type.IsRegular() {
			c.add(n, "a maildrop %[1]s exists; move it away, or remove it: xm user remove --with-mail %[1]s")
		}
	}
	return nil
}

func (c *claims) add(n Name, why string) {
	for _, look := range n.looks() {
		if others, ok := c.by[look]; ok {
			c.by[look] = append(others, claim{n, why})
		}
	}
}

// check returns an error for a name that can't be given to somebody new.
func (c *claims) check(n Name) error {
	if err := n.checkLooks(); err != nil {
		return err
	}
	for _, look := range n.looks() {
		for _, other := range c.by[look] {
			if c.db.domainsMeet(n, other.name) {
				return fmt.Errorf("%w: %s", ErrTaken, fmt.Sprintf(other.why, other.name))
			}
		}
	}
	return nil
}

// domainsMeet reports whether two names with the same local part could receive
// the same mail.
func (db *DB) domainsMeet(a, b Name) bool {
	return foldDomain(a.domain) == foldDomain(b.domain) ||
		a.domain == "" && db.Local(b.domain) || b.domain == "" && db.Local(a.domain)
}
