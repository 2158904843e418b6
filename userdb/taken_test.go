package userdb

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Mail that an operator has moved elsewhere is still the former user's.
func TestLinkedMaildropTakesTheName(t *testing.T) {
	db, dir := openDB(t, "")
	if err := os.Symlink("/elsewhere/alice", filepath.Join(dir, "alice")); err != nil {
		t.Fatal(err)
	}
	if err := db.Add(context.Background(), record(t, "alice")); !errors.Is(err, ErrTaken) {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bob"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := db.Add(context.Background(), record(t, "bob")); err != nil {
		t.Errorf("a file is no maildrop: %v", err)
	}
}
