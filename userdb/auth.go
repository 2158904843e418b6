package userdb

import (
	"context"
	"errors"
	"time"
)

// byLogin finds the user whom a login name means: a sub-address is no login. The
// error is for a user whose line can't be read: their password may be right.
func (s *snapshot) byLogin(db *DB, login string) (Record, bool, error) {
	local, domain, _ := cutDomain(login)
	local, domains := nfc(local), db.domains(domain)
	if r, known := s.find(local, domains); known {
		return r, true, nil
	}
	return Record{}, false, s.unreadable(local, domains)
}

// admitted finds the user whom a login name means, unless they are disabled.
func (s *snapshot) admitted(db *DB, login string) (Record, bool, error) {
	r, known, err := s.byLogin(db, login)
	if err != nil || !known {
		return Record{}, false, err
	}
	set, err := s.settingsOf(r)
	if err != nil || set.Disabled {
		return Record{}, false, err
	}
	return r, true, nil
}

// Authenticate reports whether password is that of the user whom login names,
// and which user that is. A wrong password, an unknown user and a disabled
// one cost the same, and whether the password of that one is right is not told.
// The error is for what keeps the check from being made.
func (db *DB) Authenticate(ctx context.Context, login, password string) (Name, bool, error) {
	s, err := db.load()
	if err != nil {
		return Name{}, false, err
	}
	r, known, err := s.admitted(db, login)
	if err != nil {
		return Name{}, false, err
	}
	if known && db.sessions.has(r, password) {
		return r.Name, true, nil
	}
	right, err := db.check(ctx, r, known, password)
	if err != nil || !right {
		return Name{}, false, err
	}
	db.sessions.add(db.strengthen(r, password), password)
	return r.Name, true, nil
}

// check verifies a password against a user's record, or against the decoy where
// there is none. A few checks run at once.
func (db *DB) check(ctx context.Context, r Record, known bool, password string) (bool, error) {
	select {
	case db.derive <- struct{}{}:
		defer func() { <-db.derive }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if known && r.verify(password) {
		return true, nil
	}
	if !known || r.Kind() != db.decoy.Kind() {
		db.decoy.verify(password)
	}
	return false, nil
}

// strengthenTime is how long a login waits for other writers of users.txt.
const strengthenTime = 100 * time.Millisecond

// strengthen replaces a record of the original's by a SCRAM one, and returns
// the record that now stands for the user. That it could not is no reason to
// refuse a right password: the next login tries again.
func (db *DB) strengthen(old Record, password string) Record {
	if old.Kind() == db.decoy.Kind() {
		return old
	}
	r, err := db.stronger(old, password)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), strengthenTime)
		defer cancel()
		_, err = db.Replace(ctx, old.Name, func(now Record) (Record, error) {
			if now.raw != old.raw {
				return Record{}, errors.New("the record was changed meanwhile")
			}
			return r, nil
		})
	}
	if err != nil {
		db.log.Warn("the SHA-256 record stays", "user", old.Name.String(), "err", err)
		return old
	}
	db.log.Info("SHA-256 record replaced by SCRAM-SHA-256", "user", old.Name.String())
	return r
}

// stronger makes the SCRAM record. Its salt and iterations are those that SCRAM
// showed for the name all along: a change would tell whoever asks that the name
// exists, and when its user first logged in.
func (db *DB) stronger(old Record, password string) (Record, error) {
	salt, err := db.decoySalt(old.Name.String())
	if err != nil {
		return Record{}, err
	}
	r, err := newRecord(old.Name, password, salt, db.iterations)
	r.Keys = old.Keys
	return r, err
}
