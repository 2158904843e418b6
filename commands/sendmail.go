package commands

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
	"xm/internal/keyring"
	"xm/internal/message"
)

func sendmail() *cli.Command {
	return &cli.Command{
		Name:      "sendmail",
		Usage:     "take a message on standard input, as sendmail does",
		ArgsUsage: "[-t] [-i] [-oi] [-f FROM] [RECIPIENT...]",
		Description: "For cron, git send-email, mutt and other programs that hand mail to sendmail; a link to\n" +
			"xm that is named sendmail is this command, too. -t takes the recipients from To, Cc and\n" +
			"Bcc, or from Resent-To and so on where a message is sent again; a line with a dot alone\n" +
			"ends the message unless -i or -oi is given. Mail goes out in the name of your account: -f\n" +
			"and other options of sendmail are accepted and mean nothing.\n\n" +
			"   --encrypt=auto     encrypt if every recipient has a key (the default)\n" +
			"   --encrypt=always   send nothing if one has none\n" +
			"   --encrypt=never    send it as it is\n" +
			"   --account NAME     of those that xm login made\n\n" +
			"   git send-email --sendmail-cmd='xm sendmail -i' ...",
		SkipFlagParsing: true, // sendmail's are not like ours
		Action:          runSendmail,
	}
}

// sendmailOptions are those of sendmail that mean something here.
type sendmailOptions struct {
	fromHeader, ignoreDots bool
	encrypt, account       string
	recipients             []string
}

// sendmailValues are the options of sendmail whose value may be the next word.
const sendmailValues = "ABCDFLMNOQRVXbefhopr"

func parseSendmail(args []string) (o sendmailOptions, err error) {
	o.encrypt = "auto"
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		name, value, _ := strings.Cut(arg, "=")
		switch {
		case arg == "--":
			o.recipients = append(o.recipients, args...)
			return o, nil
		case name == "--encrypt":
			o.encrypt = value
		case name == "--account" && value != "":
			o.account = value
		case name == "--account" && len(args) > 0:
			o.account, args = args[0], args[1:]
		case strings.HasPrefix(arg, "--"):
			return o, usageErrorf("xm sendmail has no option %s", name)
		case len(arg) < 2 || arg[0] != '-':
			o.recipients = append(o.recipients, arg)
		default:
			if args, err = o.letters(arg[1:], args); err != nil {
				return o, err
			}
		}
	}
	if o.encrypt != "auto" && o.encrypt != "always" && o.encrypt != "never" {
		return o, usageErrorf("--encrypt is auto, always or never")
	}
	return o, nil
}

// letters reads a word of options, as getopt does: the value of one is the rest of
// the word, or else the next. rest is what is left of the words.
func (o *sendmailOptions) letters(word string, next []string) (rest []string, err error) {
	for i, letter := range word {
		switch value := word[i+1:]; {
		case letter == 't':
			o.fromHeader = true
		case letter == 'i':
			o.ignoreDots = true
		case letter == 'd' || letter == 'q': // a value, if there is one, is in the word
			return next, nil
		case strings.ContainsRune(sendmailValues, letter):
			if value == "" && len(next) > 0 {
				value, next = next[0], next[1:]
			}
			if letter == 'b' && value != "m" {
				return nil, usageErrorf("xm sendmail takes a message, and has no mode -b%s", value)
			}
			o.ignoreDots = o.ignoreDots || letter == 'o' && value == "i"
			return next, nil
		}
	}
	return next, nil
}

func runSendmail(c *cli.Context) error {
	if slices.Contains(c.Args().Slice(), "--help") {
		return cli.ShowSubcommandHelp(c)
	}
	options, err := parseSendmail(c.Args().Slice())
	if err != nil {
		return err
	}
	a, err := loadNamedAccount(c, options.account)
	if err != nil {
		return err
	}
	spool, cleanUp := newSpool()
	defer cleanUp()
	m, err := readSubmitted(c, options, spool)
	if err != nil {
		return err
	}
	l := newComposer(c, a)
	for _, user := range options.recipients {
		l.addAddresses("bcc", bareNames(wordOf(user)))
	}
	if options.fromHeader {
		l.addAddresses("bcc", bareNames(m.to))
	}
	switch {
	case l.problem != nil:
		return l.problem
	case len(l.to) == 0:
		return usageErrorf("the message has no recipient: name one, or use -t")
	}
	o := &outgoing{c: c, account: a, to: l.to, plain: options.encrypt == "never"}
	if err := o.chooseKeys(options.encrypt); err != nil {
		return err
	}
	if o.plain { // one message for all
		for i := range o.to {
			o.to[i].blind = false
		}
	}
	if o.content, err = newHidden(spool); err != nil {
		return err
	}
	if !o.plain {
		m.setFrom(a)
	}
	if err := writeBuffered(o.content, func(w io.Writer) error { return m.write(w, l.draft) }); err != nil {
		return err
	}
	o.eight = m.eight
	return o.deliver()
}

// wordOf reads a recipient on the command line, which may be all that To may hold: "Bob
// <bob@example.org>".
func wordOf(user string) []message.Address {
	if strings.ContainsAny(user, "\r\n") { // another field
		return []message.Address{{Address: user}}
	}
	_, to := message.ParseFields([]string{"To: " + user})
	return to
}

// bareNames takes names without a domain for addresses, as sendmail does: "To:
// root", of cron, is somebody here.
func bareNames(list []message.Address) (all []message.Address) {
	for _, a := range list {
		if a.Address != "" {
			all = append(all, a)
			continue
		}
		for name := range strings.SplitSeq(a.Name, ",") {
			all = append(all, message.Address{Address: strings.TrimSpace(name)})
		}
	}
	return all
}

// chooseKeys finds the keys, or does without, if it may.
func (o *outgoing) chooseKeys(encrypt string) error {
	err := o.findKeys()
	if err == nil || encrypt == "always" || !errors.Is(err, keyring.ErrNotFound) {
		return unsent(err)
	}
	o.plain = true
	say(o.c, "NOT encrypted: %v", err)
	return nil
}

// submitted is a message that another program made.
type submitted struct {
	header message.Header
	fields []string          // as they came, without Bcc
	to     []message.Address // whom the header names, Bcc included
	body   *hidden
	eight  bool
}

// readSubmitted reads a message, with line ends of any kind.
func readSubmitted(c *cli.Context, options sendmailOptions, spool hybrid.Spool) (*submitted, error) {
	in, err := openInput(c, stdio)
	if err != nil {
		return nil, err
	}
	defer in.close()
	all, err := newHidden(spool)
	if err != nil {
		return nil, err
	}
	m := &submitted{}
	from := bufio.NewReaderSize(in.Reader, 64<<10)
	if err := skipFromLine(from); err != nil {
		return nil, err
	}
	if err := writeBuffered(all, func(w io.Writer) error { return m.copyLines(w, from, !options.ignoreDots) }); err != nil {
		return nil, err
	}
	fields, body, err := message.SplitFields(all)
	if err != nil {
		return nil, err
	}
	m.header, m.to = message.ParseFields(fields)
	m.fields = fields
	m.body, err = hide(body, spool)
	return m, err
}

// skipFromLine leaves out what mailboxes and git format-patch have before a
// message: a line "From ... DATE", which is no field.
func skipFromLine(in *bufio.Reader) error {
	begin, err := in.Peek(len("From x"))
	if err != nil || !bytes.HasPrefix(begin, []byte("From ")) || begin[5] == ':' || begin[5] == ' ' {
		return nil // what is wrong with the input shows when it is read
	}
	for err = bufio.ErrBufferFull; err == bufio.ErrBufferFull; {
		_, err = in.ReadSlice('\n')
	}
	if err == io.EOF {
		return nil
	}
	return err
}

// copyLines makes CRLF of all line ends. A dot in a line of its own may end the
// message.
func (m *submitted) copyLines(w io.Writer, in *bufio.Reader, dotEnds bool) error {
	for inLine := false; ; {
		part, err := readPiece(in)
		if err != nil && err != bufio.ErrBufferFull && err != io.EOF {
			return err
		}
		text := bytes.TrimRight(part, "\r\n")
		if dotEnds && !inLine && string(text) == "." {
			_, err := io.Copy(io.Discard, in)
			return err
		}
		inLine = err == bufio.ErrBufferFull
		if !inLine && len(part) > 0 {
			text = append(text[:len(text):len(text)], "\r\n"...)
		} else {
			text = part
		}
		m.eight = m.eight || bytes.ContainsFunc(text, isEightBit)
		if _, err := w.Write(text); err != nil {
			return err
		}
		if err == io.EOF {
			return nil
		}
	}
}

// setFrom makes the message say whose signature it will have. Cron, for one, says
// "root (Cron Daemon)", which becomes the name.
func (m *submitted) setFrom(a account) {
	if strings.EqualFold(m.header.Sender(), a.address) {
		return
	}
	from := message.Address{Address: a.address}
	if m.header.Get("From") != "" && len(m.header.From) > 0 {
		from.Name = m.header.From[0].String()
	}
	m.fields = slices.DeleteFunc(m.fields, func(f string) bool { return isField(f, "From") })
	m.fields = append(m.fields, "From: "+from.Encode()+"\r\n")
}

func isField(f, name string) bool {
	have, _, _ := strings.Cut(f, ":")
	return strings.EqualFold(strings.TrimSpace(have), name)
}

// write writes the message, with what RFC 5322, section 3.6, wants and it lacks.
func (m *submitted) write(w io.Writer, missing message.Draft) error {
	var head strings.Builder
	head.WriteString("MIME-Version: 1.0\r\n")
	for _, f := range m.fields {
		if !isField(f, "Bcc") && !isField(f, "Resent-Bcc") && !isField(f, "MIME-Version") {
			head.WriteString(f)
		}
	}
	for _, f := range [][2]string{{"From", missing.From.Address}, {"Date", missing.Date.Format(time.RFC1123Z)}, {"Message-ID", missing.MessageID}} {
		if !slices.ContainsFunc(m.fields, func(have string) bool { return isField(have, f[0]) }) {
			fmt.Fprintf(&head, "%s: %s\r\n", f[0], f[1])
		}
	}
	if _, err := io.WriteString(w, head.String()+"\r\n"); err != nil {
		return err
	}
	_, err := io.Copy(w, m.body)
	return err
}
