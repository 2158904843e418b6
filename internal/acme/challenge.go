package acme

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"xm/internal/line"
)

// challengePath begins the path of a question. RFC 8555, section 8.3.
const challengePath = "/.well-known/acme-challenge/"

const (
	serveTime = 10 * time.Second
	maxHead   = 8 << 10 // octets of a request
	maxConns  = 400
	// An authority asks from several addresses, a few times each. Nobody else is to keep
	// it out.
	maxPerAddr = 20
)

// Serve answers the authority's questions on l until ctx is done; whatever else is
// asked for is not found. See line.Server.Serve.
func (m *Manager) Serve(ctx context.Context, l net.Listener) error {
	return (&line.Server{
		Handle:   m.handle,
		Busy:     "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n",
		Limits:   &line.Limits{MaxConns: maxConns, MaxPerAddr: maxPerAddr},
		Lifetime: serveTime,
		Log:      m.Log,
	}).Serve(ctx, l)
}

// setAnswer makes the answer to a token known; an empty one is none.
func (m *Manager) setAnswer(token, answer string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if answer == "" {
		delete(m.answers, token)
		return
	}
	m.answers[token] = answer
}

func (m *Manager) answer(token string) (answer string, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	answer, ok = m.answers[token]
	return answer, ok
}

// handle serves one request.
func (m *Manager) handle(c *line.Conn) {
	in, err := c.Input(serveTime)
	if err != nil {
		return // it is gone
	}
	r, err := http.ReadRequest(bufio.NewReader(io.LimitReader(in, maxHead)))
	if err != nil {
		m.reply(c, nil, http.StatusBadRequest, "this is no HTTP request\r\n")
		return
	}
	token, asked := strings.CutPrefix(r.URL.Path, challengePath)
	answer, known := m.answer(token)
	status := http.StatusOK
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		status, answer = http.StatusMethodNotAllowed, "the methods here are GET, HEAD\r\n"
	case !asked || !known:
		status, answer = http.StatusNotFound, "there is nothing here\r\n"
	default:
		m.Log.Info("a question of the authority", "session", c.ID, "peer", c.Peer(), "host", r.Host)
	}
	m.reply(c, r, status, answer)
}

// reply sends the answer, and tells that it is the last one.
func (m *Manager) reply(c *line.Conn, r *http.Request, status int, text string) {
	err := (&http.Response{
		StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Request: r, Close: true,
		Header: http.Header{
			"Content-Type":           {"application/octet-stream"}, // RFC 8555, section 8.3
			"X-Content-Type-Options": {"nosniff"},
			"Allow":                  {"GET, HEAD"},
		},
		Body: io.NopCloser(strings.NewReader(text)), ContentLength: int64(len(text)),
	}).Write(c)
	if err == nil {
		err = c.Flush()
	}
	if err != nil {
		m.Log.Info("connection lost", "session", c.ID, "peer", c.Peer(), "err", err)
	}
}
