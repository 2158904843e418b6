package userdb

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func verifier(t *testing.T, db *DB, login string) Verifier {
	t.Helper()
	v, err := db.SCRAM(login)
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Salt) != scramSaltSize || len(v.StoredKey) != 32 || len(v.ServerKey) != 32 {
		t.Fatalf("%q: %+v", login, v)
	}
	return v
}

func TestSCRAMOfAUser(t *testing.T) {
	r := record(t, "Alice@localhost.com")
	db, _ := openDB(t, r.String()+"\n")
	want, err := parseSCRAM(r.Hash)
	if err != nil {
		t.Fatal(err)
	}
	for _, login := range []string{"alice", "Alice@localhost.com", "ALICE@LOCALHOST.COM"} {
		v := verifier(t, db, login)
		if v.User != "Alice@localhost.com" || v.Iterations != minIterations || !bytes.Equal(v.Salt, want.salt) ||
			!bytes.Equal(v.StoredKey, want.storedKey) || !bytes.Equal(v.ServerKey, want.serverKey) {
			t.Errorf("%q: %+v", login, v)
		}
	}
	// No user's login, but the same person's to whoever asks.
	v := verifier(t, db, "alice@localhost")
	if v.User != "" || v.Iterations != minIterations || !bytes.Equal(v.Salt, want.salt) || bytes.Equal(v.StoredKey, want.storedKey) {
		t.Errorf("a namesake: %+v", v)
	}
	if v := verifier(t, db, "alice@elsewhere"); bytes.Equal(v.Salt, want.salt) {
		t.Error("another domain's alice has ours' salt")
	}
}

// Whoever asks for salts can't tell names that exist from others: each has one,
// the same in every spelling, today, tomorrow and in another process.
func TestDecoySalts(t *testing.T) {
	db, dir := openDB(t, original(t))
	other, err := Open(dir, Options{LocalDomains: []string{"localhost", "localhost.com"}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	seen := map[string]string{}
	for _, spellings := range [][]string{
		{"test", "TEST", "test@localhost", "Test@LOCALHOST.com"},
		{"nobody", "NoBody", "nobody@localhost", "Nobody@LOCALHOST.com"},
		{"robert", "robert@localhost.com", "robert@localhost"},
		{"nobody@elsewhere", "NOBODY@Elsewhere"},
		{"nobody@bücher.example", "nobody@xn--bcher-kva.example", "nobody@BÜCHER.example"},
		{"ärger", "ÄRGER@localhost"},
		{"test+x"}, {"nobody+x"}, {"", "@"},
	} {
		salt := string(verifier(t, db, spellings[0]).Salt)
		if first, ok := seen[salt]; ok {
			t.Errorf("%q and %q have the same salt", first, spellings[0])
		}
		seen[salt] = spellings[0]
		for _, login := range spellings {
			for _, db := range []*DB{db, other} {
				if v := verifier(t, db, login); v.User != "" || string(v.Salt) != salt || v.Iterations != DefaultIterations {
					t.Errorf("%q: %+v, unlike %q", login, v, spellings[0])
				}
			}
		}
	}
}

// The first login of one of the original's users shows nowhere.
func TestStrengthenKeepsTheSalt(t *testing.T) {
	db, _ := openDB(t, original(t))
	before := verifier(t, db, "TEST@localhost")
	if before.User != "" {
		t.Fatalf("a SHA-256 record serves SCRAM: %+v", before)
	}
	if _, ok := login(t, db, "test", "test"); !ok {
		t.Fatal("no login")
	}
	after := verifier(t, db, "TEST@localhost")
	if after.User != "test" || !bytes.Equal(after.Salt, before.Salt) || after.Iterations != before.Iterations {
		t.Errorf("%+v became %+v", before, after)
	}
}

func TestDecoyKeyIsMadeOnce(t *testing.T) {
	_, dir := openDB(t, "")
	var wg sync.WaitGroup
	salts := make([][]byte, 8)
	for i := range salts {
		wg.Go(func() {
			db, err := Open(dir, Options{}, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Error(err)
				return
			}
			defer db.Close()
			if salts[i], err = db.decoySalt("x"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, salt := range salts {
		if !bytes.Equal(salt, salts[0]) {
			t.Fatal("two keys were made")
		}
	}
	st, err := os.Stat(filepath.Join(dir, decoyName))
	if err != nil || st.Mode().Perm() != 0o600 || st.Size() != decoySize {
		t.Errorf("%v, %v", st, err)
	}
	if _, err := ParseName(decoyName); err == nil {
		t.Error("a user may have the key's name")
	}
}

// Trouble with the key must not show who exists, and does not lock out those
// who log in with a password.
func TestDamagedDecoyKey(t *testing.T) {
	db, dir := openDB(t, original(t)+record(t, "alice").String()+"\n")
	if err := os.WriteFile(filepath.Join(dir, decoyName), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, login := range []string{"alice", "test", "nobody"} {
		if v, err := db.SCRAM(login); err == nil || !strings.Contains(err.Error(), decoyName) {
			t.Errorf("%s: %+v, %v", login, v, err)
		}
	}
	if _, ok, err := db.Authenticate(context.Background(), "test", "test"); !ok || err != nil {
		t.Error(ok, err)
	}
}

// The configured number is that of records made at logins and of those that are
// invented; a record from before keeps its own.
func TestIterations(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, fileName, original(t)+record(t, "alice").String()+"\n")
	db, err := Open(dir, Options{Iterations: 10_000}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, user := range []string{"nobody", "test", "alice"} {
		want := map[string]int{"alice": minIterations}[user]
		if want == 0 {
			want = 10_000
		}
		if v, err := db.SCRAM(user); err != nil || v.Iterations != want {
			t.Errorf("%s: %d iterations, %v; want %d", user, v.Iterations, err, want)
		}
	}
	if s, err := parseSCRAM(db.decoy.Hash); err != nil || s.iterations != 10_000 {
		t.Errorf("the decoy has %d iterations, %v", s.iterations, err)
	}
	if _, ok := login(t, db, "test", "test"); !ok {
		t.Fatal("no login")
	}
	if v, err := db.SCRAM("test"); err != nil || v.Iterations != 10_000 || v.User != "test" {
		t.Errorf("after a login: %+v, %v", v, err)
	}
	if _, ok := login(t, db, "alice", "secret"); !ok {
		t.Error("a record with other iterations is not accepted")
	}
}
