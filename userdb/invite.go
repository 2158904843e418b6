package userdb

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// invitesName is the file of the invites: one a line,
//
//	hash,expiry,name,note
//
// hash is the SHA-256 of the code, in hex: the code has 100 random bits, so
// nothing slower is needed. expiry is RFC 3339's, in UTC. name is empty but while
// the user who brought the code is being added; a line that keeps it was left by
// a crash, and what became of the user decides what becomes of it. note is the
// operator's, and may hold commas. Other lines are left alone.
const invitesName = "users.invites"

// ErrInvite is matched by the error of AddInvited for a code that is not, or no
// longer, good for anything.
var ErrInvite = errors.New("the invite is unknown, used or expired")

// Invite is a code that may be used once. The code itself is not kept.
type Invite struct {
	// ID tells the invite from others. It does not help to guess the code.
	ID      string
	Expires time.Time
	Note    string

	hash [sha256.Size]byte
	name string // who is being added with it
}

const (
	codeSize  = 20 // characters of base32
	codeGroup = 5
	idSize    = 8
	maxNote   = 200
)

// NewInvite makes a code that lets one user in who has it before ttl has passed.
// note is for the operator: up to 200 octets without control characters.
func (db *DB) NewInvite(ctx context.Context, ttl time.Duration, note string) (code string, err error) {
	if len(note) > maxNote || strings.ContainsFunc(note, unicode.IsControl) {
		return "", fmt.Errorf("a note has up to %d octets, and no control characters", maxNote)
	}
	if ttl <= 0 {
		return "", errors.New("an invite that expires at once is good for nothing")
	}
	code = rand.Text()[:codeSize]
	invite := Invite{Expires: time.Now().Add(ttl), Note: note, hash: hashCode(code)}
	err = db.updateInvites(ctx, func(lines []string) ([]string, error) { return append(lines, invite.String()), nil })
	if err != nil {
		return "", err
	}
	groups := slices.Collect(slices.Chunk([]byte(code), codeGroup)) // which can be read aloud
	return string(bytes.Join(groups, []byte("-"))), nil
}

// hashCode is the hash of a code as people type it: case, hyphens and spaces do
// not count.
func hashCode(code string) [sha256.Size]byte {
	return sha256.Sum256([]byte(strings.NewReplacer("-", "", " ", "").Replace(strings.ToUpper(code))))
}

// Invites returns the invites that are still good, and an error that joins one
// for each line that can't be read. Invites are returned in any case.
func (db *DB) Invites() ([]Invite, error) {
	lines, err := db.readLines(invitesName)
	if err != nil {
		return nil, err
	}
	var all []Invite
	var broken []error
	for i, line := range lines {
		invite, err := parseInvite(line)
		switch {
		case isRemark(line):
		case err != nil:
			broken = append(broken, fmt.Errorf("%s, line %d: %w", invitesName, i+1, err))
		case time.Now().Before(invite.Expires):
			all = append(all, invite)
		}
	}
	return all, errors.Join(broken...)
}

// Revoke takes back the invite with this ID. Where there is none, the error
// matches ErrInvite.
func (db *DB) Revoke(ctx context.Context, id string) error {
	return db.updateInvites(ctx, func(lines []string) ([]string, error) {
		left := slices.DeleteFunc(slices.Clone(lines), func(line string) bool {
			invite, err := parseInvite(line)
			return err == nil && invite.ID == id
		})
		if len(left) == len(lines) {
			return nil, fmt.Errorf("%w: %s", ErrInvite, id)
		}
		return left, nil
	})
}

// AddInvited is Add for a user who brings the code of an invite, which is used up
// by that. The error matches ErrInvite for a code that is no good, and ErrTaken
// as that of Add does: the code is good for another name then. A crash in the
// midst leaves either user and used code or neither.
func (db *DB) AddInvited(ctx context.Context, r Record, code string) error {
	return db.locked(ctx, func() error {
		if err := db.settleInvites(); err != nil {
			return err
		}
		lines, err := db.readLines(invitesName)
		if err != nil {
			return err
		}
		at := findInvite(lines, code)
		if at < 0 {
			return ErrInvite
		}
		added := []Record{r}
		users, refused, err := db.withUsers(added)
		if err != nil {
			return err
		}
		if refused != nil {
			return refused[0]
		}
		// Whoever finds the name here looks whether the user is there, and so
		// learns which of the writes below was the last.
		invite, _ := parseInvite(lines[at])
		invite.name = r.Name.String()
		lines[at] = invite.String()
		if err := db.writeLines(invitesName, lines); err != nil {
			return err
		}
		if err := db.writeAdded(added, nil, users); err != nil {
			return err
		}
		return db.settleInvites()
	})
}

// findInvite gives the index of the line that a code fits, or -1. How long it
// takes tells nothing about how much of it fits.
func findInvite(lines []string, code string) int {
	at, hash := -1, hashCode(code)
	for i, line := range lines {
		invite, err := parseInvite(line)
		if err == nil && subtle.ConstantTimeCompare(invite.hash[:], hash[:]) == 1 && time.Now().Before(invite.Expires) {
			at = i
		}
	}
	return at
}

// settleInvites ends what AddInvited began: an invite whose user exists is used
// up, and any other is free. It is called with the files locked, before anything
// changes users.txt, for afterwards nobody could tell.
func (db *DB) settleInvites() error {
	lines, err := db.readLines(invitesName)
	if err != nil {
		return err
	}
	settled := slices.Clone(lines)
	for i, line := range lines {
		invite, err := parseInvite(line)
		if err != nil || invite.name == "" {
			continue
		}
		s, err := db.read()
		if err != nil {
			return err
		}
		used := slices.ContainsFunc(s.records, func(r Record) bool { return r.Name.String() == invite.name }) ||
			slices.ContainsFunc(s.lost, func(l lost) bool { return l.name.String() == invite.name })
		invite.name = ""
		settled[i] = invite.String()
		if used {
			settled[i] = ""
		}
	}
	if slices.Equal(settled, lines) {
		return nil
	}
	return db.writeLines(invitesName, slices.DeleteFunc(settled, func(line string) bool { return line == "" }))
}

// updateInvites replaces the lines by what change returns, and drops what has
// expired.
func (db *DB) updateInvites(ctx context.Context, change func([]string) ([]string, error)) error {
	return db.locked(ctx, func() error {
		if err := db.settleInvites(); err != nil {
			return err
		}
		lines, err := db.readLines(invitesName)
		if err != nil {
			return err
		}
		if lines, err = change(lines); err != nil {
			return err
		}
		return db.writeLines(invitesName, slices.DeleteFunc(lines, func(line string) bool {
			invite, err := parseInvite(line)
			return err == nil && !time.Now().Before(invite.Expires)
		}))
	})
}

func parseInvite(line string) (Invite, error) {
	fields := strings.SplitN(trimCR(line), ",", 4)
	if len(fields) != 4 {
		return Invite{}, errors.New("an invite is hash,expiry,name,note")
	}
	hash, err := hex.DecodeString(fields[0])
	if err != nil || len(hash) != sha256.Size {
		return Invite{}, errors.New("the hash is not 64 hex digits")
	}
	expires, err := parseTime(fields[1])
	if err != nil {
		return Invite{}, err
	}
	return Invite{hex.EncodeToString(hash)[:idSize], expires, fields[3], [sha256.Size]byte(hash), fields[2]}, nil
}

// String is the invite's line.
func (i Invite) String() string {
	return fmt.Sprintf("%x,%s,%s,%s", i.hash, formatTime(i.Expires), i.name, i.Note)
}
