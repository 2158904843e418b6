package commands

import (
	"errors"
	"fmt"
	"testing"

	"xm/internal/config"
	"xm/smtpd"
)

// What the SMTP server sees of a quota.
func TestFullMailbox(t *testing.T) {
	store, err := openStore(config.Config{DataDir: t.TempDir(), Hostname: "host", Quota: config.Quota{
		Limits: config.Limits{Messages: 1}, Users: map[string]config.Limits{"bob": {Octets: 10}},
	}})
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
		if !limited {
			t.Errorf("%s has no limit", mailbox)
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
	for what, err := range map[string]error{
		"room for bob": room("bob", 5), "room for eve": room("eve", 1000), "delivery to bob and eve": deliver("1234\r\n", "bob", "eve"),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}
