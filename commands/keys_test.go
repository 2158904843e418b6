package commands

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"xm/internal/keyring"
)

// runWith runs xm with one more command, which has a passphrase flag.
func runWith(t *testing.T, action cli.ActionFunc, args ...string) (stderr string, err error) {
	t.Helper()
	app := New()
	var out, errs bytes.Buffer
	app.Reader, app.Writer, app.ErrWriter = strings.NewReader(""), &out, &errs
	app.Commands = append(app.Commands, &cli.Command{Name: "try", Flags: []cli.Flag{passphraseFlag()}, Action: action})
	err = Run(context.Background(), app, append([]string{"xm"}, args...))
	return errs.String(), err
}

// A former key with another passphrase is named, and does not keep the others
// from use.
func TestOwnKeys(t *testing.T) {
	dir := t.TempDir()
	keys, secret, other := filepath.Join(dir, "keys"), filepath.Join(dir, "secret"), filepath.Join(dir, "other")
	for file, text := range map[string]string{secret: "secret\n", other: "other\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{secret, other, secret} {
		if _, err := runWith(t, nil, "--keys", keys, "keygen", "--force", "--passphrase-file", file); err != nil {
			t.Fatal(err)
		}
	}
	var own []keyring.OwnKey
	var unread []error
	_, err := runWith(t, func(c *cli.Context) error {
		ring, err := openKeys(c)
		if err != nil {
			return err
		}
		defer ring.Close()
		own, unread, err = ownKeys(c, ring)
		return err
	}, "--keys", keys, "try", "--passphrase-file", secret)
	if err != nil || len(own) != 2 || own[0].Former || !own[1].Former {
		t.Fatalf("%d keys, %v", len(own), err)
	}
	if len(unread) != 1 || !strings.Contains(unread[0].Error(), keys+"/former/key.") {
		t.Errorf("unread: %v", unread)
	}
}
