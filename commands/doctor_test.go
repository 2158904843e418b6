package commands_test

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"xm/internal/line/linetest"
)

// doctor runs xm doctor on a system with a config that names its addresses.
func (s *system) doctor(settings string) (stdout string, code int) {
	s.t.Helper()
	s.file("doctor.toml", fmt.Sprintf("hostname = %q\npostmaster = \"alice\"\n%s\n[smtp]\nlisten = %q\n[pop3]\nlisten = %q\n[regd]\nlisten = %q\n",
		"mail.example.org", settings, s.addr["smtp"], s.addr["pop3"], s.addr["regd"]))
	stdout, _, code = s.xm("server", "", "--config", filepath.Join(s.dir, "doctor.toml"), "doctor")
	return stdout, code
}

func TestDoctorTalksToServices(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.must("server", "", "user", "add", "alice", "--password-file", s.file("alice.password", "secret\n"))
	out, code := s.doctor("")
	if code != 0 || strings.Contains(out, "problem") {
		t.Errorf("of a running system: exit code %d\n%s", code, out)
	}
	for _, want := range []string{"ok       smtp: ", " 220 ", "ok       pop3: ", " +OK ", "ok       regd: ", "ok       maildrops: of 1 users"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	// Somebody else on a service's port.
	addr := s.addr["smtp"]
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(nc, "SSH-2.0-x\r\n")
			nc.Close()
		}
	}()
	s.addr["smtp"] = l.Addr().String()
	if out, code := s.doctor(""); code != 1 || !strings.Contains(out, `it greets with "SSH-2.0-x"`) {
		t.Errorf("of a stranger on the port: exit code %d\n%s", code, out)
	}
	s.addr["smtp"] = addr
	s.stop(syscall.SIGTERM)
	if out, code := s.doctor(""); code != 1 || !strings.Contains(out, "problem  smtp: nothing listens on "+addr) {
		t.Errorf("of a stopped system: exit code %d\n%s", code, out)
	}
}

// TLS, from the start and later.
func TestDoctorTalksTLS(t *testing.T) {
	dir := t.TempDir()
	linetest.WriteCertificate(t, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	const certificate = "[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n"
	s := startSystem(t, dir, certificate+"[submission]\nlisten = \"127.0.0.1:0\"\nlisten_tls = \"127.0.0.1:0\"\n")
	submission := func(starttls, implicit string) string {
		return fmt.Sprintf("%s[submission]\nlisten = %q\nlisten_tls = %q\n", certificate, s.addr[starttls], s.addr[implicit])
	}
	out, code := s.doctor(submission("submission", "submissions"))
	if code != 0 || strings.Count(out, "TLS 1.3") != 3 || !strings.Contains(out, "ok       certificate: ") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	for _, service := range []string{"pop3", "submission"} { // as others, for a config refuses an address that two have
		s.addr["localhost "+service] = strings.Replace(s.addr[service], "127.0.0.1", "localhost", 1)
	}
	if out, code := s.doctor(submission("localhost pop3", "localhost submission")); code != 1 || strings.Count(out, "problem  submission") != 2 {
		t.Errorf("with ports mixed up: exit code %d\n%s", code, out)
	}
}
