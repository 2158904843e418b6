package commands

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
	"xm/internal/keyring"
	"xm/internal/mailclient"
	"xm/internal/message"
)

func inbox() *cli.Command {
	return &cli.Command{
		Name:  "inbox",
		Usage: "list your mail",
		Description: "Prints number, id, date, sender, subject, size, and how far to trust the message:\n\n" +
			"   verified  signed by the sender, whose key's fingerprint you compared\n" +
			"   known     signed by the sender, whose key you have\n" +
			"   changed   signed by the sender, whose server now has another key\n" +
			"   own       signed by yourself\n" +
			"   unknown   encrypted; you have no key of the sender\n" +
			"   forged    signed by somebody else than it says: see xm read\n" +
			"   bad       changed on its way, or not for you, or no such signature\n" +
			"   plain     not encrypted: sender and subject can be anything\n\n" +
			"What is inside a message is shown where it is small and key.priv has no passphrase, or\n" +
			"--passphrase-file gives it. An id stays the same as long as the message is there; its\n" +
			"beginning will do.",
		Flags:  accountFlags(jsonFlag(), passphraseFlag()),
		Action: runInbox,
	}
}

// listedMessage is a message in the output of xm inbox.
type listedMessage struct {
	Number    int    `json:"number"`
	ID        string `json:"id,omitempty"`
	Date      string `json:"date,omitempty"` // RFC 3339
	From      string `json:"from"`
	Address   string `json:"address"` // the one in From
	Subject   string `json:"subject"`
	Octets    int64  `json:"octets"`
	Encrypted bool   `json:"encrypted"`
	Trust     trust  `json:"trust"`
	Signer    string `json:"signer,omitempty"` // whose key it is signed with
	Opened    bool   `json:"opened"`           // date, from and subject are those inside
}

const (
	// topLines is how much of a body is needed to tell who signed it.
	topLines = 60
	// openedOctets bounds what is fetched to be listed.
	openedOctets = 256 << 10
)

func runInbox(c *cli.Context) error {
	if err := wantArgs(c, 0, 0); err != nil {
		return err
	}
	a, err := loadAccount(c)
	if err != nil {
		return err
	}
	messages := []listedMessage{}
	err = withMaildrop(c, a, func(p *mailclient.POP3) error {
		list, err := p.List()
		if err != nil {
			return err
		}
		messages, err = describeAll(c, a, p, list)
		return err
	})
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, messages)
	}
	return printInbox(c, messages)
}

// describeAll looks at messages, each of them with files of its own.
func describeAll(c *cli.Context, a account, p *mailclient.POP3, list []mailclient.Listing) ([]listedMessage, error) {
	ask := askPassphrase(c)
	if !c.IsSet("passphrase-file") {
		ask = nil
	}
	messages := []listedMessage{}
	for _, l := range list {
		r, err := newLetterReader(c, a, ask)
		if err != nil {
			return nil, err
		}
		m, err := describe(r, p, l)
		r.close()
		if err != nil {
			return nil, err
		}
		messages = append(messages, m)
	}
	return messages, nil
}

// describe looks at one message.
func describe(r *letterReader, p *mailclient.POP3, listed mailclient.Listing) (listedMessage, error) {
	text, err := p.Top(listed.Number, topLines)
	var top io.Reader = bytes.NewReader(text)
	if notGiven(err) && listed.Octets <= openedOctets { // RFC 1939, section 7: TOP is optional
		if raw, retrieveErr := r.fetch(p, listed); !notGiven(retrieveErr) {
			top, err = raw, retrieveErr
		}
	}
	if notGiven(err) {
		say(r.c, "message %d: %v", listed.Number, err)
		return listedOf(listed, &letter{trust: trustBad}), nil
	}
	if err != nil {
		return listedMessage{}, err
	}
	l, err := r.whoSigned(top)
	if l == nil {
		l = &letter{trust: trustBad} // it has no end of a header
	} else if err == nil && l.payload && listed.Octets <= openedOctets {
		raw, err := r.fetch(p, listed)
		if notGiven(err) { // what is known of it is what there is to say
			return listedOf(listed, l), nil
		}
		if err != nil {
			return listedMessage{}, err
		}
		opened, err := r.open(raw)
		switch {
		case err == nil, errors.Is(err, hybrid.ErrNotAuthentic):
			l = opened
		case errors.Is(err, hybrid.ErrPassphraseNeeded), errors.Is(err, keyring.ErrNotFound), errors.Is(err, message.ErrHeaderTooLong):
			// It stays closed.
		default:
			return listedMessage{}, err
		}
	}
	return listedOf(listed, l), nil
}

func listedOf(listed mailclient.Listing, l *letter) listedMessage {
	d := listedMessage{Number: listed.Number, ID: messageID(listed.UID), Octets: listed.Octets, Address: l.header.Sender(),
		Subject: l.header.Subject, Encrypted: l.payload, Trust: l.trust, Opened: l.payload && l.content != nil && !l.isBare && l.trust != trustBad}
	if len(l.header.From) > 0 {
		d.From = l.header.From[0].String()
	}
	if l.signer != "" && l.trust != trustBad {
		d.Signer = l.signer
	}
	if !l.header.Date.IsZero() {
		d.Date = l.header.Date.Format(time.RFC3339)
	}
	return d
}

func printInbox(c *cli.Context, messages []listedMessage) error {
	if len(messages) == 0 {
		say(c, "no mail")
	}
	rows := [][]string{}
	for _, m := range messages {
		from := m.Address // a name beside it could be anything, another address for one
		if from == "" {
			from = m.From
		}
		rows = append(rows, []string{fmt.Sprint(m.Number), m.ID[:min(shortID, len(m.ID))], shortDate(m.Date), from, m.Subject, octets(m.Octets), string(m.Trust)})
	}
	return printTable(c.App.Writer, screenWidth(c), rows, 3, 4)
}

// shortDate leaves day and minute of a date as RFC 3339 has it.
func shortDate(s string) string {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04")
}

// octets writes a size as a person reads it.
func octets(n int64) string {
	value := float64(n)
	for _, unit := range []string{"B", "K", "M"} {
		if value < 1000 {
			if unit == "B" {
				return fmt.Sprintf("%dB", n)
			}
			return fmt.Sprintf("%.1f%s", value, unit)
		}
		value /= 1024
	}
	return fmt.Sprintf("%.1fG", value)
}
