package userdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func set(t *testing.T, db *DB, user string, change func(*Settings)) {
	t.Helper()
	if _, err := db.Set(context.Background(), name(t, user), func(s *Settings) error { change(s); return nil }); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, dir, file, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, dir, file string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSettings(t *testing.T) {
	db, dir := openDB(t, record(t, "Alice").String()+"\n"+record(t, "bob").String()+"\n")
	write(t, dir, settingsName, "# the quotas\nbob octets=5\n")
	set(t, db, "alice", func(s *Settings) {
		s.Disabled, s.Octets, s.Messages = true, new(int64(1000)), new(int64(0))
		s.Aliases = []Name{name(t, "info"), name(t, "sales@example.org")}
	})
	const line = "Alice disabled octets=1000 messages=0 alias=info alias=sales@example.org\n"
	if got := content(t, dir, settingsName); got != "# the quotas\nbob octets=5\n"+line {
		t.Errorf("the file:\n%s", got)
	}
	got, err := db.Settings(name(t, "ALICE"))
	if err != nil || !got.Disabled || *got.Octets != 1000 || *got.Messages != 0 || len(got.Aliases) != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	for name, want := range map[string]int{"Alice": 2, "alice": 0, "bob": 0, "eve": 0} {
		if got, err := db.SettingsOf(name); err != nil || len(got.Aliases) != want {
			t.Errorf("of %s: %+v, %v", name, got, err)
		}
	}
	set(t, db, "bob", func(s *Settings) { s.Octets = nil })
	if got := content(t, dir, settingsName); got != "# the quotas\n"+line {
		t.Errorf("without bob's:\n%s", got)
	}
	if _, err := db.Settings(name(t, "eve")); !errors.Is(err, ErrNoUser) {
		t.Errorf("of nobody: %v", err)
	}
	if _, err := db.Set(context.Background(), name(t, "eve"), nil); !errors.Is(err, ErrNoUser) {
		t.Errorf("for nobody: %v", err)
	}
	refusal := errors.New("no")
	if _, err := db.Set(context.Background(), name(t, "bob"), func(*Settings) error { return refusal }); err != refusal {
		t.Errorf("refused: %v", err)
	}
	if _, err := db.Set(context.Background(), name(t, "bob"), func(s *Settings) error { s.Octets = new(int64(-1)); return nil }); err == nil {
		t.Error("a negative quota was written")
	}
}

// A disabled user gets the answers of nobody, and mail.
func TestDisabled(t *testing.T) {
	db, _ := openDB(t, original(t)+record(t, "alice").String()+"\n")
	if _, ok := login(t, db, "alice", "secret"); !ok { // and is remembered
		t.Fatal("no login")
	}
	before, err := db.SCRAM("alice")
	if err != nil || before.User != "alice" {
		t.Fatal(before, err)
	}
	for _, user := range []string{"alice", "test"} {
		set(t, db, user, func(s *Settings) { s.Disabled = true })
		if _, ok, err := db.Find(user, "localhost"); !ok || err != nil {
			t.Errorf("no mail for %s: %v, %v", user, ok, err)
		}
	}
	if _, ok := login(t, db, "alice", "secret"); ok {
		t.Error("alice got in")
	}
	if _, ok := login(t, db, "test", "test"); ok {
		t.Error("test got in")
	}
	if r, _, _ := db.Lookup(name(t, "test")); r.Kind() == scramKind {
		t.Error("a refused login changed the record")
	}
	after, err := db.SCRAM("alice")
	if err != nil || after.User != "" || string(after.Salt) != string(before.Salt) || after.Iterations != before.Iterations ||
		string(after.StoredKey) == string(before.StoredKey) || string(after.ServerKey) == string(before.ServerKey) {
		t.Errorf("SCRAM: %+v, %v", after, err)
	}
	set(t, db, "alice", func(s *Settings) { s.Disabled = false })
	if _, ok := login(t, db, "alice", "secret"); !ok {
		t.Error("alice stays out")
	}
}

// A line that can't be read might say that the user is disabled.
func TestBrokenSettings(t *testing.T) {
	var users string
	for _, user := range []string{"alice", "bob", "carol", "dave", "eve@example.org"} {
		users += record(t, user).String() + "\n"
	}
	db, dir := openDB(t, users)
	write(t, dir, settingsName, "alice disabeld\nbob octets=1\n../x disabled\nnobody disabled\ncarol octets=1\ncarol disabled\ndave, disabled\neve@Example.org disabled\n")
	_, err := db.Users()
	for _, want := range []string{`line 1: "disabeld"`, "line 3: ", "line 4: there is no user nobody", "line 6: carol stands on an earlier line", "line 7: ", "line 8: eve@Example.org is spelled eve@example.org"} {
		if err == nil || !strings.Contains(err.Error(), settingsName+", "+want) {
			t.Errorf("%v does not have %s", err, want)
		}
	}
	for _, user := range []string{"alice", "carol", "dave", "eve@example.org"} {
		if _, ok, err := db.Authenticate(context.Background(), user, "secret"); ok || err == nil {
			t.Errorf("%s: %v, %v", user, ok, err)
		}
		if _, err := db.SCRAM(user); err == nil {
			t.Errorf("SCRAM for %s", user)
		}
		local, domain, _ := strings.Cut(user, "@")
		if _, found, err := db.Find(local, domain); !found || err != nil {
			t.Errorf("mail for %s: %v, %v", user, found, err)
		}
		if _, err := db.Set(context.Background(), name(t, user), func(*Settings) error { return nil }); err == nil {
			t.Errorf("%s's broken line was written over", user)
		}
	}
	if _, ok := login(t, db, "bob", "secret"); !ok {
		t.Error("another user stays out")
	}
}

// Settings that are gone for a moment let nobody in.
func TestMissingSettings(t *testing.T) {
	db, dir := openDB(t, record(t, "alice").String()+"\n")
	set(t, db, "alice", func(s *Settings) { s.Disabled = true })
	if _, ok := login(t, db, "alice", "secret"); ok {
		t.Fatal("alice got in")
	}
	if err := os.Remove(filepath.Join(dir, settingsName)); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := db.Authenticate(context.Background(), "alice", "secret"); ok || err == nil {
		t.Errorf("%v, %v", ok, err)
	}
}

func TestOwnAliases(t *testing.T) {
	db := openAliases(t, map[string][]string{"list": {"alice", "info"}}, "alice", "bob")
	dir := db.root.Name()
	set(t, db, "bob", func(s *Settings) { s.Aliases = []Name{name(t, "info"), name(t, "b@example.org")} })
	for address, want := range map[string]string{
		"info@localhost": "bob", "INFO+x@localhost": "bob", "b@example.org": "bob", "list@localhost": "alice bob", "b@localhost": "",
	} {
		local, domain, _ := strings.Cut(address, "@")
		users, _, err := db.Recipients(local, domain)
		var got []string
		for _, u := range users {
			got = append(got, u.Name.String())
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %v, %v; want %s", address, got, err, want)
		}
	}
	for _, alias := range []string{"alice", "Bob", "list", "info+x", "info@localhost"} {
		if _, err := db.Set(context.Background(), name(t, "alice"), func(s *Settings) error {
			s.Aliases = append(s.Aliases, name(t, alias))
			return nil
		}); !errors.Is(err, ErrTaken) {
			t.Errorf("alias %s: %v, want ErrTaken", alias, err)
		}
	}
	if err := db.Add(context.Background(), record(t, "info")); !errors.Is(err, ErrTaken) {
		t.Errorf("a user: %v, want ErrTaken", err)
	}
	if err := db.Add(context.Background(), record(t, "b@example.org")); !errors.Is(err, ErrTaken) {
		t.Errorf("a user: %v, want ErrTaken", err)
	}
	set(t, db, "bob", func(s *Settings) { s.Aliases = s.Aliases[:1] }) // what stays is no news
	write(t, dir, settingsName, content(t, dir, settingsName)+"alice alias=INFO alias=list\n")
	if _, err := db.Users(); err == nil || !strings.Contains(err.Error(), "the alias INFO of alice") || !strings.Contains(err.Error(), "the alias list of alice") {
		t.Errorf("by hand: %v", err)
	}
	if users, _, err := db.Recipients("info", ""); err != nil || len(users) != 1 || users[0].Name.String() != "bob" {
		t.Errorf("then info is %v, %v", users, err)
	}
}

// Whoever takes a name inherits nothing from who had it.
func TestNothingIsInherited(t *testing.T) {
	db, dir := openDB(t, record(t, "alice").String()+"\n")
	ctx := context.Background()
	set(t, db, "alice", func(s *Settings) { s.Disabled, s.Aliases = true, []Name{name(t, "info")} })
	if _, err := db.Replace(ctx, name(t, "alice"), func(r Record) (Record, error) { r.Keys = []byte("a"); return r, nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Replace(ctx, name(t, "alice"), func(r Record) (Record, error) { r.Keys = []byte("b"); return r, nil }); err != nil {
		t.Fatal(err)
	}
	settings, former := content(t, dir, settingsName), content(t, dir, formerName)
	if _, err := db.Remove(ctx, name(t, "alice"), nil); err != nil {
		t.Fatal(err)
	}
	if left := content(t, dir, settingsName) + content(t, dir, formerName); left != "" {
		t.Errorf("left: %s", left)
	}
	// As a crash would leave them, and a clock that was off:
	write(t, dir, settingsName, settings)
	write(t, dir, formerName, former)
	write(t, dir, statName, "alice on 2026-11-23T08:46:42Z\n")
	if err := db.Add(ctx, record(t, "alice")); err != nil {
		t.Fatal(err)
	}
	if left := content(t, dir, settingsName) + content(t, dir, formerName) + content(t, dir, statName); left != "" {
		t.Errorf("inherited: %s", left)
	}
}

func TestFormerKeys(t *testing.T) {
	db, dir := openDB(t, record(t, "alice").String()+"\n"+record(t, "bob").String()+"\n")
	write(t, dir, formerName, "# old\nbob,2026-11-23T08:46:42Z,Ym9i\nbob,then,Ym9i\n")
	for i := range maxFormer + 3 {
		if _, err := db.Replace(context.Background(), name(t, "alice"), func(r Record) (Record, error) {
			r.Keys = fmt.Appendf(nil, "key %d", i)
			return r, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	former, err := db.FormerKeys(name(t, "Alice"))
	if err != nil || len(former) != maxFormer || string(former[0].Keys) != fmt.Sprintf("key %d", maxFormer+1) || former[0].Replaced.IsZero() {
		t.Errorf("%d former keys, %s, %v", len(former), former[0].Keys, err)
	}
	if former, err := db.FormerKeys(name(t, "bob")); err != nil || len(former) != 1 || string(former[0].Keys) != "bob" {
		t.Errorf("bob's: %v, %v", former, err)
	}
	// A crash between the two writes leaves what is in force.
	now, _, _ := db.Lookup(name(t, "alice"))
	if err := db.keepFormer(now); err != nil {
		t.Fatal(err)
	}
	if former, _ := db.FormerKeys(name(t, "alice")); len(former) != maxFormer-1 || string(former[0].Keys) != fmt.Sprintf("key %d", maxFormer+1) {
		t.Errorf("after a crash: %d, %s", len(former), former[0].Keys)
	}
}

func FuzzSettings(f *testing.F) {
	f.Add("alice disabled octets=1 messages=0 alias=info alias=a=b@example.org")
	f.Add("alice octets=-1")
	f.Add("  bob\t alias=info")
	f.Fuzz(func(t *testing.T, line string) {
		s, err := parseSettings(line)
		if err != nil {
			return
		}
		again, err := parseSettings(s.line(s.name))
		if err != nil || again.line(again.name) != s.line(s.name) {
			t.Errorf("%q is read as %q: %v", line, s.line(s.name), err)
		}
	})
}

func FuzzFormer(f *testing.F) {
	f.Add("alice,2026-11-23T08:46:42Z,a2V5")
	f.Add("alice,2026-11-23T08:46:42+01:00,")
	f.Fuzz(func(t *testing.T, line string) {
		k, err := parseFormer(line)
		if err != nil {
			return
		}
		if again, err := parseFormer(k.String()); err != nil || again.String() != k.String() {
			t.Errorf("%q is read as %q: %v", line, k, err)
		}
	})
}
