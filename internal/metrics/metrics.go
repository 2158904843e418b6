// Package metrics counts what the servers do, and shows it to Prometheus, in its
// text format, together with whether the servers are well.
//
//	GET /metrics   the figures; each has a line of help
//	GET /healthz   200 and "ok", or 503 and what is wrong, a line each
//
// The servers know nothing of it: an SMTP, POP3 or Regd is their Observer, and a
// Store the mail store's. Those methods make no garbage once a counter was there,
// and wait for nobody.
//
// Every value of a label is one of a few that this program has words for: of what
// a client sends, none becomes one. No figure names a user, an address or a
// message. Whoever may read them learns how much mail there is, and when.
package metrics

import (
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics are the figures of one process.
type Metrics struct {
	registry *prometheus.Registry

	open                                                *prometheus.GaugeVec
	accepted, refused, acceptErrors, received, sent     *prometheus.CounterVec
	handshakes, handshakeFailures                       *prometheus.CounterVec
	commands, logins, messages, recipients, octets      *prometheus.CounterVec
	retrieved, requests, commits, storeErrors, maildrop *prometheus.CounterVec
	loginTime                                           *prometheus.HistogramVec
	commitTime, syncTime, maildropTime                  prometheus.Histogram
	waiting                                             prometheus.Gauge
	deleted                                             prometheus.Counter

	mu      sync.Mutex
	failing map[string]failure // services that could not accept a connection, by name
}

// buckets are seconds: from what memory takes to what nobody waits for.
var buckets = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// New returns figures that are all zero. version is the program's.
func New(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), failing: map[string]failure{}}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.gauge("build_info", "1; the labels tell what runs.", "version", "go", "revision").
		WithLabelValues(version, runtime.Version(), revision()).Set(1)
	m.gauge("start_time_seconds", "When the process began, since 1970.").
		WithLabelValues().Set(float64(time.Now().UnixMilli()) / 1000)

	m.open = m.gauge("connections_open", "Connections that are open.", "service")
	m.accepted = m.counter("connections_total", "Connections that were accepted.", "service")
	m.refused = m.counter("connections_refused_total", "Connections that got no session, by reason.", "service", "reason")
	m.acceptErrors = m.counter("accept_errors_total", "Failures to accept a connection: for want of descriptors, say.", "service")
	m.received = m.counter("received_bytes_total", "Octets received, without those of TLS.", "service")
	m.sent = m.counter("sent_bytes_total", "Octets sent, without those of TLS.", "service")
	m.handshakes = m.counter("tls_handshakes_total", "TLS handshakes that succeeded, by version.", "service", "version")
	m.handshakeFailures = m.counter("tls_handshake_failures_total", "TLS handshakes that failed.", "service")

	m.commands = m.counter("commands_total", "Replies to commands of SMTP and POP3, by the reply's code or indicator; the verb \"unknown\" is all that is no command.", "service", "verb", "reply")
	m.logins = m.counter("logins_total", "Logins of SMTP and POP3, by mechanism (PASS for USER and PASS) and result: accepted, failed, limited, aborted, trouble.", "service", "mechanism", "result")
	m.loginTime = m.histogram("login_seconds", "How long a login takes that is accepted or fails, without what the client thinks.", "service")
	m.messages = m.counter("messages_total", "Messages received over SMTP, by the reply's code; 250 is durable.", "service", "reply")
	m.recipients = m.counter("message_recipients_total", "Recipients of the messages that are durable.", "service")
	m.octets = m.counter("message_bytes_total", "Octets of the messages that are durable, as received; recipients do not multiply them.", "service")
	m.retrieved = m.counter("messages_retrieved_total", "Messages that RETR sent.", "service")
	m.requests = m.counter("regd_requests_total", "Requests to the registration server, by kind and status.", "kind", "result")

	m.waiting = m.gauge("store_commits_waiting", "Messages whose delivery waits for the disk.").WithLabelValues()
	m.commits = m.counter("store_commits_total", "Deliveries to the mail store that came to their end, by result: ok, full, error.", "result")
	m.commitTime = m.histogram("store_commit_seconds", "How long a delivery takes to be durable, once all of it is there.").WithLabelValues().(prometheus.Histogram)
	m.syncTime = m.histogram("store_fsync_seconds", "How long an fsync of a delivery takes.").WithLabelValues().(prometheus.Histogram)
	m.storeErrors = m.counter("store_errors_total", "Errors of the mail store, by operation.", "operation")
	m.maildrop = m.counter("store_maildrop_opens_total", "Maildrops opened, by result: ok, in_use, error.", "result")
	m.maildropTime = m.histogram("store_maildrop_open_seconds", "How long it takes to lock and list a maildrop.").WithLabelValues().(prometheus.Histogram)
	m.deleted = m.counter("store_messages_deleted_total", "Messages deleted over POP3.").WithLabelValues()
	return m
}

const namespace = "xm"

func (m *Metrics) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
	m.registry.MustRegister(v)
	return v
}

func (m *Metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	m.registry.MustRegister(v)
	return v
}

func (m *Metrics) histogram(name, help string, labels ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
	m.registry.MustRegister(v)
	return v
}

// revision is the commit that the program was built from; "" if that is not
// known.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return ""
}
