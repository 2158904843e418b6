// Package acme obtains a server's certificate from an authority by ACME (RFC
// 8555), with the http-01 challenge (section 8.3), and renews it when two thirds
// of its lifetime are over.
//
// # The directory
//
// It keeps its files in a directory of its own, of mode 0700; they are 0600.
// Another program may read them at any time, since they are replaced whole.
//
//	certificate.pem  the private key, and the chain, the server's own certificate
//	                 first. A line of text before them, "Obtained from URL", tells
//	                 which authority it is from; without it, it is a self-signed
//	                 one that stands in until there is another.
//	account.pem      the private key of the account at the authority
//	failure.json     the last attempt, unless it succeeded: see Failure
//
// What can't be read is renamed, with ".broken" behind its name, and made anew; what
// was removed, too, within an hour or at Retry. The certificate's key stays the same
// as it is renewed, so that a TLSA record of it (DANE, "3 1 1") goes on matching.
//
// # When the authority is asked
//
// In the background alone, never because of what a client asks for, and for the
// configured names alone: when there is no certificate from this authority for
// them, or it is time to renew it. Attempts that fail get rarer, from 5 minutes to
// 6 hours, or as the authority wants it. failure.json is written before an attempt
// begins: a server that crashes and starts again and again does not ask again and
// again.
package acme

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"xm/internal/disk"
	"xm/internal/safefile"
)

// The times of attempts.
const (
	firstBackoff = 5 * time.Minute
	maxBackoff   = 6 * time.Hour
	minBackoff   = time.Minute // also where somebody asks for another attempt
	attemptTime  = 5 * time.Minute
	lookTime     = time.Hour // until certificate.pem is looked at again
)

// Settings of a Manager.
type Settings struct {
	// Dir is the directory. It is made where it is missing.
	Dir string
	// URL is that of the authority's directory (RFC 8555, section 7.1.1). Whoever
	// sets it agrees to the authority's terms of service.
	URL string
	// Roots are who vouches for the authority's own HTTPS; nil for the system's.
	Roots *x509.CertPool
	// SelfSigned makes the certificate that stands in, and its key, in PEM.
	SelfSigned func(names []string) (cert, key []byte, err error)
	Log        *slog.Logger
}

// Manager obtains a certificate and keeps it valid.
type Manager struct {
	Settings
	root disk.Dir
	wake chan struct{} // looks again at once
	last Failure       // as it was noted; Run's alone
	// issue obtains a chain from the authority, the server's certificate first.
	issue func(ctx context.Context, key crypto.Signer, names []string) (chain [][]byte, err error)

	mu      sync.Mutex // also held while certificate.pem changes
	names   []string
	retry   bool              // somebody asked for an attempt
	answers map[string]string // to challenges, by token
}

// Open makes the directory. The caller ends with Close.
func Open(s Settings) (*Manager, error) {
	if err := safefile.MkdirAll(s.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("%w (tls.acme_state names the directory)", err)
	}
	root, err := disk.OpenDir(s.Dir)
	if err != nil {
		return nil, err
	}
	m := &Manager{Settings: s, root: root, wake: make(chan struct{}, 1), answers: map[string]string{}}
	m.issue = m.order
	return m, nil
}

// Close is for the end, after Run.
func (m *Manager) Close() error { return m.root.Close() }

// Prepare sees to it that there is a certificate that servers can use, if only a
// self-signed one. names are those that it is to be for, in ASCII; clients that name
// none get the same.
func (m *Manager) Prepare(names []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.names = names
	_, err := m.usable()
	return err
}

// Retry makes an attempt that failed be repeated soon, not when its time has come.
func (m *Manager) Retry() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.retry = true
	select {
	case m.wake <- struct{}{}:
	default: // it is awake
	}
}

// Run obtains and renews the certificate until ctx is done. Prepare comes before.
func (m *Manager) Run(ctx context.Context) {
	if f := m.lastFailure(); time.Now().Before(f.next(false)) {
		m.Log.Warn("the last attempt to obtain a TLS certificate failed", "err", f.Error, "mend", f.Mend, "next", f.Next, "sooner", "SIGHUP")
	}
	for ctx.Err() == nil {
		select {
		case <-time.After(m.turn(ctx)):
		case <-m.wake:
		case <-ctx.Done():
		}
	}
}

// turn makes an attempt if it is time for one, and tells how long nothing is to be
// done.
func (m *Manager) turn(ctx context.Context) time.Duration {
	m.mu.Lock()
	names, retry := m.names, m.retry
	have, err := m.usable()
	m.mu.Unlock()
	if err != nil {
		m.Log.Error("the files of ACME can't be used", "err", err, "retry", firstBackoff)
		return firstBackoff
	}
	last := m.lastFailure()
	at, why := m.due(have, names)
	if next := last.next(retry); next.After(at) {
		at = next
	}
	if wait := time.Until(at); wait > 0 {
		return min(wait, lookTime)
	}
	m.mu.Lock()
	m.retry = false
	m.mu.Unlock()
	m.attempt(ctx, have, names, why, last)
	return 0
}

// due is when a certificate is to be obtained in the place of one.
func (m *Manager) due(have certificate, names []string) (at time.Time, why string) {
	if have.from != m.URL {
		return time.Time{}, "there is none from this authority"
	}
	for _, name := range names {
		if have.leaf.VerifyHostname(name) != nil {
			return time.Time{}, "it is not for " + name
		}
	}
	return renewal(have.leaf), "it is time to renew it"
}

// renewal is when a certificate is to be renewed.
func renewal(leaf *x509.Certificate) time.Time {
	return leaf.NotAfter.Add(-leaf.NotAfter.Sub(leaf.NotBefore) / 3)
}

// attempt asks the authority once, and notes how it went.
func (m *Manager) attempt(ctx context.Context, have certificate, names []string, why string, last Failure) {
	now := time.Now()
	f := Failure{Time: now, Attempts: last.Attempts + 1, Error: "it was interrupted"}
	f.Next = now.Add(backoff(f.Attempts))
	if err := m.note(f); err != nil { // nor could the certificate be written
		m.Log.Error("the files of ACME can't be written", "err", err)
		select {
		case <-time.After(firstBackoff):
		case <-ctx.Done():
		}
		return
	}
	m.Log.Info("obtaining a TLS certificate", "names", names, "from", m.URL, "why", why)
	leaf, err := m.obtain(ctx, have.key, names)
	switch {
	case err == nil:
		f = Failure{}
		m.Log.Info("a TLS certificate was obtained", "names", names, "expires", leaf.NotAfter, "renewal", renewal(leaf))
	case ctx.Err() != nil: // the server stops, which is nobody's failure
		f = last
	default:
		f.explain(err)
		m.Log.Error("no TLS certificate was obtained, the one in use stays", "err", err, "mend", f.Mend,
			"attempts", f.Attempts, "next", f.Next, "sooner", "SIGHUP")
	}
	if err := m.note(f); err != nil {
		m.Log.Error("the files of ACME can't be written", "err", err)
	}
}

// errDue is of a certificate that would be renewed at once, again and again.
var errDue = errors.New("the certificate that the authority issued is to be renewed already, or has expired")

// obtain gets a certificate and puts it in the place of the one in use.
func (m *Manager) obtain(ctx context.Context, key crypto.Signer, names []string) (*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	chain, err := m.issue(ctx, key, names)
	if err != nil {
		return nil, err
	}
	text, err := encode(m.URL, key, chain)
	if err != nil {
		return nil, err
	}
	issued, err := decode(text)
	if err != nil {
		return nil, fmt.Errorf("the authority issued what can't be used: %w", err)
	}
	for _, name := range names {
		if err := issued.leaf.VerifyHostname(name); err != nil {
			return nil, fmt.Errorf("the authority issued what can't be used: %w", err)
		}
	}
	if !time.Now().Before(issued.leaf.NotAfter) {
		return nil, errDue
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := safefile.Replace(m.root, certificateFile, text, 0o600); err != nil {
		return nil, err
	}
	if !time.Now().Before(renewal(issued.leaf)) {
		return nil, errDue
	}
	return issued.leaf, nil
}

// backoff is the wait after so many attempts that failed, one after another.
func backoff(attempts int) time.Duration {
	wait := firstBackoff
	for range attempts - 1 {
		if wait = 2 * wait; wait >= maxBackoff {
			return maxBackoff
		}
	}
	return wait
}
