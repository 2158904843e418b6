package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"

	"xm/internal/line"
)

// What an HTTP client gets: nobody but a Prometheus or two, and a balancer, is
// expected.
const (
	maxConns    = 32
	maxScrapes  = 4 // at a time
	maxHead     = 8 << 10
	readTimeout = 5 * time.Second
	idleTimeout = 2 * time.Minute // Prometheus asks each minute, or more often
	answerTime  = 10 * time.Second
)

// Server shows the figures over HTTP. Its fields are not changed while it runs.
type Server struct {
	Metrics *Metrics
	State   State
	// Allow lists the networks of those who may ask; all others are refused.
	Allow []netip.Prefix
	Log   *slog.Logger
}

// Serve answers requests on l, which it closes, until ctx is done, and lets those
// under way end. If Accept returns line.ErrHandedOver, l stays open. It returns nil
// then, or the error that ended the listener.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler:     s.handler(),
		ReadTimeout: readTimeout, WriteTimeout: answerTime, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHead,
		ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelWarn),
	}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	ended := server.Serve(netutil.LimitListener(newGate(keptOpen{l}, s.allowed), maxConns))
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
	defer cancel()
	if server.Shutdown(patience) != nil { // whoever is not served by now
		server.Close()
	}
	if ctx.Err() != nil || errors.Is(ended, line.ErrHandedOver) {
		return nil
	}
	return errors.Join(ended, l.Close())
}

// keptOpen is a listener that http.Server can't close: the next server may go on
// with it.
type keptOpen struct{ net.Listener }

func (keptOpen) Close() error { return nil }

func (s *Server) handler() http.Handler {
	state := prometheus.NewRegistry()
	state.MustRegister(gauges{s})
	figures := promhttp.HandlerFor(prometheus.Gatherers{s.Metrics.registry, state}, promhttp.HandlerOpts{
		ErrorLog: logged{s.Log}, ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: maxScrapes,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		switch {
		case !s.allowed(r.RemoteAddr):
			http.Error(w, "not for you: see allow in [metrics]", http.StatusForbidden)
		case r.URL.Path != "/metrics" && r.URL.Path != "/healthz":
			http.NotFound(w, r)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD") // RFC 9110, section 15.5.6
			http.Error(w, "the methods here are GET and HEAD", http.StatusMethodNotAllowed)
		case r.URL.Path == "/metrics":
			figures.ServeHTTP(w, r)
		default:
			s.health(w)
		}
	})
}

// logged is for what goes wrong while the figures are gathered.
type logged struct{ *slog.Logger }

// Println is promhttp.Logger's.
func (l logged) Println(v ...any) { l.Error("metrics", "err", strings.TrimSpace(fmt.Sprintln(v...))) }

func (s *Server) allowed(peer string) bool {
	at, err := netip.ParseAddrPort(peer)
	return err == nil && slices.ContainsFunc(s.Allow, func(p netip.Prefix) bool { return p.Contains(at.Addr().Unmap().WithZone("")) })
}

func (s *Server) health(w http.ResponseWriter) {
	problems := s.problems()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if len(problems) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	} else {
		problems = []string{"ok"}
	}
	// The peer may be gone: it is told nothing then.
	_, _ = fmt.Fprintln(w, strings.Join(problems, "\n"))
}

// problems are what is wrong now.
func (s *Server) problems() []string { return append(s.State.Problems(), s.Metrics.down()...) }
