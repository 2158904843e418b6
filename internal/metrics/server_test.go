package metrics

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"xm/internal/line"
	"xm/internal/line/linetest"
)

// state is one that a test decides on.
type state struct {
	users    int
	err      error
	expires  time.Time
	problems []string
}

func (s state) Users() (int, error)           { return s.users, s.err }
func (s state) CertificateExpires() time.Time { return s.expires }
func (s state) Problems() []string            { return slices.Clone(s.problems) }

func fine() state { return state{users: 7, expires: time.Unix(1e9, 0)} }

func newServer(m *Metrics, s State) *Server {
	return &Server{Metrics: m, State: s, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Log: slog.New(slog.DiscardHandler)}
}

// running is a server at work.
type running struct {
	stop func()
	done chan error
}

func serve(s *Server, l net.Listener) running {
	ctx, cancel := context.WithCancel(context.Background())
	r := running{cancel, make(chan error, 1)}
	go func() { r.done <- s.Serve(ctx, l) }()
	return r
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// get asks a server of its own, and wants a status.
func get(t *testing.T, m *Metrics, s State, path string, status int) string {
	t.Helper()
	l := listen(t)
	r := serve(newServer(m, s), l)
	defer func() {
		r.stop()
		if err := <-r.done; err != nil {
			t.Error(err)
		}
	}()
	return ask(t, http.MethodGet, l.Addr(), path, status)
}

func ask(t *testing.T, method string, addr net.Addr, path string, status int) string {
	t.Helper()
	request, err := http.NewRequest(method, "http://"+addr.String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	client := http.Client{Timeout: 20 * time.Second} // bounds a failing test alone
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != status {
		t.Errorf("%s %s: %v, %s, want %d", method, path, err, answer.Status, status)
	}
	return string(body)
}

func TestHealth(t *testing.T) {
	if got := get(t, New(""), fine(), "/healthz", 200); got != "ok\n" {
		t.Errorf("got %q", got)
	}
	ill := fine()
	ill.problems = []string{"the disk is on fire", "so is the cellar"}
	m := New("")
	m.SMTP("smtp").AcceptFailed(errBroken)
	want := "the disk is on fire\nso is the cellar\nsmtp accepts no connections: the disk is on fire\n"
	if got := get(t, m, ill, "/healthz", 503); got != want {
		t.Errorf("got %q", got)
	}
	ill.err, ill.expires = errBroken, time.Time{}
	text := get(t, m, ill, "/metrics", 200)
	if !has(text, "xm_healthy 0") || strings.Contains(text, "xm_users") || strings.Contains(text, "xm_tls_certificate") {
		t.Errorf("of what can't be told, there is\n%s", own(text))
	}
}

func TestRefusals(t *testing.T) {
	l := listen(t)
	s := newServer(New(""), fine())
	r := serve(s, l)
	for _, path := range []string{"/", "/metrics/", "//metrics", "/metrics/x", "/debug/pprof/", "/healthz/", "/%6detrics/x"} {
		ask(t, http.MethodGet, l.Addr(), path, http.StatusNotFound)
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodTrace, "FROB"} {
		for _, path := range []string{"/metrics", "/healthz"} {
			ask(t, method, l.Addr(), path, http.StatusMethodNotAllowed)
		}
	}
	if body := ask(t, http.MethodHead, l.Addr(), "/healthz", 200); body != "" {
		t.Errorf("HEAD: %q", body)
	}
	// A header without an end.
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go fmt.Fprintf(conn, "GET /metrics HTTP/1.1\r\nHost: a\r\nX: %s", strings.Repeat("x", 1<<20)) // it is cut off
	if answer, err := io.ReadAll(conn); len(answer) > 0 && !strings.HasPrefix(string(answer), "HTTP/1.1 431 ") {
		t.Errorf("%q, %v", answer, err)
	}
	r.stop()
	if err := <-r.done; err != nil {
		t.Error(err)
	}
}

func TestAllow(t *testing.T) {
	s := newServer(New(""), fine())
	s.Allow = append(s.Allow, netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("fe80::/10"))
	for peer, want := range map[string]bool{
		"127.0.0.1:1": true, "[::ffff:127.0.0.1]:1": true, "192.0.2.7:1": true, "[fe80::1%eth0]:1": true,
		"[::1]:1": false, "198.51.100.1:1": false, "@": false, "": false,
	} {
		if got := s.allowed(peer); got != want {
			t.Errorf("%q: %v, want %v", peer, got, want)
		}
	}
	l := listen(t)
	s.Allow = nil
	r := serve(s, l)
	for _, path := range []string{"/metrics", "/healthz", "/"} {
		ask(t, http.MethodGet, l.Addr(), path, http.StatusForbidden)
	}
	r.stop()
	if err := <-r.done; err != nil {
		t.Error(err)
	}
}

// Those who may not ask can't keep the others waiting, however many they are.
func TestStrangers(t *testing.T) {
	l := listen(t)
	defer l.Close()
	friend := ""
	g := newGate(l, func(peer string) bool { return peer == friend })
	const most = 4
	for range most + 4 { // the last one is the friend
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		friend = conn.LocalAddr().String()
	}
	var strangers []net.Conn
	for {
		conn, err := g.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if conn.RemoteAddr().String() == friend {
			break
		}
		strangers = append(strangers, conn)
	}
	if len(strangers) != most {
		t.Errorf("%d strangers were let in, want %d", len(strangers), most)
	}
	for _, s := range strangers { // as http.Server does, more than once
		s.Close()
		s.Close()
	}
	if len(g.strangers) != 0 {
		t.Error("strangers who have left count")
	}
}

// One server after another has the port, and shows the same figures.
func TestHandOver(t *testing.T) {
	port, err := line.NewPort(listen(t))
	if err != nil {
		t.Fatal(err)
	}
	m := New("")
	var before running
	for generation := range 5 {
		turn, err := port.Next()
		if err != nil {
			t.Fatal(err)
		}
		s := fine()
		s.users = generation
		r := serve(newServer(m, s), turn)
		if generation > 0 {
			if err := <-before.done; err != nil { // without a stop
				t.Error(err)
			}
		}
		before = r
		m.SMTP("smtp").Opened()
		text := ask(t, http.MethodGet, port.Addr(), "/metrics", 200)
		for _, want := range []string{fmt.Sprintf("xm_users %d", generation), fmt.Sprintf(`xm_connections_total{service="smtp"} %d`, generation+1)} {
			if !has(text, want) {
				t.Errorf("no %s in\n%s", want, own(text))
			}
		}
	}
	before.stop()
	if err := <-before.done; err != nil {
		t.Error(err)
	}
}

// blocking is a state that takes its time to be told.
type blocking struct {
	state
	asked, tell chan struct{}
}

func (b blocking) Problems() []string {
	b.asked <- struct{}{}
	<-b.tell
	return nil
}

// A stop lets a request that is under way end.
func TestStopDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := blocking{fine(), make(chan struct{}), make(chan struct{})}
		pipe := linetest.NewPipe()
		r := serve(newServer(New(""), b), pipe)
		conn := pipe.Dial()
		go io.WriteString(conn, "GET /healthz HTTP/1.0\r\n\r\n")
		<-b.asked
		r.stop()
		synctest.Wait()
		select {
		case err := <-r.done:
			t.Errorf("it ended first: %v", err)
		default:
		}
		close(b.tell)
		if answer, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(answer), "\r\nok\n") {
			t.Errorf("got %q, %v", answer, err)
		}
		if err := <-r.done; err != nil {
			t.Error(err)
		}
	})
}

// A listener that ends by itself is an error.
func TestListenerEnds(t *testing.T) {
	l := listen(t)
	r := serve(newServer(New(""), fine()), l)
	l.Close()
	if err := <-r.done; err == nil {
		t.Error("there is no error")
	}
	r.stop()
}
