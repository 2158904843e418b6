package userdb

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// formerName is the file of the keys that users had: one a line, the oldest
// first,
//
//	name,time,base64(PEM public keys)
//
// time is when they were replaced (RFC 3339, UTC). What stands in users.txt is in
// force, whatever is said here. Of a user, the last 20 are kept.
const (
	formerName = "users.former"
	maxFormer  = 20
)

// FormerKeys are public keys that a user had before others.
type FormerKeys struct {
	// Keys are PEM blocks, as those of Record.
	Keys     []byte
	Replaced time.Time

	name Name
}

// FormerKeys returns the keys that a user had before those on record, the latest
// first. Lines that can't be read are passed over.
func (db *DB) FormerKeys(n Name) ([]FormerKeys, error) {
	now, found, err := db.Lookup(n)
	if err != nil || !found {
		return nil, err
	}
	lines, err := db.readLines(formerName)
	if err != nil {
		return nil, err
	}
	var all []FormerKeys
	for _, line := range lines {
		f, err := parseFormer(line)
		if err == nil && f.name.exact() == now.Name.exact() && !bytes.Equal(f.Keys, now.Keys) {
			all = append(all, f)
		}
	}
	slices.Reverse(all)
	return all, nil
}

// keepFormer notes what Replace is about to replace. A crash before it does
// leaves a line for keys that are still in force, which counts for nothing.
func (db *DB) keepFormer(old Record) error {
	lines, err := db.readLines(formerName)
	if err != nil {
		return err
	}
	extra := 1 - maxFormer
	for _, line := range lines {
		if old.Name.isOn(line) {
			extra++
		}
	}
	lines = slices.DeleteFunc(lines, func(line string) bool {
		if extra <= 0 || !old.Name.isOn(line) {
			return false
		}
		extra--
		return true
	})
	return db.writeLines(formerName, append(lines, FormerKeys{old.Keys, time.Now(), old.Name}.String()))
}

func parseFormer(line string) (FormerKeys, error) {
	fields := strings.Split(trimCR(line), ",")
	if len(fields) != 3 {
		return FormerKeys{}, errors.New("former keys are name,time,base64(PEM)")
	}
	name, err := ParseName(fields[0])
	if err != nil {
		return FormerKeys{}, err
	}
	at, err := parseTime(fields[1])
	if err != nil {
		return FormerKeys{}, err
	}
	keys, err := base64.StdEncoding.DecodeString(fields[2])
	return FormerKeys{keys, at, name}, err
}

// String is their line.
func (f FormerKeys) String() string {
	return fmt.Sprintf("%s,%s,%s", f.name, formatTime(f.Replaced), base64.StdEncoding.EncodeToString(f.Keys))
}

// forget drops what the other files say of a user who is not, or not yet, there:
// a namesake must not inherit it. It is called with the files locked.
func (db *DB) forget(names ...Name) error {
	gone := map[string]bool{}
	for _, n := range names {
		gone[n.exact()] = true
	}
	for file, nameOn := range map[string]func(string) string{
		settingsName: firstWord, statName: firstWord, formerName: firstField,
	} {
		lines, err := db.readLines(file)
		if err != nil {
			return err
		}
		left := slices.DeleteFunc(slices.Clone(lines), func(line string) bool {
			n, err := ParseName(nameOn(trimCR(line)))
			return err == nil && gone[n.exact()]
		})
		if len(left) == len(lines) {
			continue
		}
		if err := db.writeLines(file, left); err != nil {
			return err
		}
	}
	return nil
}

// Times are RFC 3339's, in UTC and whole seconds.
func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func parseTime(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, text)
	if year := t.UTC().Year(); err != nil || year < 0 || year > 9999 {
		return time.Time{}, fmt.Errorf("%q is no time as 2026-12-31T12:00:00Z", text)
	}
	return t, nil
}
