package commands

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"xm/internal/config"
	"xm/internal/maildir"
	"xm/internal/metrics"
	"xm/internal/sasl"
	"xm/pop3d"
	"xm/smtpd"
	"xm/userdb"
)

// userOptions are what the config says about the users.
func userOptions(cfg config.Config) userdb.Options {
	return userdb.Options{LocalDomains: cfg.LocalDomains(), Aliases: cfg.Aliases, Iterations: cfg.Login.Iterations}
}

// openStore opens the Maildirs of the configured data directory, with the quotas
// of their users, after a crash as they were before it. trouble is told what goes
// wrong with that and later in the background.
func openStore(cfg config.Config, db *userdb.DB, trouble func(error)) (*maildir.Store, error) {
	store, err := maildir.New(cfg.DataDir, cfg.Hostname)
	if err != nil {
		return nil, err
	}
	store.Trouble = trouble
	if err := store.Recover(); err != nil {
		trouble(fmt.Errorf("mail from just before a crash is not all back in the maildrops; it is kept in the journal, and tried again at each login to those maildrops, and while mail comes: %w", err))
	}
	store.Quota = func(maildrop string) maildir.Quota { return quotaOf(cfg, db, maildrop) }
	return store, nil
}

// quotaOf is the config's where the user's settings have none, or can't be read:
// nobody must lose mail for that.
func quotaOf(cfg config.Config, db *userdb.DB, maildrop string) maildir.Quota {
	quota := maildir.Quota(cfg.Quota)
	set, err := db.SettingsOf(maildrop)
	if err != nil {
		return quota
	}
	if set.Octets != nil {
		quota.Octets = *set.Octets
	}
	if set.Messages != nil {
		quota.Messages = *set.Messages
	}
	return quota
}

// brokenUsersMend is the way out where lines of the users' files can't be read.
const brokenUsersMend = "correct the lines with an editor, or see xm fsck, which can set those of users.txt aside"

// warnOfUsers logs what is wrong with the users and what the config says about
// them. It keeps no server from running.
func warnOfUsers(db *userdb.DB, log *slog.Logger) {
	if _, err := db.Users(); err != nil {
		log.Warn("the users' files have a problem; "+brokenUsersMend, "err", err)
	}
	for _, err := range db.CheckAliases() {
		log.Warn("an alias has a problem", "err", err)
	}
	// RFC 5321, section 4.5.1: postmaster must be reachable.
	if _, found, err := db.Recipients("postmaster", ""); err == nil && !found {
		log.Warn("nobody gets mail for postmaster: add that user, or set postmaster in the config")
	}
}

// users shows users.txt to the servers.
type users struct{ db *userdb.DB }

// Find implements smtpd.Users.
func (u users) Find(local, domain string) ([]string, bool, error) {
	records, found, err := u.db.Recipients(local, domain)
	var mailboxes []string
	for _, r := range records {
		mailboxes = append(mailboxes, r.Name.String())
	}
	return mailboxes, found, err
}

// Local implements smtpd.Users.
func (u users) Local(domain string) bool { return u.db.Local(domain) }

// Authenticate implements sasl.Users.
func (u users) Authenticate(ctx context.Context, login, password string) (string, bool, error) {
	name, ok, err := u.db.Authenticate(ctx, login, password)
	return name.String(), ok, err
}

// SCRAM implements sasl.Users.
func (u users) SCRAM(login string) (sasl.Verifier, error) {
	v, err := u.db.SCRAM(login)
	return sasl.Verifier(v), err
}

var (
	_ smtpd.Users    = users{}
	_ pop3d.Users    = users{}
	_ smtpd.Mail     = mail{}
	_ smtpd.Delivery = delivery{}
	_ pop3d.Mail     = mail{}
	_ pop3d.Mailbox  = session{}
)

// mail shows the Maildirs to the servers.
type mail struct {
	store    *maildir.Store
	db       *userdb.DB
	presence *userdb.Presence // of those who open them
	counts   *metrics.Store   // nil for none
}

// Begin implements smtpd.Mail.
func (m mail) Begin(mailboxes []string) (smtpd.Delivery, error) {
	d, err := m.store.Begin(mailboxes)
	if err != nil { // not a nil *Delivery within a Delivery
		m.counts.BeginFailed()
		return nil, err
	}
	return delivery{d, m.counts}, nil
}

// Room implements smtpd.Mail.
func (m mail) Room(mailbox string, size int64) (limited bool, err error) {
	limited = m.store.Quota != nil && m.store.Quota(mailbox).Octets > 0 // of messages, one is one whatever its size
	return limited, smtpError(m.store.Room(mailbox, size))
}

type delivery struct {
	*maildir.Delivery
	counts *metrics.Store
}

// Commit implements smtpd.Delivery.
func (d delivery) Commit() error {
	began := d.counts.Committing()
	err := d.Delivery.Commit()
	d.counts.Committed(began, resultOf(err, maildir.ErrFull))
	return smtpError(err)
}

// resultOf tells a refusal that is in order from an error.
func resultOf(err, refusal error) metrics.Result {
	switch {
	case err == nil:
		return metrics.OK
	case errors.Is(err, refusal):
		return metrics.Denied
	}
	return metrics.Failed
}

func smtpError(err error) error {
	switch {
	case errors.Is(err, maildir.ErrTooLarge):
		return fmt.Errorf("%w: %w", smtpd.ErrTooLarge, err)
	case errors.Is(err, maildir.ErrFull):
		return fmt.Errorf("%w: %w", smtpd.ErrFull, err)
	}
	return err
}

// Open implements pop3d.Mail.
func (m mail) Open(mailbox string) (pop3d.Mailbox, error) {
	name, err := userdb.ParseName(mailbox)
	if err != nil {
		return nil, err
	}
	dirs, err := m.db.Maildrops(name)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	drop, err := m.store.Open(dirs)
	m.counts.Opened(began, resultOf(err, maildir.ErrLocked))
	if errors.Is(err, maildir.ErrLocked) {
		return nil, pop3d.ErrInUse
	}
	if err != nil { // not a nil *Maildrop within a Mailbox
		return nil, err
	}
	return session{drop, m.presence.Enter(mailbox), m.counts}, nil
}

// session is a maildrop whose user is logged in as long as it is open.
type session struct {
	*maildir.Maildrop
	leave  func()
	counts *metrics.Store
}

// Delete implements pop3d.Mailbox.
func (s session) Delete(messages []int) error {
	err := s.Maildrop.Delete(messages)
	s.counts.Deleted(len(messages), err)
	return err
}

// Close implements pop3d.Mailbox.
func (s session) Close() {
	s.Maildrop.Close()
	s.leave()
}
