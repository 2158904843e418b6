package regd

import (
	"io"
	"net"
	"testing"

	"xm/internal/line/linetest"
)

// counts is an Observer, without what is the connection's.
type counts struct{ linetest.Counts }

func (c *counts) Opened()      {}
func (c *counts) Closed()      {}
func (c *counts) Received(int) {}
func (c *counts) Sent(int)     {}

func (c *counts) Request(kind, result string) { c.Count(1, kind, result) }

func TestObserver(t *testing.T) {
	s, _ := newServer(t)
	var counted counts
	s.Observer = &counted
	addr := start(t, s)
	payload := seal(t, &s.Key.PublicKey, registration("alice"))
	for _, text := range []string{
		string(payload),
		"GET /server.pub HTTP/1.0\r\n\r\n",
		"GET /keys/alice HTTP/1.0\r\n\r\n",
		"GET /keys/bob HTTP/1.0\r\n\r\n",
		"GET /challenge HTTP/1.0\r\n\r\n",
		"POST /register HTTP/1.0\r\nContent-Length: 1\r\n\r\nx",
		"GET /register HTTP/1.0\r\n\r\n",
		"GET /etc/passwd HTTP/1.0\r\n\r\n",
		"NONSENSE\r\n\r\n",
		"what is this",
		string(payload),
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, text)
		if _, err := io.ReadAll(conn); err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	counted.Want(t, "server_key 200: 1", "keys 200: 1", "keys 404: 1", "challenge 200: 1", "register 400: 1", "register 405: 1",
		"unknown 404: 1", "unknown 400: 1", "original -ERR: 2", "original +OK: 1")
}
