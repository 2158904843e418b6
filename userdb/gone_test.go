package userdb

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// While somebody moves users.txt about, no stranger may take a name that is in it,
// and nobody else may write a file that takes its place.
func TestGoneFileIsNotWritten(t *testing.T) {
	for _, gone := range []string{fileName, settingsName} {
		db, dir := openDB(t, record(t, "alice").String()+"\n")
		ctx := context.Background()
		if _, err := db.Set(ctx, name(t, "alice"), func(s *Settings) error { s.Disabled = true; return nil }); err != nil {
			t.Fatal(err)
		}
		code, err := db.NewInvite(ctx, time.Hour, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Users(); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, gone)
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		for what, change := range map[string]func() error{
			"Add":        func() error { return db.Add(ctx, record(t, "alice")) },
			"AddInvited": func() error { return db.AddInvited(ctx, record(t, "bob"), code) },
			"Remove":     func() error { _, err := db.Remove(ctx, name(t, "alice"), nil); return err },
			"SetAside":   func() error { _, err := db.SetAside(ctx); return err },
			"Set": func() error {
				_, err := db.Set(ctx, name(t, "alice"), func(s *Settings) error { return nil })
				return err
			},
		} {
			if err := change(); err == nil || !strings.Contains(err.Error(), gone+" is gone") {
				t.Errorf("%s without %s: %v", what, gone, err)
			}
			if _, err := os.Stat(path); err == nil {
				t.Errorf("%s made another %s", what, gone)
			}
		}
		if err := os.Rename(path+".away", path); err != nil {
			t.Fatal(err)
		}
		if err := db.AddInvited(ctx, record(t, "bob"), code); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	}
}
