package config

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
)

func (c *Config) checkTLS() error {
	t := c.TLS
	switch {
	case (t.Cert == "") != (t.Key == ""):
		return errors.New("tls.cert and tls.key go together")
	case t.ACME && t.Cert != "":
		return errors.New("tls.cert and tls.key exclude tls.acme, which has files of its own")
	case c.Submission.ListenTLS != "" && !c.HasTLS():
		return errors.New("submission.listen_tls needs tls.cert and tls.key, or tls.acme")
	case c.POP3.ListenTLS != "" && !c.HasTLS():
		return errors.New("pop3.listen_tls needs tls.cert and tls.key, or tls.acme")
	}
	// RFC 8555, section 6.1: HTTPS alone.
	if u, err := url.Parse(t.ACMEDirectory); err != nil || u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("tls.acme_directory = %q is not the https:// URL of a directory", t.ACMEDirectory)
	}
	for _, name := range t.ACMENames {
		if name == "" || strings.ContainsFunc(name, notInDomain) {
			return fmt.Errorf("%q, in tls.acme_names, is not the name of a host", name)
		}
	}
	return nil
}

// HasTLS reports whether the servers are to have a certificate.
func (c *Config) HasTLS() bool { return c.TLS.ACME || c.TLS.Cert != "" }

// ACMEState is the directory of what is obtained by ACME: beside the data
// directory, unless it is set.
func (c *Config) ACMEState() string {
	if c.TLS.ACMEState != "" {
		return c.TLS.ACMEState
	}
	return filepath.Join(filepath.Dir(filepath.Clean(c.DataDir)), "acme")
}
