package userdb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// settingsName is the file of what users.txt has no field for: one user a line,
//
//	name word ...
//
// and each word one of
//
//	disabled      the user can't log in; mail is still received
//	octets=N      the quota of the maildrop, in the place of the server's;
//	messages=N    0: no limit
//	alias=NAME    a name whose mail the user gets, as often as there are any
//
// A user without a line has none of this. Whoever has a line that can't be read
// can't log in until it is repaired: it might say "disabled". For the same reason,
// nobody can while the file is gone that was there before; an empty one will do.
const settingsName = "users.settings"

// Settings are what users.txt does not say of a user.
type Settings struct {
	// Disabled users can't log in, and learn no more than that. They still
	// receive mail. A session that is under way goes on.
	Disabled bool
	// Octets and Messages are the quota of the maildrop, where it is not the
	// server's; 0 for no limit.
	Octets, Messages *int64
	// Aliases are further names whose mail the user receives. A bare one stands
	// for itself at every local domain.
	Aliases []Name
}

// setting is one reading of a user's line.
type setting struct {
	Settings
	name Name
	err  error
}

// Settings returns those of a user, whom n names as Lookup has it. The error
// matches ErrNoUser if there is none, and is another for a line that can't be
// read.
func (db *DB) Settings(n Name) (Settings, error) {
	s, err := db.load()
	if err != nil {
		return Settings{}, err
	}
	r, found := s.lookup(n)
	if !found {
		return Settings{}, fmt.Errorf("%w: %s", ErrNoUser, n)
	}
	return s.settingsOf(r)
}

// SettingsOf is Settings for a name just as it is in users.txt, and cheap: whether there
// is such a user is not looked at.
func (db *DB) SettingsOf(exact string) (Settings, error) {
	s, err := db.load()
	if err != nil {
		return Settings{}, err
	}
	local, domain, _ := cutDomain(exact)
	return s.settingsOf(Record{Name: Name{local, domain}})
}

func (s *snapshot) settingsOf(r Record) (Settings, error) {
	found, ok := s.settings[r.Name.exact()]
	if !ok {
		return Settings{}, nil
	}
	return found.Settings, found.err
}

// Set changes the settings of a user, whom n names as Lookup has it, and returns
// the new ones. The error matches ErrNoUser where there is none, and ErrTaken for
// an alias that is somebody's. An error of change is returned as it is. change
// must not call db.
func (db *DB) Set(ctx context.Context, n Name, change func(*Settings) error) (Settings, error) {
	var now Settings
	err := db.locked(ctx, func() error {
		s, err := db.read()
		if err != nil {
			return err
		}
		r, found := s.lookup(n)
		if !found {
			return fmt.Errorf("%w: %s", ErrNoUser, n)
		}
		if now, err = s.settingsOf(r); err != nil {
			return err
		}
		before := slices.Clone(now.Aliases)
		now.Aliases = slices.Clone(now.Aliases)
		if err := change(&now); err != nil {
			return err
		}
		if err := db.checkSettings(s, r.Name, now, before); err != nil {
			return err
		}
		return db.writeSettings(r.Name, now)
	})
	return now, err
}

// checkSettings looks at what is new.
func (db *DB) checkSettings(s *snapshot, n Name, now Settings, before []Name) error {
	for _, limit := range []*int64{now.Octets, now.Messages} {
		if limit != nil && *limit < 0 {
			return errors.New("a quota is 0 or more")
		}
	}
	if slices.Equal(now.Aliases, before) {
		return nil
	}
	taken := db.claimed(s, n, now.Aliases)
	for _, a := range now.Aliases {
		if !slices.Contains(before, a) {
			if err := taken.check(a); err != nil {
				return fmt.Errorf("alias %s: %w", a, err)
			}
		}
		taken.add(a, "%[1]s is there twice")
	}
	return nil
}

// writeSettings puts a user's line in the place of the old one; Settings{} needs
// none. It is called with the files locked.
func (db *DB) writeSettings(n Name, now Settings) error {
	lines, err := db.readLines(settingsName)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(lines, n.isSetOn)
	if at < 0 {
		at = len(lines)
		lines = append(lines, "")
	}
	lines[at] = now.line(n)
	if lines[at] == n.String() {
		lines = slices.Delete(lines, at, at+1)
	}
	return db.writeLines(settingsName, lines)
}

// isSetOn reports whether a line is a user's, as far as it can be read.
func (n Name) isSetOn(line string) bool {
	other, err := ParseName(firstWord(line))
	return err == nil && other.exact() == n.exact()
}

func firstWord(line string) string {
	if words := strings.Fields(line); len(words) > 0 {
		return words[0]
	}
	return ""
}

// line is what stands in the file for a user.
func (s Settings) line(n Name) string {
	words := []string{n.String()}
	if s.Disabled {
		words = append(words, "disabled")
	}
	if s.Octets != nil {
		words = append(words, fmt.Sprintf("octets=%d", *s.Octets))
	}
	if s.Messages != nil {
		words = append(words, fmt.Sprintf("messages=%d", *s.Messages))
	}
	for _, a := range s.Aliases {
		words = append(words, "alias="+a.String())
	}
	return strings.Join(words, " ")
}

// parseSettings reads a line. Where there is an error, the name is whose line it
// probably is, or the zero Name.
func parseSettings(line string) (set setting, err error) {
	words := strings.Fields(line)
	if len(words) == 0 {
		return setting{}, errors.New("there is no name")
	}
	if set.name, err = ParseName(words[0]); err != nil {
		set.name, _ = likelyName(line) // the zero Name where there is none
		return set, err
	}
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "octets":
			set.Octets, err = parseLimit(set.Octets, value)
		case "messages":
			set.Messages, err = parseLimit(set.Messages, value)
		case "alias":
			var a Name
			a, err = ParseName(value)
			set.Aliases = append(set.Aliases, a)
		default:
			set.Disabled = true
			if word != "disabled" {
				err = errors.New("it is none of disabled, octets=N, messages=N and alias=NAME")
			}
		}
		if err != nil {
			return set, fmt.Errorf("%q: %w", word, err)
		}
	}
	return set, nil
}

func parseLimit(before *int64, text string) (*int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return nil, errors.New("this is no number of 0 or more")
	}
	if before != nil {
		return nil, errors.New("it is there twice")
	}
	return &n, nil
}

// parseSettings reads the file into a snapshot, whose users are known.
func (s *snapshot) parseSettings(content string) {
	for i, line := range splitLines(content) {
		if line = trimCR(line); isRemark(line) {
			continue
		}
		set, err := parseSettings(line)
		if set.name != (Name{}) {
			r, known := s.lookup(set.name)
			spelled := set.name
			if known {
				set.name = r.Name
			}
			_, again := s.settings[set.name.exact()]
			switch {
			case !known:
				err = errors.Join(err, fmt.Errorf("there is no user %s", set.name))
			case spelled != r.Name:
				err = errors.Join(err, fmt.Errorf("%s is spelled %s", spelled, r.Name))
			case again:
				err = errors.Join(err, fmt.Errorf("%s stands on an earlier line already", set.name))
			}
		}
		if err != nil {
			err = fmt.Errorf("%s, line %d: %w", settingsName, i+1, err)
			s.badSettings = append(s.badSettings, err)
		}
		if set.name != (Name{}) {
			set.err = err
			s.settings[set.name.exact()] = set
		}
		if err == nil && set.Aliases != nil {
			s.withAliases = append(s.withAliases, set)
		}
	}
}
