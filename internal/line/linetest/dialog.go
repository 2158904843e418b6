// Package linetest runs the dialogs that test the line-based servers.
//
// A dialog is a text file:
//
//	# a comment
//	C: a line that the client sends, with CRLF added
//	R: "octets that it sends as they are\n"     (a Go string)
//	S: a line that the server must send; * stands for any text
//	X                                           the server closes the connection
//
// The server is read only where the dialog says S or X, so that lines in a row
// are sent as a pipelining client sends them. ${NAME} in any line is replaced.
package linetest

import (
	"bufio"
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

// Run plays each file that matches glob in a subtest. dial connects to a fresh
// server and gives the values of the dialog's variables.
func Run(t *testing.T, glob string, dial func(t *testing.T, file string) (net.Conn, map[string]string)) {
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
			conn, vars := dial(t, file)
			defer conn.Close()
			Play(t, file, string(text), conn, vars)
		})
	}
}

// patience only bounds a failing test: no dialog depends on it.
const patience = 20 * time.Second

// Play plays one dialog, or a part of one, which name names in failures.
func Play(t *testing.T, name, text string, conn net.Conn, vars map[string]string) {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	for i, line := range strings.Split(text, "\n") {
		fail := func(format string, args ...any) {
			t.Helper()
			t.Fatalf("%s:%d: %s: "+format, append([]any{name, i + 1, line}, args...)...)
		}
		for key, value := range vars {
			line = strings.ReplaceAll(line, "${"+key+"}", value)
		}
		verb, rest := line, ""
		if len(line) > 2 {
			verb, rest = line[:2], strings.TrimPrefix(line[2:], " ")
		}
		switch {
		case line == "" || line[0] == '#':
		case verb == "C:":
			if _, err := io.WriteString(conn, rest+"\r\n"); err != nil {
				fail("%v", err)
			}
		case verb == "R:":
			raw, err := strconv.Unquote(rest)
			if err != nil {
				fail("not a Go string: %v", err)
			}
			if _, err := io.WriteString(conn, raw); err != nil {
				fail("%v", err)
			}
		case verb == "S:":
			got, err := in.ReadString('\n')
			if err != nil {
				fail("got %q, %v", got, err)
			}
			if got, ok := strings.CutSuffix(got, "\r\n"); !ok || !Match(rest, got) {
				fail("got %q", got)
			}
		case line == "X":
			if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
				fail("got %q, %v; want the connection closed", rest, err)
			}
		default:
			fail("a line begins with C:, R:, S:, X or #")
		}
	}
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
