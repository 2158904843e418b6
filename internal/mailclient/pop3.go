package mailclient

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"xm/internal/line"
)

// maxMessage bounds what is fetched, in octets.
const maxMessage = 256 << 20

// POP3 is a session with a POP3 server, logged in.
type POP3 struct{ c *conn }

// OpenPOP3 connects and logs in. The password is sent only to this machine.
func OpenPOP3(ctx context.Context, addr string, auth Credentials) (*POP3, error) {
	c, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	p := &POP3{c}
	if err := p.login(auth); err != nil {
		c.Close()
		return nil, fmt.Errorf("%s: %w", addr, err)
	}
	return p, nil
}

func (p *POP3) login(auth Credentials) error {
	if !p.c.local() {
		return errClearPassword
	}
	if err := p.c.SetDeadline(time.Now().Add(replyTimeout)); err != nil {
		return err
	}
	if _, err := p.status("the connection"); err != nil {
		return err
	}
	if _, err := p.do("USER " + auth.User); err != nil {
		return err
	}
	if err := p.c.send("PASS " + auth.Password); err != nil {
		return err
	}
	_, err := p.status("PASS")
	return err
}

// Close breaks the session off: nothing is deleted.
func (p *POP3) Close() error { return p.c.Close() }

// quitTime is how long a server may take to say goodbye.
const quitTime = 5 * time.Second

// Quit ends the session. The server's answer matters to nobody, as nothing was
// deleted.
func (p *POP3) Quit() {
	if p.c.send("QUIT") == nil && p.c.SetDeadline(time.Now().Add(quitTime)) == nil {
		_, _ = p.status("QUIT")
	}
	p.c.Close()
}

// Listing is one message in a maildrop.
type Listing struct {
	Number int
	Octets int64
}

// List returns the messages.
func (p *POP3) List() ([]Listing, error) {
	text, err := p.multiline("LIST")
	if err != nil {
		return nil, err
	}
	all, last := []Listing{}, 0
	for l := range strings.Lines(string(text)) {
		var m Listing
		if _, err := fmt.Sscan(l, &m.Number, &m.Octets); err != nil || m.Number <= last || m.Octets < 0 {
			return nil, fmt.Errorf("the server listed %q, which is not POP3", Printable(strings.TrimSpace(l)))
		}
		all, last = append(all, m), m.Number
	}
	return all, nil
}

// Retrieve returns a message.
func (p *POP3) Retrieve(number int) ([]byte, error) {
	return p.multiline("RETR " + strconv.Itoa(number))
}

// Top returns a message's header and the first lines of its body.
func (p *POP3) Top(number, lines int) ([]byte, error) {
	return p.multiline(fmt.Sprintf("TOP %d %d", number, lines))
}

func (p *POP3) do(command string) (string, error) {
	if err := p.c.send(command); err != nil {
		return "", err
	}
	return p.status(command)
}

// status reads a status line (RFC 1939, section 3).
func (p *POP3) status(command string) (string, error) {
	l, err := p.c.readLine()
	if err != nil {
		return "", err
	}
	if text, ok := strings.CutPrefix(l, "+OK"); ok {
		return strings.TrimSpace(text), nil
	}
	if strings.HasPrefix(l, "-ERR") {
		return "", &ReplyError{command, l}
	}
	return "", fmt.Errorf("the server answered %q, which is not POP3", Printable(l))
}

func (p *POP3) multiline(command string) ([]byte, error) {
	if _, err := p.do(command); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(line.NewText(p.c.in, maxMessage))
	if err != nil {
		return nil, fmt.Errorf("the answer to %s: %w", command, err)
	}
	return text, nil
}
