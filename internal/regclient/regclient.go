// Package regclient talks to a registration server: it registers users and asks
// for public keys. Package internal/regwire defines what is said.
//
// Nothing that a server says is believed unless the server's key, which the
// caller has pinned, vouches for it; so TLS is not needed. It hides who asks for
// whom.
package regclient

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"xm/hybrid"
	"xm/internal/regwire"
)

const (
	patience  = 30 * time.Second
	maxAnswer = 64 << 10
	maxHead   = 16 << 10
	// maxSkew is how far a server's clock may be from ours.
	maxSkew = time.Hour
)

var (
	// ErrNoKey says that the server vouches for it: there is no key of that name.
	ErrNoKey = errors.New("the server has no key of that name")
	// errFraud says that an answer is not the server's.
	errFraud = fmt.Errorf("%w: the answer is not from the owner of the server's key", hybrid.ErrNotAuthentic)
)

// Refusal is a server's answer to a request that it did not do.
type Refusal struct {
	Text string // from outside: it may hold anything
	// Authentic says that it is from the server.
	Authentic bool
}

func (r *Refusal) Error() string { return "the server refused: " + r.Text }

// Client talks to one server.
type Client struct {
	Address Address
	// Key is the server's: pinned.
	Key  *rsa.PublicKey
	http *http.Client
}

// New returns a client, which has no key yet.
func New(a Address) *Client {
	return &Client{Address: a, http: &http.Client{
		Timeout:       patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DialContext: dial, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxHead},
	}}
}

// ServerKey asks for the server's key. Anybody may have answered.
func (c *Client) ServerKey(ctx context.Context) (*rsa.PublicKey, error) {
	r, body, err := c.do(ctx, http.MethodGet, regwire.ServerKeyPath, nil)
	if err != nil {
		return nil, err
	}
	if r.StatusCode != http.StatusOK {
		return nil, c.unexpected(r)
	}
	key, err := hybrid.ParsePublicKey(body)
	if err != nil {
		return nil, fmt.Errorf("the key that %s shows: %w", c.Address, err)
	}
	return key, nil
}

// Keys asks for the public keys of a user, PEM, and when the server said so. The
// error matches ErrNoKey where there are none, and hybrid.ErrNotAuthentic for an
// answer that nobody vouches for.
func (c *Client) Keys(ctx context.Context, name string) (pem []byte, at time.Time, err error) {
	r, body, err := c.do(ctx, http.MethodGet, regwire.KeysPath+name, nil)
	if err != nil {
		return nil, at, err
	}
	a := regwire.KeyAnswer{Name: name, Time: r.Header.Get(regwire.TimeField)}
	switch r.StatusCode {
	case http.StatusOK:
		a.PEM = body
	case http.StatusNotFound:
	default:
		return nil, at, c.unexpected(r)
	}
	signature, err := base64.StdEncoding.DecodeString(r.Header.Get(regwire.SignatureField))
	if err != nil || a.Verify(c.Key, signature) != nil {
		return nil, at, errFraud
	}
	if at, err = time.Parse(time.RFC3339, a.Time); err != nil {
		return nil, at, err
	}
	if time.Since(at).Abs() > maxSkew {
		return nil, at, fmt.Errorf("%w: the answer is from %s, over an hour from now: it was recorded, or a clock is wrong", hybrid.ErrNotAuthentic, a.Time)
	}
	if a.PEM == nil {
		return nil, at, ErrNoKey
	}
	return a.PEM, at, nil
}

// Prepare gives a request the challenge and the secret that it needs before it is
// signed.
func (c *Client) Prepare(ctx context.Context, r *regwire.Request) error {
	response, body, err := c.do(ctx, http.MethodGet, regwire.ChallengePath, nil)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return c.unexpected(response)
	}
	r.Challenge, r.Secret = strings.TrimRight(string(body), "\r\n"), regwire.NewSecret()
	return nil
}

// Send sends a request, and returns what the server says that it did. A *Refusal
// that is authentic says that it did nothing; after any other error, nobody knows.
func (c *Client) Send(ctx context.Context, r regwire.Request) (text string, err error) {
	payload, err := r.Seal(c.Key)
	if err != nil {
		return "", err
	}
	response, body, err := c.do(ctx, http.MethodPost, regwire.RegisterPath, payload)
	if err != nil {
		return "", err
	}
	line := strings.TrimRight(string(body), "\r\n")
	mac, err := base64.StdEncoding.DecodeString(response.Header.Get(regwire.MACField))
	authentic := err == nil && hmac.Equal(mac, r.ReplyMAC(c.Key, line))
	if refused, ok := strings.CutPrefix(line, "-ERR "); ok {
		return "", &Refusal{refused, authentic}
	}
	text, ok := strings.CutPrefix(line, "+OK ")
	if !ok {
		return "", c.unexpected(response)
	}
	if !authentic {
		return "", errFraud
	}
	return text, nil
}

func (c *Client) unexpected(r *http.Response) error {
	if r.StatusCode == http.StatusTooManyRequests {
		return fmt.Errorf("%s takes no more requests from your address for now: try again later", c.Address)
	}
	return fmt.Errorf("%s answers %q: it is no registration server, or in trouble", c.Address, r.Status)
}

// do makes one request.
func (c *Client) do(ctx context.Context, method, path string, content []byte) (*http.Response, []byte, error) {
	u := url.URL{Scheme: "http", Host: c.Address.HostPort(), Path: path}
	if c.Address.tls {
		u.Scheme = "https"
	}
	r, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(content))
	if err != nil {
		return nil, nil, err
	}
	response, err := c.http.Do(r)
	if refused := new(Refusal); errors.As(err, &refused) {
		return nil, nil, fmt.Errorf("%s: %w", c.Address, harmless{refused})
	}
	if err != nil {
		return nil, nil, fmt.Errorf("the registration server: %w", harmless{err})
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		err = fmt.Errorf("the answer of %s: %w", c.Address, err)
	case len(body) > maxAnswer:
		err = fmt.Errorf("%s answers with more than %d octets", c.Address, maxAnswer)
	}
	return response, body, err
}

// harmless is an error that may quote a certificate, in which names can be anything,
// made fit for a terminal.
type harmless struct{ error }

func (h harmless) Error() string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, h.error.Error())
}

func (h harmless) Unwrap() error { return h.error }
