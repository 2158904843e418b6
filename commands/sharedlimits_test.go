package commands

import (
	"context"
	"encoding/base64"
	"flag"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/urfave/cli/v2"

	"xm/internal/config"
	"xm/internal/line/linetest"
)

// farListener accepts connections as if they came from another machine.
type farListener struct{ net.Listener }

type farConn struct{ net.Conn }

func (l farListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return farConn{c}, err
}

func (farConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }

// serveAll runs all services of a host, for clients of one address, and returns
// how to play a dialog with one of them. settings begin with those of [regd].
func serveAll(t *testing.T, settings string) (play func(service, text string) (hangUp func())) {
	t.Helper()
	dir := t.TempDir()
	client := linetest.WriteCertificate(t, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	file := filepath.Join(dir, "xm.toml")
	text := "data_dir = \"data\"\n[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n[regd]\nkeys = \"keys\"\n" + settings
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	h, err := openHost(cli.NewContext(New(), flag.NewFlagSet("", flag.ContinueOnError), nil), cfg, log, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.close() })
	addr := map[string]string{}
	for _, s := range slices.Concat(smtpServices, pop3Services, regdServices) {
		if s.name == acmeService {
			continue // it is not for users
		}
		serve, err := s.open(h, log)
		if err != nil {
			t.Fatal(err)
		}
		addr[s.name] = linetest.Serve(t, func(l net.Listener) func() error {
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- serve(ctx, farListener{l}) }()
			return func() error { cancel(); return <-done }
		})
	}
	return func(service, text string) func() {
		t.Helper()
		conn, err := net.Dial("tcp", addr[service])
		if err != nil {
			t.Fatal(err)
		}
		(&linetest.Dialog{Name: service, Text: text, TLS: client}).Play(t, conn)
		return func() { conn.Close() }
	}
}

// Who has guessed too often at one service is refused by all.
func TestFailuresCountForAllServices(t *testing.T) {
	play := serveAll(t, "[login]\nfailure_delay = \"0s\"\nmax_failures = 5\n")
	auth := "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00alice\x00wrong"))
	smtp := "S: 220 *\nC: EHLO a\nU: 250 HELP\nC: STARTTLS\nS: 220 *\nTLS\nC: EHLO a\nU: 250 HELP\nC: " + auth + "\n"
	submissions := "TLS\nS: 220 *\nC: EHLO a\nU: 250 HELP\nC: " + auth + "\n"
	pop3 := "S: +OK *\nC: STLS\nS: +OK *\nTLS\nC: USER alice\nS: +OK *\nC: PASS wrong\n"
	pop3s := "TLS\nS: +OK *\nC: " + auth + "\n"
	play("smtp", smtp+"S: 535 *\n")()
	play("submission", smtp+"S: 535 *\n")()
	play("submissions", submissions+"S: 535 *\n")()
	play("pop3", pop3+"S: -ERR [AUTH] *\n")()
	play("regd", "C: 00$00$00$00$\nS: -ERR the payload was not sealed *\nX\n")()
	play("pop3s", pop3s+"S: -ERR [AUTH] *\n")()
	play("smtp", smtp+"S: 421 4.7.0 *\nX\n")()
	play("submission", smtp+"S: 421 4.7.0 *\nX\n")()
	play("submissions", submissions+"S: 421 4.7.0 *\nX\n")()
	play("pop3", pop3+"S: -ERR [SYS/TEMP] too many logins *\nX\n")()
	play("pop3s", pop3s+"S: -ERR [SYS/TEMP] too many logins *\nX\n")()
	play("regd", "C: 00$00$00$00$\nS: -ERR too many registrations *\nX\n")()
}

// The connections of an address are counted together, and each service has a limit
// of its own for them.
func TestConnectionsCountForAllServices(t *testing.T) {
	play := serveAll(t, "max_per_address = 8\n[smtp]\nmax_per_address = 6\n[pop3]\nmax_per_address = 7\n")
	for service, greeting := range map[string]string{
		"smtp": "S: 220 *\n", "submission": "S: 220 *\n", "submissions": "TLS\nS: 220 *\n",
		"pop3": "S: +OK *\n", "pop3s": "TLS\nS: +OK *\n", "regd": "TLS\n",
	} {
		defer play(service, greeting)()
	}
	play("smtp", "S: 421 4.3.2 *\nX\n")()
	play("submission", "S: 421 4.3.2 *\nX\n")()
	defer play("pop3", "S: +OK *\n")()
	play("pop3", "S: -ERR [SYS/TEMP] too many connections*\nX\n")()
	defer play("regd", "TLS\n")()
	play("regd", "S: -ERR too many connections, *\nX\n")()
}
