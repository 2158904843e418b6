package smtpd

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"xm/internal/line/linetest"
)

// counts is an Observer, without what is the connection's.
type counts struct{ linetest.Counts }

func (c *counts) Opened()      {}
func (c *counts) Closed()      {}
func (c *counts) Received(int) {}
func (c *counts) Sent(int)     {}

func (c *counts) Command(verb string, code int) { c.Count(1, verb, code) }

func (c *counts) Message(code, recipients int, octets int64) {
	c.Count(1, "message", code, "for", recipients)
	c.Count(int(octets), "octets", code)
}

func (c *counts) Login(mechanism, outcome string, took time.Duration) {
	c.Count(1, mechanism, outcome, took >= 0)
}

func TestObserver(t *testing.T) {
	for name, c := range map[string]struct {
		say  string
		want []string
	}{
		"a message": {
			"EHLO a\r\nmail FROM:<>\r\nRCPT TO:<alice@localhost>\r\nRCPT TO:<nobody@localhost>\r\nDATA\r\n\r\nhello\r\n.\r\nQUIT\r\n",
			[]string{"EHLO 250: 1", "MAIL 250: 1", "RCPT 250: 1", "RCPT 550: 1", "DATA 250: 1", "QUIT 221: 1", "message 250 for 1: 1", "octets 250: 9"},
		},
		"in chunks, too large": {
			"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<alice@localhost>\r\nBDAT 4 LAST\r\n\r\na\rBDAT 3000 LAST\r\n" + strings.Repeat("x", 3000) + "QUIT\r\n",
			[]string{"EHLO 250: 1", "MAIL 250: 1", "RCPT 250: 1", "BDAT 550: 1", "BDAT 503: 1", "QUIT 221: 1", "message 550 for 1: 1", "octets 550: 4"},
		},
		"a failing store": {
			"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<fails@localhost>\r\nDATA\r\nQUIT\r\n",
			[]string{"EHLO 250: 1", "MAIL 250: 1", "RCPT 250: 1", "DATA 451: 1", "QUIT 221: 1", "message 451 for 1: 1", "octets 451: 0"},
		},
		"logins": {
			"EHLO a\r\nAUTH PLAIN " + plain("alice", "wrong") + "\r\nAUTH LOGIN\r\n*\r\nAUTH CRAM-MD5\r\nAUTH PLAIN " + plain("alice", "secret") + "\r\nQUIT\r\n",
			[]string{"EHLO 250: 1", "AUTH 535: 1", "AUTH 501: 1", "AUTH 504: 1", "AUTH 235: 1", "QUIT 221: 1", "PLAIN failed true: 1", "LOGIN aborted true: 1", "PLAIN accepted true: 1"},
		},
		"what is no command": {
			"FROB\r\n\r\nEXPN x\r\nfrob\x00\r\nbare\nQUIT x\r\nGET / HTTP/1.1\r\n",
			[]string{"unknown 500: 4", "unknown 502: 1", "QUIT 501: 1", "unknown 421: 1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newServer()
			var counted counts
			s.Observer = &counted
			conn := start(t, s, asIs)
			fmt.Fprint(conn, c.say)
			if _, err := io.ReadAll(conn); err != nil {
				t.Fatal(err)
			}
			counted.Want(t, c.want...)
		})
	}
}
