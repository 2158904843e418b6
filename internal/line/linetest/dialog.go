// Package linetest runs the dialogs that test the line-based servers.
//
// A dialog is a text file:
//
//	# a comment
//	C: a line that the client sends, with CRLF added
//	R: "octets that it sends as they are\n"     (a Go string)
//	S: a line that the server must send; * stands for any text
//	U: likewise, after any number of others
//	TLS                                         the client begins the handshake
//	X                                           the server closes the connection
//
// The server is read only where the dialog says S, U or X, so that lines in a
// row are sent as a pipelining client sends them. ${NAME} in any line is
// replaced. The words of a first line "# server: ..." say what kind of server
// the dialog is for.
package linetest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Dialog is one that is to be played.
type Dialog struct {
	Name   string
	Text   string
	Server []string // the words of "# server:"
	// The server that it is played against sets these.
	Vars map[string]string
	TLS  *tls.Config // for the client's side of handshakes
}

// Run plays each file that matches glob in a subtest. dial connects to a fresh
// server.
func Run(t *testing.T, glob string, dial func(*testing.T, *Dialog) net.Conn) {
	t.Helper()
	files, err := filepath.Glob(glob)
	if err != nil || len(files) == 0 {
		t.Fatalf("no dialogs match %s: %v", glob, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			d := &Dialog{Name: file, Text: string(text)}
			first, _, _ := strings.Cut(d.Text, "\n")
			if words, ok := strings.CutPrefix(first, "# server:"); ok {
				d.Server = strings.Fields(words)
			}
			conn := dial(t, d)
			defer conn.Close()
			d.Play(t, conn)
		})
	}
}

// patience only bounds a failing test: no dialog depends on it.
const patience = 20 * time.Second

// Play plays one dialog, or a part of one, which name names in failures.
func Play(t *testing.T, name, text string, conn net.Conn) {
	t.Helper()
	(&Dialog{Name: name, Text: text}).Play(t, conn)
}

// player is the client of a dialog.
type player struct {
	conn net.Conn
	in   *bufio.Reader
	tls  *tls.Config
}

// Play plays the dialog.
func (d *Dialog) Play(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	p := &player{conn, bufio.NewReader(conn), d.TLS}
	for i, line := range strings.Split(d.Text, "\n") {
		for key, value := range d.Vars {
			line = strings.ReplaceAll(line, "${"+key+"}", value)
		}
		if err := p.step(line); err != nil {
			t.Fatalf("%s:%d: %s: %v", d.Name, i+1, line, err)
		}
	}
}

func (p *player) step(line string) error {
	verb, rest := line, ""
	if len(line) > 2 && line[1] == ':' {
		verb, rest = line[:2], strings.TrimPrefix(line[2:], " ")
	}
	switch {
	case line == "" || line[0] == '#':
		return nil
	case verb == "C:":
		return p.send(rest + "\r\n")
	case verb == "R:":
		raw, err := strconv.Unquote(rest)
		if err != nil {
			return fmt.Errorf("not a Go string: %w", err)
		}
		return p.send(raw)
	case verb == "S:", verb == "U:":
		return p.expect(rest, verb == "U:")
	case line == "TLS":
		return p.upgrade()
	case line == "X":
		if rest, err := io.ReadAll(p.in); err != nil || len(rest) > 0 {
			return fmt.Errorf("got %q, %v; want the connection closed", rest, err)
		}
		return nil
	}
	return errors.New("a line begins with C:, R:, S:, U:, TLS, X or #")
}

func (p *player) send(text string) error {
	_, err := io.WriteString(p.conn, text)
	return err
}

// expect reads a line that matches, or until one does.
func (p *player) expect(pattern string, until bool) error {
	for {
		got, err := p.in.ReadString('\n')
		if err != nil {
			return fmt.Errorf("got %q, %w", got, err)
		}
		text, ok := strings.CutSuffix(got, "\r\n")
		if ok && Match(pattern, text) {
			return nil
		}
		if !ok || !until {
			return fmt.Errorf("got %q", got)
		}
	}
}

func (p *player) upgrade() error {
	if n := p.in.Buffered(); n > 0 {
		return fmt.Errorf("the server sent %d octets more in clear", n)
	}
	secured := tls.Client(p.conn, p.tls)
	p.conn, p.in = secured, bufio.NewReader(secured)
	return secured.Handshake()
}

// Match reports whether text is pattern, in which each * stands for any text.
func Match(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	text, ok := strings.CutPrefix(text, parts[0])
	if !ok {
		return false
	}
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = after
	}
	return strings.HasSuffix(text, parts[len(parts)-1])
}

// Serve runs serve on a free loopback port until the test ends, and returns the
// address.
func Serve(t *testing.T, serve func(l net.Listener) (stop func() error)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop := serve(l)
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// CountWrites makes the connections of a listener add their writes to n.
func CountWrites(l net.Listener, n *atomic.Int64) net.Listener { return countingListener{l, n} }

type countingListener struct {
	net.Listener
	writes *atomic.Int64
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return countingConn{c, l.writes}, err
}

type countingConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}
