package mailclient

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

const (
	dialTimeout = 30 * time.Second
	// RFC 5321, section 4.5.3.2: 5 minutes for most commands, 10 for the answer
	// to a message.
	replyTimeout = 5 * time.Minute
	dataTimeout  = 10 * time.Minute
	maxReplyLine = 4096
)

// conn is a connection to a line-based server. Each read and each write has
// timeout to get on.
type conn struct {
	server  Server
	raw     net.Conn // below TLS
	nc      net.Conn // what is read and written
	in      *bufio.Reader
	out     *bufio.Writer
	timeout time.Duration
	tls     *tls.ConnectionState // nil in clear
	ctx     context.Context
	stop    func() bool
}

// dial connects, with TLS where it is there from the start. When ctx ends, so
// does the connection.
func dial(ctx context.Context, server Server) (*conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	nc, err := d.DialContext(ctx, "tcp", server.Addr)
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrUnreachable, server.Addr, err)
	}
	c := &conn{server: server, raw: nc, nc: nc, timeout: replyTimeout, ctx: ctx}
	c.stop = context.AfterFunc(ctx, func() { nc.Close() })
	c.in = bufio.NewReaderSize(timedReader{c}, maxReplyLine)
	c.out = bufio.NewWriterSize(timedWriter{c}, 64<<10)
	if server.Implicit {
		if err := c.handshake(); err != nil {
			c.Close()
			return nil, fmt.Errorf("%s: %w", server.Addr, err)
		}
	}
	return c, nil
}

type timedReader struct{ c *conn }

func (r timedReader) Read(p []byte) (int, error) {
	if err := r.c.nc.SetReadDeadline(time.Now().Add(r.c.timeout)); err != nil {
		return 0, err
	}
	return r.c.nc.Read(p)
}

type timedWriter struct{ c *conn }

func (w timedWriter) Write(p []byte) (int, error) {
	if err := w.c.nc.SetWriteDeadline(time.Now().Add(w.c.timeout)); err != nil {
		return 0, err
	}
	return w.c.nc.Write(p)
}

// Close ends the connection.
func (c *conn) Close() error {
	c.stop()
	return c.raw.Close()
}

// local reports whether the other side is this machine, so that nobody can
// listen.
func (c *conn) local() bool {
	a, ok := c.raw.RemoteAddr().(*net.TCPAddr)
	return ok && a.IP.IsLoopback()
}

// send sends a command line.
func (c *conn) send(text string) error {
	if strings.ContainsAny(text, "\r\n\x00") { // it may be a password: the error does not quote it
		return errors.New("a line end or NUL can't be part of a command")
	}
	if _, err := c.out.WriteString(text + "\r\n"); err != nil {
		return c.broken(err)
	}
	if err := c.out.Flush(); err != nil {
		return c.broken(err)
	}
	return nil
}

// broken tells that the connection is of no more use.
func (c *conn) broken(err error) error {
	return fmt.Errorf("%w: %w", ErrBroken, err)
}

// readLine reads one line of a reply.
func (c *conn) readLine() (string, error) {
	l, err := c.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", fmt.Errorf("%w: it sent a line of over %d octets", ErrBroken, maxReplyLine)
	}
	if err != nil {
		return "", c.broken(err)
	}
	return strings.TrimRight(string(l), "\r\n"), nil
}
