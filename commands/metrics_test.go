package commands_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"xm/internal/line/linetest"
)

const withMetrics = "[metrics]\nlisten = \"127.0.0.1:0\"\n"

// get asks the metrics service of a system.
func (s *system) get(path string) (status int, body string) {
	s.t.Helper()
	client := http.Client{Timeout: patience}
	answer, err := client.Get("http://" + s.addr["metrics"] + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// figures are what /metrics says, by name and labels.
func (s *system) figures() map[string]float64 {
	s.t.Helper()
	status, text := s.get("/metrics")
	if status != http.StatusOK {
		s.t.Fatalf("/metrics: %d\n%s", status, text)
	}
	figures := map[string]float64{}
	for line := range strings.Lines(text) {
		if line[0] == '#' {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(strings.TrimSpace(line[at:]), 64)
		if err != nil {
			s.t.Fatalf("%q: %v", line, err)
		}
		figures[line[:at]] = value
	}
	return figures
}

// wantFigures waits until these differ by so much from before: what comes after a
// session's end is not counted at once.
func (s *system) wantFigures(before map[string]float64, want map[string]float64) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		now, wrong := s.figures(), ""
		for name, n := range want {
			if now[name]-before[name] != n {
				wrong += fmt.Sprintf("%s grew by %v, want %v\n", name, now[name]-before[name], n)
			}
		}
		if wrong == "" {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatal(wrong)
		}
	}
}

func plainLogin(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
}

func TestMetrics(t *testing.T) {
	s := startSystem(t, t.TempDir(), withMetrics)
	s.must("server", "", "user", "add", "alice", "--password-file", s.file("alice.password", "alice's secret\n"))
	s.must("server", "", "user", "add", "bob", "--password-file", s.file("bob.password", "bob's secret\n"))
	before := s.figures()
	s.dialog("smtp", "S: 220 *\nC: EHLO a\nU: 250 HELP\nC: AUTH PLAIN "+plainLogin("alice", "wrong")+"\nS: 535 *\nC: AUTH PLAIN "+plainLogin("alice", "alice's secret")+
		"\nS: 235 *\nC: MAIL FROM:<alice@localhost>\nS: 250 *\nC: RCPT TO:<alice>\nS: 250 *\nC: RCPT TO:<bob>\nS: 250 *\nC: RCPT TO:<nobody>\nS: 550 *\n"+
		"C: DATA\nS: 354 *\nC: Subject: x\nC: \nC: hello\nC: .\nS: 250 *\nC: QUIT\nS: 221 *\nX\n")
	s.dialog("pop3", "S: +OK *\nC: USER bob\nS: +OK *\nC: PASS wrong\nS: -ERR *\nC: USER bob\nS: +OK *\nC: PASS bob's secret\nS: +OK *\n"+
		"C: RETR 1\nS: +OK *\nU: .\nC: RETR 2\nS: -ERR *\nC: DELE 1\nS: +OK *\nC: QUIT\nS: +OK *\nX\n")
	s.dialog("regd", "C: GET /keys/alice HTTP/1.0\nC: \nS: HTTP/1.1 404 *\n")
	s.wantFigures(before, map[string]float64{
		`xm_connections_total{service="smtp"}`: 1, `xm_connections_open{service="smtp"}`: 0,
		`xm_connections_total{service="pop3"}`: 1, `xm_connections_open{service="pop3"}`: 0,
		`xm_connections_total{service="regd"}`:                                1,
		`xm_commands_total{reply="250",service="smtp",verb="RCPT"}`:           2,
		`xm_commands_total{reply="550",service="smtp",verb="RCPT"}`:           1,
		`xm_commands_total{reply="250",service="smtp",verb="DATA"}`:           1,
		`xm_commands_total{reply="+OK",service="pop3",verb="RETR"}`:           1,
		`xm_commands_total{reply="-ERR",service="pop3",verb="RETR"}`:          1,
		`xm_messages_total{reply="250",service="smtp"}`:                       1,
		`xm_message_recipients_total{service="smtp"}`:                         2,
		`xm_message_bytes_total{service="smtp"}`:                              float64(len("Subject: x\r\n\r\nhello\r\n")),
		`xm_messages_retrieved_total{service="pop3"}`:                         1,
		`xm_logins_total{mechanism="PLAIN",result="failed",service="smtp"}`:   1,
		`xm_logins_total{mechanism="PLAIN",result="accepted",service="smtp"}`: 1,
		`xm_logins_total{mechanism="PASS",result="failed",service="pop3"}`:    1,
		`xm_logins_total{mechanism="PASS",result="accepted",service="pop3"}`:  1,
		`xm_login_seconds_count{service="pop3"}`:                              2,
		`xm_regd_requests_total{kind="keys",result="404"}`:                    1,
		`xm_store_commits_total{result="ok"}`:                                 1,
		`xm_store_commit_seconds_count`:                                       1,
		`xm_store_commits_waiting`:                                            0,
		`xm_store_maildrop_opens_total{result="ok"}`:                          1,
		`xm_store_messages_deleted_total`:                                     1,
		`xm_users`:                                                            0,
	})
	now := s.figures()
	for _, name := range []string{`xm_received_bytes_total{service="smtp"}`, `xm_sent_bytes_total{service="pop3"}`, `xm_store_fsync_seconds_count`, "process_resident_memory_bytes", "go_goroutines", "xm_start_time_seconds"} {
		if now[name] <= 0 {
			t.Errorf("%s is %v", name, now[name])
		}
	}
	if now["xm_users"] != 2 || now["xm_healthy"] != 1 {
		t.Errorf("%v users, healthy %v", now["xm_users"], now["xm_healthy"])
	}
	// It outlives a reload, with its figures.
	s.reload("one.example.org", withMetrics)
	if after := s.figures(); after[`xm_messages_total{reply="250",service="smtp"}`] != 1 {
		t.Errorf("after a reload: %v", after)
	}
	if err := s.stop(syscall.SIGTERM); err != nil {
		t.Errorf("%v\n%s", err, s.log)
	}
}

// Whatever clients send, none of it becomes a label.
func TestMetricsCardinality(t *testing.T) {
	s := startSystem(t, t.TempDir(), "iterations = 10000\n", withMetrics) // of [login]: many fail here
	s.must("server", "", "user", "add", "alice", "--password-file", s.file("alice.password", "secret\n"))
	sent := 0
	for sent < 1000 { // as many as a session may
		var smtp, pop3 strings.Builder
		for range 10 {
			sent++
			fmt.Fprintf(&smtp, "C: ZZ%d x\nS: 500 *\n", sent)
			fmt.Fprintf(&pop3, "C: ZZ%d x\nS: -ERR *\n", sent)
		}
		s.dialog("smtp", "S: 220 *\nC: EHLO ZZ\nU: 250 HELP\nC: AUTH ZZ"+fmt.Sprint(sent)+"\nS: 504 *\nC: AUTH PLAIN "+plainLogin("ZZalice", "ZZ")+"\nS: 535 *\n"+smtp.String())
		s.dialog("pop3", "S: +OK *\nC: AUTH ZZ"+fmt.Sprint(sent)+"\nS: -ERR *\n"+pop3.String())
		s.dialog("regd", fmt.Sprintf("C: GET /keys/ZZ%d HTTP/1.0\nC: \nS: HTTP/1.1 404 *\n", sent))
		s.dialog("regd", fmt.Sprintf("C: ZZ%d /ZZ HTTP/1.0\nC: \nS: HTTP/1.1 404 *\n", sent))
	}
	now := s.figures()
	for name, want := range map[string]float64{
		`xm_commands_total{reply="500",service="smtp",verb="unknown"}`:      1000,
		`xm_commands_total{reply="-ERR",service="pop3",verb="unknown"}`:     1000,
		`xm_commands_total{reply="504",service="smtp",verb="AUTH"}`:         100,
		`xm_logins_total{mechanism="PLAIN",result="failed",service="smtp"}`: 100,
		`xm_regd_requests_total{kind="keys",result="404"}`:                  100,
		`xm_regd_requests_total{kind="unknown",result="404"}`:               100,
	} {
		if now[name] != want {
			t.Errorf("%s is %v, want %v", name, now[name], want)
		}
	}
	commands := 0
	for name := range now {
		if strings.Contains(name, "ZZ") || strings.Contains(name, "alice") || strings.Contains(name, "secret") || strings.Contains(name, s.dir) {
			t.Errorf("there is %s", name)
		}
		if strings.HasPrefix(name, "xm_commands_total") {
			commands++
		}
	}
	if commands != 6 { // EHLO, AUTH twice, unknown; AUTH, unknown
		t.Errorf("%d counters of commands", commands)
	}
}

// wantHealth waits for it: the servers look at users.txt again after usersFresh.
func (s *system) wantHealth(status int, pattern string) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		got, text := s.get("/healthz")
		if got == status && regexp.MustCompile(pattern).MatchString(text) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("/healthz: %d %q, want %d %s", got, text, status, pattern)
		}
	}
}

func TestHealth(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	linetest.WriteCertificate(t, cert, key)
	s := startSystem(t, dir, "[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n", withMetrics)
	s.must("server", "", "user", "add", "alice", "--password-file", s.file("alice.password", "secret\n"))
	s.wantHealth(200, `^ok\n$`)
	data := filepath.Join(dir, "data")
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}

	move(data, data+".away")
	s.wantHealth(503, `^the data directory can't be written to: .*\n$`)
	if s.figures()["xm_healthy"] != 0 {
		t.Error("the figures say that all is well")
	}
	move(data+".away", data)
	s.wantHealth(200, `^ok\n$`)

	users := filepath.Join(data, "users.txt")
	move(users, users+".away")
	if err := os.Mkdir(users, 0o700); err != nil {
		t.Fatal(err)
	}
	s.wantHealth(503, `^the users' files can't be read: .*is a directory\n$`)
	if err := os.Remove(users); err != nil {
		t.Fatal(err)
	}
	move(users+".away", users)
	s.wantHealth(200, `^ok\n$`)

	writeExpired(t, cert, key)
	s.wantHealth(503, `^the TLS certificate has expired: 2001-.*\n$`)
	linetest.WriteCertificate(t, cert, key)
	s.wantHealth(200, `^ok\n$`)

	// doctor hears of it.
	doctor := func(want string, wantCode int) {
		t.Helper()
		out, code := s.doctor(fmt.Sprintf("[metrics]\nlisten = %q\n", s.addr["metrics"]))
		if !strings.Contains(out, want) || code != wantCode {
			t.Errorf("doctor: exit code %d, no %q in\n%s", code, want, out)
		}
	}
	doctor("ok       metrics: "+s.addr["metrics"]+": ok\n", 0)
	writeExpired(t, cert, key)
	doctor("problem  metrics: "+s.addr["metrics"]+": the TLS certificate has expired", 1)
}

// writeExpired writes a certificate of the past, and its key.
func writeExpired(t *testing.T, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1e9, 0)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		name, kind string
		der        []byte
	}{{keyFile, "PRIVATE KEY", pkcs8}, {certFile, "CERTIFICATE", cert}} {
		if err := os.WriteFile(f.name, pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Metrics are off unless they are wanted, and no service by themselves.
func TestMetricsAreOff(t *testing.T) {
	s := startSystem(t, t.TempDir())
	if strings.Contains(s.log.String(), "service=metrics") {
		t.Errorf("there is one:\n%s", s.log)
	}
	s.file("alone.toml", withMetrics+"[smtp]\nlisten = \"\"\n[pop3]\nlisten = \"\"\n[regd]\nlisten = \"\"\n")
	if _, stderr, code := s.xm("server", "", "--config", filepath.Join(s.dir, "alone.toml"), "serve"); code != 1 || !strings.Contains(stderr, "there is nothing to run") {
		t.Errorf("alone: exit code %d, %s", code, stderr)
	}
}

// Each server has it, under the same name.
func TestMetricsOfEachServer(t *testing.T) {
	for _, command := range []string{"smtpd", "pop3d", "regd"} {
		l, err := net.Listen("tcp", "127.0.0.1:0") // taken: the way of learning that it is tried
		if err != nil {
			t.Fatal(err)
		}
		s := &system{t: t, dir: t.TempDir()}
		_, stderr, code := s.xm("server", "", command, "--listen", "127.0.0.1:0", "--listen", "metrics="+l.Addr().String())
		if code != 1 || !strings.Contains(stderr, "listen tcp "+l.Addr().String()) {
			t.Errorf("%s: exit code %d, %s", command, code, stderr)
		}
		l.Close()
	}
}
