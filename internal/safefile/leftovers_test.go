package safefile

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestLeftOvers(t *testing.T) {
	root, dir := openRoot(t)
	old := time.Now().Add(-2 * restAge).Truncate(time.Second)
	for name, at := range map[string]time.Time{TempPrefix + "old": old, TempPrefix + "young": time.Now(), "users.txt": old, ".other": old} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("users.txt", filepath.Join(dir, TempPrefix+"link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, TempPrefix+"dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	found, err := LeftOvers(root, ".")
	if err != nil || len(found) != 1 || found[0].Name != TempPrefix+"old" || !found[0].Time.Equal(old) {
		t.Fatalf("%v, %v", found, err)
	}
	if _, err := LeftOvers(root, "missing"); err == nil || !os.IsNotExist(err) {
		t.Error(err)
	}
}
