package commands

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"xm/hybrid"
	"xm/internal/disk"
	"xm/internal/keyring"
	"xm/internal/mailclient"
	"xm/internal/message"
	"xm/internal/safefile"
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
			&cli.IntFlag{Name: "keep", Usage: "delete on the server what was downloaded `DAYS` ago or before; 0 is now", Value: -1},
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
	return withMaildrop(c, a, func(p *mailclient.POP3) error {
		list, err := p.List()
		if err != nil {
			return err
		}
		if err := fetchAll(c, a, p, list, local); err != nil {
			return err
		}
		return deleteFetched(c, p, list, local)
	})
}

func fetchAll(c *cli.Context, a account, p *mailclient.POP3, list []mailclient.Listing, local *localMail) error {
	var wanted []mailclient.Listing
	for _, l := range list {
		if l.UID == "" {
			return errNoIDs
		}
		if _, done := local.fetched[messageID(l.UID)]; !done {
			wanted = append(wanted, l)
		}
	}
	status, ok := c.App.ErrWriter.(*os.File)
	watched := ok && term.IsTerminal(int(status.Fd()))
	for i, l := range wanted {
		if watched {
			fmt.Fprintf(status, "\rfetching %d of %d (%s)\x1b[K", i+1, len(wanted), octets(l.Octets))
		}
		if err := fetchOne(c, a, p, l, local); err != nil {
			return err
		}
	}
	if watched && len(wanted) > 0 {
		fmt.Fprint(status, "\r\x1b[K")
	}
	say(c, "%d new in %s", len(wanted), local.root.Name())
	return nil
}

func fetchOne(c *cli.Context, a account, p *mailclient.POP3, listed mailclient.Listing, local *localMail) error {
	r, err := newLetterReader(c, a, askPassphrase(c))
	if err != nil {
		return err
	}
	defer r.close()
	raw, err := r.fetch(p, listed)
	if err != nil {
		return err
	}
	write := func(w io.Writer) error {
		out := &message.LFWriter{W: w}
		if _, err := raw.Seek(0, io.SeekStart); err != nil {
			return err
		}
		_, err := io.Copy(out, raw)
		return errors.Join(err, out.Close())
	}
	if c.Bool("decrypt") {
		l, err := r.open(raw)
		switch {
		case errors.Is(err, hybrid.ErrNotAuthentic), errors.Is(err, keyring.ErrNotFound):
			say(c, "message %d is stored as it came: %s", listed.Number, mailclient.Printable(err.Error()))
		case err != nil:
			return err
		case l.payload && !l.isBare:
			write = func(w io.Writer) error {
				return message.Store(w, l.content, [][2]string{{"Xm-Signature", fmt.Sprintf("%s; key=%s", l.trust, l.signer)}})
			}
		}
	}
	return local.add(messageID(listed.UID), write)
}

// deleteFetched marks what was downloaded long enough ago.
func deleteFetched(c *cli.Context, p *mailclient.POP3, list []mailclient.Listing, local *localMail) error {
	if !c.IsSet("keep") {
		return nil
	}
	before := time.Now().Add(-time.Duration(c.Int("keep")) * 24 * time.Hour)
	for _, l := range list {
		if at, done := local.fetched[messageID(l.UID)]; done && !at.After(before) {
			if err := p.Delete(l.Number); err != nil {
				return err
			}
		}
	}
	return nil
}

// localMail is a Maildir that mail is downloaded into. Its file .xm-fetched has
// a line "ID TIME", in Unix seconds, for each message that was, and is locked
// for as long as one xm writes. A message's file is "TIME.ID.xm", so that one
// whose line a crash has prevented is found, too.
type localMail struct {
	root    *os.Root
	state   *os.File
	fetched map[string]time.Time
}

const fetchedFile = ".xm-fetched"

func openLocal(dir string) (*localMail, error) {
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err := safefile.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, err
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	l := &localMail{root: root, fetched: map[string]time.Time{}}
	if err := l.load(); err != nil {
		l.close()
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return l, nil
}

func (l *localMail) close() {
	if l.state != nil {
		l.state.Close()
	}
	l.root.Close()
}

func (l *localMail) load() (err error) {
	if l.state, err = l.root.OpenFile(fetchedFile, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		return err
	}
	if err := syscall.Flock(int(l.state.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return errors.New("another xm fetch is at work there")
	}
	lines := bufio.NewScanner(l.state)
	for lines.Scan() {
		id, at, _ := strings.Cut(lines.Text(), " ")
		if seconds, err := strconv.ParseInt(at, 10, 64); err == nil {
			l.fetched[id] = time.Unix(seconds, 0)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	for _, sub := range []string{"new", "cur"} {
		if err := l.loadNames(sub); err != nil {
			return err
		}
	}
	return nil
}

// loadNames finds messages that were stored, but not noted.
func (l *localMail) loadNames(sub string) error {
	entries, err := fs.ReadDir(l.root.FS(), sub)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, _, _ := strings.Cut(e.Name(), ":")
		parts := strings.Split(name, ".")
		if len(parts) != 3 || parts[2] != "xm" {
			continue
		}
		if _, noted := l.fetched[parts[1]]; !noted {
			if err := l.note(parts[1]); err != nil {
				return err
			}
		}
	}
	return nil
}

// add stores a message. When it returns nil, the message is on the disk.
func (l *localMail) add(id string, write func(io.Writer) error) error {
	name := fmt.Sprintf("new/%d.%s.xm", time.Now().Unix(), id)
	f, err := safefile.Create(disk.At(l.root), name, 0o600)
	if err != nil {
		return err
	}
	defer f.Abort()
	w := bufio.NewWriterSize(f, 64<<10)
	if err := errors.Join(write(w), w.Flush()); err != nil {
		return err
	}
	if err := f.CommitNew(); err != nil {
		return err
	}
	return l.note(id)
}

func (l *localMail) note(id string) error {
	now := time.Now()
	if _, err := fmt.Fprintf(l.state, "%s %d\n", id, now.Unix()); err != nil {
		return err
	}
	l.fetched[id] = now
	return l.state.Sync()
}
