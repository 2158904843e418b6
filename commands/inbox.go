package commands

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"xm/internal/mailclient"
)

func inbox() *cli.Command {
	return &cli.Command{
		Name:  "inbox",
		Usage: "list your mail",
		Description: "Prints number, date, sender, subject, size, and whether the message is encrypted.\n" +
			"Sender and subject are what the message says, and not verified: see xm read.",
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

func printInbox(c *cli.Context, messages []listedMessage) error {
	if len(messages) == 0 {
		say(c, "no mail")
	}
	w := tabwriter.NewWriter(c.App.Writer, 0, 8, 2, ' ', 0)
	for _, m := range messages {
		kind := "plain"
		if m.Encrypted {
			kind = "encrypted"
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
