package pop3d

import (
	"fmt"
	"io"
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

func (c *counts) Command(verb string, ok bool) { c.Count(1, verb, ok) }

func (c *counts) Login(mechanism, outcome string, took time.Duration) {
	c.Count(1, mechanism, outcome, took >= 0)
}

func TestObserver(t *testing.T) {
	for name, c := range map[string]struct {
		say  string
		want []string
	}{
		"a session": {
			"CAPA\r\nuser bob\r\nPASS x\r\nSTAT\r\nRETR 1\r\nRETR 99\r\nQUIT\r\n",
			[]string{"CAPA true: 1", "USER true: 1", "PASS true: 1", "PASS accepted true: 1", "STAT true: 1", "RETR true: 1", "RETR false: 1", "QUIT true: 1"},
		},
		"logins": {
			"PASS x\r\nUSER nobody\r\nPASS x\r\nAUTH PLAIN\r\n*\r\nAUTH CRAM-MD5\r\nUSER busy\r\nPASS x\r\nQUIT\r\n",
			[]string{"PASS false: 3", "USER true: 2", "PASS failed true: 1", "AUTH false: 2", "PLAIN aborted true: 1", "PASS accepted true: 1", "QUIT true: 1"},
		},
		"what is no command": {
			"FROB\r\n\r\nfrob\x00\r\nbare\nSTAT\r\nGET / HTTP/1.1\r\n",
			[]string{"unknown false: 5", "STAT false: 1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var counted counts
			s, mail := newServer()
			mail.put("bob", "x\r\n")
			s.Observer = &counted
			conn := dial(t, serve(t, s, asIs))
			fmt.Fprint(conn, c.say)
			if _, err := io.ReadAll(conn); err != nil {
				t.Fatal(err)
			}
			counted.Want(t, c.want...)
		})
	}
}
