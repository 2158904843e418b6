package commands

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"xm/internal/message"
	"xm/userdb"
)

// runSendDraft sends what could not be sent before.
func runSendDraft(c *cli.Context) error {
	if c.NArg() > 0 {
		return usageErrorf("--draft has its recipients and its text: %q is one too many", c.Args().First())
	}
	a, err := loadAccount(c)
	if err != nil {
		return err
	}
	path := c.String("draft")
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := newLetterReader(c, a, askPassphrase(c))
	if err != nil {
		return err
	}
	defer r.close()
	to, plain, err := draftRecipients(path)
	if err != nil {
		return err
	}
	l := &letter{content: f}
	if !plain {
		if l, err = r.open(f); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	o := &outgoing{c: c, account: a, to: to, plain: !l.payload}
	if o.content, err = copyDraft(r, l); err != nil {
		return err
	}
	if o.eight, err = holdsEightBit(o.content); err != nil {
		return err
	}
	if err := o.findKeys(); err != nil {
		return unsent(err)
	}
	return sendDraft(o, path)
}

// sendDraft removes the file once everybody has the message, or another draft
// is there for those who have not.
func sendDraft(o *outgoing, path string) error {
	if o.c.Bool("n") {
		return o.preview("of the draft")
	}
	err := o.deliver()
	if errors.Is(err, errNotKept) {
		return err
	}
	return errors.Join(err, os.Remove(path))
}

// copyDraft leaves the first line of a plain draft out.
func copyDraft(r *letterReader, l *letter) (*hidden, error) {
	content, err := newHidden(r.spool)
	if err != nil {
		return nil, err
	}
	if !l.payload {
		if err := skipLine(l.content); err != nil {
			return nil, err
		}
	}
	return content, writeBuffered(content, func(w io.Writer) error {
		_, err := io.Copy(w, l.content)
		return err
	})
}

// holdsEightBit reads a message through, and goes back to its beginning.
func holdsEightBit(h *hidden) (eight bool, err error) {
	for piece := make([]byte, 64<<10); err == nil; {
		var n int
		n, err = h.Read(piece)
		eight = eight || bytes.ContainsFunc(piece[:n], isEightBit)
	}
	if err != io.EOF {
		return false, err
	}
	_, err = h.Seek(0, io.SeekStart)
	return eight, err
}

func isEightBit(r rune) bool { return r > 127 }

// skipLine reads a line, octet by octet, so that nothing after it is read.
func skipLine(r io.Reader) error {
	for c := make([]byte, 1); c[0] != '\n'; {
		if _, err := io.ReadFull(r, c); err != nil {
			return err
		}
	}
	return nil
}

// draftRecipients reads the first line of a draft.
func draftRecipients(path string) (to []recipient, plain bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	m, err := message.Read(f)
	if err != nil {
		return nil, false, err
	}
	field := draftField
	if plain = m.Header.Get(plainField) != ""; plain {
		field = plainField
	}
	for _, word := range strings.Fields(m.Header.Get(field)) {
		address, blind := strings.CutPrefix(word, "-")
		if _, err := userdb.ParseName(address); err != nil {
			return nil, false, fmt.Errorf("%s: %s: %w", path, field, err)
		}
		to = append(to, recipient{name: address, address: address, blind: blind})
	}
	if to == nil {
		return nil, false, fmt.Errorf("%s is no draft of xm's: it has no field %s", path, draftField)
	}
	return to, plain, nil
}
