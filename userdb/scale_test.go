package userdb

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// manyUsers makes a data directory with 100,000 users, each with a SCRAM record
// and what would be a 2048-bit key.
func manyUsers(tb testing.TB) (*DB, string) {
	tb.Helper()
	const scram = "ABEiM0RVZneImaq7zN3u/w==,SCRAM-SHA-256$100000:ABEiM0RVZneImaq7zN3u/w==$" +
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	key := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 451)))
	var b, settings strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&b, "user%d@example.org,%s,%s\n", i, scram, key)
		if i%100 == 0 {
			fmt.Fprintf(&settings, "user%d@example.org octets=%d alias=other%d@example.org\n", i, i, i)
		}
	}
	dir := tb.TempDir()
	for name, content := range map[string]string{fileName: b.String(), settingsName: settings.String()} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	db, err := Open(dir, Options{LocalDomains: []string{"localhost"}}, slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { db.Close() })
	return db, dir
}

// A lookup reads no file while none has changed.
func TestLookupReadsNothing(t *testing.T) {
	db, dir := openDB(t, original(t))
	s, err := db.read()
	if err != nil {
		t.Fatal(err)
	}
	db.snap.Store(s) // as if the file had been at rest
	if err := os.WriteFile(filepath.Join(dir, fileName), []byte(original(t)+"# more\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if again, err := db.load(); err != nil || again == s {
		t.Errorf("a changed file was not read again: %v", err)
	}
	if s, err = db.read(); err != nil {
		t.Fatal(err)
	}
	db.snap.Store(s)
	for range 3 {
		if again, err := db.load(); err != nil || again != s {
			t.Errorf("the file was read again: %v", err)
		}
	}
}

// What was looked at a moment ago is not looked at again, but for a change of our own.
func TestFreshUsers(t *testing.T) {
	db, dir := openDB(t, original(t))
	db.fresh = time.Hour
	s, err := db.read()
	if err != nil {
		t.Fatal(err)
	}
	db.snap.Store(s)
	if err := os.WriteFile(filepath.Join(dir, fileName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if again, err := db.load(); err != nil || again != s {
		t.Errorf("the file was read again: %v", err)
	}
	bob := record(t, "bob")
	if err := db.Add(t.Context(), bob); err != nil {
		t.Fatal(err)
	}
	db.snap.Store(s) // by one who was reading meanwhile
	if _, found, err := db.Lookup(bob.Name); !found || err != nil {
		t.Errorf("a new user is not seen: %v", err)
	}
	if s, err = db.read(); err != nil {
		t.Fatal(err)
	}
	db.snap.Store(s)
	disable := func(s *Settings) error { s.Disabled = true; return nil }
	if _, err := db.Set(t.Context(), bob.Name, disable); err != nil {
		t.Fatal(err)
	}
	if set, err := db.Settings(bob.Name); !set.Disabled || err != nil {
		t.Errorf("new settings are not seen: %v", err)
	}
}

func BenchmarkLoad100000(b *testing.B) {
	db, _ := manyUsers(b)
	b.ReportAllocs()
	for b.Loop() {
		if s, err := db.read(); err != nil || len(s.records) != 100_000 || len(s.broken) != 0 {
			b.Fatal(err, len(s.broken))
		}
	}
}

func BenchmarkLookup100000(b *testing.B) {
	db, _ := manyUsers(b)
	time.Sleep(2 * settled) // until a reading is kept
	if _, err := db.load(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, err := db.Find("user70000", "example.org"); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

func BenchmarkAdd100000(b *testing.B) {
	db, _ := manyUsers(b)
	n := 0
	for b.Loop() {
		n++
		r, _ := ParseRecord(fmt.Sprintf("new%d,salt,%064d", n, 0))
		if err := db.Add(context.Background(), r); err != nil {
			b.Fatal(err)
		}
	}
}
