package userdb

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whatever an editor did to a line: its user's mail waits, nobody else gets the
// name, and the error says where to look.
func TestBrokenLineKeepsItsName(t *testing.T) {
	good := record(t, "alice").String()
	for _, line := range []string{
		strings.Replace(good, ",", " ,", 1), " " + good, "\t" + good, strings.ReplaceAll(good, ",", ":"),
		strings.ReplaceAll(good, ",", ";"), strings.ReplaceAll(good, ",", " "), "alice", "alice,", good + ",,", "Alice@localhost,x",
		"# the family\n\ufeff" + good,
	} {
		db, _ := openDB(t, line+"\n")
		lineNo := "line 1"
		if line[0] == '#' {
			lineNo = "line 2"
		}
		if _, found, err := db.Find("alice", "localhost"); found || err == nil || !strings.Contains(err.Error(), lineNo) {
			t.Errorf("%q: Find: %v, %v", line, found, err)
		}
		if err := db.Add(context.Background(), record(t, "alice")); !errors.Is(err, ErrTaken) {
			t.Errorf("%q: Add: %v", line, err)
		}
	}
	db, _ := openDB(t, "alice,x\n")
	if _, found, err := db.Lookup(name(t, "ALICE")); found || err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("Lookup: %v, %v", found, err)
	}
	if _, found, err := db.Lookup(name(t, "alicia")); found || err != nil {
		t.Errorf("Lookup of another: %v, %v", found, err)
	}
}

// Nobody's password is wrong because an editor left a space behind it: programs
// would ask for another, and fail2ban lock their user out.
func TestBrokenLineIsNoWrongPassword(t *testing.T) {
	db, _ := openDB(t, record(t, "alice").String()+" \n"+record(t, "bob").String()+"\n")
	for _, login := range []string{"alice", "Alice@localhost"} {
		if _, right, err := db.Authenticate(context.Background(), login, "secret"); right || err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%s: %v, %v", login, right, err)
		}
		if _, err := db.SCRAM(login); err == nil {
			t.Errorf("%s: SCRAM goes on", login)
		}
	}
	if _, right, err := db.Authenticate(context.Background(), "bob", "secret"); !right || err != nil {
		t.Errorf("bob: %v, %v", right, err)
	}
	if _, right, err := db.Authenticate(context.Background(), "carol", "secret"); right || err != nil {
		t.Errorf("nobody: %v, %v", right, err)
	}
}

// "Cafe" with a mark of its own is how some systems type "Café".
func TestBrokenLineInAnotherForm(t *testing.T) {
	db, _ := openDB(t, strings.Replace(record(t, "alice").String(), "alice", "cafe\u0301", 1)+"\n")
	if _, found, err := db.Find("caf\u00e9", ""); found || err == nil {
		t.Errorf("%v, %v", found, err)
	}
}

// Some editors begin each file with U+FEFF.
func TestByteOrderMark(t *testing.T) {
	db, dir := openDB(t, "\ufeff"+record(t, "alice").String()+"\n")
	if err := os.WriteFile(filepath.Join(dir, settingsName), []byte("\ufeffalice disabled\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	users, err := db.Users()
	if len(users) != 1 || err != nil {
		t.Errorf("%v, %v", users, err)
	}
	if set, err := db.Settings(name(t, "alice")); err != nil || !set.Disabled {
		t.Errorf("%+v, %v", set, err)
	}
	if broken, err := db.Check(); len(broken) != 0 || err != nil {
		t.Errorf("Check: %v, %v", broken, err)
	}
}

// A line that was set aside is still somebody's, until a person has looked at it.
func TestLineSetAsideKeepsItsName(t *testing.T) {
	db, dir := openDB(t, "alice ,x,y\nnonsense of mine\n"+record(t, "bob").String()+"\n")
	ctx := context.Background()
	if broken, err := db.SetAside(ctx); len(broken) != 2 || err != nil {
		t.Fatal(broken, err)
	}
	for _, user := range []string{"alice", "Alice+x@localhost"} {
		if err := db.Add(ctx, record(t, user)); !errors.Is(err, ErrTaken) || !strings.Contains(err.Error(), BrokenLines) {
			t.Errorf("%s: %v", user, err)
		}
	}
	if err := db.Add(ctx, record(t, "carol")); err != nil {
		t.Error(err)
	}
	// Neither does their mail come back to its senders, nor is a password wrong.
	if _, known, err := db.Find("alice", "localhost"); known || err == nil || !strings.Contains(err.Error(), BrokenLines) {
		t.Errorf("mail: %v, %v", known, err)
	}
	if _, right, err := db.Authenticate(ctx, "alice", "secret"); right || err == nil {
		t.Errorf("a login: %v, %v", right, err)
	}
	write(t, dir, BrokenLines, "")
	if _, known, err := db.Find("alice", "localhost"); known || err != nil {
		t.Errorf("nobody's mail: %v, %v", known, err)
	}
	if err := db.Add(ctx, record(t, "alice")); err != nil {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(dir, BrokenLines)); err != nil {
		t.Fatal(err)
	}
	if _, known, err := db.Find("alice", "localhost"); !known || err != nil {
		t.Errorf("after it was removed: %v, %v", known, err)
	}
}

// An editor may have left the file without a last line end.
func TestSetAsideAddsLines(t *testing.T) {
	db, dir := openDB(t, "alice ,x,y\n")
	write(t, dir, BrokenLines, "mallory ,x,y")
	ctx := context.Background()
	if broken, err := db.SetAside(ctx); len(broken) != 1 || err != nil {
		t.Fatal(broken, err)
	}
	for _, user := range []string{"alice", "mallory"} {
		if err := db.Add(ctx, record(t, user)); !errors.Is(err, ErrTaken) {
			t.Errorf("%s: %v", user, err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, BrokenLines)); string(text) != "mallory ,x,y\nalice ,x,y\n" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}
