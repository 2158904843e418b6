package line

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// countedDeadlines counts how often a deadline is set.
type countedDeadlines struct {
	net.Conn
	reads, writes int
}

func (c *countedDeadlines) SetReadDeadline(t time.Time) error {
	c.reads++
	return c.Conn.SetReadDeadline(t)
}

func (c *countedDeadlines) SetWriteDeadline(t time.Time) error {
	c.writes++
	return c.Conn.SetWriteDeadline(t)
}

// Commands that follow each other share their deadlines, and wait as long as they may.
func TestDeadlinesAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		counted := &countedDeadlines{Conn: theirs}
		c := newConn(&Server{}, counted)
		go func() {
			answer := make([]byte, 10)
			for _, pause := range []time.Duration{0, 0, 0, 59 * time.Second, 59 * time.Second, 0} {
				time.Sleep(pause)
				ours.Write([]byte("NOOP\r\n"))
				ours.Read(answer)
			}
		}()
		for i, most := range []struct{ reads, writes int }{{1, 1}, {1, 1}, {1, 1}, {1, 2}, {2, 3}, {3, 3}} {
			if _, err := c.ReadLine(100, time.Minute, true); err != nil {
				t.Fatalf("line %d: %v", i, err)
			}
			c.Reply("OK")
			if err := c.Flush(); err != nil {
				t.Fatal(err)
			}
			if counted.reads > most.reads || counted.writes > most.writes {
				t.Errorf("line %d: read deadlines were set %d times, write deadlines %d times", i, counted.reads, counted.writes)
			}
		}
		c.close()
		ours.Close()
	})
}

// A stop that came during a wait is not the end of what follows it.
func TestDeadlineAfterAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		c := newConn(&Server{}, theirs)
		go c.interrupt()
		if _, err := c.ReadLine(100, time.Minute, true); err != ErrStopping {
			t.Fatalf("idle: %v", err)
		}
		go ours.Write([]byte("NOOP\r\n"))
		if text, err := c.ReadLine(100, time.Minute, false); string(text) != "NOOP" || err != nil {
			t.Errorf("at work: %q, %v", text, err)
		}
		c.close()
		ours.Close()
	})
}
