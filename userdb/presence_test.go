package userdb

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func watch(t *testing.T, db *DB) *Presence {
	t.Helper()
	return db.Watch()
}

// on are the users who are, and off those who were.
func stats(t *testing.T, db *DB) (on, off string) {
	t.Helper()
	all, err := db.Stats()
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"alice", "bob", "carol"} {
		if st, ok := all[user]; ok && st.On {
			on += user
		} else if ok {
			off += user
		}
	}
	return on, off
}

func wantStats(t *testing.T, db *DB, on, off string) {
	t.Helper()
	if gotOn, gotOff := stats(t, db); gotOn != on || gotOff != off {
		t.Errorf("on %q, off %q; want %q, %q", gotOn, gotOff, on, off)
	}
}

func flush(t *testing.T, p *Presence) {
	t.Helper()
	if err := p.flush(); err != nil {
		t.Fatal(err)
	}
}

func threeUsers(t *testing.T) (*DB, string) {
	return openDB(t, record(t, "alice").String()+"\n"+record(t, "bob").String()+"\n"+record(t, "carol").String()+"\n")
}

func TestPresence(t *testing.T) {
	db, dir := threeUsers(t)
	wantStats(t, db, "", "")
	p := watch(t, db)
	leave, again, bob := p.Enter("alice"), p.Enter("alice"), p.Enter("bob")
	p.Enter("eve") // who is none
	flush(t, p)
	wantStats(t, db, "alicebob", "")
	if file := content(t, dir, statName); !strings.HasPrefix(file, "alice on 2") || strings.Count(file, "\n") != 2 {
		t.Errorf("the file:\n%s", file)
	}
	leave()
	leave() // nothing more
	flush(t, p)
	wantStats(t, db, "alicebob", "")
	again()
	flush(t, p)
	wantStats(t, db, "bob", "alice")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	bob()
	wantStats(t, db, "", "alicebob")
	if file := content(t, dir, statName); !strings.Contains(file, "bob off ") {
		t.Errorf("the file at the end:\n%s", file)
	}
}

// Two processes keep the file; what a killed one left is no longer true.
func TestPresenceOfProcesses(t *testing.T) {
	db, dir := threeUsers(t)
	write(t, dir, statName, "alice on 2026-11-23T08:46:42Z\nbob off 2026-11-23T08:46:42Z\nnonsense\n")
	wantStats(t, db, "", "alicebob")
	p := watch(t, db)
	wantStats(t, db, "", "alicebob")
	p.Enter("bob")
	flush(t, p)
	q := watch(t, db)
	q.Enter("carol")
	flush(t, q)
	wantStats(t, db, "bobcarol", "alice")
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	wantStats(t, db, "bob", "alicecarol")
	if _, err := db.Remove(context.Background(), name(t, "bob"), nil); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if file := content(t, dir, statName); strings.Contains(file, "bob") {
		t.Errorf("a removed user is there:\n%s", file)
	}
}

// What could not be written is written later.
func TestPresenceWaits(t *testing.T) {
	db, _ := threeUsers(t)
	p := watch(t, db)
	p.Enter("alice")
	unlock, err := db.lock(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := p.flushWithin(ctx); err == nil {
		t.Error("the file was written though it is locked")
	}
	p.Enter("bob")
	unlock()
	flush(t, p)
	wantStats(t, db, "alicebob", "")
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

// Where the file can't be kept, people are served all the same.
func TestPresenceWithoutFile(t *testing.T) {
	for _, name := range []string{statLockName, statName} {
		db, dir := threeUsers(t)
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		p := watch(t, db)
		leave := p.Enter("alice")
		if err := p.flush(); (err == nil) != (name == statLockName) {
			t.Errorf("%s: %v", name, err)
		}
		leave()
		p.Close()
	}
}

// A full disk keeps nobody from starting to watch: nothing is written while nobody was on.
func TestPresenceWritesNothingAtFirst(t *testing.T) {
	db, dir := threeUsers(t)
	const before = "alice off 2026-11-23T08:46:42Z\nremoved off 2026-11-23T08:46:42Z\n"
	write(t, dir, statName, before)
	if err := watch(t, db).Close(); err != nil {
		t.Fatal(err)
	}
	if file := content(t, dir, statName); file != before {
		t.Errorf("the file:\n%s", file)
	}
}

func FuzzStatus(f *testing.F) {
	f.Add("alice on 2026-11-23T08:46:42Z")
	f.Add("alice off 2026-11-23T08:46:42+01:00")
	f.Fuzz(func(t *testing.T, line string) {
		user, st, ok := parseStatus(line)
		if !ok {
			return
		}
		if u, again, ok := parseStatus(st.line(user)); !ok || u != user || again.line(u) != st.line(user) {
			t.Errorf("%q is read as %q", line, st.line(user))
		}
	})
}
