package commands

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
	"xm/internal/disk"
	"xm/internal/keyring"
	"xm/internal/mailclient"
	"xm/internal/message"
	"xm/internal/safefile"
)

// recipient is one that a message goes to.
type recipient struct {
	name    string // as it was typed
	address string
	blind   bool           // named in no header
	key     *rsa.PublicKey // nil if the message is not encrypted
	keyName string         // as the key ring has it
}

// outgoing is a message that is ready to be sent.
type outgoing struct {
	c       *cli.Context
	account account
	content *hidden // a MIME entity, in its form for inside or for transport
	plain   bool    // it goes as it is
	eight   bool    // it has octets above 127, if it goes as it is
	from    *rsa.PrivateKey
	to      []recipient
}

// draftField names, in the first line of a draft, those that it is still to be
// sent to. plainField does so in a draft that is not encrypted. That can't be told by
// the content, which may hold a payload that somebody else made.
const (
	draftField = "Xm-Send-To"
	plainField = "Xm-Send-Plain-To"
)

// errNotKept says that not even a draft is left of a message.
var errNotKept = errors.New("the message could not be kept in a draft")

// deliver sends the message. What could not be sent to everybody is kept in a
// draft, which the error names.
func (o *outgoing) deliver() error {
	failed := o.submit()
	var left []recipient
	var problems []error
	for i, r := range o.to {
		if failed[i] != nil {
			left = append(left, r)
			problems = append(problems, failed[i])
			continue
		}
		how := "encrypted"
		if o.plain {
			how = "NOT encrypted"
		}
		say(o.c, "sent to %s, %s", r.address, how)
	}
	if left == nil {
		return nil
	}
	problem := explainRefusals(left, problems)
	path, err := o.keepDraft(left)
	if err != nil {
		return errors.Join(problem, fmt.Errorf("%w: %w", errNotKept, err))
	}
	return fmt.Errorf("%w\nThe message is kept in %s. To send it: xm send --draft %s", problem, path, path)
}

// explainRefusals says once what is wrong with all.
func explainRefusals(to []recipient, problems []error) error {
	var all []error
	for i, err := range problems {
		if i > 0 && err.Error() == problems[i-1].Error() {
			continue
		}
		var refused *mailclient.ReplyError
		if errors.As(err, &refused) && strings.HasPrefix(refused.Command, "RCPT") {
			err = fmt.Errorf("%s: %w", to[i].address, err)
		}
		all = append(all, err)
	}
	return fmt.Errorf("not sent to %s: %w", addressList(to), errors.Join(all...))
}

func addressList(to []recipient) string {
	var all []string
	for _, r := range to {
		all = append(all, r.address)
	}
	return strings.Join(all, ", ")
}

// submit sends one message for each envelope, and tells for each recipient why
// it failed.
func (o *outgoing) submit() []error {
	failed := make([]error, len(o.to))
	s, err := o.account.openSubmission(o.c)
	if err != nil {
		for i := range failed {
			failed[i] = err
		}
		return failed
	}
	defer func() { s.Close() }()
	taken := false // something, in this session
	for groups := o.envelopes(); len(groups) > 0; {
		group := groups[0]
		var refused []error
		if err == nil {
			refused, err = o.send(s, group)
		}
		if taken && errors.Is(err, mailclient.ErrClosing) { // some servers take so many messages, and no more
			taken = false
			if next, openErr := o.account.openSubmission(o.c); openErr == nil {
				s, err = next, nil
				continue
			}
		}
		groups = groups[1:]
		taken = taken || err == nil && slices.Contains(refused, nil)
		for i, at := range group {
			if err != nil {
				failed[at] = interrupted(o.c.Context, err)
			} else {
				failed[at] = refused[i]
			}
		}
		if later := deferred(group, refused); err == nil && later != nil {
			groups = append([][]int{later}, groups...)
		}
		var reply *mailclient.ReplyError
		var unfit *mailclient.UnfitError
		if errors.As(err, &reply) || errors.As(err, &unfit) {
			err = nil // the session goes on, and the next message may fare better
		}
	}
	if err == nil {
		s.Quit()
	}
	return failed
}

// deferred returns those of a group that are to have a transaction of their own: the
// server took the message for others, and has had enough of them (RFC 5321, section
// 4.5.3.1.10).
func deferred(group []int, refused []error) (later []int) {
	for i, err := range refused {
		var reply *mailclient.ReplyError
		if errors.As(err, &reply) && strings.HasPrefix(reply.Reply, "452") {
			later = append(later, group[i])
		}
	}
	if !slices.Contains(refused, nil) {
		return nil // it would be the same again
	}
	return later
}

// envelopes groups the recipients, by index: an encrypted message is for one; a
// plain one for all whom it names, and for each other.
func (o *outgoing) envelopes() (groups [][]int) {
	named := -1
	for i, r := range o.to {
		switch {
		case !o.plain || r.blind:
			groups = append(groups, []int{i})
		case named < 0:
			named = len(groups)
			groups = append(groups, []int{i})
		default:
			groups[named] = append(groups[named], i)
		}
	}
	return groups
}

func (o *outgoing) send(s *mailclient.SMTP, group []int) ([]error, error) {
	env := mailclient.Envelope{From: o.account.address}
	for _, at := range group {
		env.To = append(env.To, o.to[at].address)
	}
	if o.plain {
		env.Size, env.EightBit = o.content.octets, o.eight
		return s.Send(env, o.copyContent)
	}
	to := o.to[group[0]]
	sealed := message.Sealed{From: o.account.address, To: to.address, Date: time.Now()}
	sealer := o.sealer(to.key)
	env.Size = sealed.Octets(sealer.PayloadSize(o.content.octets))
	return s.Send(env, func(w io.Writer) error { return o.seal(w, sealed, sealer) })
}

func (o *outgoing) copyContent(w io.Writer) error {
	if _, err := o.content.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := io.Copy(w, o.content)
	return err
}

func (o *outgoing) sealer(to *rsa.PublicKey) hybrid.Sealer {
	return hybrid.Sealer{Format: hybrid.Signed, To: to, From: o.from}
}

// seal writes an encrypted message: the content is read twice.
func (o *outgoing) seal(w io.Writer, sealed message.Sealed, sealer hybrid.Sealer) error {
	stayWithin32MiB()
	if _, err := o.content.Seek(0, io.SeekStart); err != nil {
		return err
	}
	ahead := &readAhead{from: o.content}
	defer ahead.stop() // it may be sealed once more, for a draft
	content := struct {
		io.Reader
		io.Seeker
	}{ahead, o.content}
	return sealed.Write(w, func(w io.Writer) error { return sealer.Seal(w, content) })
}

// keepDraft writes the message to a file: encrypted for oneself, if it was to be
// encrypted.
func (o *outgoing) keepDraft(to []recipient) (path string, err error) {
	dir, err := o.account.dataDir()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(dir, "drafts")
	if err := safefile.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	root, err := disk.OpenDir(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	name := time.Now().UTC().Format("20060102T150405.000000000Z") + ".eml"
	err = writeNewFile(root, name, func(w io.Writer) error { return o.writeDraft(w, to) })
	return filepath.Join(dir, name), err
}

func (o *outgoing) writeDraft(w io.Writer, to []recipient) error {
	field := draftField
	if o.plain {
		field = plainField
	}
	if _, err := fmt.Fprintf(w, "%s: %s\r\n", field, draftList(to)); err != nil {
		return err
	}
	if !o.plain {
		sealed := message.Sealed{From: o.account.address, To: o.account.address, Date: time.Now()}
		return o.seal(w, sealed, o.sealer(&o.from.PublicKey))
	}
	return o.copyContent(w)
}

// draftList has a "-" before those that no header names.
func draftList(to []recipient) string {
	var all []string
	for _, r := range to {
		if r.blind {
			all = append(all, "-"+r.address)
		} else {
			all = append(all, r.address)
		}
	}
	return strings.Join(all, " ")
}

// findKeys gets what the message is to be sealed with, if it is: one's own key and
// those of all recipients. It says whose are missing.
func (o *outgoing) findKeys() error {
	if o.plain {
		return nil
	}
	ring, err := openKeys(o.c)
	if err != nil {
		return err
	}
	defer ring.Close()
	if o.from, err = ownKey(o.c, ring); err != nil {
		return err
	}
	var missing []error
	for i := range o.to {
		to := &o.to[i]
		if to.key, to.keyName, err = o.keyOf(ring, *to); err != nil {
			missing = append(missing, fmt.Errorf("%s: %w", to.address, err))
		}
	}
	return errors.Join(missing...)
}

// unsent is the error, if there is one, of what keeps a message from all recipients.
func unsent(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("nothing was sent: %w", err)
}

// keyOf finds the key that mail to a recipient is encrypted for, and its name. One that
// is not at hand is fetched, under the name that was typed.
func (o *outgoing) keyOf(ring *keyring.Ring, to recipient) (*rsa.PublicKey, string, error) {
	if strings.EqualFold(to.address, o.account.address) {
		return &o.from.PublicKey, keyring.Own, nil
	}
	names := []string{to.address}
	if local, _, _ := strings.Cut(to.address, "@"); strings.EqualFold(o.account.addressOf(local), to.address) {
		names = append(names, local) // a bare name has the account's domain
	}
	for _, name := range names {
		key, err := ring.Public(name)
		if err == nil || !errors.Is(err, keyring.ErrNotFound) {
			return key, name, err
		}
	}
	key, err := recipientKey(o.c, ring, to.name)
	return key, to.name, err
}
