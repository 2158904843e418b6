package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// State is what is looked at when somebody asks, rather than counted.
type State interface {
	// Users is how many there are.
	Users() (int, error)
	// CertificateExpires is when the TLS certificate does; zero for none.
	CertificateExpires() time.Time
	// Problems says what keeps the servers from their work, a line each.
	Problems() []string
}

// gauges shows a State to Prometheus.
type gauges struct{ *Server }

var (
	healthy = prometheus.NewDesc(namespace+"_healthy", "1 if nothing is wrong, as at /healthz; else 0.", nil, nil)
	users   = prometheus.NewDesc(namespace+"_users", "Users; missing if that can't be told.", nil, nil)
	expires = prometheus.NewDesc(namespace+"_tls_certificate_expires_seconds", "When the TLS certificate expires, since 1970; missing without one.", nil, nil)
)

// Describe is prometheus.Collector's.
func (g gauges) Describe(descs chan<- *prometheus.Desc) {
	descs <- healthy
	descs <- users
	descs <- expires
}

// Collect is prometheus.Collector's.
func (g gauges) Collect(figures chan<- prometheus.Metric) {
	show := func(desc *prometheus.Desc, value float64) {
		figures <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value)
	}
	if len(g.problems()) == 0 {
		show(healthy, 1)
	} else {
		show(healthy, 0)
	}
	if n, err := g.State.Users(); err == nil {
		show(users, float64(n))
	}
	if end := g.State.CertificateExpires(); !end.IsZero() {
		show(expires, float64(end.Unix()))
	}
}
