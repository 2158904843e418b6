package commands

import (
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"xm/internal/keyring"
	"xm/internal/mailclient"
)

func inbox() *cli.Command {
	return &cli.Command{
		Name:  "inbox",
		Usage: "list your mail",
		Description: "Prints number, date, sender, subject, size, whether the message is encrypted, and what is\n" +
			"known of the sender's key: verified, known, changed (the directory has another) or\n" +
			"unknown. Sender and subject are what the message says, and not verified: see xm read.",
		Flags:  accountFlags(jsonFlag()),
		Action: runInbox,
	}
}

// listedMessage is a message in the output of xm inbox.
type listedMessage struct {
	Number    int    `json:"number"`
	Date      string `json:"date,omitempty"` // RFC 3339
	From      string `json:"from"`
	Address   string `json:"address"` // the one in From
	Subject   string `json:"subject"`
	Octets    int64  `json:"octets"`
	Encrypted bool   `json:"encrypted"`
	// Key is what is known of the key of whom the message says that it is from.
	Key keyring.State `json:"key,omitempty"`
}

// topLines is how much of a body is needed to tell whether it is encrypted.
const topLines = 50

func runInbox(c *cli.Context) error {
	if err := wantArgs(c, 0, 0); err != nil {
		return err
	}
	messages := []listedMessage{}
	err := withMaildrop(c, func(p *mailclient.POP3) error {
		list, err := p.List()
		if err != nil {
			return err
		}
		for _, l := range list {
			raw, err := p.Top(l.Number, topLines)
			if err != nil {
				return err
			}
			m, _ := mailclient.Read(raw) // an error says that the rest is missing, which it is
			messages = append(messages, describe(l, m))
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := addTrust(c, messages); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, messages)
	}
	return printInbox(c, messages)
}

func describe(l mailclient.Listing, m mailclient.Message) listedMessage {
	d := listedMessage{Number: l.Number, Octets: l.Octets, From: m.From, Address: m.Sender, Subject: m.Subject, Encrypted: m.Encrypted}
	if !m.Date.IsZero() {
		d.Date = m.Date.Format(time.RFC3339)
	}
	return d
}

// addTrust notes what is known of the senders' keys.
func addTrust(c *cli.Context, messages []listedMessage) error {
	ring, err := openKeys(c)
	if errors.Is(err, keyring.ErrNotFound) { // no keys at all
		ring, err = nil, nil
	}
	if err != nil {
		return err
	}
	if ring != nil {
		defer ring.Close()
	}
	for i, m := range messages {
		if !m.Encrypted {
			continue
		}
		if messages[i].Key, err = trustIn(ring, m.Address); err != nil {
			say(c, "%v", err) // a broken key must not hide the mail
		}
	}
	return nil
}

// trustIn tells what is known of the key of an address. ring is nil where there
// are no keys.
func trustIn(ring *keyring.Ring, address string) (keyring.State, error) {
	if ring == nil {
		return keyring.Unknown, nil
	}
	name, err := findSender(ring, "", mailclient.Message{Sender: address})
	if errors.Is(err, keyring.ErrNotFound) {
		return keyring.Unknown, nil
	}
	if err != nil {
		return keyring.Unknown, err
	}
	t, err := ring.Trust(name)
	if err != nil {
		return keyring.Unknown, err
	}
	return t.State, nil
}

func printInbox(c *cli.Context, messages []listedMessage) error {
	if len(messages) == 0 {
		say(c, "no mail")
	}
	w := tabwriter.NewWriter(c.App.Writer, 0, 8, 2, ' ', 0)
	for _, m := range messages {
		kind := "plain"
		if m.Encrypted {
			kind = "encrypted\t" + string(m.Key)
		}
		from := m.Address // a name beside it could be anything, another address for one
		if from == "" {
			from = m.From
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%d\t%s\n", m.Number, dash(m.Date), cell(from), cell(m.Subject), m.Octets, kind)
	}
	return w.Flush()
}

const maxCell = 40 // characters

// cell makes text from outside fit a table on a terminal.
func cell(s string) string {
	runes := []rune(mailclient.Printable(s))
	if len(runes) > maxCell {
		runes = append(runes[:maxCell-1], '…')
	}
	return dash(string(runes))
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
