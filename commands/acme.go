package commands

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"slices"

	"golang.org/x/net/idna"

	"xm/internal/acme"
	"xm/internal/config"
)

// openACME gets the certificate's directory ready, with a certificate in it that
// servers can use; nil if that is not obtained by ACME.
func openACME(cfg config.Config, log *slog.Logger) (*acme.Manager, error) {
	if !cfg.TLS.ACME {
		return nil, nil
	}
	names, err := acmeNames(cfg)
	if err != nil {
		return nil, err
	}
	roots, err := acmeRoots(cfg.TLS.ACMECA)
	if err != nil {
		return nil, err
	}
	m, err := acme.Open(acme.Settings{
		Dir: cfg.ACMEState(), URL: cfg.TLS.ACMEDirectory, Roots: roots, SelfSigned: selfSigned, Log: log.With("service", acmeService),
	})
	if err != nil {
		return nil, err
	}
	if err := m.Prepare(names); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// acmeNames are those that the certificate is for, the host name first.
func acmeNames(cfg config.Config) ([]string, error) {
	var names []string
	for _, name := range append([]string{cfg.Hostname}, cfg.TLS.ACMENames...) {
		ascii, err := idna.Lookup.ToASCII(name)
		if err != nil {
			return nil, fmt.Errorf("tls.acme: no certificate can be for %q: %w", name, err)
		}
		if !slices.Contains(names, ascii) {
			names = append(names, ascii)
		}
	}
	return names, nil
}

// acmeRoots reads who vouches for the authority's own HTTPS; nil for the system's.
func acmeRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("tls.acme_ca: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("tls.acme_ca: there is no certificate in %s", file)
	}
	return roots, nil
}

// certificateFiles are where the servers' certificate and key are; empty for none.
func certificateFiles(cfg config.Config) (cert, key string) {
	if cfg.TLS.ACME {
		file := acme.File(cfg.ACMEState())
		return file, file
	}
	return cfg.TLS.Cert, cfg.TLS.Key
}

// acme answers the authority's questions.
func (h *host) acme(log *slog.Logger) (serveFunc, error) {
	if h.obtained == nil {
		return nil, fmt.Errorf("%s: set acme = true in [tls] of the config", acmeService)
	}
	return h.obtained.Serve, nil
}

// obtain keeps the certificate valid until ctx is done, if this process is the one
// that the authority can ask.
func (r *runner) obtain(ctx context.Context) {
	if r.acme == nil {
		return
	}
	if !slices.ContainsFunc(r.ports, func(p *port) bool { return p.service.name == acmeService }) {
		r.log.Info("the certificate is obtained by xm serve or xm smtpd", "file", acme.File(r.acme.Dir))
		return
	}
	r.acme.Run(ctx)
}

// reloadACME looks after the certificate again, under new settings. What else
// changes about ACME, changes at a restart.
func (r *runner) reloadACME(cfg config.Config) error {
	if r.acme == nil {
		return nil
	}
	names, err := acmeNames(cfg)
	if err != nil {
		return err
	}
	return r.acme.Prepare(names)
}
