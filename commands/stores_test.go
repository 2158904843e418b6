package commands

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xm/internal/config"
	"xm/smtpd"
	"xm/userdb"
)

// What the SMTP server sees of a quota.
func TestFullMailbox(t *testing.T) {
	dir := t.TempDir()
	for file, content := range map[string]string{
		"users.txt":      "bob,salt," + strings.Repeat("0", 64) + "\n",
		"users.settings": "bob octets=10 messages=0\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg := config.Config{DataDir: dir, Hostname: "host", Quota: config.Limits{Messages: 1}}
	db, err := userdb.Open(dir, userOptions(cfg), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	store, err := openStore(cfg, db, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var m smtpd.Mail = mail{store: store}
	deliver := func(body string, mailboxes ...string) error {
		d, err := m.Begin(mailboxes)
		if err != nil {
			return err
		}
		defer d.Abort()
		fmt.Fprint(d, body)
		return d.Commit()
	}
	room := func(mailbox string, size int64) error {
		limited, err := m.Room(mailbox, size)
		if limited != (mailbox == "bob") { // the others have one of messages alone
			t.Errorf("%s: limited is %v", mailbox, limited)
		}
		return err
	}
	if err := deliver("1234\r\n", "alice", "bob"); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"room for alice":          room("alice", 0),
		"room for bob":            room("bob", 6),
		"delivery to alice":       deliver("", "alice"),
		"delivery to bob and eve": deliver("12345\r\n", "bob", "eve"),
	} {
		if !errors.Is(err, smtpd.ErrFull) {
			t.Errorf("%s: %v, want ErrFull", what, err)
		}
	}
	for what, err := range map[string]error{"room for bob": room("bob", 11), "delivery to eve and bob": deliver("1234567890\r\n", "eve", "bob")} {
		if !errors.Is(err, smtpd.ErrTooLarge) {
			t.Errorf("%s: %v, want ErrTooLarge", what, err)
		}
	}
	for what, err := range map[string]error{
		"room for bob": room("bob", 5), "room for eve": room("eve", 1000), "delivery to bob and eve": deliver("1234\r\n", "bob", "eve"),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}
