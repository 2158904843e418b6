package commands

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
	"xm/internal/mailclient"
	"xm/internal/message"
)

func send() *cli.Command {
	return &cli.Command{
		Name:      "send",
		Usage:     "encrypt a message for USER, sign it and mail it",
		ArgsUsage: "USER [MESSAGE...]",
		Description: "Encrypts for the owner of USER.pub and signs with key.priv, subject and attachments\n" +
			"and all; names and the time can be seen on the way. Without MESSAGE, $EDITOR is opened\n" +
			"on a terminal, and standard input is sent where there is none. A USER without a domain\n" +
			"gets yours. A key that is not at hand is fetched, from a server whose key is pinned: your\n" +
			"own, say. If one recipient has no key, nothing is sent to anybody. What could not be\n" +
			"sent is kept: the error says where, and xm send --draft FILE sends it.\n\n" +
			"   xm send bob --cc carol -s Plans -a plan.pdf 'See the attachment.'",
		Flags:  accountFlags(composeFlags()...),
		Action: runSend,
	}
}

// composeFlags are those of all commands that send a message.
func composeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "s", Usage: "the `SUBJECT`, which is encrypted too"},
		&cli.StringSliceFlag{Name: "a", Usage: "attach `FILE`; may be repeated"},
		&cli.StringSliceFlag{Name: "to", Usage: "send it to `USER`, too; may be repeated"},
		&cli.StringSliceFlag{Name: "cc", Usage: "send a copy to `USER`; may be repeated"},
		&cli.StringSliceFlag{Name: "bcc", Usage: "send a copy to `USER` that the others do not learn of; may be repeated"},
		inputFlag("send the text in `FILE`"),
		&cli.StringFlag{Name: "draft", Usage: "send the message that was kept in `FILE`, and remove it"},
		&cli.BoolFlag{Name: "copy", Usage: "mail a copy to yourself, encrypted for your own key"},
		&cli.BoolFlag{Name: "plain", Usage: "do NOT encrypt: everybody on the way can read it"},
		&cli.BoolFlag{Name: "n", Usage: "send nothing; show what would be sent"},
		offlineFlag(), passphraseFlag(),
	}
}

func runSend(c *cli.Context) error {
	if c.IsSet("draft") {
		return runSendDraft(c)
	}
	if err := wantArgs(c, 1, -1); err != nil {
		return err
	}
	a, err := loadAccount(c)
	if err != nil {
		return err
	}
	l := newComposer(c, a)
	l.add("to", c.Args().First())
	l.words = c.Args().Tail()
	return l.send()
}

// composer makes a message of what the command line says.
type composer struct {
	c       *cli.Context
	account account
	draft   message.Draft
	to      []recipient
	words   []string // the text
	quote   string   // what an editor begins with
	problem error    // with a recipient
}

func newComposer(c *cli.Context, a account) *composer {
	return &composer{c: c, account: a, draft: message.Draft{From: message.Address{Address: a.address},
		Subject: c.String("s"), Date: time.Now(), MessageID: message.NewID(a.address)}}
}

// add adds a recipient: kind is "to", "cc" or "bcc".
func (l *composer) add(kind, user string) {
	name, err := readName(user)
	if err != nil {
		l.problem = errors.Join(l.problem, err)
		return
	}
	address := message.Address{Address: l.account.addressOf(name.String())}
	for _, r := range l.to {
		if strings.EqualFold(r.address, address.Address) {
			return // once is enough
		}
	}
	switch kind {
	case "to":
		l.draft.To = append(l.draft.To, address)
	case "cc":
		l.draft.Cc = append(l.draft.Cc, address)
	}
	l.to = append(l.to, recipient{name: name.String(), address: address.Address, blind: kind == "bcc"})
}

// send makes the message and sends it. Whatever can be wrong is found before the
// text is asked for.
func (l *composer) send() error {
	c := l.c
	for _, kind := range []string{"to", "cc", "bcc"} {
		for _, user := range c.StringSlice(kind) {
			l.add(kind, user)
		}
	}
	if c.Bool("copy") {
		l.add("bcc", l.account.User)
	}
	if l.problem != nil {
		return l.problem
	}
	o := &outgoing{c: c, account: l.account, plain: c.Bool("plain"), to: l.to}
	if err := errors.Join(unsent(o.findKeys()), l.attach()); err != nil {
		return err
	}
	spool, cleanUp := newSpool()
	defer cleanUp()
	text, err := l.text(spool)
	if err != nil {
		return err
	}
	if l.draft.Text, err = l.textOrFile(text); err != nil {
		return err
	}
	if o.content, err = newHidden(spool); err != nil {
		return err
	}
	form := message.Inside
	if o.plain {
		form = message.Transport
	}
	if err := writeBuffered(o.content, func(w io.Writer) error { return l.draft.Write(w, form) }); err != nil {
		return err
	}
	if c.Bool("n") {
		return o.preview(l.draft.Subject)
	}
	return o.deliver()
}

// attach opens each file once, so that what can't be read is known early; what a pipe
// has can be read once.
func (l *composer) attach() error {
	for _, path := range l.c.StringSlice("a") {
		open := func() (io.ReadCloser, error) {
			f, err := await(l.c.Context, func() (*os.File, error) { return os.Open(path) })
			if err != nil {
				return nil, err
			}
			if st, err := f.Stat(); err != nil || st.IsDir() {
				f.Close()
				return nil, errors.Join(err, fmt.Errorf("%s is a directory", path))
			}
			return struct {
				io.Reader
				io.Closer
			}{inputOf(l.c.Context, f, nil).Reader, f}, nil
		}
		file := message.File{Name: filepath.Base(path), Open: open}
		if st, err := os.Stat(path); err != nil || st.IsDir() || st.Mode().IsRegular() {
			f, err := open()
			if err == nil {
				file.UTF8, err = isUTF8(f)
				f.Close()
			}
			if err != nil {
				return fmt.Errorf("attach: %w", err)
			}
		}
		l.draft.Files = append(l.draft.Files, file)
	}
	return nil
}

// textOrFile returns the text. What is no text is attached instead, octet for
// octet.
func (l *composer) textOrFile(text *hidden) (io.Reader, error) {
	valid, err := isUTF8(text)
	if err != nil {
		return nil, err
	}
	if _, err := text.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	if valid {
		return text, nil
	}
	l.draft.Files = append([]message.File{{Name: "message", Type: "application/octet-stream",
		Open: func() (io.ReadCloser, error) { return io.NopCloser(text), nil }}}, l.draft.Files...)
	return strings.NewReader(""), nil
}

// preview shows what would be sent.
func (o *outgoing) preview(subject string) error {
	rows := [][]string{}
	for _, r := range o.to {
		how, size := "NOT encrypted", o.content.octets
		if !o.plain {
			how = "for the key " + r.keyName + ", " + hybrid.Fingerprint(r.key)
			size = message.Sealed{From: o.account.address, To: r.address}.Octets(o.sealer(r.key).PayloadSize(size))
		}
		rows = append(rows, []string{r.address, octets(size), how})
	}
	say(o.c, "nothing is sent; subject %q would go from %s to:", mailclient.Printable(subject), o.account.address)
	return printTable(o.c.App.Writer, 1000, rows)
}
