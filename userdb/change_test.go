package userdb

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func name(t *testing.T, text string) Name {
	t.Helper()
	n, err := ParseName(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestLookup(t *testing.T) {
	db, _ := openDB(t, record(t, "alice").String()+"\n"+record(t, "Bob@localhost").String()+"\n")
	for text, want := range map[string]string{
		"alice": "alice", "ALICE": "alice", "alice@localhost": "", "alice+x": "",
		"bob@LOCALHOST": "Bob@localhost", "bob": "",
	} {
		if r, found, err := db.Lookup(name(t, text)); err != nil || found != (want != "") || r.Name.String() != want {
			t.Errorf("%s: %q, %v, %v", text, r.Name, found, err)
		}
	}
}

// All or none.
func TestAddAll(t *testing.T) {
	db, dir := openDB(t, record(t, "alice").String()+"\n")
	before := content(t, dir, fileName)
	write(t, dir, settingsName, "bob octets=1\n")
	torn := record(t, "dave")
	torn.Salt = "a,b"
	var all []Entry
	for _, r := range []Record{record(t, "bob"), record(t, "Alice"), record(t, "carol"), record(t, "BOB"), torn} {
		all = append(all, Entry{Record: r})
	}
	refused, err := db.AddAll(context.Background(), all, false)
	if err != nil || len(refused) != len(all) {
		t.Fatalf("%v, %v", refused, err)
	}
	for i, want := range []bool{false, true, false, true, false} {
		if errors.Is(refused[i], ErrTaken) != want {
			t.Errorf("%s: %v", all[i].Record.Name, refused[i])
		}
	}
	if refused[4] == nil {
		t.Error("a record that tears the file apart is accepted")
	}
	good := []Entry{all[0], all[2]}
	if refused, err := db.AddAll(context.Background(), good, true); refused != nil || err != nil {
		t.Errorf("only looking: %v, %v", refused, err)
	}
	if content(t, dir, settingsName) != "bob octets=1\n" {
		t.Error("only looking changes the settings")
	}
	if content(t, dir, fileName) != before {
		t.Errorf("the file was changed:\n%s", content(t, dir, fileName))
	}
	if refused, err := db.AddAll(context.Background(), good, false); refused != nil || err != nil {
		t.Errorf("%v, %v", refused, err)
	}
	if users, err := db.Users(); len(users) != 3 || err != nil {
		t.Errorf("%d users, %v", len(users), err)
	}
}

func TestReplace(t *testing.T) {
	db, dir := openDB(t, "# first\n"+record(t, "Alice").String()+"\r\n"+record(t, "bob").String()+"\n")
	ctx := context.Background()
	r, err := db.Replace(ctx, name(t, "alice"), func(old Record) (Record, error) {
		if old.Name.String() != "Alice" {
			t.Errorf("the record is %s's", old.Name)
		}
		old.Keys = []byte("key")
		return old, nil
	})
	if err != nil || string(r.Keys) != "key" {
		t.Errorf("%v, %v", r, err)
	}
	if got, _, _ := db.Lookup(name(t, "Alice")); string(got.Keys) != "key" {
		t.Errorf("now: %v", got)
	}
	refusal := errors.New("no")
	before, _ := os.ReadFile(filepath.Join(dir, fileName))
	if _, err := db.Replace(ctx, name(t, "bob"), func(Record) (Record, error) { return Record{}, refusal }); err != refusal {
		t.Errorf("refused: %v", err)
	}
	if _, err := db.Replace(ctx, name(t, "bob"), func(r Record) (Record, error) { r.Salt = "a,b"; return r, nil }); err == nil {
		t.Error("a record that tears the file apart was written")
	}
	if _, err := db.Replace(ctx, name(t, "eve"), nil); !errors.Is(err, ErrNoUser) {
		t.Errorf("nobody: %v", err)
	}
	if after, _ := os.ReadFile(filepath.Join(dir, fileName)); string(after) != string(before) {
		t.Errorf("the file was changed:\n%s", after)
	}
}

func TestRemove(t *testing.T) {
	alice := record(t, "alice").String()
	db, dir := openDB(t, "# first\n"+alice+"\n"+record(t, "bob").String()+"\n"+record(t, "alice").String()+"\nalice,broken\n")
	ctx := context.Background()
	refusal := errors.New("no")
	if _, err := db.Remove(ctx, name(t, "alice"), func(Record) error { return refusal }); err != refusal {
		t.Errorf("refused: %v", err)
	}
	if r, err := db.Remove(ctx, name(t, "ALICE"), nil); err != nil || r.String() != alice {
		t.Errorf("%v, %v", r, err)
	}
	if _, err := db.Remove(ctx, name(t, "alice"), nil); !errors.Is(err, ErrNoUser) {
		t.Errorf("again: %v", err)
	}
	if file, _ := os.ReadFile(filepath.Join(dir, fileName)); strings.Contains(string(file), "alice") || !strings.HasPrefix(string(file), "# first\nbob,") {
		t.Errorf("left:\n%s", file)
	}
}
