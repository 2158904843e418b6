package commands

import (
	"bufio"
	"errors"
	"fmt"
	"io"
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
	"xm/internal/line"
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
	left := 0
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
		return deleteFetched(c, p, incoming, local)
	})
	if err == nil && left > 0 {
		err = fmt.Errorf("%d messages could not be fetched, and are still on the server", left)
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

// fetchAll fetches what is new. left counts what the server does not give: that
// keeps nobody from the rest.
func fetchAll(c *cli.Context, a account, p *mailclient.POP3, list []incoming, local *localMail) (left int, err error) {
	var wanted []incoming
	for _, m := range list {
		if _, done := local.fetched[m.id]; !done {
			wanted = append(wanted, m)
		}
	}
	status, ok := c.App.ErrWriter.(*os.File)
	watched := ok && term.IsTerminal(int(status.Fd()))
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

// deleteFetched marks what was downloaded long enough ago.
func deleteFetched(c *cli.Context, p *mailclient.POP3, list []incoming, local *localMail) error {
	if !c.IsSet("keep") {
		return nil
	}
	before := time.Now().Add(-time.Duration(c.Int("keep")) * 24 * time.Hour)
	for _, m := range list {
		if d, done := local.fetched[m.id]; done && !d.at.After(before) {
			if err := p.Delete(m.Number); err != nil {
				return err
			}
		}
	}
	return nil
}

// localMail is a Maildir that mail is downloaded into. Its file .xm-fetched has
// a line "ID TIME OCTETS" for each message that was: when, in Unix seconds, and its
// size on the server, 0 if that is not known. It is locked for as long as one xm
// writes. A message's file is "TIME.ID.xm", so that one whose line a crash has
// prevented is found, too.
type localMail struct {
	root    *os.Root
	state   *os.File
	fetched map[string]download
}

type download struct {
	at     time.Time
	octets int64 // on the server; 0 if not known
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
	l := &localMail{root: root, fetched: map[string]download{}}
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
		if id, d, ok := parseFetched(lines.Text()); ok {
			l.fetched[id] = d
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

// parseFetched reads a line, in which OCTETS may be missing.
func parseFetched(text string) (id string, d download, ok bool) {
	fields := strings.Fields(text)
	if len(fields) < 2 {
		return "", download{}, false
	}
	seconds, err := strconv.ParseInt(fields[1], 10, 64)
	if err == nil && len(fields) > 2 {
		d.octets, err = strconv.ParseInt(fields[2], 10, 64)
	}
	d.at = time.Unix(seconds, 0)
	return fields[0], d, err == nil
}

// hasOfOtherSize reports whether a message of that id, but not of that size, was
// fetched.
func (l *localMail) hasOfOtherSize(id string, octets int64) bool {
	had := l.fetched[id].octets
	return had > 0 && had != octets
}

// loadNames finds messages that were stored, but not noted.
func (l *localMail) loadNames(sub string) error {
	entries, err := disk.ReadDir(disk.At(l.root), sub)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, _, _ := strings.Cut(e.Name, ":")
		parts := strings.Split(name, ".")
		if len(parts) != 3 || parts[2] != "xm" {
			continue
		}
		if _, noted := l.fetched[parts[1]]; !noted {
			if err := l.note(parts[1], 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// add stores a message. When it returns nil, the message is on the disk.
func (l *localMail) add(m incoming, write func(io.Writer) error) error {
	name := fmt.Sprintf("new/%d.%s.xm", time.Now().Unix(), m.id)
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
	return l.note(m.id, m.Octets)
}

func (l *localMail) note(id string, octets int64) error {
	now := time.Now()
	if _, err := fmt.Fprintf(l.state, "%s %d %d\n", id, now.Unix(), octets); err != nil {
		return err
	}
	l.fetched[id] = download{now, octets}
	return l.state.Sync()
}
