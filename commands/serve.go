package commands

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"xm/hybrid"
	"xm/internal/config"
	"xm/internal/maildir"
	"xm/internal/safefile"
	"xm/pop3d"
	"xm/smtpd"
	"xm/userdb"
	"xm/userdb/regd"
)

// The names of the services, on the command line and in the log.
const (
	smtpService = "smtp"
	pop3Service = "pop3"
	regdService = "regd"
)

const stopping = "SIGTERM or Ctrl-C stops it: transactions under way may end, for 10 seconds."

func serve() *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "run the SMTP, POP3 and registration servers in one process",
		Description: "The registration server's key pair is made in the keys directory where there is none;\n" +
			"its users need key.pub, as server.pub. " + stopping,
		Flags: []cli.Flag{&cli.StringSliceFlag{
			Name:  "listen",
			Usage: "`SERVICE=HOST:PORT`, with smtp, pop3 or regd for the service; port 0 is any free one. May be repeated",
		}, passphraseFlag()},
		Action: func(c *cli.Context) error {
			listen := map[string]string{}
			for _, l := range c.StringSlice("listen") {
				service, addr, ok := strings.Cut(l, "=")
				if !ok || service != smtpService && service != pop3Service && service != regdService {
					return usageErrorf("--listen %s: it is SERVICE=HOST:PORT, with smtp, pop3 or regd for the service", l)
				}
				listen[service] = addr
			}
			return runServers(c, listen, smtpService, pop3Service, regdService)
		},
	}
}

// serverCommand is the command that runs one of the servers alone.
func serverCommand(name, usage, service string) *cli.Command {
	return &cli.Command{
		Name:        name,
		Usage:       usage,
		Description: stopping,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Usage: "accept connections on `HOST:PORT` (default: that of the config); port 0 is any free one"},
		},
		Action: func(c *cli.Context) error {
			return runServers(c, map[string]string{service: c.String("listen")}, service)
		},
	}
}

func smtpdCommand() *cli.Command {
	return serverCommand("smtpd", "run the SMTP server", smtpService)
}

func pop3dCommand() *cli.Command {
	return serverCommand("pop3d", "run the POP3 server", pop3Service)
}

func regdCommand() *cli.Command {
	c := serverCommand("regd", "run the registration server", regdService)
	c.Description = "It opens registrations with key.priv of the keys directory, which is made where there\n" +
		"is none; its users need key.pub, as server.pub. " + c.Description
	c.Flags = append(c.Flags, passphraseFlag())
	return c
}

// server is a listener and what serves it.
type server struct {
	listener net.Listener
	serve    func(context.Context, net.Listener) error
}

// runServers runs services until the context ends. listen overrides the
// configured addresses.
func runServers(c *cli.Context, listen map[string]string, services ...string) error {
	if err := wantArgs(c, 0, 0); err != nil {
		return err
	}
	cfg, err := loadConfig(c)
	if err != nil {
		return err
	}
	if err := safefile.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(c.App.ErrWriter, nil))
	db, err := userdb.Open(cfg.DataDir, userOptions(cfg), log)
	if err != nil {
		return err
	}
	defer db.Close()
	store, err := openStore(cfg)
	if err != nil {
		return err
	}
	defer store.Close()
	warnOfUsers(cfg, db, log)

	var running []server
	defer func() {
		for _, s := range running {
			s.listener.Close() // again, where it served
		}
	}()
	for _, name := range services {
		s, err := newServer(c, cfg, name, listen[name], db, store, log.With("service", name))
		if err != nil {
			return err
		}
		running = append(running, s)
	}
	return serveAll(c.Context, running)
}

func newServer(c *cli.Context, cfg config.Config, service, addr string, db *userdb.DB, store *maildir.Store, log *slog.Logger) (server, error) {
	var s server
	configured := ""
	switch service {
	case smtpService:
		configured = cfg.SMTP.Listen
		s.serve = (&smtpd.Server{
			Hostname: cfg.Hostname, MaxSize: cfg.SMTP.MaxSize, MaxRecipients: cfg.SMTP.MaxRecipients, Trusted: cfg.SMTP.Trusted,
			Users: users{db}, Mail: mail{store, db}, Log: log,
		}).Serve
	case pop3Service:
		configured = cfg.POP3.Listen
		s.serve = (&pop3d.Server{
			Hostname: cfg.Hostname, FailureDelay: cfg.POP3.FailureDelay,
			Users: users{db}, Mail: mail{store, db}, Log: log,
		}).Serve
	case regdService:
		configured = cfg.Regd.Listen
		r, err := newRegd(c, db, log)
		if err != nil {
			return s, err
		}
		s.serve = r.Serve
	}
	if addr == "" {
		addr = configured
	}
	if _, _, err := net.SplitHostPort(addr); err != nil || strings.Contains(addr, "=") {
		return s, usageErrorf("--listen %s: it is HOST:PORT", addr)
	}
	var err error
	if s.listener, err = net.Listen("tcp", addr); err != nil {
		return s, err
	}
	log.Info("listening", "addr", s.listener.Addr().String())
	return s, nil
}

func newRegd(c *cli.Context, db *userdb.DB, log *slog.Logger) (*regd.Server, error) {
	ring, err := createKeys(c)
	if err != nil {
		return nil, err
	}
	defer ring.Close()
	key, made, err := ensureOwnKey(c, ring)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(keysDir(c))
	if err != nil {
		return nil, err
	}
	log.Info("the server's key pair; users need key.pub, as server.pub", "new", made, "keys", dir, "fingerprint", hybrid.Fingerprint(&key.PublicKey))
	return &regd.Server{Key: key, Users: db, Log: log}, nil
}

// serveAll runs the servers until ctx ends, or one of them fails and so ends the
// others.
func serveAll(ctx context.Context, servers []server) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan error, len(servers))
	for _, s := range servers {
		go func() {
			err := s.serve(ctx, s.listener)
			cancel()
			results <- err
		}()
	}
	var all error
	for range servers {
		all = errors.Join(all, <-results)
	}
	return all
}
