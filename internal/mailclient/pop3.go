package mailclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"xm/internal/line"
)

const (
	// maxMessage bounds what is fetched, in octets.
	maxMessage = 256 << 20
	// maxListing bounds the answer to LIST, UIDL and CAPA.
	maxListing = 64 << 20
)

// POP3 is a session with a POP3 server, logged in.
type POP3 struct {
	c            *conn
	capabilities map[string][]string
	deleted      bool // something is to be
}

// OpenPOP3 connects, begins TLS where the server is to have it, and logs in.
func OpenPOP3(ctx context.Context, server Server, auth Credentials) (*POP3, error) {
	c, err := dial(ctx, server)
	if err != nil {
		return nil, err
	}
	p := &POP3{c: c}
	if err := p.begin(auth); err != nil {
		c.Close()
		return nil, fmt.Errorf("%s: %w", server.Addr, err)
	}
	return p, nil
}

func (p *POP3) begin(auth Credentials) error {
	if err := p.status("the connection"); err != nil {
		return err
	}
	if err := p.learn(); err != nil {
		return err
	}
	if p.c.needsTLS() {
		if err := p.startTLS(); err != nil {
			return err
		}
	}
	if err := p.sayUTF8(); err != nil {
		return err
	}
	return p.login(auth)
}

// sayUTF8 has the server give out messages with UTF-8 in their headers, too. RFC
// 6856, section 2.1: before the login, and after STLS.
func (p *POP3) sayUTF8() error {
	if _, offered := p.capabilities["UTF8"]; !offered {
		return nil
	}
	err := p.do("UTF8")
	if refused := new(ReplyError); errors.As(err, &refused) {
		return nil // all other messages can be had
	}
	return err
}

// learn asks for the capabilities (RFC 2449). A server that has none may not
// know the question either.
func (p *POP3) learn() error {
	p.capabilities = map[string][]string{}
	text, err := p.multiline("CAPA")
	var refused *ReplyError
	if err != nil && !errors.As(err, &refused) {
		return err
	}
	for l := range strings.Lines(string(text)) {
		if words := strings.Fields(strings.ToUpper(l)); len(words) > 0 {
			p.capabilities[words[0]] = words[1:]
		}
	}
	return nil
}

// startTLS is RFC 2595, section 4. A server that does not offer it may be one
// between that has cut the offer out.
func (p *POP3) startTLS() error {
	if _, offered := p.capabilities["STLS"]; !offered {
		return errNoTLS
	}
	if err := p.do("STLS"); err != nil {
		return err
	}
	if err := p.c.handshake(); err != nil {
		return err
	}
	return p.learn()
}

// login uses AUTH (RFC 5034) where there is a way that is safe here, and
// otherwise USER and PASS.
func (p *POP3) login(auth Credentials) error {
	if mechanisms, ok := p.capabilities["SASL"]; ok && p.c.offersSASL(mechanisms) {
		return p.c.authenticate(exchange{mechanisms, auth, p.challenge})
	}
	if !p.c.channel().Secure {
		return errClearPassword
	}
	if err := p.do("USER " + auth.User); err != nil {
		return err
	}
	if err := p.c.send("PASS " + auth.Password); err != nil {
		return err
	}
	return p.status("PASS")
}

// challenge reads the server's turn of AUTH.
func (p *POP3) challenge() (string, bool, error) {
	l, err := p.c.readLine()
	if err != nil {
		return "", false, err
	}
	if l == "+" || strings.HasPrefix(l, "+ ") {
		return l[1:], true, nil
	}
	return "", false, statusOf("AUTH", l)
}

// Close breaks the session off: nothing is deleted. It does nothing after Quit.
func (p *POP3) Close() error { return p.c.Close() }

// Quit ends the session. An error says that what was to be deleted may not be; where
// nothing was, it does not matter how the server ends.
func (p *POP3) Quit() error {
	defer p.c.Close()
	if err := p.do("QUIT"); p.deleted {
		return err
	}
	return nil
}

// Listing is one message in a maildrop.
type Listing struct {
	Number int
	Octets int64
	UID    string // RFC 1939, section 7: the message's own for ever
}

// List returns the messages. UID is empty where the server has no UIDL.
func (p *POP3) List() ([]Listing, error) {
	all, last := []Listing{}, 0
	err := p.lines("LIST", func(number int, value string) error {
		octets, err := strconv.ParseInt(value, 10, 64)
		if err != nil || number <= last || octets < 0 {
			return errNotPOP3
		}
		all, last = append(all, Listing{Number: number, Octets: octets}), number
		return nil
	})
	if err != nil {
		return nil, err
	}
	at := map[int]int{}
	for i, m := range all {
		at[m.Number] = i
	}
	err = p.lines("UIDL", func(number int, value string) error {
		if i, ok := at[number]; ok {
			all[i].UID = value
		}
		return nil
	})
	var refused *ReplyError
	if errors.As(err, &refused) {
		err = nil // RFC 1939, section 7: it is optional
	}
	return all, err
}

var errNotPOP3 = errors.New("it is not POP3")

// lines reads an answer of lines that begin with a number and a word.
func (p *POP3) lines(command string, f func(number int, value string) error) error {
	text, err := p.multiline(command)
	if err != nil {
		return err
	}
	for l := range strings.Lines(string(text)) {
		words := strings.Fields(l)
		err := errNotPOP3
		if len(words) >= 2 {
			var number int
			if number, err = strconv.Atoi(words[0]); err == nil {
				err = f(number, words[1])
			}
		}
		if err != nil {
			return fmt.Errorf("the server answered %s with %q, which is not POP3", command, Printable(strings.TrimSpace(l)))
		}
	}
	return nil
}

// Retrieve writes a message, with CRLF line ends.
func (p *POP3) Retrieve(number int, w io.Writer) error {
	return p.text("RETR "+strconv.Itoa(number), maxMessage, w)
}

// Top returns a message's header and the first lines of its body.
func (p *POP3) Top(number, lines int) ([]byte, error) {
	return p.multiline(fmt.Sprintf("TOP %d %d", number, lines))
}

// Delete marks a message to be deleted by Quit.
func (p *POP3) Delete(number int) error {
	p.deleted = true
	return p.do("DELE " + strconv.Itoa(number))
}

func (p *POP3) do(command string) error {
	if err := p.c.send(command); err != nil {
		return err
	}
	return p.status(command)
}

// status reads a status line (RFC 1939, section 3).
func (p *POP3) status(command string) error {
	l, err := p.c.readLine()
	if err != nil {
		return err
	}
	return statusOf(command, l)
}

func statusOf(command, l string) error {
	switch {
	case strings.HasPrefix(l, "+OK"):
		return nil
	case strings.HasPrefix(l, "-ERR"):
		return &ReplyError{command, l}
	}
	return fmt.Errorf("the server answered %q, which is not POP3", Printable(l))
}

func (p *POP3) multiline(command string) ([]byte, error) {
	var text bytes.Buffer
	err := p.text(command, maxListing, &text)
	return text.Bytes(), err
}

func (p *POP3) text(command string, limit int64, w io.Writer) error {
	if err := p.do(command); err != nil {
		return err
	}
	if _, err := line.NewText(p.c.in, limit).WriteTo(w); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = p.c.broken(err)
		}
		return fmt.Errorf("the answer to %s: %w", command, err)
	}
	return nil
}
