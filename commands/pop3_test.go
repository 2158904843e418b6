package commands_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"xm/internal/line/linetest"
)

// POP3 with both kinds of TLS, a bare name, what the original left, and a login
// delay that both ports share.
func TestPOP3(t *testing.T) {
	dir := t.TempDir()
	config := linetest.WriteCertificate(t, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	s := startSystem(t, dir, `
[tls]
cert = "cert.pem"
key = "key.pem"
[pop3]
listen_tls = "127.0.0.1:0"
login_delay = "1h"
`)
	for _, user := range []string{"alice@localhost.com", "bob@localhost", "bob@localhost.com"} {
		s.must("server", "a  secret\n", "user", "add", "--password-file", "-", user)
	}
	left := filepath.Join(dir, "data/alice@localhost.com/1462313083")
	if err := errors.Join(os.MkdirAll(filepath.Dir(left), 0o700), os.WriteFile(left, []byte("of the original\n.\nend"), 0o600)); err != nil {
		t.Fatal(err)
	}
	play := func(service, text string) {
		t.Helper()
		conn, err := net.Dial("tcp", s.addr[service])
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		(&linetest.Dialog{Name: service, Text: text, TLS: config}).Play(t, conn)
	}
	play("pop3s", `TLS
S: +OK *
C: CAPA
U: LOGIN-DELAY 3600
U: .
C: USER alice
S: +OK *
C: PASS a  secret
S: +OK 1 messages (25 octets)
C: UIDL
S: +OK *
S: 1 alice@localhost.com/1462313083
S: .
C: RETR 1
S: +OK 25 octets
S: of the original
S: ..
S: end
S: .
C: DELE 1
S: +OK *
C: QUIT
S: +OK bye
X
`)
	if _, err := os.Stat(left); err == nil {
		t.Error("the message is not deleted")
	}
	// The other port, another spelling of the name: the same user.
	play("pop3", `S: +OK *
C: STLS
S: +OK *
TLS
C: USER ALICE@localhost.com
S: +OK *
C: PASS a  secret
S: -ERR [LOGIN-DELAY] *
# bob may be either of two.
C: USER bob
S: +OK *
C: PASS a  secret
S: -ERR [AUTH] *
C: USER bob@localhost
S: +OK *
C: PASS a  secret
S: +OK 0 *
C: QUIT
S: +OK bye
X
`)
}

// The lock of a process that was killed is free at once.
func TestLockOfAKilledProcess(t *testing.T) {
	dir := t.TempDir()
	first, second := startSystem(t, dir), startSystem(t, dir)
	first.must("server", "secret\n", "user", "add", "--password-file", "-", "alice")
	const login = "S: +OK *\nC: USER alice\nS: +OK *\nC: PASS secret\n"
	conn, err := net.Dial("tcp", first.addr["pop3"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	linetest.Play(t, "first", login+"S: +OK 0 *\n", conn)
	second.dialog("pop3", login+"S: -ERR [IN-USE] *\nC: QUIT\nS: +OK *\nX\n")
	first.stop(syscall.SIGKILL)
	second.dialog("pop3", login+"S: +OK 0 *\nC: QUIT\nS: +OK *\nX\n")
}
