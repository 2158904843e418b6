package commands

import (
	"errors"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
	"xm/internal/keyring"
	"xm/internal/mailclient"
	"xm/internal/message"
)

func read() *cli.Command {
	return &cli.Command{
		Name:      "read",
		Usage:     "fetch a message, verify and decrypt it, and print it",
		ArgsUsage: "ID",
		Description: "ID is an id or a number that xm inbox prints. Verifies with the sender's NAME.pub, which\n" +
			"is looked for under the address in From and under what stands before its \"@\", and\n" +
			"decrypts with key.priv; a key that is not at hand is fetched from a server whose key is\n" +
			"pinned. Who signed the message, and how far to trust that, is printed on\n" +
			"standard error. A message that is not what its sender signed is not shown; one that is\n" +
			"signed in somebody else's name is, with a warning, and the exit code is 3 all the same.\n\n" +
			"Control characters are replaced wherever the text goes; --raw prints a message as it is,\n" +
			"decrypted, and on a terminal does the same. There, each line of a message begins with\n" +
			"\"| \": nothing in it can pass as xm's own words.",
		Flags: accountFlags(passphraseFlag(), senderFlag(), offlineFlag(),
			&cli.BoolFlag{Name: "raw", Usage: "print the message as it is, header and parts and all"},
			&cli.StringFlag{Name: "save", Usage: "save the attachments in `DIR`; no file is overwritten"},
		),
		Action: runRead,
	}
}

func senderFlag() cli.Flag {
	return &cli.StringFlag{Name: "sender", Usage: "verify with `NAME`.pub, whatever the message says"}
}

func runRead(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	return withLetter(c, c.Args().First(), func(_ account, l *letter) error {
		if c.Bool("raw") {
			return showRaw(c, l.content)
		}
		return showLetter(c, l)
	})
}

// withLetter fetches and opens one message for f, and tells what is to be said of
// it. An error says so where it may be shown, but not trusted.
func withLetter(c *cli.Context, word string, f func(account, *letter) error) error {
	if err := checkMessageWord(word); err != nil {
		return err
	}
	a, err := loadAccount(c)
	if err != nil {
		return err
	}
	r, err := newLetterReader(c, a, askPassphrase(c))
	if err != nil {
		return err
	}
	defer r.close()
	r.fetches = !c.Bool("offline")
	var raw *hidden
	var listed mailclient.Listing
	err = withMaildrop(c, a, func(p *mailclient.POP3) error {
		list, err := p.List()
		if err != nil {
			return err
		}
		if listed, err = findMessage(list, word); err != nil {
			return err
		}
		raw, err = r.fetch(p, listed)
		return err
	})
	if err != nil {
		return err
	}
	l, err := r.open(raw)
	if errors.Is(err, message.ErrHeaderTooLong) {
		err = fmt.Errorf("%w: xm fetch stores the message as it is", err)
	}
	if err != nil {
		return fmt.Errorf("message %s: %w", word, err)
	}
	introduce(c, word, l)
	replay := rememberRead(a, listed, l)
	if errors.Is(replay, errReplayed) {
		say(c, "message %s: %v", word, replay)
	} else if replay != nil {
		say(c, "warning: replays can't be told: %v", replay)
	}
	if err := f(a, l); err != nil {
		return err
	}
	if l.trust == trustForged {
		return fmt.Errorf("message %s: %w: it is signed in somebody else's name", word, hybrid.ErrNotAuthentic)
	}
	return nil
}

// introduce says who vouches for a message.
func introduce(c *cli.Context, word string, l *letter) {
	for _, note := range l.notes {
		say(c, "message %s: %s", word, note)
	}
	switch {
	case !l.payload:
		say(c, "message %s is not encrypted, and nobody vouches for it", word)
	case l.signer == keyring.Own:
		say(c, "message %s is signed with your own key", word)
	case l.trust != trustForged:
		say(c, "message %s is signed with %s", word, l.signedWith())
	}
}

// signedWith says whose key a signature was made with, and what is known of that.
func (l *letter) signedWith() string {
	switch {
	case l.former:
		return "a former key of " + l.signer
	case l.trust == trustVerified:
		return fmt.Sprintf("the key of %s, which is verified", l.signer)
	case l.trust == trustChanged:
		return fmt.Sprintf("the known key of %s, but THE DIRECTORY HAS ANOTHER: see xm key accept --help", l.signer)
	}
	return fmt.Sprintf("the key of %s, which is known, but not verified: see xm key verify --help", l.signer)
}

// showLetter prints a message as a person reads it.
func showLetter(c *cli.Context, l *letter) error {
	page := newPage(c)
	if l.isBare {
		text, err := l.bareText()
		if err != nil {
			return err
		}
		page.outside(text)
		return page.show()
	}
	m, err := message.Read(l.content)
	if err != nil {
		return err
	}
	keep, saved := message.Keep(nil), []string(nil)
	if dir := c.String("save"); dir != "" {
		s, err := newSaver(dir, keysDir(c))
		if err != nil {
			return err
		}
		defer s.close()
		keep = func(a message.Attachment, content io.Reader) error {
			path, err := s.save(a, content)
			saved = append(saved, path)
			return err
		}
	}
	body, err := m.Body(keep)
	if err != nil {
		return err
	}
	page.header(l.header)
	page.outside(body.Text)
	for i, a := range body.Attachments {
		where := ""
		if i < len(saved) {
			where = ", saved as " + saved[i]
		}
		page.line(fmt.Sprintf("[attachment %d: %q, %s, %s%s]", i+1, mailclient.Printable(a.Name), mailclient.Printable(a.Type), octets(a.Octets), where))
	}
	if err := page.show(); err != nil {
		return err
	}
	if body.Problem != nil {
		say(c, "warning: the message is damaged: %s", mailclient.Printable(body.Problem.Error()))
	}
	return nil
}

// maxBareText bounds a text without a header that is shown.
const maxBareText = 64 << 20

func (l *letter) bareText() (string, error) {
	text, err := io.ReadAll(io.LimitReader(l.content, maxBareText))
	return string(text), err
}
