package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Of several that log in at once, none is lost.
func TestChangesOfAccounts(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	const count = 20
	var wg sync.WaitGroup
	for i := range count {
		wg.Go(func() {
			name := fmt.Sprint("user", i)
			if _, err := ChangeAccounts(func(a *Accounts) { a.Accounts[name] = Account{User: name} }); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if a, err := LoadAccounts(); err != nil || len(a.Accounts) != count {
		t.Errorf("%d accounts, %v", len(a.Accounts), err)
	}
}

// What can't be written is named.
func TestAccountsThatCannotBeKept(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	if err := os.WriteFile(filepath.Join(dir, "xm"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ChangeAccounts(func(*Accounts) {}); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "xm")) {
		t.Error(err)
	}
}
