package acme

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"xm/internal/disk"
	"xm/internal/safefile"
)

// The files in the directory.
const (
	certificateFile = "certificate.pem"
	accountFile     = "account.pem"
	failureFile     = "failure.json"
	broken          = ".broken" // ends the name of one that could not be read
)

// maxFile bounds what is read of a file.
const maxFile = 1 << 20

// obtainedFrom begins the line about the authority.
const obtainedFrom = "Obtained from "

// File is where the certificate, with its key, is in a Manager's directory.
func File(dir string) string { return filepath.Join(dir, certificateFile) }

// certificate is the content of certificate.pem.
type certificate struct {
	from string // the authority's URL; empty for a self-signed one
	leaf *x509.Certificate
	key  crypto.Signer
}

// encode is the inverse of decode.
func encode(from string, key crypto.Signer, chain [][]byte) ([]byte, error) {
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "%s%s\n", obtainedFrom, from)
	text.Write(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	for _, der := range chain {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	return text.Bytes(), nil
}

func decode(text []byte) (certificate, error) {
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return certificate{}, err
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return certificate{}, fmt.Errorf("a %T can't sign", pair.PrivateKey)
	}
	c := certificate{leaf: pair.Leaf, key: key}
	// RFC 7468, section 2: text may stand before the first block.
	first, _, _ := strings.Cut(string(text), "\n")
	if url, ok := strings.CutPrefix(first, obtainedFrom); ok {
		c.from = strings.TrimSpace(url)
	}
	return c, nil
}

// load reads a file, if it is there. One that is broken is set aside, and counts as
// missing.
func load[T any](m *Manager, name string, parse func([]byte) (T, error)) (content T, found bool, err error) {
	text, err := read(m.root, name)
	if errors.Is(err, fs.ErrNotExist) {
		return content, false, nil
	}
	if err != nil {
		return content, false, err
	}
	if content, err = parse(text); err != nil {
		return content, false, m.setAside(name, err)
	}
	return content, true, nil
}

// usable reads the certificate. One that is missing, or broken, is replaced by a
// self-signed one. The caller holds m.mu.
func (m *Manager) usable() (certificate, error) {
	if c, found, err := load(m, certificateFile, decode); found || err != nil {
		return c, err
	}
	cert, key, err := m.SelfSigned(m.names)
	if err != nil {
		return certificate{}, err
	}
	text := append(key, cert...)
	m.Log.Warn("there is no TLS certificate from an authority yet: a self-signed one stands in, which clients will not trust")
	if err := safefile.WriteNew(m.root, certificateFile, text, 0o600); errors.Is(err, fs.ErrExist) { // another server was faster
		if text, err = read(m.root, certificateFile); err != nil {
			return certificate{}, err
		}
	} else if err != nil {
		return certificate{}, err
	}
	return decode(text)
}

// setAside gives a file that can't be used another name.
func (m *Manager) setAside(name string, why error) error {
	m.Log.Error("a file of ACME is broken, and made anew", "err", why, "file", filepath.Join(m.Dir, name), "renamed", name+broken)
	if err := m.root.Rename(name, name+broken); err != nil {
		return err
	}
	return m.root.Sync()
}

// accountKey reads the account's key, which is made where there is none.
func (m *Manager) accountKey() (crypto.Signer, error) {
	if key, found, err := load(m, accountFile, parseKey); found || err != nil {
		return key, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, safefile.WriteNew(m.root, accountFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600)
}

func parseKey(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("there is no PEM block in it")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T can't sign", parsed)
	}
	return key, nil
}

func read(root disk.Dir, name string) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// Failure is the last attempt to obtain a certificate, if it failed or has not
// ended: the content of failure.json.
type Failure struct {
	Time     time.Time `json:"time"`
	Attempts int       `json:"attempts"` // that failed, one after another
	Next     time.Time `json:"next"`     // attempt
	Error    string    `json:"error"`
	Mend     string    `json:"mend"` // what to do about it; may be empty
}

// next is when the next attempt may be made, at the earliest.
func (f Failure) next(retry bool) time.Time {
	if time.Now().Before(f.Time) {
		return time.Time{} // the clock was wrong then
	}
	if retry {
		return f.Time.Add(minBackoff)
	}
	return f.Next
}

// lastFailure is what is noted. Where that can't be read, it is what this process
// noted last: the authority is not to pay for it.
func (m *Manager) lastFailure() Failure {
	f, err := readFailure(m.root)
	if err != nil {
		m.Log.Error("what is known of the last attempt can't be read", "file", filepath.Join(m.Dir, failureFile), "err", err)
		return m.last
	}
	return f
}

// readFailure reads a Failure; it is zero for none.
func readFailure(root disk.Dir) (f Failure, err error) {
	text, err := read(root, failureFile)
	if errors.Is(err, fs.ErrNotExist) {
		return Failure{}, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &f)
	}
	if err != nil {
		return Failure{}, err
	}
	return f, nil
}

// note writes a failure; zero is none.
func (m *Manager) note(f Failure) error {
	m.last = f
	if f == (Failure{}) {
		if err := m.root.Remove(failureFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return m.root.Sync()
	}
	text, err := json.MarshalIndent(f, "", "\t")
	if err != nil {
		return err
	}
	return safefile.Replace(m.root, failureFile, append(text, '\n'), 0o600)
}

// Status is what there is in a Manager's directory.
type Status struct {
	From    string            // the authority's URL; empty where none has issued a certificate
	Leaf    *x509.Certificate // the server's own; nil for none
	Renewal time.Time
	Failure Failure // zero for none
}

// Read looks at a directory, and changes nothing. A directory that does not exist
// holds nothing.
func Read(dir string) (s Status, err error) {
	root, err := disk.OpenDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Status{}, nil
	}
	if err != nil {
		return Status{}, err
	}
	defer root.Close()
	if s.Failure, err = readFailure(root); err != nil {
		return s, fmt.Errorf("%s: %w", filepath.Join(dir, failureFile), err)
	}
	text, err := read(root, certificateFile)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	c, err := decode(text)
	if err != nil {
		return s, fmt.Errorf("%s: %w", File(dir), err)
	}
	s.From, s.Leaf, s.Renewal = c.from, c.leaf, renewal(c.leaf)
	return s, nil
}
