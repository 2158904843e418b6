package commands

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"xm/internal/mailclient"
	"xm/internal/message"
)

func reply() *cli.Command {
	return &cli.Command{
		Name:      "reply",
		Usage:     "answer a message",
		ArgsUsage: "ID [MESSAGE...]",
		Description: "Answers whom the message is from, encrypted, as xm send does. $EDITOR begins with the\n" +
			"message as a quotation.",
		Flags: accountFlags(append(composeFlags(), senderFlag(),
			&cli.BoolFlag{Name: "all", Usage: "answer all whom the message names"})...),
		Action: runReply,
	}
}

func forward() *cli.Command {
	return &cli.Command{
		Name:      "forward",
		Usage:     "pass a message on",
		ArgsUsage: "ID USER [MESSAGE...]",
		Description: "Sends a message to USER, encrypted, with the whole message ID as an attachment,\n" +
			"decrypted. The recipient sees that it comes from you; the signature that it came with\n" +
			"does not go with it.",
		Flags:  accountFlags(append(composeFlags(), senderFlag())...),
		Action: runForward,
	}
}

func runReply(c *cli.Context) error {
	if err := wantArgs(c, 1, -1); err != nil {
		return err
	}
	return withLetter(c, c.Args().First(), func(a account, l *letter) error {
		if l.trust == trustForged {
			return nil // withLetter says so: who would get the answer?
		}
		answer := newComposer(c, a)
		answer.words = c.Args().Tail()
		h := l.header
		if !c.IsSet("s") {
			answer.draft.Subject = prefixed("Re: ", h.Subject)
		}
		answer.draft.InReplyTo = h.MessageID
		answer.draft.References = references(h)
		to := h.ReplyTo
		if len(to) == 0 {
			to = h.From
		}
		answer.addAddresses("to", answerable(c, to))
		if c.Bool("all") {
			answer.addOthers("to", answerable(c, h.To))
			answer.addOthers("cc", answerable(c, h.Cc))
		}
		if len(answer.to) == 0 && answer.problem == nil {
			return fmt.Errorf("%w: the message names nobody to answer", errNotFound)
		}
		quote, err := quotation(l)
		if err != nil {
			return err
		}
		answer.quote = quote
		return answer.send()
	})
}

// answerable leaves out those that the message gives no address of, or one that no mail
// can be sent to, and says so: the others are to get their answer.
func answerable(c *cli.Context, list []message.Address) []message.Address {
	var all []message.Address
	for _, a := range list {
		if a.Address == "" {
			say(c, "%q has no address, and is left out", mailclient.Printable(a.Name))
			continue
		}
		if _, err := readName(a.Address); err != nil {
			say(c, "%v; it is left out", err)
			continue
		}
		all = append(all, a)
	}
	return all
}

// maxReferences bounds a field that grows with each answer.
const maxReferences = 20

// references is RFC 5322, section 3.6.4.
func references(h message.Header) string {
	all := strings.Fields(h.References)
	if all == nil && h.InReplyTo != "" {
		all = []string{h.InReplyTo}
	}
	all = append(all, strings.Fields(h.MessageID)...)
	return strings.Join(all[max(0, len(all)-maxReferences):], " ")
}

func prefixed(prefix, subject string) string {
	if len(subject) >= len(prefix) && strings.EqualFold(subject[:len(prefix)], prefix) {
		return subject
	}
	return prefix + subject
}

func (l *composer) addAddresses(kind string, list []message.Address) {
	for _, a := range list {
		l.add(kind, a.Address)
	}
}

// addOthers leaves oneself out.
func (l *composer) addOthers(kind string, list []message.Address) {
	for _, a := range list {
		if !strings.EqualFold(a.Address, l.account.address) {
			l.add(kind, a.Address)
		}
	}
}

// text is what a person reads of a letter, without its attachments.
func (l *letter) text() (string, error) {
	if l.isBare {
		return l.bareText()
	}
	m, err := message.Read(l.content)
	if err != nil {
		return "", err
	}
	body, err := m.Body(nil)
	return body.Text, err
}

// quotation is what an answer may begin with.
func quotation(l *letter) (string, error) {
	text, err := l.text()
	if err != nil {
		return "", err
	}
	var quote strings.Builder
	fmt.Fprintf(&quote, "\n%s wrote:\n", mailclient.Printable(l.header.Sender()))
	for line := range strings.Lines(text) {
		quote.WriteString("> " + mailclient.Printable(strings.TrimRight(line, "\r\n")) + "\n")
	}
	return quote.String(), nil
}

func runForward(c *cli.Context) error {
	if err := wantArgs(c, 2, -1); err != nil {
		return err
	}
	return withLetter(c, c.Args().First(), func(a account, l *letter) error {
		f := newComposer(c, a)
		f.add("to", c.Args().Get(1))
		if f.words = c.Args().Slice()[2:]; len(f.words) == 0 {
			f.words = []string{""} // it may well say nothing
		}
		if !c.IsSet("s") {
			f.draft.Subject = prefixed("Fwd: ", l.header.Subject)
		}
		file := message.File{Name: "forwarded.eml", Type: "message/rfc822", Open: func() (io.ReadCloser, error) { return io.NopCloser(l.content), nil }}
		if l.isBare {
			file.Name, file.Type = "forwarded.txt", "text/plain"
		} else if c.Bool("plain") {
			file.Type = "application/octet-stream" // RFC 2046, section 5.2.1: the other can't be base64
		}
		f.draft.Files = append(f.draft.Files, file)
		return f.send()
	})
}
