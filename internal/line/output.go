package line

import (
	"bufio"
	"sync"
	"time"
)

type timedWriter struct{ c *Conn }

func (w timedWriter) Write(p []byte) (int, error) {
	if deadline, set := w.c.writes.await(writeTimeout, time.Time{}); set {
		if err := w.c.raw.SetWriteDeadline(deadline); err != nil {
			return 0, err
		}
	}
	n, err := w.c.nc.Write(p)
	w.c.srv.observer().Sent(n)
	return n, err
}

// outBuffers are for the connections that have something to send: most of them
// wait for their client.
var outBuffers = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, outSize) }}

// Write buffers p. What was written is sent before the session waits for input,
// at its end, or by Flush.
func (c *Conn) Write(p []byte) (int, error) { return c.output().Write(p) }

// AvailableBuffer is bufio.Writer's.
func (c *Conn) AvailableBuffer() []byte { return c.output().AvailableBuffer() }

func (c *Conn) output() *bufio.Writer {
	if c.out == nil {
		c.out = outBuffers.Get().(*bufio.Writer)
		c.out.Reset(timedWriter{c})
	}
	return c.out
}

// Flush sends what was written.
func (c *Conn) Flush() error {
	if c.out == nil {
		return nil
	}
	err := c.out.Flush()
	c.out.Reset(nil)
	outBuffers.Put(c.out)
	c.out = nil
	return err
}

// Reply writes lines, adding the last CRLF. Whatever is written before the
// session waits goes in one piece: clients depend on a reply arriving whole.
func (c *Conn) Reply(lines string) error {
	out := c.output()
	out.WriteString(lines) // a failure comes back from the next write
	_, err := out.WriteString("\r\n")
	return err
}
