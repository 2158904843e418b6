package userdb

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// alias is a name that stands for users and other aliases.
type alias struct {
	name    Name
	targets []Name
	owner   Name // whose settings have it; the zero Name for an alias of the options
}

// aliases are found by their folded names.
type aliases map[string]*alias

func (db *DB) setAliases(all map[string][]string) (err error) {
	if db.aliases, err = parseAliases(all); err != nil {
		return err
	}
	return db.checkCycles()
}

// parseAliases reads names and targets as ParseName does.
func parseAliases(all map[string][]string) (aliases, error) {
	parsed := aliases{}
	for _, text := range slices.Sorted(maps.Keys(all)) {
		name, err := ParseName(text)
		if err != nil {
			return nil, fmt.Errorf("alias %q: %w", text, err)
		}
		if other := parsed[name.folded()]; other != nil {
			return nil, fmt.Errorf("the aliases %s and %s are one", other.name, name)
		}
		a := &alias{name: name}
		for _, target := range all[text] {
			t, err := ParseName(target)
			if err != nil {
				return nil, fmt.Errorf("alias %s: %w", name, err)
			}
			a.targets = append(a.targets, t)
		}
		if len(a.targets) == 0 {
			return nil, fmt.Errorf("alias %s stands for nobody", name)
		}
		parsed[name.folded()] = a
	}
	return parsed, nil
}

// with adds the users' own. One that is there already stays as it is.
func (as aliases) with(s *snapshot) aliases {
	if len(s.withAliases) == 0 {
		return as
	}
	all := maps.Clone(as)
	for _, set := range s.withAliases {
		for _, n := range set.Aliases {
			if all[n.folded()] != nil {
				s.badSettings = append(s.badSettings, fmt.Errorf("%s: the alias %s of %s is another's already", settingsName, n, set.name))
				continue
			}
			all[n.folded()] = &alias{n, []Name{set.name}, set.name}
		}
	}
	return all
}

// sorted gives the aliases in one order.
func (as aliases) sorted() []*alias {
	return slices.SortedFunc(maps.Values(as), func(a, b *alias) int { return strings.Compare(a.name.String(), b.name.String()) })
}

// find looks for an alias as snapshot.find does for a user, sub-addresses
// included.
func (as aliases) find(local string, groups [][]string) *alias {
	if len(as) == 0 {
		return nil
	}
	for _, l := range []string{local, base(local)} {
		for _, group := range groups {
			var found []*alias
			for _, domain := range group {
				if a := as[Name{l, domain}.folded()]; a != nil {
					found = append(found, a)
				}
			}
			if len(found) == 1 {
				return found[0]
			}
			if len(found) > 1 {
				return nil
			}
		}
	}
	return nil
}

// checkCycles returns an error for an alias that leads back to itself.
func (db *DB) checkCycles() error {
	done := map[*alias]bool{}
	var chain []*alias
	var visit func(*alias) error
	visit = func(a *alias) error {
		i := slices.Index(chain, a)
		chain = append(chain, a)
		defer func() { chain = chain[:len(chain)-1] }()
		if i >= 0 {
			return fmt.Errorf("aliases in a circle: %s", names(chain[i:]))
		}
		if done[a] {
			return nil
		}
		done[a] = true
		for _, t := range a.targets {
			if next := db.aliases.find(t.local, db.domains(t.domain)); next != nil {
				if err := visit(next); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for _, a := range db.aliases.sorted() {
		if err := visit(a); err != nil {
			return err
		}
	}
	return nil
}

func names(chain []*alias) string {
	var all []string
	for _, a := range chain {
		all = append(all, a.name.String())
	}
	return strings.Join(all, " -> ")
}

// Recipients returns the users who receive the mail for local@domain: the one
// whom Find finds, or else those whom an alias stands for, each once. domain is
// empty for an address without one. The error is for what keeps them from being
// known, a target that is no user among it: users may be added later, and
// nobody's mail must get lost meanwhile.
func (db *DB) Recipients(local, domain string) (users []Record, found bool, err error) {
	s, err := db.load()
	if err != nil {
		return nil, false, err
	}
	r, found, err := db.find(s, local, domain)
	if err != nil {
		return nil, false, err
	}
	if found {
		return []Record{r}, true, nil
	}
	a := s.aliases.find(nfc(local), db.domains(domain))
	if a == nil {
		return nil, false, nil
	}
	if users, err = db.expand(s, a); err != nil {
		return nil, false, err
	}
	return users, true, nil
}

// expand follows an alias to its users.
func (db *DB) expand(s *snapshot, first *alias) ([]Record, error) {
	var users []Record
	todo := []*alias{first}
	for i := 0; i < len(todo); i++ { // todo grows, but holds each alias once
		for _, t := range todo[i].targets {
			r, found, err := db.find(s, t.local, t.domain)
			if err != nil {
				return nil, fmt.Errorf("alias %s: %w", todo[i].name, err)
			}
			if found {
				if !slices.ContainsFunc(users, func(u Record) bool { return u.Name == r.Name }) {
					users = append(users, r)
				}
				continue
			}
			next := s.aliases.find(t.local, db.domains(t.domain))
			if next == nil {
				return nil, fmt.Errorf("alias %s: no user %s", todo[i].name, t)
			}
			if !slices.Contains(todo, next) {
				todo = append(todo, next)
			}
		}
	}
	return users, nil
}

// CheckAliases returns an error for each alias that can't receive mail now, and
// for each that does not because a user has its name.
func (db *DB) CheckAliases() []error {
	s, err := db.load()
	if err != nil {
		return []error{err}
	}
	var all []error
	for _, a := range s.aliases.sorted() {
		r, hidden, err := db.find(s, a.name.local, a.name.domain)
		if err == nil && hidden {
			err = fmt.Errorf("alias %s: the user %s gets this mail", a.name, r.Name)
		} else if err == nil {
			_, err = db.expand(s, a)
		}
		if err != nil {
			all = append(all, err)
		}
	}
	return all
}
