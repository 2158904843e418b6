package commands

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

const stopping = "SIGTERM or Ctrl-C stops it: transactions under way may end, for 10 seconds."

func serve() *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "run the SMTP, POP3 and registration servers in one process",
		Description: "The services are smtp, submission, submissions (with TLS from the start), pop3 and regd;\n" +
			"submission runs where the config, or --listen, says where. The registration server's key\n" +
			"pair is made in the keys directory where there is none; its users compare the fingerprint\n" +
			"(xm key list) when they register. " + stopping,
		Flags:  []cli.Flag{listenFlag("`SERVICE=HOST:PORT`"), passphraseFlag()},
		Action: func(c *cli.Context) error { return runServers(c, "", services) },
	}
}

func smtpdCommand() *cli.Command {
	return &cli.Command{
		Name:  "smtpd",
		Usage: "run the SMTP server",
		Description: "The services are smtp, submission and submissions (with TLS from the start), each where\n" +
			"the config, or --listen, says where. " + stopping,
		Flags:  []cli.Flag{listenFlag("`[SERVICE=]HOST:PORT`, smtp where no service is named")},
		Action: func(c *cli.Context) error { return runServers(c, smtpService, smtpServices) },
	}
}

func pop3dCommand() *cli.Command {
	return &cli.Command{
		Name:        "pop3d",
		Usage:       "run the POP3 server",
		Description: stopping,
		Flags:       []cli.Flag{listenFlag("`HOST:PORT`")},
		Action:      func(c *cli.Context) error { return runServers(c, pop3Service, pop3Services) },
	}
}

func regdCommand() *cli.Command {
	return &cli.Command{
		Name:  "regd",
		Usage: "run the registration server",
		Description: "It registers users, whose requests it opens with key.priv of the keys directory, and\n" +
			"gives out their public keys, signed. key.priv is made where there is none; its users\n" +
			"compare the fingerprint (xm key list) when they register. Who may register is set in\n" +
			"[regd] of the config: anybody, whoever has an invite (xm user invite), or nobody. " + stopping,
		Flags:  []cli.Flag{listenFlag("`HOST:PORT`"), passphraseFlag()},
		Action: func(c *cli.Context) error { return runServers(c, regdService, regdServices) },
	}
}

func listenFlag(value string) cli.Flag {
	return &cli.StringSliceFlag{
		Name:  "listen",
		Usage: "accept connections on " + value + ", rather than where the config says; port 0 is any free one. May be repeated",
	}
}

// readListen gives the addresses of the --listen flags, by service. main is the
// service meant where none is named; "" if one must be.
func readListen(c *cli.Context, main string, allowed []service) (map[string]string, error) {
	listen := map[string]string{}
	for _, l := range c.StringSlice("listen") {
		name, addr, named := strings.Cut(l, "=")
		if !named {
			name, addr = main, l
		}
		if !slices.ContainsFunc(allowed, func(s service) bool { return s.name == name }) {
			var names []string
			for _, s := range allowed {
				names = append(names, s.name)
			}
			return nil, usageErrorf("--listen %s: it is SERVICE=HOST:PORT, and SERVICE one of %s", l, strings.Join(names, ", "))
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return nil, usageErrorf("--listen %s: the address is not HOST:PORT", l)
		}
		listen[name] = addr
	}
	return listen, nil
}

// server is a listener and what serves it.
type server struct {
	listener net.Listener
	serve    func(context.Context, net.Listener) error
}

// runServers runs services until the context ends.
func runServers(c *cli.Context, main string, services []service) error {
	if err := wantArgs(c, 0, 0); err != nil {
		return err
	}
	listen, err := readListen(c, main, services)
	if err != nil {
		return err
	}
	h, err := openHost(c)
	if err != nil {
		return err
	}
	defer h.close()

	var running []server
	defer func() {
		for _, s := range running {
			s.listener.Close() // again, where it served
		}
	}()
	for _, service := range services {
		addr := listen[service.name]
		if addr == "" {
			addr = service.configured(h.cfg)
		}
		if addr == "" {
			continue // switched off
		}
		s, err := h.start(service, addr)
		if err != nil {
			return err
		}
		running = append(running, s)
	}
	if len(running) == 0 {
		return errors.New("there is nothing to run: the config gives no service an address to listen on")
	}
	return serveAll(c.Context, running)
}

// start listens for a service.
func (h *host) start(service service, addr string) (server, error) {
	log := h.log.With("service", service.name)
	serve, err := service.open(h, log)
	if err != nil {
		return server{}, err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return server{}, fmt.Errorf("%s: %w", service.name, err)
	}
	log.Info("listening", "addr", l.Addr().String())
	return server{l, serve}, nil
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
