package commands

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"

	"github.com/urfave/cli/v2"

	"xm/internal/acme"
	"xm/internal/config"
	"xm/internal/line"
	"xm/internal/metrics"
)

// runner runs services until its context ends: one generation of servers after
// another, on the same ports, as the settings are read again.
type runner struct {
	c       *cli.Context
	log     *slog.Logger
	cfg     config.Config     // in force
	atRun   map[string]string // the settings at the start
	host    *host             // of the last generation
	acme    *acme.Manager     // nil if the certificate is not obtained
	metrics *metrics.Metrics  // nil for none
	ports   []*port
	ended   chan error // of each generation
	living  int        // generations
}

// port is where a service listens. There may be several for one.
type port struct {
	service service
	*line.Port
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
	cfg, err := loadConfig(c)
	if err != nil {
		return err
	}
	log, err := newLog(c, cfg)
	if err != nil {
		return err
	}
	hup := make(chan os.Signal, 1)
	signal.Ignore(syscall.SIGPIPE) // whoever reads the log may go, and the mail goes on
	signal.Ignore(syscall.SIGHUP)  // from main, which would end at it
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)

	atRun, err := values(&cfg)
	if err != nil {
		return err
	}
	r := &runner{c: c, log: log, cfg: cfg, atRun: atRun, ended: make(chan error)}
	if r.acme, err = openACME(cfg, log); err != nil {
		return err
	}
	if r.acme != nil {
		defer r.acme.Close()
	}
	h, err := openHost(c, cfg, log, r.acme)
	if err != nil {
		return err
	}
	defer r.closePorts()
	if err := r.listen(services, listen); err != nil {
		return errors.Join(err, h.close())
	}
	var obtaining sync.WaitGroup
	defer obtaining.Wait()
	ctx, cancel := context.WithCancel(c.Context)
	defer cancel()
	first, err := r.prepare(h)
	if err != nil {
		return errors.Join(err, h.close())
	}
	restrict(cfg, log)
	r.begin(ctx, cancel, first)
	obtaining.Go(func() { r.obtain(ctx) })
	return r.wait(ctx, cancel, hup)
}

// listen opens the ports: those that systemd passes, and for other services the
// ones of the flags or the config.
func (r *runner) listen(services []service, flags map[string]string) error {
	passed, err := passedSockets()
	if err != nil {
		return err
	}
	for _, service := range services {
		listeners := passed[service.name]
		delete(passed, service.name)
		addr := flags[service.name]
		if addr == "" {
			addr = service.configured(r.cfg)
		}
		if listeners == nil && addr != "" {
			l, err := net.Listen("tcp", addr)
			if errors.Is(err, syscall.EACCES) {
				err = fmt.Errorf("%w: ports below 1024 need the systemd socket unit, or CAP_NET_BIND_SERVICE", err)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", service.name, err)
			}
			listeners = []net.Listener{l}
		}
		for _, l := range listeners {
			p, err := line.NewPort(l)
			if err != nil {
				return errors.Join(fmt.Errorf("%s: %w", service.name, err), l.Close())
			}
			r.ports = append(r.ports, &port{service, p})
			if service.name == metricsService && r.metrics == nil {
				r.metrics = metrics.New(version)
			}
		}
	}
	for name := range passed {
		return fmt.Errorf("systemd passed a socket named %q: FileDescriptorName is the name of a service", name)
	}
	if !slices.ContainsFunc(r.ports, func(p *port) bool { return p.service.name != metricsService }) {
		return errors.New("there is nothing to run: the config gives no service an address to listen on")
	}
	return nil
}

func (r *runner) closePorts() {
	for _, p := range r.ports {
		p.Close() // again, where a server has closed it
	}
}

// generation is the servers under one config.
type generation struct {
	host  *host
	ports []*port
	serve []serveFunc // for each port
}

// prepare makes the servers under a config; nothing else can fail then.
func (r *runner) prepare(h *host) (*generation, error) {
	g := &generation{host: h, ports: r.ports}
	if r.metrics != nil {
		h.observe(r.metrics)
	}
	for _, p := range r.ports {
		serve, err := p.service.open(h, r.log.With("service", p.service.name))
		if err != nil {
			return nil, err
		}
		g.serve = append(g.serve, serve)
	}
	return g, nil
}

// begin lets a generation accept connections, in the place of the one before. If
// one of its servers fails, all end.
func (r *runner) begin(ctx context.Context, cancel func(), g *generation) {
	before := r.host
	first := before == nil
	r.host = g.host
	if !first {
		go before.giveUpJournal()
	}
	r.living++
	results := make(chan error, len(g.ports))
	for i, p := range g.ports {
		turn, err := p.Next()
		if err != nil { // the port is closed: all ends
			cancel()
			results <- err
			continue
		}
		if first {
			r.log.Info("listening", "service", p.service.name, "addr", p.Addr().String())
		}
		go func() {
			err := g.serve[i](ctx, turn)
			if err != nil {
				cancel()
			}
			results <- err
		}()
	}
	go func() {
		var all error
		for range g.ports {
			all = errors.Join(all, <-results)
		}
		r.ended <- errors.Join(all, g.host.close())
	}()
}

// wait reads the settings again at each SIGHUP, and returns when all generations
// have ended.
func (r *runner) wait(ctx context.Context, cancel func(), hup <-chan os.Signal) error {
	n := newNotifier(r.log)
	n.ready()
	watchdog := n.watchdog()
	terminal := hasTerminal()
	var all error
	for done := ctx.Done(); r.living > 0; {
		select {
		case <-hup:
			if terminal && !hasTerminal() { // it was closed: nobody wants us any more
				cancel()
				continue
			}
			n.reloading()
			if err := r.reload(ctx, cancel); err != nil {
				r.log.Error("the settings in force stay", "err", err)
			}
			n.ready()
		case <-watchdog:
			n.alive()
		case <-done:
			done = nil
			n.stopping()
		case err := <-r.ended:
			r.living--
			all = errors.Join(all, err)
		}
	}
	return all
}

// hasTerminal reports whether the process has a controlling terminal.
func hasTerminal() bool {
	tty, err := os.Open("/dev/tty")
	if err == nil {
		tty.Close()
	}
	return err == nil
}
