package userdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"xm/internal/disk"
	"xm/internal/safefile"
)

// Lookup returns the user of exactly this name, or else the only one whose name
// differs from it by case alone. It knows nothing of aliases, sub-addresses and
// bare names: see Find. The error is for a file, or a line of that name, that can't
// be read.
func (db *DB) Lookup(n Name) (Record, bool, error) {
	s, err := db.load()
	if err != nil {
		return Record{}, false, err
	}
	r, found := s.lookup(n)
	if found {
		return r, true, nil
	}
	return Record{}, false, s.unreadable(n.local, [][]string{{n.domain}})
}

func (s *snapshot) lookup(n Name) (Record, bool) {
	return s.find(n.local, [][]string{{n.domain}})
}

// Add appends a user. The error matches ErrTaken if the name can't be had. ctx
// bounds the wait for other writers.
func (db *DB) Add(ctx context.Context, r Record) error {
	refused, err := db.AddAll(ctx, []Entry{{Record: r}}, false)
	if refused != nil {
		return refused[0]
	}
	return err
}

// AddAll appends users, whose records are complete: all, or none. If some can't be
// had, refused holds what is wrong with each, or nil, as Add would return it. If dry,
// it only looks, but for the end of what a crash interrupted.
func (db *DB) AddAll(ctx context.Context, es []Entry, dry bool) (refused []error, err error) {
	var rs []Record
	var settings []string
	for _, e := range es {
		rs = append(rs, e.Record)
		if e.Disabled {
			settings = append(settings, Settings{Disabled: true}.line(e.Record.Name))
		}
	}
	err = db.locked(ctx, func() error {
		if err := db.settleInvites(); err != nil {
			return err
		}
		lines, refusals, err := db.withUsers(rs)
		refused = refusals
		if dry || refused != nil || err != nil {
			return err
		}
		return db.writeAdded(rs, settings, lines)
	})
	return refused, err
}

// writeAdded writes what withUsers gave, and before it the lines of users.settings
// that the new users have: nobody who is to be disabled is there without.
func (db *DB) writeAdded(rs []Record, settings, lines []string) error {
	var names []Name
	for _, r := range rs {
		names = append(names, r.Name)
	}
	if err := db.forget(names...); err != nil {
		return err
	}
	if len(settings) > 0 {
		others, err := db.readLines(settingsName)
		if err != nil {
			return err
		}
		if err := db.writeLines(settingsName, append(others, settings...)); err != nil {
			return err
		}
	}
	return db.writeUsers(lines)
}

// withUsers gives the file's lines with more users; refused is that of AddAll. It
// is called with the files locked, right before those are written.
func (db *DB) withUsers(rs []Record) (lines []string, refused []error, err error) {
	s, err := db.read()
	if err != nil {
		return nil, nil, err
	}
	wanted := make([]Name, len(rs))
	for i, r := range rs {
		wanted[i] = r.Name
	}
	taken := db.claimed(s, Name{}, wanted)
	if err := taken.addLeft(); err != nil {
		return nil, nil, err
	}
	refusals := make([]error, len(rs))
	lines = s.lines
	for i, r := range rs {
		line, err := r.line()
		if err == nil {
			err = taken.check(r.Name)
		}
		if err != nil {
			refusals[i], refused = err, refusals
			continue
		}
		taken.add(r.Name, "%[1]s exists")
		lines = append(lines, line)
	}
	return lines, refused, nil
}

// line is the record's line, which is sure to be read as it is written.
func (r Record) line() (string, error) {
	line := r.String()
	again, err := ParseRecord(line)
	if err == nil && (again.String() != line || strings.ContainsAny(line, "\r\n")) {
		err = errors.New("it would not be read as it is written")
	}
	if err != nil {
		return "", fmt.Errorf("the record of %s: %w", r.Name, err)
	}
	return line, nil
}

// Replace puts what change makes of the record of a user, whom n names as Lookup
// has it, in its place, and returns that. Nobody else can change the record
// meanwhile: what change finds out about it holds. The name stays, and keys that
// are replaced are kept as former ones. An error of
// change is returned as it is, with nothing changed; ErrNoUser is matched where
// there is nobody. change must not call db.
func (db *DB) Replace(ctx context.Context, n Name, change func(old Record) (Record, error)) (Record, error) {
	var r Record
	err := db.update(ctx, func(s *snapshot) ([]string, error) {
		old, found := s.lookup(n)
		if !found {
			return nil, fmt.Errorf("%w: %s", ErrNoUser, n)
		}
		var err error
		if r, err = change(old); err != nil {
			return nil, err
		}
		r.Name = old.Name
		if len(old.Keys) > 0 && !bytes.Equal(r.Keys, old.Keys) {
			if err := db.keepFormer(old); err != nil {
				return nil, err
			}
		}
		i := slices.IndexFunc(s.lines, func(line string) bool { return trimCR(line) == old.raw })
		s.lines[i], err = r.line()
		return s.lines, err
	})
	if err != nil {
		return Record{}, err
	}
	return r, nil
}

// Remove removes a user, whom n names as Lookup has it, unless check, if any,
// returns an error for the record. It is called as the change of Replace is. The
// user's maildrop stays; settings and former keys don't. It returns the record
// that is gone.
func (db *DB) Remove(ctx context.Context, n Name, check func(Record) error) (Record, error) {
	var r Record
	err := db.locked(ctx, func() error {
		err := db.rewrite(func(s *snapshot) ([]string, error) {
			var found bool
			if r, found = s.lookup(n); !found {
				return nil, fmt.Errorf("%w: %s", ErrNoUser, n)
			}
			if check != nil {
				if err := check(r); err != nil {
					return nil, err
				}
			}
			return slices.DeleteFunc(s.lines, r.Name.isOn), nil
		})
		if err != nil {
			return err
		}
		return db.forget(r.Name)
	})
	if err != nil {
		return Record{}, err
	}
	return r, nil
}

// isOn reports whether a line of users.txt is a user's, even a second one that
// is not in force, or one that can't be read.
func (n Name) isOn(line string) bool {
	other, err := ParseName(firstField(trimCR(line)))
	return err == nil && other.exact() == n.exact()
}

// locked calls f with all files locked against other writers.
func (db *DB) locked(ctx context.Context, f func() error) error {
	unlock, err := db.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return f()
}

// update is rewrite, with the files locked against other writers.
func (db *DB) update(ctx context.Context, change func(*snapshot) ([]string, error)) error {
	return db.locked(ctx, func() error { return db.rewrite(change) })
}

// rewrite replaces the lines of users.txt by what change returns for what stands
// there now.
func (db *DB) rewrite(change func(*snapshot) ([]string, error)) error {
	if err := db.settleInvites(); err != nil {
		return err
	}
	s, err := db.read()
	if err != nil {
		return err
	}
	lines, err := change(s)
	if err != nil {
		return err
	}
	return db.writeUsers(lines)
}

func (db *DB) writeUsers(lines []string) error {
	return db.writeLines(fileName, lines)
}

// readLines reads one of the other files, which need not exist.
func (db *DB) readLines(name string) ([]string, error) {
	content, err := disk.ReadFile(db.root, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return splitLines(string(content)), err
}

func (db *DB) writeLines(name string, lines []string) error {
	defer func() { db.written.Store(int64(sinceStart())) }()
	content := ""
	if len(lines) > 0 {
		content = strings.Join(lines, "\n") + "\n"
	}
	return safefile.Replace(db.root, name, []byte(content), 0o600)
}

// byteOrderMark is what some editors begin a file with.
const byteOrderMark = "\ufeff"

// splitLines is what stands in a file, without line ends. Of a last line that is
// cut short it keeps what there is.
func splitLines(content string) []string {
	content = strings.TrimPrefix(content, byteOrderMark)
	if content == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(content, "\n"), "\n")
}
