package acme

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	rfc8555 "golang.org/x/crypto/acme"
)

// How often a request that failed is repeated within an attempt.
const (
	nonceRetries  = 10 // RFC 8555, section 6.5: the client should retry
	serverRetries = 3
)

const (
	requestTime = time.Minute
	http01      = "http-01"
)

// order obtains a chain for names and a key (RFC 8555, section 7.4).
func (m *Manager) order(ctx context.Context, key crypto.Signer, names []string) ([][]byte, error) {
	account, err := m.accountKey()
	if err != nil {
		return nil, err
	}
	transport := m.transport()
	defer transport.CloseIdleConnections()
	client := &rfc8555.Client{
		Key: account, DirectoryURL: m.URL, UserAgent: "xm", RetryBackoff: retryWait,
		HTTPClient: &http.Client{Transport: transport, Timeout: requestTime},
	}
	if _, err := client.Discover(ctx); err != nil {
		return nil, directoryError{err}
	}
	if err := m.register(ctx, client); err != nil {
		return nil, err
	}
	order, err := client.AuthorizeOrder(ctx, rfc8555.DomainIDs(names...))
	if err != nil {
		return nil, err
	}
	for _, url := range order.AuthzURLs {
		if err := m.authorize(ctx, client, url); err != nil {
			return nil, err
		}
	}
	if order, err = client.WaitOrder(ctx, order.URI); err != nil {
		return nil, err
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, key)
	if err != nil {
		return nil, err
	}
	chain, _, err := client.CreateCertFromOrder(ctx, order, request, true)
	return chain, err
}

// register makes the account, or finds it (RFC 8555, section 7.3).
func (m *Manager) register(ctx context.Context, client *rfc8555.Client) error {
	terms := ""
	_, err := client.Register(ctx, &rfc8555.Account{}, func(url string) bool {
		terms = url
		return true // the operator has, with tls.acme
	})
	if errors.Is(err, rfc8555.ErrAccountAlreadyExists) {
		return nil
	}
	if err != nil {
		return err
	}
	m.Log.Info("an account was made at the authority; tls.acme agrees to its terms of service", "from", m.URL, "terms", terms)
	return nil
}

// authorize proves that a name is ours (RFC 8555, section 7.5).
func (m *Manager) authorize(ctx context.Context, client *rfc8555.Client, url string) error {
	a, err := client.GetAuthorization(ctx, url)
	if err != nil {
		return err
	}
	if a.Status == rfc8555.StatusValid { // since an order before
		return nil
	}
	i := slices.IndexFunc(a.Challenges, func(c *rfc8555.Challenge) bool { return c.Type == http01 })
	if i < 0 {
		return fmt.Errorf("the authority offers no %s challenge for %s", http01, a.Identifier.Value)
	}
	challenge := a.Challenges[i]
	answer, err := client.HTTP01ChallengeResponse(challenge.Token)
	if err != nil {
		return err
	}
	m.setAnswer(challenge.Token, answer)
	defer m.setAnswer(challenge.Token, "")
	if _, err := client.Accept(ctx, challenge); err != nil {
		return err
	}
	_, err = client.WaitAuthorization(ctx, url)
	return err
}

// transport is like Go's default one, except that names are resolved without the C
// library: the sandbox may keep its modules from being loaded.
func (m *Manager) transport() *http.Transport {
	dialer := &net.Dialer{Timeout: requestTime, Resolver: &net.Resolver{PreferGo: true}}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer.DialContext,
		TLSHandshakeTimeout: requestTime,
		TLSClientConfig:     &tls.Config{RootCAs: m.Roots, MinVersion: tls.VersionTLS12},
	}
}

// retryWait is the wait before a request is sent again for the nth time; 0 for no
// more. The authority's Retry-After counts for the next attempt.
func retryWait(n int, _ *http.Request, resp *http.Response) time.Duration {
	switch {
	case resp.StatusCode == http.StatusBadRequest && n <= nonceRetries: // badNonce alone gets here
		return time.Duration(n) * 20 * time.Millisecond
	case resp.StatusCode >= http.StatusInternalServerError && n <= serverRetries:
		return time.Duration(n) * time.Second
	}
	return 0
}
