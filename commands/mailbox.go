package commands

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	netmail "net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"xm/internal/config"
	"xm/internal/maildir"
	"xm/internal/mbox"
	"xm/internal/message"
	"xm/internal/safefile"
	"xm/userdb"
)

func mailbox() *cli.Command {
	const forms = "A mailbox is an mbox file (mboxrd: lines that begin with >*From have one > more), or a Maildir."
	return &cli.Command{
		Name:  "mailbox",
		Usage: "bring mail here from another server, or take it away",
		Subcommands: []*cli.Command{{
			Name:      "import",
			Usage:     "add the messages of a mailbox to the mail of USER",
			ArgsUsage: "USER MBOX|MAILDIR",
			Description: forms + "\n" +
				"- is an mbox on standard input. The servers may run meanwhile. Quotas hold. A mailbox\n" +
				"that is imported twice is there twice.",
			Flags:  []cli.Flag{quietFlag()},
			Action: withUser(2, 2, false, runImport),
		}, {
			Name:      "export",
			Usage:     "copy the mail of USER into a new mailbox",
			ArgsUsage: "USER MBOX|MAILDIR",
			Description: forms + "\n" +
				"- is an mbox on standard output; a name that ends with / is a Maildir, any other an mbox.\n" +
				"Nothing is overwritten. The maildrop is locked meanwhile, as by a POP3 session.",
			Flags:  []cli.Flag{quietFlag()},
			Action: withUser(2, 2, false, runExport),
		}},
	}
}

func runImport(o operator, name userdb.Name) error {
	r, err := o.find(name)
	if err != nil {
		return err
	}
	from := o.c.Args().Get(1)
	read := importMbox
	if st, err := os.Stat(from); err == nil && st.IsDir() {
		read = importMaildir
	}
	return o.withStore(func(store *maildir.Store) error {
		n, err := read(o.c, from, func(message io.Reader) error { return deliver(store, r.Name.String(), message) })
		if err != nil {
			return fmt.Errorf("%s: %w; the messages before it, %d of them, are imported", from, interrupted(o.c.Context, err), n)
		}
		say(o.c, "imported %d messages", n)
		return nil
	})
}

// readPiece reads a line, or a piece of a long one (bufio.ErrBufferFull) that does not
// end within a line end. It is valid until the next read.
func readPiece(in *bufio.Reader) ([]byte, error) {
	part, err := in.ReadSlice('\n')
	if err == bufio.ErrBufferFull && part[len(part)-1] == '\r' { // an LF may follow
		part = part[:len(part)-1]
		if err := in.UnreadByte(); err != nil {
			return nil, err
		}
	}
	return part, err
}

// deliver stores a message with LF or CRLF line ends.
func deliver(store *maildir.Store, user string, message io.Reader) error {
	d, err := store.Begin([]string{user})
	if err != nil {
		return err
	}
	defer d.Abort()
	in := bufio.NewReader(message)
	for {
		part, err := readPiece(in)
		end := ""
		if line, ok := bytes.CutSuffix(part, []byte("\n")); ok {
			part, end = bytes.TrimSuffix(line, []byte("\r")), "\r\n"
		}
		if _, err := d.Write(part); err != nil {
			return err
		}
		if _, err := io.WriteString(d, end); err != nil {
			return err
		}
		if err == io.EOF {
			return d.Commit()
		}
		if err != nil && err != bufio.ErrBufferFull {
			return err
		}
	}
}

func importMbox(c *cli.Context, from string, add func(io.Reader) error) (n int, err error) {
	in, err := openInput(c, from)
	if err != nil {
		return 0, err
	}
	in = withProgress(c, in, 1)
	defer in.close()
	for r := mbox.NewReader(in); ; n++ {
		if err := r.Next(); err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
		if err := add(r); err != nil {
			return n, err
		}
	}
}

// importMaildir takes the messages in the order of their names, which begin with
// the time of their delivery.
func importMaildir(c *cli.Context, from string, add func(io.Reader) error) (n int, err error) {
	var files []string
	var total int64
	for _, sub := range []string{"new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(from, sub))
		if err != nil {
			return 0, err
		}
		for _, e := range entries {
			st, err := e.Info()
			if err != nil {
				return 0, err
			}
			if st.Mode().IsRegular() && !strings.HasPrefix(e.Name(), ".") {
				files = append(files, filepath.Join(from, sub, e.Name()))
				total += st.Size()
			}
		}
	}
	slices.SortFunc(files, func(a, b string) int {
		a, b = filepath.Base(a), filepath.Base(b)
		return cmp.Or(cmp.Compare(leadingDigits(a), leadingDigits(b)), strings.Compare(a, b))
	})
	p := newProgress(c, total)
	defer p.finish()
	for _, name := range files {
		if err := c.Context.Err(); err != nil {
			return n, err
		}
		f, err := os.Open(name)
		if err != nil {
			return n, err
		}
		err = add(countedReader{f, p})
		f.Close()
		if err != nil {
			return n, fmt.Errorf("%s: %w", name, err)
		}
		n++
	}
	return n, nil
}

// leadingDigits is how many a name begins with: times of before September 2001 have nine.
func leadingDigits(name string) int {
	return len(name) - len(strings.TrimLeft(name, "0123456789"))
}

func runExport(o operator, name userdb.Name) error {
	r, err := o.find(name)
	if err != nil {
		return err
	}
	dirs, err := o.Maildrops(r.Name)
	if err != nil {
		return err
	}
	to := o.c.Args().Get(1)
	write := exportMbox
	if strings.HasSuffix(to, "/") {
		write = exportMaildir
	}
	return o.withStore(func(store *maildir.Store) error {
		drop, err := store.Open(dirs)
		if err != nil {
			return err
		}
		defer drop.Close()
		n, err := write(o.c, o.cfg, drop, to)
		if err == nil {
			say(o.c, "exported %d messages", n)
		}
		return err
	})
}

func exportMbox(c *cli.Context, _ config.Config, drop *maildir.Maildrop, to string) (n int, err error) {
	if st, err := os.Stat(to); err == nil && st.Mode().IsRegular() { // CommitNew would say so at the end
		return 0, fmt.Errorf("%s: %w", to, fs.ErrExist)
	}
	out, err := openOutput(c, to, 0o600, (*safefile.File).CommitNew)
	if err != nil {
		return 0, err
	}
	defer out.abort()
	n, err = eachMessage(c, drop, func(message io.Reader) error {
		in := bufio.NewReaderSize(message, headSize)
		sender, at := envelope(in)
		return mbox.Write(out, sender, at, in)
	})
	if err != nil {
		return n, err
	}
	return n, out.commit()
}

// exportMaildir makes a Maildir as those of the store: durable, and with the
// sizes in the names.
func exportMaildir(c *cli.Context, cfg config.Config, drop *maildir.Maildrop, to string) (n int, err error) {
	to = filepath.Clean(to)
	if _, err := os.Lstat(to); err == nil {
		return 0, fmt.Errorf("%s: %w", to, fs.ErrExist)
	}
	store, err := maildir.New(filepath.Dir(to), cfg.Hostname)
	if err != nil {
		return 0, err
	}
	store.NoJournal = true // the directory is not a store's
	defer store.Close()
	n, err = eachMessage(c, drop, func(message io.Reader) error { return deliver(store, filepath.Base(to), message) })
	if _, missing := os.Lstat(to); err != nil && missing == nil {
		err = fmt.Errorf("%w\n%s has a part of the mail: remove it before you try again", err, to)
	}
	return n, err
}

// eachMessage calls f for each message that has not been deleted meanwhile.
func eachMessage(c *cli.Context, drop *maildir.Maildrop, f func(io.Reader) error) (n int, err error) {
	var total int64
	for i := range drop.Len() {
		total += drop.Size(i)
	}
	p := newProgress(c, total)
	defer p.finish()
	for i := range drop.Len() {
		if c.Context.Err() != nil {
			return n, errInterrupted
		}
		message, err := drop.OpenWire(i)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return n, err
		}
		err = f(countedReader{message, p})
		message.Close()
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// headSize is how much of a message is looked at for sender and time.
const headSize = 64 << 10

// envelope finds the sender and the time of the delivery in the header, for a
// From line: in Return-Path and the newest Received.
func envelope(in *bufio.Reader) (sender string, at time.Time) {
	sender = "MAILER-DAEMON" // nobody, in this place
	head, _ := in.Peek(headSize)
	m, _ := message.Read(bytes.NewReader(head)) // of a broken header, what can be read
	if path := strings.Trim(m.Header.Get("Return-Path"), "<> \t"); path != "" && !strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r == 127 }) {
		sender = path
	}
	received := m.Header.Get("Received") // RFC 5321, section 4.4: the date is behind the last ";"
	if at, err := netmail.ParseDate(strings.TrimSpace(received[strings.LastIndexByte(received, ';')+1:])); err == nil {
		return sender, at
	}
	if !m.Header.Date.IsZero() {
		return sender, m.Header.Date
	}
	return sender, time.Unix(0, 0)
}
