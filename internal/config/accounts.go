package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/BurntSushi/toml"

	"xm/internal/disk"
	"xm/internal/safefile"
)

// Accounts are those that the user has logged in with, in xm/accounts.toml in
// the user's config directory. Only xm login, logout and passwd write it, with mode
// 0600, since it may hold passwords:
//
//	default = "alice@example.org"          # the one that is used without --account
//
//	[accounts."alice@example.org"]         # the same as [account] of xm.toml
//	user = "alice@example.org"
//	smtp = "mail.example.org:465"
//	pop3 = "mail.example.org:995"
//	keys = "/home/alice/keys"
type Accounts struct {
	Default  string             `toml:"default"`
	Accounts map[string]Account `toml:"accounts"`
}

const accountsFile = "accounts.toml"

func accountsDir() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "xm"), nil
}

// LoadAccounts reads the accounts; there are none where there is no file.
func LoadAccounts() (Accounts, error) {
	a := Accounts{Accounts: map[string]Account{}}
	dir, err := accountsDir()
	if err != nil {
		return a, nil // without a home there are none
	}
	path := filepath.Join(dir, accountsFile)
	md, err := toml.DecodeFile(path, &a)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return a, nil
	case err != nil:
		return a, explain(path, err)
	case len(md.Undecoded()) > 0:
		return a, fmt.Errorf("%s: unknown setting %q", path, md.Undecoded()[0].String())
	}
	st, err := os.Stat(path)
	if err == nil && st.Mode().Perm()&0o077 != 0 {
		err = fmt.Errorf("%s: others can get at it: run chmod 600 %s", path, path)
	}
	return a, err
}

// ChangeAccounts lets change change the accounts as they are by then, and returns the
// file's path: whatever else changes them waits.
func ChangeAccounts(change func(*Accounts)) (path string, err error) {
	dir, err := accountsDir()
	if err != nil {
		return "", err
	}
	if err := safefile.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	root, err := disk.OpenDir(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	lock, err := root.Open(".")
	if err != nil {
		return "", err
	}
	defer lock.Close() // which unlocks it
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", dir, err)
	}
	a, err := LoadAccounts()
	if err != nil {
		return "", err
	}
	change(&a)
	var text bytes.Buffer
	text.WriteString("# Written by xm login, logout and passwd.\n")
	if err := toml.NewEncoder(&text).Encode(a); err != nil {
		return "", err
	}
	path = filepath.Join(dir, accountsFile)
	if err := safefile.Replace(root, accountsFile, text.Bytes(), 0o600); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return path, nil
}
