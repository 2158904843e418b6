package commands

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
	"xm/internal/keyring"
	"xm/internal/mailclient"
	"xm/internal/message"
)

// trust is how far a message is to be trusted, in a word.
type trust string

const (
	trustVerified trust = "verified" // signed; somebody compared the key's fingerprint
	trustKnown    trust = "known"    // signed with a key that is known
	trustChanged  trust = "changed"  // signed with a known key, but the directory has another now
	trustOwn      trust = "own"      // signed with one's own key
	trustUnknown  trust = "unknown"  // there is no key to verify it with
	trustForged   trust = "forged"   // signed, in somebody else's name
	trustBad      trust = "bad"      // not what the sender signed, or not for us
	trustPlain    trust = "plain"    // not encrypted: nobody vouches for it
)

// letter is a message that was fetched and, if it is encrypted, opened.
type letter struct {
	trust   trust
	signer  string         // the name of the key; "" if there is none
	former  bool           // it is one that was replaced
	header  message.Header // the one inside, if there is one
	content io.ReadSeeker  // the message that header is of, or the bare text
	isBare  bool           // content is text without a header
	payload bool           // it was encrypted
	notes   []string       // what is to be said about it
}

// letterReader opens messages.
type letterReader struct {
	c       *cli.Context
	account account
	ring    *keyring.Ring
	spool   hybrid.Spool
	sender  string // verify with this one's key, whatever the message says
	fetches bool   // a key that is not at hand
	close   func()
}

// newLetterReader is for messages of the account. Its close must be called. ask
// gets passphrases; nil does without keys that have one.
func newLetterReader(c *cli.Context, a account, ask keyring.Ask) (*letterReader, error) {
	ring, err := keyring.Open(keysDir(c), ask)
	if err != nil && !errors.Is(err, keyring.ErrNotFound) {
		return nil, err
	}
	spool, cleanUp := newSpool()
	return &letterReader{c: c, account: a, ring: ring, spool: spool, sender: c.String("sender"), close: func() {
		cleanUp()
		if ring != nil {
			ring.Close()
		}
	}}, nil
}

// fetch retrieves a message into a spool.
func (r *letterReader) fetch(p *mailclient.POP3, l mailclient.Listing) (*hidden, error) {
	raw, err := newHidden(r.spool)
	if err != nil {
		return nil, err
	}
	if err := p.Retrieve(l.Number, raw); err != nil {
		return nil, err
	}
	_, err = raw.Seek(0, io.SeekStart)
	return raw, err
}

// open takes a message apart. An error that matches hybrid.ErrNotAuthentic or
// keyring.ErrNotFound says why it can't be trusted; then there is a letter all
// the same, with what the outside says.
func (r *letterReader) open(raw io.ReadSeeker) (*letter, error) {
	outer, err := message.Read(raw)
	if err != nil {
		return nil, err
	}
	l := &letter{trust: trustPlain, header: outer.Header, content: raw}
	var openErr error
	err = outer.Walk(func(p *message.Part) error {
		if !p.IsPayload() {
			return nil
		}
		l.payload = true
		openErr = r.openPayload(l, p.Body)
		return message.ErrStop
	})
	if !l.payload {
		if r.sender != "" {
			return l, fmt.Errorf("%w: it is neither encrypted nor signed", hybrid.ErrNotAuthentic)
		}
		_, err := raw.Seek(0, io.SeekStart) // what is wrong with a plain message shows when it is shown
		return l, err
	}
	return l, errors.Join(openErr, err)
}

func (r *letterReader) openPayload(l *letter, payload io.Reader) error {
	name, err := r.findSender(l.header)
	if err != nil {
		l.trust = trustUnknown
		return err
	}
	l.signer, l.trust = name, trustBad
	o, err := newOpener(r.c, r.ring, name)
	if err != nil {
		return err
	}
	content, err := newHidden(r.spool)
	if err != nil {
		return err
	}
	ahead := &readAhead{from: payload}
	defer ahead.stop() // the message may be stored as it came
	if err := writeBuffered(content, func(w io.Writer) error { return o.open(w, ahead) }); err != nil {
		return fmt.Errorf("verified with the key of %s: %w", name, err)
	}
	l.former, l.notes = o.by.Former, append(l.notes, o.used...)
	if l.trust, err = r.trustIn(o.by); err != nil {
		return err
	}
	return r.readInside(l, content)
}

// readInside looks at what was signed: content, which stands at its beginning.
func (r *letterReader) readInside(l *letter, content *hidden) error {
	l.content = content
	in := bufio.NewReader(content)
	if l.isBare = !message.IsEntity(in); l.isBare {
		l.header = r.signedHeader(l)
	} else {
		inside, err := message.Read(in)
		if err != nil {
			return fmt.Errorf("inside: %w", err)
		}
		l.header = inside.Header
		if from := l.header.Sender(); !r.isNameOf(l.signer, from) {
			l.trust = trustForged
			l.notes = append(l.notes, fmt.Sprintf("FORGED: the message says that it is from %s, but %s signed it", mailclient.Printable(from), l.signer))
		}
	}
	_, err := content.Seek(0, io.SeekStart)
	return err
}

// findSender finds whose keys to verify with. The address in the message only
// says where to look: the signature decides.
func (r *letterReader) findSender(h message.Header) (string, error) {
	address := h.Sender()
	switch {
	case r.ring == nil:
		return "", fmt.Errorf("%w: there is no directory %s", keyring.ErrNotFound, keysDir(r.c))
	case r.sender != "":
		return r.sender, nil
	case address == "":
		return "", fmt.Errorf("%w: the message names no sender: say --sender NAME", keyring.ErrNotFound)
	case strings.EqualFold(address, r.account.address):
		return keyring.Own, nil
	}
	name, err := keyName(r.ring, address)
	if !errors.Is(err, keyring.ErrNotFound) || !r.fetches {
		return name, err
	}
	if local, _, _ := strings.Cut(address, "@"); r.account.addressOf(local) == address && !strings.Contains(r.account.User, "@") {
		address = local // names on this server are bare
	}
	if _, fetchErr := recipientKey(r.c, r.ring, address); fetchErr != nil {
		return "", fmt.Errorf("%w\n%w", err, fetchErr)
	}
	return address, nil
}

// keyName finds under which name the key of an address is kept: the address, or
// what stands before its "@".
func keyName(ring *keyring.Ring, address string) (string, error) {
	local, _, _ := strings.Cut(address, "@")
	for _, name := range []string{address, local} {
		if name == keyring.Own || name == keyring.Server {
			continue // nobody's name
		}
		_, _, err := ring.PublicKeys(name)
		// A sender that no key can be named after is somebody's idea of a joke.
		if err == nil || !errors.Is(err, keyring.ErrNotFound) && !errors.Is(err, keyring.ErrName) {
			return name, err
		}
	}
	return "", fmt.Errorf("%w: the keys directory has no NAME.pub for %q or %q; xm key fetch may get it", keyring.ErrNotFound, address, local)
}

// isNameOf reports whether a key that is kept under name is that of an address:
// a bare name has the account's domain.
func (r *letterReader) isNameOf(name, address string) bool {
	if name == keyring.Own {
		name = r.account.address
	}
	return strings.EqualFold(name, address) || strings.EqualFold(r.account.addressOf(name), address)
}

// trustIn tells how far a key is to be trusted. A former key is known, and no
// more: what is verified is the current one.
func (r *letterReader) trustIn(key keyring.PublicKey) (trust, error) {
	switch {
	case key.Name == keyring.Own:
		return trustOwn, nil
	case key.Former:
		return trustKnown, nil
	}
	t, err := r.ring.Trust(key.Name)
	return trust(t.State), err
}

// whoSigned tells whose signature the beginning of a message has.
func (r *letterReader) whoSigned(beginning io.Reader) (*letter, error) {
	outer, err := message.Read(beginning)
	if err != nil {
		return nil, err
	}
	l := &letter{trust: trustPlain, header: outer.Header}
	var signErr error
	_ = outer.Walk(func(p *message.Part) error { // that the rest is missing is no news
		if p.IsPayload() {
			l.payload = true
			signErr = r.verifySigner(l, p.Body)
			return message.ErrStop
		}
		return nil
	})
	return l, signErr
}

func (r *letterReader) verifySigner(l *letter, payload io.Reader) error {
	name, err := r.findSender(l.header)
	if err != nil {
		l.trust = trustUnknown
		return err
	}
	l.trust = trustBad
	keys, unread, err := r.ring.PublicKeys(name)
	if err != nil {
		return err
	}
	sayUnread(r.c, unread)
	o := hybrid.Opener{Format: hybrid.Signed}
	for _, key := range keys {
		o.From = append(o.From, key.Key)
	}
	from, err := o.Signer(payload)
	if err != nil {
		return err
	}
	l.signer = name
	l.header = r.signedHeader(l)
	l.trust, err = r.trustIn(keys[from])
	return err
}

// signedHeader is what is known of a message beside what is inside: whose
// signature it has. Outside, nobody vouches for anything, so that no subject, and
// no address to answer to, may stand beside a good signature. The date is kept,
// to find the message by.
func (r *letterReader) signedHeader(l *letter) message.Header {
	signer := r.account.address
	if l.signer != keyring.Own {
		signer = r.account.addressOf(l.signer)
	}
	return message.Header{From: []message.Address{{Address: signer}}, Date: l.header.Date, MessageID: l.header.MessageID}
}
