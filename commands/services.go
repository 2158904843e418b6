package commands

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
	"xm/internal/acme"
	"xm/internal/config"
	"xm/internal/keyring"
	"xm/internal/line"
	"xm/internal/maildir"
	"xm/internal/metrics"
	"xm/internal/safefile"
	"xm/internal/sasl"
	"xm/pop3d"
	"xm/smtpd"
	"xm/userdb"
	"xm/userdb/regd"
)

// service is one that xm can run.
type service struct {
	name       string
	setting    string                     // of the config: where it listens
	standard   string                     // where others expect it; "" for nowhere
	configured func(config.Config) string // where it listens; "" if it is switched off
	open       func(*host, *slog.Logger) (serveFunc, error)
}

// serveFunc accepts connections until the context is done.
type serveFunc func(context.Context, net.Listener) error

// The names of the main services, on the command line and in the log.
const (
	smtpService    = "smtp"
	pop3Service    = "pop3"
	regdService    = "regd"
	acmeService    = "acme"
	metricsService = "metrics" // which is of use beside others alone
)

// The standard ports are those of RFC 5321, RFC 8314, section 7, and RFC 1939, and the
// original's. The one of acme is its default.
var (
	smtpServices = []service{
		{acmeService, "tls.acme_listen", "", acmeListen, (*host).acme},
		{smtpService, "smtp.listen", ":25", func(c config.Config) string { return c.SMTP.Listen }, (*host).smtp},
		{"submission", "submission.listen", ":587", func(c config.Config) string { return c.Submission.Listen }, (*host).submission},
		{"submissions", "submission.listen_tls", ":465", func(c config.Config) string { return c.Submission.ListenTLS }, (*host).submissions},
	}
	pop3Services = []service{
		{pop3Service, "pop3.listen", ":110", func(c config.Config) string { return c.POP3.Listen }, (*host).pop3},
		{"pop3s", "pop3.listen_tls", ":995", func(c config.Config) string { return c.POP3.ListenTLS }, (*host).pop3s},
	}
	regdServices = []service{
		{regdService, "regd.listen", ":60085", func(c config.Config) string { return c.Regd.Listen }, (*host).regd},
	}
	metricsServices = []service{
		{metricsService, "metrics.listen", "", func(c config.Config) string { return c.Metrics.Listen }, (*host).serveMetrics},
	}
	services = slices.Concat(smtpServices, pop3Services, regdServices, metricsServices)
)

func acmeListen(c config.Config) string {
	if !c.TLS.ACME {
		return ""
	}
	return c.TLS.ACMEListen
}

// host is what the services of one process share.
type host struct {
	c     *cli.Context
	cfg   config.Config
	log   *slog.Logger
	db    *userdb.DB
	store *maildir.Store
	cert  *line.Certificate // nil for none
	// obtained is where cert is from; nil if it is not obtained by ACME. It belongs to
	// the process.
	obtained *acme.Manager
	logins   *sasl.Limiter
	// What the ports of a protocol share.
	smtpLimits, pop3Limits, regdLimits *line.Limits
	pop3Delay                          *pop3d.LoginDelay // nil for none

	presence *userdb.Presence // nil without POP3

	metrics *metrics.Metrics // these two are nil for none
	counts  *metrics.Store
}

// usersFresh is how long the servers do without another look at users.txt. It is so
// short that nobody can change the file, and then ask a server, in less.
const usersFresh = time.Millisecond

// openHost opens the files of the servers. obtained is as in host.
func openHost(c *cli.Context, cfg config.Config, log *slog.Logger, obtained *acme.Manager) (h *host, err error) {
	if err := safefile.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, err
	}
	addresses := &line.Addresses{} // all services count them together
	h = &host{
		c: c, cfg: cfg, log: log, obtained: obtained,
		logins:     &sasl.Limiter{MaxFailures: cfg.Login.MaxFailures},
		smtpLimits: &line.Limits{MaxConns: cfg.SMTP.MaxConnections, MaxPerAddr: cfg.SMTP.MaxPerAddress, Addresses: addresses},
		pop3Limits: &line.Limits{MaxConns: cfg.POP3.MaxConnections, MaxPerAddr: cfg.POP3.MaxPerAddress, Addresses: addresses},
		regdLimits: &line.Limits{MaxConns: cfg.Regd.MaxConnections, MaxPerAddr: cfg.Regd.MaxPerAddress, Addresses: addresses},
	}
	if cfg.POP3.LoginDelay > 0 {
		h.pop3Delay = &pop3d.LoginDelay{Delay: cfg.POP3.LoginDelay}
	}
	options := userOptions(cfg)
	options.Fresh = usersFresh
	if h.db, err = userdb.Open(cfg.DataDir, options, h.log); err != nil {
		return nil, err
	}
	if h.store, err = openStore(cfg, h.db, func(err error) { h.log.Error("the mail store has a problem", "err", err) }); err != nil {
		return nil, errors.Join(err, h.db.Close())
	}
	if err := h.loadCertificate(); err != nil {
		return nil, errors.Join(err, h.close())
	}
	warnOfUsers(h.db, h.log)
	return h, nil
}

func (h *host) close() error {
	if h.presence != nil {
		if err := h.presence.Close(); err != nil {
			h.log.Warn("userstat is not up to date", "err", err)
		}
	}
	return errors.Join(h.store.Close(), h.db.Close())
}

// giveUpJournal leaves the journal of the mail to the host of the next generation:
// sessions may stay with this one for long.
func (h *host) giveUpJournal() {
	if err := h.store.GiveUpJournal(); err != nil {
		h.log.Error("the mail store has a problem", "err", err)
	}
}

// soon is when the end of a certificate is worth a warning.
const soon = 14 * 24 * time.Hour

func (h *host) loadCertificate() error {
	if !h.cfg.HasTLS() {
		h.log.Warn("there is no TLS certificate: STARTTLS and STLS are not offered; set acme, or cert and key, in [tls] of the config")
		return nil
	}
	certFile, keyFile := certificateFiles(h.cfg)
	cert, err := line.LoadCertificate(certFile, keyFile, h.log)
	if h.cfg.TLS.ACME && err != nil && h.obtained == nil {
		return nil // this is doctor, which reports it itself
	}
	if err != nil {
		return err
	}
	h.cert = cert
	leaf := cert.Leaf()
	h.log.Info("TLS certificate", "file", certFile, "expires", leaf.NotAfter)
	if !h.cfg.TLS.ACME && time.Until(leaf.NotAfter) < soon { // ACME has its own time for it
		h.log.Warn("the TLS certificate expires soon, or has expired", "expires", leaf.NotAfter)
	}
	if err := leaf.VerifyHostname(h.cfg.Hostname); err != nil {
		h.log.Warn("the TLS certificate is not for the host name", "err", err)
	}
	return nil
}

func (h *host) smtpServer(service string, log *slog.Logger) *smtpd.Server {
	s := &smtpd.Server{
		Hostname: h.cfg.Hostname, MaxSize: h.cfg.SMTP.MaxSize, MaxRecipients: h.cfg.SMTP.MaxRecipients,
		Trusted: h.cfg.SMTP.Trusted, Certificate: h.cert, Proxies: h.cfg.SMTP.Proxies, Limits: h.smtpLimits,
		FailureDelay: h.cfg.Login.FailureDelay, Logins: h.logins,
		Users: users{h.db}, Mail: mail{store: h.store, db: h.db, counts: h.counts}, Log: log,
	}
	if h.metrics != nil {
		s.Observer = h.metrics.SMTP(service)
	}
	return s
}

func (h *host) smtp(log *slog.Logger) (serveFunc, error) {
	return h.smtpServer(smtpService, log).Serve, nil
}

func (h *host) submission(log *slog.Logger) (serveFunc, error) {
	s := h.smtpServer("submission", log)
	s.Submission = true
	return s.Serve, nil
}

func (h *host) submissions(log *slog.Logger) (serveFunc, error) {
	if h.cert == nil {
		return nil, fmt.Errorf("submissions: %w: set acme, or cert and key, in [tls] of the config", line.ErrNoTLS)
	}
	s := h.smtpServer("submissions", log)
	s.Submission, s.ImplicitTLS = true, true
	return s.Serve, nil
}

func (h *host) pop3Server(service string, log *slog.Logger) *pop3d.Server {
	if h.presence == nil { // both ports share it
		h.presence = h.db.Watch()
	}
	s := &pop3d.Server{
		Hostname: h.cfg.Hostname, Certificate: h.cert, Proxies: h.cfg.POP3.Proxies, Limits: h.pop3Limits, LoginDelay: h.pop3Delay,
		FailureDelay: h.cfg.Login.FailureDelay, Logins: h.logins,
		Users: users{h.db}, Mail: mail{h.store, h.db, h.presence, h.counts}, Log: log,
	}
	if h.metrics != nil {
		s.Observer = h.metrics.POP3(service)
	}
	return s
}

func (h *host) pop3(log *slog.Logger) (serveFunc, error) {
	return h.pop3Server(pop3Service, log).Serve, nil
}

func (h *host) pop3s(log *slog.Logger) (serveFunc, error) {
	if h.cert == nil {
		return nil, fmt.Errorf("pop3s: %w: set acme, or cert and key, in [tls] of the config", line.ErrNoTLS)
	}
	s := h.pop3Server("pop3s", log)
	s.ImplicitTLS = true
	return s.Serve, nil
}

// policies are the config's words for them.
var policies = map[string]regd.Policy{"open": regd.Open, "invite": regd.Invite, "closed": regd.Closed}

func (h *host) regd(log *slog.Logger) (serveFunc, error) {
	ring, err := keyring.Create(h.cfg.Regd.Keys, askPassphrase(h.c))
	if err != nil {
		return nil, err
	}
	defer ring.Close()
	key, made, err := ensureOwnKey(h.c, ring)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(h.cfg.Regd.Keys)
	if err != nil {
		return nil, err
	}
	log.Info("the server's key pair; users compare the fingerprint when they register", "new", made, "keys", dir, "fingerprint", hybrid.Fingerprint(&key.PublicKey))
	s := &regd.Server{
		Key: key, Users: h.db, Policy: policies[h.cfg.Regd.Policy], Certificate: h.cert,
		Proxies: h.cfg.Regd.Proxies, Limits: h.regdLimits, Logins: h.logins,
		Requests:      regd.Rate{Times: h.cfg.Regd.RequestsPerMinute, Per: time.Minute},
		Registrations: regd.Rate{Times: h.cfg.Regd.RegistrationsPerHour, Per: time.Hour},
		Log:           log,
	}
	if h.metrics != nil {
		s.Observer = h.metrics.Regd(regdService)
	}
	return s.Serve, nil
}
