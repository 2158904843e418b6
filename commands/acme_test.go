package commands_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"xm/internal/line/linetest"
	"xm/internal/sasl"
)

// nobodysDirectory is one that can't be reached. scripts/acme.sh has another.
const nobodysDirectory = "https://127.0.0.1:1/directory"

const acmeSettings = "[tls]\nacme = true\nacme_listen = \"127.0.0.1:0\"\nacme_directory = \"" + nobodysDirectory + "\"\n"

// logged waits until the log says something.
func (s *system) logged(what string) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); !strings.Contains(s.log.String(), what); runtime.Gosched() {
		if time.Now().After(deadline) {
			s.t.Fatalf("no %q in the log:\n%s", what, s.log)
		}
	}
}

// starttls begins TLS with the SMTP server.
func (s *system) starttls() *tls.Conn {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr["smtp"])
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	linetest.Play(s.t, "smtp", "S: 220 *\nC: EHLO a\nU: 250 HELP\nC: STARTTLS\nS: 220 *\n", conn)
	secured := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // and no SNI
	if err := secured.Handshake(); err != nil {
		s.t.Fatal(err)
	}
	return secured
}

func (s *system) shown() *x509.Certificate {
	s.t.Helper()
	return s.starttls().ConnectionState().PeerCertificates[0]
}

// bound logs in with SCRAM, bound to the server's certificate (RFC 5929, section
// 4).
func (s *system) bound(user, password string) {
	s.t.Helper()
	conn := s.starttls()
	state := conn.ConnectionState()
	var bindings []sasl.Binding
	for _, b := range sasl.Bindings(&state, state.PeerCertificates[0]) {
		if b.Type == "tls-server-end-point" {
			bindings = append(bindings, b)
		}
	}
	client, err := sasl.NewClient(sasl.ScramSHA256Plus, user, password, bindings)
	if err != nil {
		s.t.Fatal(err)
	}
	message, err := client.Start()
	if err != nil {
		s.t.Fatal(err)
	}
	fmt.Fprintf(conn, "EHLO a\r\nAUTH SCRAM-SHA-256-PLUS %s\r\n", base64.StdEncoding.EncodeToString(message))
	in := bufio.NewScanner(conn)
	for in.Scan() {
		challenge, more := strings.CutPrefix(in.Text(), "334 ")
		if !more {
			if strings.HasPrefix(in.Text(), "250") {
				continue // EHLO's
			}
			break
		}
		text, err := base64.StdEncoding.DecodeString(challenge)
		if err != nil {
			s.t.Fatal(err)
		}
		if message, err = client.Next(text); err != nil {
			s.t.Fatal(err)
		}
		fmt.Fprintf(conn, "%s\r\n", base64.StdEncoding.EncodeToString(message))
	}
	if err := client.Done(); err != nil || !strings.HasPrefix(in.Text(), "235 ") {
		s.t.Errorf("bound to the certificate: %q, %v, %v", in.Text(), err, in.Err())
	}
}

// issue puts a certificate in place, as ACME does.
func (s *system) issue() *x509.Certificate {
	s.t.Helper()
	certFile, keyFile, _ := linetest.Certificate(s.t)
	text := "Obtained from " + nobodysDirectory + "\n"
	for _, f := range []string{keyFile, certFile} {
		b, err := os.ReadFile(f)
		if err != nil {
			s.t.Fatal(err)
		}
		text += string(b)
	}
	if err := os.Rename(s.file("new", text), filepath.Join(s.dir, "acme", "certificate.pem")); err != nil {
		s.t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		s.t.Fatal(err)
	}
	return pair.Leaf
}

// Without the authority, there is TLS with a certificate of its own; with one that
// was obtained, it is in use at once.
func TestACME(t *testing.T) {
	dir := t.TempDir()
	s := startSystem(t, dir, "hostname = \"localhost\"\n", acmeSettings)
	s.must("server", "", "user", "add", "alice", "--password-file", s.file("alice.password", "secret\n"))
	own := s.shown()
	if own.VerifyHostname("localhost") != nil || own.CheckSignature(own.SignatureAlgorithm, own.RawTBSCertificate, own.Signature) != nil {
		t.Errorf("what stands in is for %v, by %v", own.DNSNames, own.Issuer)
	}
	s.bound("alice", "secret")
	s.logged(`level=ERROR msg="no TLS certificate was obtained`)
	s.dialog("acme", "C: GET / HTTP/1.1\nC: Host: a\nC:\nS: HTTP/1.1 404 *\n")

	settings := strings.Replace(acmeSettings, "127.0.0.1:0", s.addr["acme"], 1)
	out, code := s.doctor(settings)
	for _, want := range []string{"warning  certificate: " + nobodysDirectory + " has not issued one yet", "ok       acme: ", "ok       smtp: ",
		"problem  certificate: the attempt of ", "connection refused", "SIGHUP makes another attempt, a minute after this one"} {
		if code != 1 || !strings.Contains(out, want) {
			t.Errorf("doctor: exit code %d, no %q in\n%s", code, want, out)
		}
	}

	issued := s.issue()
	if !s.shown().Equal(issued) {
		t.Error("the new certificate is not in use")
	}
	s.bound("alice", "secret")
	if out, _ := s.doctor(settings); !strings.Contains(out, "ok       certificate: ") || !strings.Contains(out, "warning  certificate: the attempt of ") {
		t.Errorf("with a certificate, doctor says\n%s", out)
	}

	// A reload keeps it, and ACME as it is.
	s.reload("one.example.org", "")
	if !s.shown().Equal(issued) {
		t.Error("a reload changes the certificate")
	}
	s.logged(`this setting changes at a restart alone" setting=tls.acme `)
	// One that can't be read is not in the way of the servers.
	s.file("acme/certificate.pem", "broken")
	s.reload("two.example.org", acmeSettings)
	if s.shown().Equal(issued) || s.shown().VerifyHostname("two.example.org") != nil {
		t.Error("none stands in for one that is broken")
	}
	s.logged("a file of ACME is broken")
	s.refuse("hostname = \"a_b\"\n"+acmeSettings, "no certificate can be for")
	// Somebody who restarts it again and again does not ask again and again.
	if err := s.stop(syscall.SIGTERM); err != nil {
		t.Errorf("%v\n%s", err, s.log)
	}
	asked := strings.Count(s.log.String(), "obtaining a TLS certificate")
	s = startSystem(t, dir, "hostname = \"two.example.org\"\n", acmeSettings)
	s.logged("the last attempt to obtain a TLS certificate failed")
	if err := s.stop(syscall.SIGTERM); err != nil || asked != 1 || strings.Contains(s.log.String(), "obtaining a TLS certificate") {
		t.Errorf("%v, %d attempts before\n%s", err, asked, s.log)
	}
}

// Processes of their own share the certificate; one that the authority can't ask
// does not try.
func TestACMEInSeparateProcesses(t *testing.T) {
	dir := t.TempDir()
	s := startSystem(t, dir, "hostname = \"localhost\"\n", acmeSettings)
	cmd := exec.Command("xm", "--data", "data", "pop3d", "--listen", "127.0.0.1:0")
	cmd.Dir = dir
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	addr, elsewhere := "", false
	for in := bufio.NewScanner(stderr); (addr == "" || !elsewhere) && in.Scan(); {
		if strings.Contains(in.Text(), "service=pop3 ") {
			addr = field(in.Text(), "addr=")
		}
		elsewhere = elsewhere || strings.Contains(in.Text(), "the certificate is obtained by xm serve or xm smtpd")
		if strings.Contains(in.Text(), "obtaining a TLS certificate") {
			t.Error("pop3d asks the authority")
		}
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	linetest.Play(t, "pop3", "S: +OK *\nC: STLS\nS: +OK *\n", conn)
	secured := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	if err := secured.Handshake(); err != nil || !secured.ConnectionState().PeerCertificates[0].Equal(s.shown()) {
		t.Errorf("it has another certificate: %v", err)
	}
}

func TestACMECannotStart(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for settings, want := range map[string]string{
		"hostname = \"a_b\"\n" + acmeSettings:    "no certificate can be for \"a_b\"",
		acmeSettings + "acme_ca = \"missing\"":   "tls.acme_ca",
		acmeSettings + "acme_ca = \"file\"":      "there is no certificate in",
		acmeSettings + "acme_state = \"file/x\"": "tls.acme_state",
		"":                                       "acme: set acme = true in [tls]",
	} {
		if !strings.HasPrefix(settings, "hostname") {
			settings = "hostname = \"localhost\"\n" + settings
		}
		if err := os.WriteFile(filepath.Join(dir, "xm.toml"), []byte(settings), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("xm", "smtpd", "--listen", "127.0.0.1:0", "--listen", "acme=127.0.0.1:0")
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%q: %v, want %q\n%s", settings, err, want, out)
		}
	}
}
