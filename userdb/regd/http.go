package regd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"xm/hybrid"
	"xm/internal/line"
	"xm/internal/regwire"
	"xm/userdb"
)

// maxHead is the size of a request without its content.
const maxHead = 8 << 10

// answer is what an HTTP request gets.
type answer struct {
	status int
	header map[string]string
	body   []byte
}

func textAnswer(status int, text string) answer {
	return answer{status: status, body: []byte(text + "\r\n")}
}

// http serves one request, on a connection whose time runs already.
func (h *handler) http(c *line.Conn, in io.Reader, log *slog.Logger) {
	r, a := h.httpRequest(c, in, log)
	h.observeHTTP(r, a)
	log.Info("request", "method", short(r.Method), "path", short(r.URL.Path), "status", a.status)
	if err := a.write(c, r); err != nil {
		log.Info("connection lost", "err", err)
	}
}

// short is as much of what a peer sent as is worth a place in the log.
func short(s string) string { return fmt.Sprintf("%.300s", s) }

// httpRequest reads a request and returns the answer to it. Where it could not be
// read, r is empty.
func (h *handler) httpRequest(c *line.Conn, in io.Reader, log *slog.Logger) (*http.Request, answer) {
	limited := &limitedReader{in: in, left: maxHead}
	r, err := http.ReadRequest(bufio.NewReader(limited))
	if err != nil {
		return &http.Request{URL: &url.URL{}}, limited.answer()
	}
	limited.left += 2 * regwire.MaxPayload // chunks have lengths before them
	switch {
	case !h.requests.allow(c.Peer()):
		line.Abuse(log, "too many requests from that address")
		return r, textAnswer(http.StatusTooManyRequests, "too many requests from your address, try again later")
	case r.ProtoMajor != 1:
		return r, textAnswer(http.StatusHTTPVersionNotSupported, "HTTP/1.1 is spoken here")
	case r.Host == "" && r.ProtoAtLeast(1, 1): // RFC 9112, section 3.2
		return r, textAnswer(http.StatusBadRequest, "a Host is missing")
	case !isHost(r.Host) || hasBlankInName(r.Header):
		return r, textAnswer(http.StatusBadRequest, "this is no HTTP request")
	}
	return r, h.route(c, r, log)
}

// isHost reports whether a Host is a host, and a port perhaps. RFC 9112, section
// 3.2, has any other refused.
func isHost(s string) bool {
	u, err := url.Parse("http://" + s)
	return err == nil && u.Host == s
}

// hasBlankInName finds what http.ReadRequest takes, and RFC 9112, section 5.1, has
// refused: others may see another field in it.
func hasBlankInName(header http.Header) bool {
	for name := range header {
		if strings.Contains(name, " ") {
			return true
		}
	}
	return false
}

// limitedReader reads up to a limit, and knows what went wrong: http.ReadRequest
// takes what it has for a line where no more comes.
type limitedReader struct {
	in   io.Reader
	left int
	err  error
}

func (r *limitedReader) Read(p []byte) (n int, err error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err = r.in.Read(p[:min(len(p), r.left)])
	r.left -= n
	if err != nil {
		r.err = err
	}
	return n, err
}

// answer is that to a request that could not be read.
func (r *limitedReader) answer() answer {
	switch {
	case errors.Is(r.err, os.ErrDeadlineExceeded):
		return textAnswer(http.StatusRequestTimeout, "the request took too long")
	case r.left == 0:
		return textAnswer(http.StatusRequestHeaderFieldsTooLarge, "the request is too large")
	}
	return textAnswer(http.StatusBadRequest, "this is no HTTP request")
}

func (h *handler) route(c *line.Conn, r *http.Request, log *slog.Logger) answer {
	path := r.URL.Path
	name, isKeys := strings.CutPrefix(path, regwire.KeysPath)
	switch {
	case path == regwire.RegisterPath:
		if r.Method != http.MethodPost {
			return notAllowed("POST")
		}
		return h.post(c, r, log)
	case path != regwire.ServerKeyPath && path != regwire.ChallengePath && !isKeys:
		return textAnswer(http.StatusNotFound, "there is nothing here")
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return notAllowed("GET, HEAD")
	case path == regwire.ServerKeyPath:
		return answer{status: http.StatusOK, body: hybrid.MarshalPublicKey(&h.Key.PublicKey)}
	case path == regwire.ChallengePath:
		return textAnswer(http.StatusOK, h.challenges.issue())
	}
	return h.keys(name, log)
}

func notAllowed(methods string) answer {
	a := textAnswer(http.StatusMethodNotAllowed, "the methods here are "+methods)
	a.header = map[string]string{"Allow": methods}
	return a
}

// keys answers for the keys of a name. The way is the same, and as long, whether
// there are any or not.
func (h *handler) keys(name string, log *slog.Logger) answer {
	var found userdb.Record
	if n, err := userdb.ParseName(name); err == nil {
		if found, _, err = h.Users.Find(n.Local(), n.Domain()); err != nil {
			log.Error("keys", "user", name, "err", err)
			return textAnswer(http.StatusInternalServerError, "trouble on our side, try again later")
		}
	}
	k := regwire.KeyAnswer{Name: name, Time: regwire.FormatTime(time.Now())}
	a := answer{status: http.StatusNotFound}
	if len(found.Keys) > 0 {
		k.PEM, a.status = found.Keys, http.StatusOK
	}
	signature, err := k.Sign(h.Key)
	if err != nil {
		log.Error("keys", "user", name, "err", err)
		return textAnswer(http.StatusInternalServerError, "trouble on our side, try again later")
	}
	a.body = k.PEM
	a.header = map[string]string{
		regwire.TimeField: k.Time, regwire.SignatureField: base64.StdEncoding.EncodeToString(signature),
	}
	return a
}

// post answers a registration.
func (h *handler) post(c *line.Conn, r *http.Request, log *slog.Logger) answer {
	if !h.registrations.allow(c.Peer()) {
		line.Abuse(log, errTooMany.Error())
		return textAnswer(http.StatusTooManyRequests, "-ERR "+errTooMany.Error())
	}
	payload, a, ok := readContent(c, r)
	if !ok {
		return a
	}
	request, err := regwire.Open(payload, h.Key)
	if err != nil {
		if errors.Is(err, hybrid.ErrNotAuthentic) {
			err = refusal{errSealed, err}
		} else {
			err = refusal{errForeign, err}
		}
		text, _ := h.outcome(log, "", "", err)
		return textAnswer(http.StatusBadRequest, text)
	}
	ctx, cancel := context.WithTimeout(c.Context(), timeout)
	defer cancel()
	done, err := h.guarded(ctx, c.Peer(), log, func() (string, error) { return h.perform(ctx, request) })
	text, ok := h.outcome(log.With("user", short(request.Name), "action", request.Action), "registration", done, err)
	a = textAnswer(http.StatusOK, text)
	if !ok {
		a.status = http.StatusForbidden
	}
	a.header = map[string]string{
		regwire.MACField: base64.StdEncoding.EncodeToString(request.ReplyMAC(&h.Key.PublicKey, text)),
	}
	return a
}

// readContent reads the content of a request. If it is not ok, the answer says
// why.
func readContent(c *line.Conn, r *http.Request) (content []byte, a answer, ok bool) {
	if r.ProtoAtLeast(1, 1) && strings.EqualFold(r.Header.Get("Expect"), "100-continue") { // RFC 9110, section 10.1.1
		if err := c.Reply("HTTP/1.1 100 Continue\r\n"); err != nil {
			return nil, textAnswer(http.StatusBadRequest, "the connection is lost"), false
		}
	}
	content, err := io.ReadAll(io.LimitReader(r.Body, regwire.MaxPayload+1))
	switch {
	case len(content) > regwire.MaxPayload:
		return nil, textAnswer(http.StatusRequestEntityTooLarge, "the content is too large"), false
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, textAnswer(http.StatusRequestTimeout, "the request took too long"), false
	case err != nil:
		return nil, textAnswer(http.StatusBadRequest, "the content is cut short"), false
	}
	return content, answer{}, true
}

// write sends the answer, and tells that it is the last one.
func (a answer) write(c *line.Conn, r *http.Request) error {
	header := http.Header{
		"Content-Type":           {"text/plain; charset=utf-8"},
		"X-Content-Type-Options": {"nosniff"},
		"Cache-Control":          {"no-store"},
		"Date":                   {time.Now().UTC().Format(http.TimeFormat)}, // RFC 9110, section 6.6.1
	}
	for name, value := range a.header {
		header.Set(name, value)
	}
	err := (&http.Response{
		StatusCode: a.status, ProtoMajor: 1, ProtoMinor: 1, Request: r, Header: header, Close: true,
		Body: io.NopCloser(bytes.NewReader(a.body)), ContentLength: int64(len(a.body)),
	}).Write(c)
	return errors.Join(err, c.Flush())
}
