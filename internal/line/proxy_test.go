package line

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"xm/internal/line/linetest"
)

const v2 = proxyV2 // then: version and command, family, length, addresses and ports

var proxyHeaders = []struct{ header, want string }{
	{"PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n", "192.0.2.1 192.0.2.2"},
	{"PROXY TCP6 2001:db8::1 2001:db8::2 1 25\r\n", "2001:db8::1 2001:db8::2"},
	{"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1 25\r\n", "192.0.2.1 2001:db8::2"},
	{"PROXY UNKNOWN\r\n", "invalid IP invalid IP"},
	{"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", "invalid IP invalid IP"},
	{v2 + "\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x00\x01\x00\x19", "192.0.2.1 192.0.2.2"},
	{v2 + "\x21\x11\x00\x0f\xc0\x00\x02\x01\xc0\x00\x02\x02\x00\x01\x00\x19" + "\x04\x00\x00", "192.0.2.1 192.0.2.2"}, // with a TLV
	{v2 + "\x21\x21\x00\x24" + "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01" + strings.Repeat("\x01", 20), "2001:db8::1 101:101:101:101:101:101:101:101"},
	{v2 + "\x20\x00\x00\x00", "127.0.0.1 127.0.0.1"},      // LOCAL
	{v2 + "\x21\x31\x00\x03abc", "invalid IP invalid IP"}, // a Unix socket
	{"PROXY TCP4 2001:db8::1 192.0.2.2 1 25\r\n", ""},     // and so on: none of these is a header
	{"PROXY TCP6 192.0.2.1 2001:db8::2 1 25\r\n", ""},
	{"PROXY TCP6 fe80::1%eth0 2001:db8::2 1 25\r\n", ""},
	{"PROXY TCP4 192.0.2.1\r\n", ""},
	{"PROXY TCP4 192.0.2.1 x 1 25\r\n", ""},
	{"PROXY TCP4 192.0.2.1 192.0.2.2 99999 25\r\n", ""},
	{"PROXY TCP4 192.0.2.1 192.0.2.2 1 -1\r\n", ""},
	{"PROXY TCP5 192.0.2.1 192.0.2.2 1 25\r\n", ""},
	{"PROXY " + strings.Repeat("x", 200) + "\r\n", ""},
	{"EHLO client.example\r\n", ""},
	{v2 + "\x11\x11\x00\x0c" + strings.Repeat("\x01", 12), ""}, // version 1 in the form of version 2
	{v2 + "\x21\x11\x00\x04\xc0\x00\x02\x01", ""},
	{"PROXY TCP4 192.0.2.1 192.0.2.2 1 25", ""},
	{"", ""},
}

func TestReadProxyHeader(t *testing.T) {
	for _, c := range proxyHeaders {
		nc := &readConn{Reader: strings.NewReader(c.header + "next")}
		got, err := readProxyHeader(nc)
		rest, _ := io.ReadAll(nc)
		if c.want == "" && err == nil || c.want != "" && (err != nil || fmt.Sprint(got.client, " ", got.server) != c.want || string(rest) != "next") {
			t.Errorf("%q: %v, %v, and then %q; want %q", c.header, got, err, rest, c.want)
		}
	}
}

// readConn is a connection that reads from memory.
type readConn struct {
	net.Conn
	io.Reader
}

func (c *readConn) Read(p []byte) (int, error) { return c.Reader.Read(p) }
func (c *readConn) RemoteAddr() net.Addr       { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (c *readConn) LocalAddr() net.Addr        { return c.RemoteAddr() }

func FuzzReadProxyHeader(f *testing.F) {
	for _, c := range proxyHeaders {
		f.Add([]byte(c.header))
	}
	f.Fuzz(func(t *testing.T, header []byte) {
		got, err := readProxyHeader(&readConn{Reader: bytes.NewReader(header)})
		if err != nil && got != (proxied{}) {
			t.Errorf("%v with %v", got, err)
		}
	})
}

func TestProxies(t *testing.T) {
	s := &Server{Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Limits: &Limits{MaxPerAddr: 1}, Busy: "too many"}
	r := start(t, s)
	first := r.dial(t)
	first.ask("PROXY TCP4 192.0.2.1 127.0.0.1 1000 25\r\npeer\r\n", "192.0.2.1") // what came behind the header is not lost
	second := r.dial(t)
	second.ask("PROXY TCP4 192.0.2.1 127.0.0.1 1001 25\r\n", "too many")
	bare := r.dial(t)
	io.WriteString(bare, "hello there\r\nhello\r\n")
	if out, _ := io.ReadAll(bare.in); len(out) > 0 {
		t.Errorf("without a header: %q", out)
	}
	start(t, &Server{}).dial(t).ask("PROXY TCP4 x\r\n", "PROXY TCP4 x") // not from a proxy: a line like any other
}

// A balancer that connects and says nothing is heard no longer than this.
func TestProxyTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe, stop, done := serveInBubble(t, behindProxy())
		conn, began := pipe.Dial(), time.Now()
		if _, err := conn.Read(make([]byte, 1)); err == nil || !linetest.Waited(time.Since(began), proxyTimeout) {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		conn.Close()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Nor does it hold the stop up.
func TestStopBeforeProxyHeader(t *testing.T) {
	for _, begun := range []string{"", "PROXY TCP4 "} {
		synctest.Test(t, func(t *testing.T) {
			pipe, stop, done := serveInBubble(t, behindProxy())
			conn, began := pipe.Dial(), time.Now()
			if _, err := io.WriteString(conn, begun); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			stop()
			if err := <-done; err != nil || time.Since(began) > 0 {
				t.Errorf("%q: %v after %v", begun, err, time.Since(began))
			}
			conn.Close()
		})
	}
}

// A balancer that looks whether the port is open is no reason for a warning; one whose
// header is cut off is.
func TestProxyThatLooks(t *testing.T) {
	for sent, want := range map[string]string{"": "", "PROXY TCP4 ": "PROXY header"} {
		synctest.Test(t, func(t *testing.T) {
			var log linetest.Log
			s := behindProxy()
			s.Log = slog.New(slog.NewTextHandler(&log, nil))
			pipe, stop, done := serveInBubble(t, s)
			conn := pipe.Dial()
			if _, err := io.WriteString(conn, sent); err != nil {
				t.Error(err)
			}
			conn.Close()
			synctest.Wait()
			if text := log.String(); strings.Contains(text, "WARN") != (want != "") || !strings.Contains(text, want) {
				t.Errorf("%q is logged as %q", sent, text)
			}
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

func behindProxy() *Server {
	return &Server{Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Handle: echo, Log: slog.New(slog.DiscardHandler)}
}
