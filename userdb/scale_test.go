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
// and what would be a 2048-bit key, whose file is at rest.
func manyUsers(tb testing.TB) (*DB, string) {
	tb.Helper()
	const scram = "ABEiM0RVZneImaq7zN3u/w==,SCRAM-SHA-256$100000:ABEiM0RVZneImaq7zN3u/w==$" +
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	key := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 451)))
	var b, settings strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&b, "user%d@example.org,%s,%s\n", i, scram, key)
		fmt.Fprintf(&settings, "user%d@example.org octets=%d alias=other%d@example.org\n", i, i, i)
	}
	dir := tb.TempDir()
	rest := time.Now().Add(-time.Hour)
	for name, content := range map[string]string{fileName: b.String(), settingsName: settings.String()} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			tb.Fatal(err)
		}
		if err := os.Chtimes(path, rest, rest); err != nil {
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
	time.Sleep(2 * settled) // until the reading is kept
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
