package commands_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xm/hybrid"
	"xm/internal/line/linetest"
	"xm/internal/message"
)

// pair makes alice and bob, who know each other's keys.
func (s *system) pair() {
	s.t.Helper()
	for _, name := range []string{"alice", "bob"} {
		s.must(name, "", "keygen")
		s.must("server", "", "user", "add", name, "--password-file", s.file(name+".password", name+"'s secret\n"))
	}
	s.copy("alice/key.pub", "bob/alice.pub")
	s.copy("bob/key.pub", "alice/bob.pub")
}

// put delivers a message that from has signed for to, with this inside and
// outside.
func (s *system) put(from, to, outerFrom, inside string) {
	s.t.Helper()
	private, err := hybrid.ParsePrivateKey(s.read(from + "/key.priv"))
	if err != nil {
		s.t.Fatal(err)
	}
	public, err := hybrid.ParsePublicKey(s.read(to + "/key.pub"))
	if err != nil {
		s.t.Fatal(err)
	}
	payload, err := hybrid.Seal([]byte(inside), public, private)
	if err != nil {
		s.t.Fatal(err)
	}
	var raw bytes.Buffer
	err = message.Sealed{From: outerFrom, To: to + "@localhost", Date: time.Now()}.Write(&raw, func(w io.Writer) error {
		_, err := w.Write(payload)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	dir := "data/" + to + "/new/"
	if err := os.MkdirAll(filepath.Join(s.dir, dir), 0o700); err != nil {
		s.t.Fatal(err)
	}
	s.file(dir+fmt.Sprint(time.Now().UnixNano())+".test", strings.ReplaceAll(raw.String(), "\r\n", "\n"))
}

func (s *system) read(name string) []byte {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// A message that its signer wrote in somebody else's name is shown as that.
func TestForgedNames(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	const rest = "\r\nTo: bob@localhost\r\nSubject: Money\r\nMessage-ID: <1@x>\r\n\r\nSend money.\r\n"
	for i, c := range []struct {
		outer, inner, trust string
		code                int
	}{
		{"alice@localhost", "MIME-Version: 1.0\r\nFrom: Alice <alice@localhost>" + rest, "known", 0},
		{"alice@localhost", "MIME-Version: 1.0\r\nFrom: carol@localhost" + rest, "forged", 3},
		{"alice@localhost", "MIME-Version: 1.0\r\nFrom: alice@elsewhere.example" + rest, "forged", 3},
		{"alice@localhost", "MIME-Version: 1.0\r\nX: y" + rest, "forged", 3},
		{"bob@localhost", "MIME-Version: 1.0\r\nFrom: alice@localhost" + rest, "bad", 3}, // signed by alice, it says bob outside
		{"alice@localhost", "an old message: a text alone\n", "known", 0},
	} {
		s.put("alice", "bob", c.outer, c.inner)
		args := append([]string{"read", fmt.Sprint(i + 1)}, s.account("bob")...)
		stdout, stderr, code := s.xm("bob", "", args...)
		if code != c.code || strings.Contains(stderr, "FORGED") != (c.trust == "forged") || (stdout == "") != (c.trust == "bad") {
			t.Errorf("%d: exit code %d\n%s%s", i, code, stdout, stderr)
		}
		if _, _, code := s.xm("bob", "x", append([]string{"reply", "-n"}, args[1:]...)...); i != 5 && code != c.code {
			t.Errorf("%d: reply exits with %d", i, code)
		}
		lines := strings.Split(strings.TrimSpace(s.client("bob", "", "inbox")), "\n")
		if !strings.HasSuffix(lines[i], "  "+c.trust) {
			t.Errorf("%d: listed as %q", i, lines[i])
		}
	}
	if got := s.client("bob", "", "read", "6"); got != "an old message: a text alone\n" {
		t.Errorf("the old message reads %q", got)
	}
}

func TestWatch(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	s.client("alice", "", "send", "bob", "-s", "before", "x")
	cmd := exec.Command("xm", append([]string{"--keys", filepath.Join(s.dir, "bob"), "watch", "--interval", "20ms"}, s.account("bob")...)...)
	cmd.Env = append(os.Environ(), "HOME="+s.dir, "XDG_CONFIG_HOME=")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	first, err := bufio.NewReader(stderr).ReadString('\n')
	if err != nil || !strings.Contains(first, "there are 1 messages") {
		t.Errorf("%q, %v", first, err)
	}
	s.client("alice", "", "send", "bob", "-s", "\x1b[2Jafter", "x")
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || !strings.Contains(line, "alice@localhost  [2Jafter  ") || !strings.HasSuffix(line, "  known\n") {
		t.Errorf("%q, %v", line, err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("interrupted: %v", err)
	}
}

// TLS where it is asked for, by the certificate's fingerprint; nothing is sent to
// another.
func TestSubmissionUnderTLS(t *testing.T) {
	cert, key, _ := linetest.Certificate(t)
	s := startSystem(t, t.TempDir(), fmt.Sprintf("[tls]\ncert = %q\nkey = %q\n", cert, key))
	s.pair()
	text, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		t.Fatal(err)
	}
	print := fmt.Sprintf("%X", sha256.Sum256(block.Bytes))
	s.client("alice", "", "send", "bob", "--tls-fingerprint", print, "under TLS")
	other := strings.Repeat("00", 32)
	_, stderr, code := s.xm("alice", "", append([]string{"send", "bob", "--tls-fingerprint", other, "to somebody else"}, s.account("alice")...)...)
	if code != 1 || !strings.Contains(stderr, "has the fingerprint "+strings.ToLower(print)) || !strings.Contains(stderr, "is kept in") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	if disk := s.onDisk("bob"); strings.Count(disk, "Encrypted message") != 1 || !strings.Contains(disk, "ESMTPSA") {
		t.Errorf("on the server's disk lies\n%s", disk)
	}
}

// Mail to a name with letters beyond ASCII, which has them in its header, can be read
// (RFC 6856).
func TestInternationalName(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.must("server", "", "user", "add", "jörg", "--password-file", s.file("jörg.password", "jörg's secret\n"))
	s.must("server", "", "user", "add", "alice", "--password-file", s.file("alice.password", "alice's secret\n"))
	s.must("alice", "", "keygen")
	s.must("jörg", "", "keygen")
	s.copy("alice/key.pub", "jörg/alice.pub")
	s.copy("jörg/key.pub", "alice/jörg.pub")
	s.client("alice", "", "send", "jörg", "-s", "Grüße", "text")
	if got := s.client("jörg", "", "inbox"); !strings.Contains(got, "Grüße") {
		t.Errorf("listed as %q", got)
	}
	if got := s.client("jörg", "", "read", "1"); !strings.Contains(got, "To: jörg@localhost\n") || !strings.HasSuffix(got, "\n\ntext\n") {
		t.Errorf("read as %q", got)
	}
}
