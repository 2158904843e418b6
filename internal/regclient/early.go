package regclient

import (
	"context"
	"net"
	"strings"
)

// early is a connection to a server that may answer before it knows what is spoken:
// one that has too many connections says so in the original's protocol. That is no
// HTTP, and no TLS.
type early struct {
	net.Conn
	heard bool // something was read
}

func dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &early{Conn: conn}, nil
}

// Read returns such an answer as an error, a *Refusal.
func (c *early) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.heard || n == 0 {
		return n, err
	}
	c.heard = true
	if text, refused := strings.CutPrefix(string(p[:n]), "-ERR "); refused {
		text, _, _ = strings.Cut(text, "\r\n")
		return 0, &Refusal{Text: text}
	}
	return n, err
}
