package mailclient

import (
	"bufio"
	"context"
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

// ReplyError is a server's refusal of a command.
type ReplyError struct {
	Command string // without anything secret
	Reply   string
}

func (e *ReplyError) Error() string {
	return fmt.Sprintf("the server answered %s with: %s", e.Command, Printable(e.Reply))
}

// conn is a connection to a line-based server.
type conn struct {
	net.Conn
	in   *bufio.Reader
	out  *bufio.Writer
	stop func() bool
}

// dial connects. When ctx ends, so does the connection.
func dial(ctx context.Context, addr string) (*conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &conn{nc, bufio.NewReaderSize(nc, maxReplyLine), bufio.NewWriterSize(nc, 64<<10),
		context.AfterFunc(ctx, func() { nc.Close() })}, nil
}

// Close ends the connection.
func (c *conn) Close() error {
	c.stop()
	return c.Conn.Close()
}

// local reports whether the other side is this machine, so that nobody can
// listen.
func (c *conn) local() bool {
	a, ok := c.RemoteAddr().(*net.TCPAddr)
	return ok && a.IP.IsLoopback()
}

var errClearPassword = errors.New("the password would cross the network in clear, as there is no TLS: " +
	"connect to localhost, through a tunnel such as ssh -L 2110:localhost:2110 -L 2525:localhost:2525 HOST")

// send sends a command line.
func (c *conn) send(text string) error {
	if strings.ContainsAny(text, "\r\n\x00") { // it may be a password: the error does not quote it
		return errors.New("a line end or NUL can't be part of a command")
	}
	if err := c.SetDeadline(time.Now().Add(replyTimeout)); err != nil {
		return err
	}
	if _, err := c.out.WriteString(text + "\r\n"); err != nil {
		return err
	}
	return c.out.Flush()
}

// readLine reads one line of a reply.
func (c *conn) readLine() (string, error) {
	l, err := c.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", fmt.Errorf("the server sent a line of over %d octets", maxReplyLine)
	}
	if err != nil {
		return "", fmt.Errorf("the server broke the connection off: %w", err)
	}
	return strings.TrimRight(string(l), "\r\n"), nil
}

// Printable replaces what is not a printable character or a blank, so that text
// from outside can't command a terminal.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if printable(r) {
			return r
		}
		return '\ufffd'
	}, s)
}
