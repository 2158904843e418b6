package userdb

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// openAliases opens a database with aliases and users; those of the latter that
// Add would refuse stand there too.
func openAliases(t *testing.T, all map[string][]string, users ...string) *DB {
	t.Helper()
	dir := t.TempDir()
	var lines strings.Builder
	for _, name := range users {
		lines.WriteString(record(t, name).String() + "\n")
	}
	if err := os.WriteFile(filepath.Join(dir, fileName), []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := Open(dir, Options{LocalDomains: []string{"localhost", "bücher.example"}, Aliases: all}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func recipients(t *testing.T, db *DB, address string) (string, error) {
	t.Helper()
	local, domain, _ := cutDomain(address)
	users, found, err := db.Recipients(local, domain)
	if found != (len(users) > 0) || found && err != nil {
		t.Errorf("%s: %d users, found %v, %v", address, len(users), found, err)
	}
	var names []string
	for _, u := range users {
		names = append(names, u.Name.String())
	}
	return strings.Join(names, " "), err
}

func TestRecipients(t *testing.T) {
	db := openAliases(t, map[string][]string{
		"postmaster":         {"alice"},
		"Info":               {"alice", "bob@localhost", "ALICE"},
		"info@example.org":   {"bob"},
		"all":                {"info", "staff", "postmaster", "carol@example.org"},
		"staff":              {"bob", "info@example.org"},
		"hidden":             {"bob"},
		"list+news":          {"bob"},
		"far@example.org":    {"carol@example.org"},
		"bücher@example.org": {"alice"},
	}, "alice", "bob@localhost", "carol@example.org", "hidden")
	for address, want := range map[string]string{
		"alice@localhost":            "alice",
		"postmaster":                 "alice", // RFC 5321, section 4.5.1: without a domain too
		"PostMaster@localhost":       "alice",
		"postmaster@example.org":     "",
		"info@localhost":             "alice bob@localhost",
		"INFO+x@LOCALHOST":           "alice bob@localhost",
		"info@xn--bcher-kva.example": "alice bob@localhost",
		"info@Example.Org":           "bob@localhost",
		"info+y@example.org":         "bob@localhost",
		"all@localhost":              "carol@example.org alice bob@localhost",
		"hidden@localhost":           "hidden",
		"hidden+x@localhost":         "hidden",
		"list+news@localhost":        "bob@localhost",
		"list@localhost":             "",
		"far@localhost":              "",
		"far@example.org":            "carol@example.org",
		"bu\u0308cher@example.org":   "alice", // not NFC
		"nobody@localhost":           "",
	} {
		if got, err := recipients(t, db, address); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", address, got, err, want)
		}
	}
}

func TestBadAliases(t *testing.T) {
	for want, all := range map[string]map[string][]string{
		`alias "../x"`:          {"../x": {"alice"}},
		`alias info: "a b"`:     {"info": {"a b"}},
		"stands for nobody":     {"info": nil},
		"INFO and info are one": {"info": {"alice"}, "INFO": {"bob"}},
		"a@bücher.example and a@xn--bcher-kva.example are one": {"a@bücher.example": {"x"}, "a@xn--bcher-kva.example": {"x"}},
		"a -> b -> c -> a":    {"a": {"alice", "b"}, "b": {"c"}, "c": {"bob", "A@localhost"}},
		"circle: b -> c -> b": {"a": {"b"}, "b": {"c"}, "c": {"b"}},
		"circle: me -> me":    {"me": {"bob", "me+x"}},
	} {
		db, err := Open(t.TempDir(), Options{LocalDomains: []string{"localhost"}, Aliases: all}, slog.New(slog.DiscardHandler))
		if err == nil {
			db.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v; want %q", all, err, want)
		}
	}
}

// Two ways to one alias are no circle.
func TestAliasesMayMeet(t *testing.T) {
	db := openAliases(t, map[string][]string{"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": {"alice"}}, "alice")
	if got, err := recipients(t, db, "a"); err != nil || got != "alice" {
		t.Errorf("%q, %v", got, err)
	}
}

// An alias for somebody who is no user, or whose record can't be read, is
// nobody's fault who writes to it.
func TestAliasWithoutUser(t *testing.T) {
	db := openAliases(t, map[string][]string{
		"info": {"alice", "bob"}, "all": {"info"}, "fine": {"alice"}, "alice": {"carol"},
	}, "alice")
	for _, address := range []string{"info@localhost", "all@localhost"} {
		if _, err := recipients(t, db, address); err == nil || err.Error() != "alias info: no user bob" {
			t.Errorf("%s: %v", address, err)
		}
	}
	var said []string
	for _, err := range db.CheckAliases() {
		said = append(said, err.Error())
	}
	if want := []string{"alias alice: the user alice gets this mail", "alias info: no user bob", "alias info: no user bob"}; !slices.Equal(said, want) {
		t.Errorf("CheckAliases: %q, want %q", said, want)
	}
	if err := db.Add(context.Background(), record(t, "bob")); err != nil {
		t.Fatal(err)
	}
	if got, err := recipients(t, db, "info@localhost"); err != nil || got != "alice bob" {
		t.Errorf("with bob: %q, %v", got, err)
	}

	broken, _ := openDB(t, "bob,broken\n")
	if err := broken.setAliases(map[string][]string{"info": {"bob"}, "bob": {"alice"}}); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"info", "bob"} {
		if _, err := recipients(t, broken, address); err == nil {
			t.Errorf("%s: a record that can't be read was passed over", address)
		}
	}
}

func TestAddRefusesAliases(t *testing.T) {
	db := openAliases(t, map[string][]string{"postmaster": {"alice"}, "info@example.org": {"alice"}}, "alice")
	for _, name := range []string{"postmaster", "Postmaster@localhost", "postmaster+x", "INFO@example.org"} {
		if err := db.Add(context.Background(), record(t, name)); !errors.Is(err, ErrTaken) || !strings.Contains(err.Error(), "is an alias") {
			t.Errorf("%s: %v, want ErrTaken", name, err)
		}
	}
	for _, name := range []string{"postmaster@example.org", "info"} {
		if err := db.Add(context.Background(), record(t, name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A domain is the same in Unicode and as it stands in DNS.
func TestInternationalDomains(t *testing.T) {
	db := openAliases(t, nil, "alice", "bob@xn--bcher-kva.example", "eve@straße.example", "odd@a_ü.example", "jürgen")
	for address, want := range map[string]string{
		"alice@bücher.example":        "alice",
		"alice@BÜCHER.example":        "alice",
		"alice@bu\u0308cher.example":  "alice",
		"alice@XN--BCHER-KVA.example": "alice",
		"bob@Bücher.Example":          "bob@xn--bcher-kva.example",
		"eve@xn--strae-oqa.example":   "eve@straße.example",
		"eve@strasse.example":         "",
		"odd@A_Ü.example":             "odd@a_ü.example", // which IDNA refuses
		"ju\u0308rgen@localhost":      "jürgen",
		"JU\u0308RGEN+x@localhost":    "jürgen",
	} {
		if got, err := recipients(t, db, address); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", address, got, err, want)
		}
	}
	for domain, want := range map[string]bool{"bücher.example": true, "xn--bcher-kva.example": true, "Xn--Bcher-Kva.Example": true, "bucher.example": false} {
		if db.Local(domain) != want {
			t.Errorf("Local(%s) is %v", domain, !want)
		}
	}
	for _, name := range []string{"alice@xn--bcher-kva.example", "bob@bücher.example", "eve@xn--strae-oqa.example"} {
		if err := db.Add(context.Background(), record(t, name)); !errors.Is(err, ErrTaken) {
			t.Errorf("%s: %v, want ErrTaken", name, err)
		}
	}
	if got, ok := login(t, db, "ju\u0308rgen@xn--bcher-kva.example", "secret"); !ok || got != "jürgen" {
		t.Errorf("login: %q, %v", got, ok)
	}
}

// Most domains are ASCII: they cost nothing.
func TestASCIIDomainsAreFast(t *testing.T) {
	db := openAliases(t, nil)
	if n := testing.AllocsPerRun(100, func() { db.Local("mail.example.org") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
