package userdb

import (
	"context"
	"fmt"
)

// BrokenLines is the file into which SetAside puts lines of users.txt.
const BrokenLines = ".users.txt.broken"

// BrokenLine is a line of users.txt that is nobody's record.
type BrokenLine struct {
	Number int    // from 1
	Name   string // the first field
	Err    error
	text   string
}

// Check returns the lines of users.txt that can't be read, or whose name stands
// on an earlier one.
func (db *DB) Check() ([]BrokenLine, error) {
	s, err := db.read()
	if err != nil {
		return nil, err
	}
	return brokenLines(s.lines), nil
}

// CheckSettings returns an error for each line of users.settings that can't be read, or
// is nobody's.
func (db *DB) CheckSettings() (problems []error, err error) {
	s, err := db.read()
	if err != nil {
		return nil, err
	}
	return s.badSettings, nil
}

func brokenLines(lines []string) (broken []BrokenLine) {
	seen := map[string]int{}
	for i, text := range lines {
		line := trimCR(text)
		if isRemark(line) {
			continue
		}
		r, err := ParseRecord(line)
		if err == nil {
			if first, twice := seen[r.Name.exact()]; twice {
				err = fmt.Errorf("%s stands on line %d already", r.Name, first)
			} else {
				seen[r.Name.exact()] = i + 1
			}
		}
		if err != nil {
			broken = append(broken, BrokenLine{i + 1, firstField(line), err, text})
		}
	}
	return broken
}

// SetAside moves the broken lines of users.txt to the end of .users.txt.broken,
// durably: at worst, a crash leaves them in both. It returns those it has moved.
// Nobody is given a name on them as long as they are there, and mail for it has to wait.
func (db *DB) SetAside(ctx context.Context) (broken []BrokenLine, err error) {
	err = db.update(ctx, func(s *snapshot) ([]string, error) {
		broken = brokenLines(s.lines)
		if len(broken) == 0 {
			return s.lines, nil
		}
		aside, err := db.readLines(BrokenLines)
		if err != nil {
			return nil, err
		}
		isBroken := map[int]bool{}
		for _, b := range broken {
			aside = append(aside, b.text)
			isBroken[b.Number] = true
		}
		if err := db.writeLines(BrokenLines, aside); err != nil {
			return nil, err
		}
		var kept []string
		for i, line := range s.lines {
			if !isBroken[i+1] {
				kept = append(kept, line)
			}
		}
		return kept, nil
	})
	return broken, err
}
