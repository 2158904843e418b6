package commands

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"xm/internal/metrics"
)

// observe has what the servers of h do counted. They are made after that.
func (h *host) observe(m *metrics.Metrics) {
	h.metrics, h.counts = m, m.Store()
	h.store.Synced = h.counts.Synced
}

func (h *host) serveMetrics(log *slog.Logger) (serveFunc, error) {
	return (&metrics.Server{Metrics: h.metrics, State: health{h}, Allow: h.cfg.Metrics.Allow, Log: log}).Serve, nil
}

// health is how a host is.
type health struct{ *host }

// Users is metrics.State's.
func (h health) Users() (int, error) {
	records, err := h.db.Users()
	if records == nil { // else it is about some lines alone
		return 0, err
	}
	return len(records), nil
}

// CertificateExpires is metrics.State's.
func (h health) CertificateExpires() time.Time {
	if h.cert == nil {
		return time.Time{}
	}
	return h.cert.Leaf().NotAfter
}

// Problems is metrics.State's.
func (h health) Problems() (problems []string) {
	if err := writable(h.cfg.DataDir); err != nil {
		problems = append(problems, fmt.Sprintf("the data directory can't be written to: %v", err))
	}
	if _, err := h.Users(); err != nil {
		problems = append(problems, fmt.Sprintf("the users' files can't be read: %v", err))
	}
	if end := h.CertificateExpires(); !end.IsZero() && time.Now().After(end) {
		problems = append(problems, fmt.Sprintf("the TLS certificate has expired: %s", end.Format(time.RFC3339)))
	}
	return problems
}

// writable writes to a file without a name in a directory. That it could is not
// all: permissions do not tell of a full disk.
func writable(dir string) error {
	f, err := os.OpenFile(dir, os.O_WRONLY|unix.O_TMPFILE, 0o600)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EISDIR) { // open(2): a file system, or kernel, without
		return unix.Access(dir, unix.W_OK|unix.X_OK)
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString("x")
	return errors.Join(err, f.Close())
}
