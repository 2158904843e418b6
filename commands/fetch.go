package commands

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
	"xm/internal/keyring"
	"xm/internal/line"
	"xm/internal/mailclient"
	"xm/internal/message"
)

func fetch() *cli.Command {
	return &cli.Command{
		Name:  "fetch",
		Usage: "download everything new into a local Maildir",
		Description: "Any mail program that knows Maildirs, such as mutt, can read it. A message stays on the\n" +
			"server unless --keep says for how many days after its download; it is deleted there only\n" +
			"once the local copy is on the disk. What was interrupted goes on where it was.\n\n" +
			"With --decrypt, messages are stored decrypted, with who signed them in a field\n" +
			"Xm-Signature; those that can't be trusted are stored as they came.\n\n" +
			"   xm fetch --maildir ~/Mail && mutt -f ~/Mail",
		Flags: accountFlags(passphraseFlag(),
			&cli.StringFlag{Name: "maildir", Usage: "the Maildir is `DIR` (default: one for the account, in your data directory)"},
			&cli.BoolFlag{Name: "decrypt", Usage: "store messages decrypted"},
			&cli.IntFlag{Name: "keep", Usage: "delete on the server what was downloaded `DAYS` ago or before; 0 is now", Value: -1, DefaultText: "never"},
		),
		Action: runFetch,
	}
}

func runFetch(c *cli.Context) error {
	if err := wantArgs(c, 0, 0); err != nil {
		return err
	}
	if c.IsSet("keep") && c.Int("keep") < 0 {
		return usageErrorf("--keep takes a number of days")
	}
	a, err := loadAccount(c)
	if err != nil {
		return err
	}
	dir := c.String("maildir")
	if dir == "" {
		data, err := a.dataDir()
		if err != nil {
			return err
		}
		dir = filepath.Join(data, "Maildir")
	}
	local, err := openLocal(dir)
	if err != nil {
		return err
	}
	defer local.close()
	left, undeleted := 0, 0
	err = withMaildrop(c, a, func(p *mailclient.POP3) error {
		list, err := p.List()
		if err != nil {
			return err
		}
		incoming, err := identify(list, local)
		if err != nil {
			return err
		}
		if left, err = fetchAll(c, a, p, incoming, local); err != nil {
			return err
		}
		undeleted, err = deleteFetched(c, p, incoming, local)
		return err
	})
	switch {
	case err == nil && left > 0:
		err = fmt.Errorf("%d messages could not be fetched, and are still on the server", left)
	case err == nil && undeleted > 0:
		err = fmt.Errorf("%d messages could not be deleted on the server", undeleted)
	}
	return err
}

// incoming is a message on the server, and its id here.
type incoming struct {
	mailclient.Listing
	id string
}

// identify gives ids to messages. Copies of one may have one UID (RFC 1939,
// section 7): they are counted. Some servers give a UID again, which the section
// forbids: a message of another size than the one that was fetched is not that one.
func identify(list []mailclient.Listing, local *localMail) (all []incoming, err error) {
	copies := map[string]int{}
	for _, l := range list {
		if l.UID == "" {
			return nil, errNoIDs
		}
		name := l.UID // in which there is no blank
		if copies[l.UID]++; copies[l.UID] > 1 {
			name = fmt.Sprintf("%s %d", l.UID, copies[l.UID])
		}
		if local.hasOfOtherSize(messageID(name), l.Octets) {
			name = fmt.Sprintf("%s, %d octets", name, l.Octets)
		}
		all = append(all, incoming{l, messageID(name)})
	}
	return all, nil
}

// fetchAll fetches what is new. left counts the messages that the server does not
// give: the others are fetched all the same.
func fetchAll(c *cli.Context, a account, p *mailclient.POP3, list []incoming, local *localMail) (left int, err error) {
	var wanted []incoming
	for _, m := range list {
		if _, done := local.fetched[m.id]; !done {
			wanted = append(wanted, m)
		}
	}
	status, watched := asTerminal(c.App.ErrWriter)
	for i, m := range wanted {
		if watched {
			fmt.Fprintf(status, "\rfetching %d of %d (%s)\x1b[K", i+1, len(wanted), octets(m.Octets))
		}
		err := fetchOne(c, a, p, m, local)
		if notGiven(err) {
			say(c, "message %d: %v", m.Number, err)
			left++
		} else if err != nil {
			return left, err
		}
	}
	if watched && len(wanted) > 0 {
		fmt.Fprint(status, "\r\x1b[K")
	}
	say(c, "%d new in %s", len(wanted)-left, local.root.Name())
	return left, nil
}

// notGiven reports whether the server does not give a message, or one that is too
// large for us: the session goes on.
func notGiven(err error) bool {
	var refused *mailclient.ReplyError
	return errors.As(err, &refused) || errors.Is(err, line.ErrTooLarge)
}

func fetchOne(c *cli.Context, a account, p *mailclient.POP3, m incoming, local *localMail) error {
	r, err := newLetterReader(c, a, askPassphrase(c))
	if err != nil {
		return err
	}
	defer r.close()
	raw, err := r.fetch(p, m.Listing)
	if err != nil {
		return err
	}
	if c.Bool("decrypt") {
		l, err := r.open(raw)
		switch {
		case errors.Is(err, hybrid.ErrNotAuthentic), errors.Is(err, keyring.ErrNotFound), errors.Is(err, message.ErrHeaderTooLong):
			say(c, "message %d is stored as it came: %s", m.Number, mailclient.Printable(err.Error()))
		case err != nil:
			return err
		case l.payload && !l.isBare:
			problem, err := addDecrypted(local, m, l)
			if problem == nil || err != nil {
				return err
			}
			say(c, "message %d is stored as it came: %s", m.Number, mailclient.Printable(problem.Error()))
		}
	}
	if _, err := raw.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return local.add(m, func(w io.Writer) error { return message.StoreAsIs(w, raw, signatureField) })
}

// signatureField tells who signed a message that is stored decrypted.
const signatureField = "Xm-Signature"

// addDecrypted stores what is inside a message. A problem is that the message's
// parts can't be read, which shows before anything is stored.
func addDecrypted(local *localMail, m incoming, l *letter) (problem, err error) {
	write := func(w io.Writer) error {
		if _, err := l.content.Seek(0, io.SeekStart); err != nil {
			return err
		}
		return message.Store(w, l.content, [][2]string{{signatureField, fmt.Sprintf("%s; key=%s", l.trust, l.signer)}})
	}
	if problem := write(io.Discard); problem != nil {
		return problem, nil
	}
	return nil, local.add(m, write)
}

// deleteFetched marks what was downloaded long enough ago. left counts the messages that
// the server does not delete: the others are deleted all the same.
func deleteFetched(c *cli.Context, p *mailclient.POP3, list []incoming, local *localMail) (left int, err error) {
	if !c.IsSet("keep") {
		return 0, nil
	}
	before := time.Now().Add(-time.Duration(c.Int("keep")) * 24 * time.Hour)
	for _, m := range list {
		if d, done := local.fetched[m.id]; done && !d.at.After(before) {
			err := p.Delete(m.Number)
			if notGiven(err) {
				say(c, "message %d is not deleted: %v", m.Number, err)
				left++
			} else if err != nil {
				return left, err
			}
		}
	}
	return left, nil
}
