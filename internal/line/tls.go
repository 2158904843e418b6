package line

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"
)

// handshakeTimeout bounds a TLS handshake.
const handshakeTimeout = time.Minute

// Certificate is a server's certificate chain and private key, in PEM files
// that are read again when they change.
type Certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu     sync.Mutex
	failed string         // the last error, which is logged once
	tried  [2]os.FileInfo // the files at the last attempt to read them
	loaded *tls.Certificate
}

// LoadCertificate reads the files. The certificate chain begins with the
// server's own.
func LoadCertificate(certFile, keyFile string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, log: log}
	if err := c.read(); err != nil {
		return nil, err
	}
	return c, nil
}

// Leaf is the server's own certificate.
func (c *Certificate) Leaf() *x509.Certificate { return c.current().Leaf }

func (c *Certificate) read() error {
	tried, err := c.stat()
	if err != nil {
		return err
	}
	c.tried = tried
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("TLS certificate %s, key %s: %w", c.certFile, c.keyFile, err)
	}
	c.loaded = &pair
	return nil
}

func (c *Certificate) stat() (files [2]os.FileInfo, err error) {
	for i, name := range []string{c.certFile, c.keyFile} {
		if files[i], err = os.Stat(name); err != nil {
			return files, fmt.Errorf("TLS: %w", err)
		}
	}
	return files, nil
}

// current is the certificate to use. One that can't be read, because it is
// being replaced, say, leaves the one before it in use.
func (c *Certificate) current() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	files, err := c.stat()
	if err == nil && (changed(files[0], c.tried[0]) || changed(files[1], c.tried[1])) {
		if err = c.read(); err == nil {
			c.log.Info("TLS certificate read again", "file", c.certFile, "expires", c.loaded.Leaf.NotAfter)
		}
	}
	if err == nil {
		c.failed = ""
	} else if c.failed != err.Error() {
		c.failed = err.Error()
		c.log.Error("the TLS certificate in use stays", "err", err)
	}
	return c.loaded
}

func changed(a, b os.FileInfo) bool {
	return !os.SameFile(a, b) || a.Size() != b.Size() || !a.ModTime().Equal(b.ModTime())
}

// tlsConfig is made anew for each certificate, and shared by the connections
// under it, so that clients can resume their sessions.
func (s *Server) tlsConfig() *tls.Config {
	cert := s.Certificate.current()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.config == nil || s.config.Certificates[0].Leaf != cert.Leaf {
		s.config = &tls.Config{
			Certificates: []tls.Certificate{*cert},
			MinVersion:   tls.VersionTLS12, // RFC 8996
		}
		if s.ALPN != "" {
			// A client that names other protocols alone is refused (RFC 7301, section
			// 3.2): a browser that somebody sent here to attack a web site (ALPACA).
			s.config.NextProtos = []string{s.ALPN}
		}
	}
	return s.config
}

// TLS describes a connection under TLS.
type TLS struct {
	State tls.ConnectionState
	// Certificate is the one that the server showed.
	Certificate *x509.Certificate
}

// ErrNoTLS is returned by StartTLS of a server without a certificate.
var ErrNoTLS = errors.New("there is no TLS certificate")

// CanStartTLS reports whether StartTLS is of use.
func (c *Conn) CanStartTLS() bool { return c.srv.Certificate != nil && c.tls == nil }

// TLS is nil for a connection in clear.
func (c *Conn) TLS() *TLS { return c.tls }

// StartTLS makes the TLS handshake. What the client sent before it, behind the
// command that asked for it, is dropped: somebody in between may have put it
// there (RFC 3207, section 6). It returns how many octets those were. A server that
// stops interrupts it: the error is ErrStopping.
func (c *Conn) StartTLS() (dropped int, err error) {
	return c.in.Buffered(), c.handshake(c.raw, true)
}

// AcceptTLS makes the TLS handshake that the client began without being asked:
// what arrived and was peeked at, but not read, is its beginning.
func (c *Conn) AcceptTLS() error {
	begun, err := c.in.Peek(c.in.Buffered())
	if err != nil {
		return err
	}
	return c.handshake(begunConn{c.raw, io.MultiReader(bytes.NewReader(bytes.Clone(begun)), c.raw)}, false)
}

// begunConn is a connection of which something was read already.
type begunConn struct {
	net.Conn
	in io.Reader
}

func (c begunConn) Read(p []byte) (int, error) { return c.in.Read(p) }

// handshake is a wait like that of ReadLine.
func (c *Conn) handshake(clear net.Conn, idle bool) error {
	if !c.CanStartTLS() {
		return ErrNoTLS
	}
	if err := c.Flush(); err != nil {
		return err
	}
	config := c.srv.tlsConfig()
	secured := tls.Server(clear, config)
	c.reads, c.writes = patience{}, patience{}
	deadline, _ := c.writes.await(handshakeTimeout, c.expires)
	if err := c.raw.SetWriteDeadline(deadline); err != nil {
		return err
	}
	if err := c.beginWait(handshakeTimeout, idle); err != nil {
		return err
	}
	err := secured.Handshake()
	interrupted := c.endWait()
	c.srv.observer().Handshake(secured.ConnectionState().Version, err)
	switch {
	case err != nil && interrupted:
		return ErrStopping
	case err != nil:
		return fmt.Errorf("TLS handshake: %w", err)
	}
	c.tls = &TLS{secured.ConnectionState(), config.Certificates[0].Leaf}
	c.nc = secured
	c.in.Reset(timedReader{c})
	return nil
}
