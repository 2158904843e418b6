package metrics

import (
	"crypto/tls"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"xm/internal/line"
	"xm/internal/sasl"
)

// Service is the line.Observer of one service.
type Service struct {
	all                                                     *Metrics
	name                                                    string
	open                                                    prometheus.Gauge
	accepted, acceptErrors, received, sent, handshakeFailed prometheus.Counter
	refused                                                 map[string]prometheus.Counter
	handshakes                                              cache[uint16]
}

func (m *Metrics) service(name string) *Service {
	s := &Service{
		all: m, name: name,
		open:            m.open.WithLabelValues(name),
		accepted:        m.accepted.WithLabelValues(name),
		acceptErrors:    m.acceptErrors.WithLabelValues(name),
		received:        m.received.WithLabelValues(name),
		sent:            m.sent.WithLabelValues(name),
		handshakeFailed: m.handshakeFailures.WithLabelValues(name),
		refused:         map[string]prometheus.Counter{},
	}
	for _, reason := range []string{line.RefusedLimit, line.RefusedProxy, line.RefusedTLS, line.RefusedStopping} {
		s.refused[reason] = m.refused.WithLabelValues(name, reason)
	}
	s.handshakes.counter = func(version uint16) (uint16, prometheus.Counter) {
		return version, m.handshakes.WithLabelValues(name, tls.VersionName(version))
	}
	return s
}

// Opened is line.Observer's.
func (s *Service) Opened() {
	s.open.Inc()
	s.accepted.Inc()
}

// Closed is line.Observer's.
func (s *Service) Closed() { s.open.Dec() }

// Refused is line.Observer's.
func (s *Service) Refused(reason string) { s.refused[reason].Inc() }

// AcceptFailed is line.Observer's.
func (s *Service) AcceptFailed(err error) {
	s.acceptErrors.Inc()
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	s.all.failing[s.name] = failure{time.Now(), err}
}

// Handshake is line.Observer's.
func (s *Service) Handshake(version uint16, err error) {
	if err != nil {
		s.handshakeFailed.Inc()
		return
	}
	s.handshakes.of(version).Inc()
}

// Received is line.Observer's.
func (s *Service) Received(octets int) { s.received.Add(float64(octets)) }

// Sent is line.Observer's.
func (s *Service) Sent(octets int) { s.sent.Add(float64(octets)) }

// failure is that to accept a connection.
type failure struct {
	at  time.Time
	err error
}

// failingTime is how long a failure to accept is one of the service: the next
// attempt comes within a second, and fails again unless things are better.
const failingTime = 5 * time.Second

// down names the services that can't accept connections, and why.
func (m *Metrics) down() (problems []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(m.failing)) {
		if f := m.failing[name]; time.Since(f.at) < failingTime {
			problems = append(problems, fmt.Sprintf("%s accepts no connections: %v", name, f.err))
		}
	}
	return problems
}

// logins count those of one service.
type logins struct {
	took   prometheus.Observer
	counts cache[login]
}

type login struct{ mechanism, outcome string }

// loginsOf also makes the counters for the mechanisms: Prometheus sees no growth
// in one that begins with 1.
func (m *Metrics) loginsOf(service string, mechanisms ...string) *logins {
	l := &logins{took: m.loginTime.WithLabelValues(service)}
	l.counts.counter = func(k login) (login, prometheus.Counter) {
		k = login{strings.Clone(k.mechanism), strings.Clone(k.outcome)}
		return k, m.logins.WithLabelValues(service, k.mechanism, k.outcome)
	}
	for _, mechanism := range mechanisms {
		for _, o := range []sasl.Outcome{sasl.Accepted, sasl.Failed, sasl.Limited, sasl.Aborted, sasl.Trouble} {
			l.counts.of(login{mechanism, string(o)})
		}
	}
	return l
}

// Login is smtpd.Observer's and pop3d.Observer's.
func (l *logins) Login(mechanism, outcome string, took time.Duration) {
	if o := sasl.Outcome(outcome); o == sasl.Accepted || o == sasl.Failed { // else it has not taken its time
		l.took.Observe(took.Seconds())
	}
	l.counts.of(login{mechanism, outcome}).Inc()
}

// SMTP is the smtpd.Observer of one service.
type SMTP struct {
	*Service
	*logins
	commands           cache[smtpReply]
	messages           cache[int]
	recipients, octets prometheus.Counter
}

type smtpReply struct {
	verb string
	code int
}

// SMTP returns the observer of a service.
func (m *Metrics) SMTP(name string) *SMTP {
	s := &SMTP{
		Service: m.service(name), logins: m.loginsOf(name, sasl.ScramSHA256Plus, sasl.ScramSHA256, sasl.Plain, sasl.Login),
		recipients: m.recipients.WithLabelValues(name), octets: m.octets.WithLabelValues(name),
	}
	s.commands.counter = func(k smtpReply) (smtpReply, prometheus.Counter) {
		k.verb = strings.Clone(k.verb)
		return k, m.commands.WithLabelValues(name, k.verb, strconv.Itoa(k.code))
	}
	s.messages.counter = func(code int) (int, prometheus.Counter) {
		return code, m.messages.WithLabelValues(name, strconv.Itoa(code))
	}
	for _, code := range []int{250, 451, 452} { // which alerts look at, as with logins
		s.messages.of(code)
	}
	return s
}

// Command is smtpd.Observer's.
func (s *SMTP) Command(verb string, code int) { s.commands.of(smtpReply{verb, code}).Inc() }

// Message is smtpd.Observer's.
func (s *SMTP) Message(code, recipients int, octets int64) {
	s.messages.of(code).Inc()
	if code == 250 {
		s.recipients.Add(float64(recipients))
		s.octets.Add(float64(octets))
	}
}

// POP3 is the pop3d.Observer of one service.
type POP3 struct {
	*Service
	*logins
	commands  cache[pop3Reply]
	retrieved prometheus.Counter
}

type pop3Reply struct {
	verb string
	ok   bool
}

// POP3 returns the observer of a service.
func (m *Metrics) POP3(name string) *POP3 {
	s := &POP3{Service: m.service(name), logins: m.loginsOf(name, "PASS", sasl.ScramSHA256Plus, sasl.ScramSHA256, sasl.Plain), retrieved: m.retrieved.WithLabelValues(name)}
	s.commands.counter = func(k pop3Reply) (pop3Reply, prometheus.Counter) {
		k.verb = strings.Clone(k.verb)
		indicator := "-ERR"
		if k.ok {
			indicator = "+OK"
		}
		return k, m.commands.WithLabelValues(name, k.verb, indicator)
	}
	return s
}

// Command is pop3d.Observer's.
func (s *POP3) Command(verb string, ok bool) {
	s.commands.of(pop3Reply{verb, ok}).Inc()
	if ok && verb == "RETR" {
		s.retrieved.Inc()
	}
}

// Regd is the regd.Observer of one service.
type Regd struct {
	*Service
	requests *prometheus.CounterVec
}

// Regd returns the observer of a service.
func (m *Metrics) Regd(name string) *Regd { return &Regd{m.service(name), m.requests} }

// Request is regd.Observer's.
func (s *Regd) Request(kind, result string) { s.requests.WithLabelValues(kind, result).Inc() }
