package commands

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"xm/internal/maildir"
	"xm/pop3d"
	"xm/smtpd"
	"xm/userdb"
)

// users shows users.txt to the servers.
type users struct {
	db         *userdb.DB
	postmaster string // who gets the mail of a postmaster who is no user
}

// Find is smtpd.Users'. RFC 5321, section 4.5.1: postmaster must be reachable.
func (u users) Find(local, domain string) (string, bool, error) {
	r, ok, err := u.db.Find(local, domain)
	if !ok && err == nil && u.postmaster != "" && strings.EqualFold(local, "postmaster") && (domain == "" || u.db.Local(domain)) {
		local, domain, _ := strings.Cut(u.postmaster, "@")
		r, ok, err = u.db.Find(local, domain)
	}
	return r.Name.String(), ok, err
}

// Local is smtpd.Users'.
func (u users) Local(domain string) bool { return u.db.Local(domain) }

// Authenticate is pop3d.Users'.
func (u users) Authenticate(ctx context.Context, login, password string) (string, bool, error) {
	name, ok, err := u.db.Authenticate(ctx, login, password)
	return name.String(), ok, err
}

// mail shows the Maildirs to the servers.
type mail struct {
	store *maildir.Store
	db    *userdb.DB
}

// Begin is smtpd.Mail's.
func (m mail) Begin(mailboxes []string) (smtpd.Delivery, error) {
	d, err := m.store.Begin(mailboxes)
	if err != nil { // not a nil *Delivery within a Delivery
		return nil, err
	}
	return delivery{d}, nil
}

// Room is smtpd.Mail's.
func (m mail) Room(mailbox string, size int64) error {
	return smtpError(m.store.Room(mailbox, size))
}

type delivery struct{ *maildir.Delivery }

// Commit is smtpd.Delivery's.
func (d delivery) Commit() error { return smtpError(d.Delivery.Commit()) }

func smtpError(err error) error {
	if errors.Is(err, maildir.ErrFull) {
		return fmt.Errorf("%w: %w", smtpd.ErrFull, err)
	}
	return err
}

// Open is pop3d.Mail's.
func (m mail) Open(mailbox string) (pop3d.Mailbox, error) {
	name, err := userdb.ParseName(mailbox)
	if err != nil {
		return nil, err
	}
	dirs, err := m.db.Maildrops(name)
	if err != nil {
		return nil, err
	}
	drop, err := m.store.Open(dirs)
	if errors.Is(err, maildir.ErrLocked) {
		return nil, pop3d.ErrInUse
	}
	if err != nil { // not a nil *Maildrop within a Mailbox
		return nil, err
	}
	return drop, nil
}
