package commands_test

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"xm/internal/line/linetest"
)

// activate runs xm serve as systemd does: with sockets, and one to notify on.
// settings are added to its config.
func activate(t *testing.T, settings, names string, sockets ...*os.File) (cmd *exec.Cmd, notified *net.UnixConn, log *bytes.Buffer) {
	t.Helper()
	dir := t.TempDir()
	address := filepath.Join(dir, "notify")
	notified, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { notified.Close() })
	notified.SetDeadline(time.Now().Add(patience))
	const config = "[smtp]\nlisten = \"\"\n[pop3]\nlisten = \"127.0.0.1:1\"\n[regd]\nlisten = \"\"\n"
	if err := os.WriteFile(filepath.Join(dir, "xm.toml"), []byte(config+settings), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command("sh", "-c", "LISTEN_PID=$$ exec xm serve")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LISTEN_FDS="+string(rune('0'+len(sockets))), "LISTEN_FDNAMES="+names, "NOTIFY_SOCKET="+address, "WATCHDOG_USEC=200000")
	cmd.ExtraFiles = sockets
	log = &bytes.Buffer{}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	return cmd, notified, log
}

func socket(t *testing.T) (*os.File, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, l.Addr().String()
}

// expect reads notifications until one begins with want.
func expect(t *testing.T, notified *net.UnixConn, want string) {
	t.Helper()
	for {
		b := make([]byte, 1000)
		n, err := notified.Read(b)
		if err != nil {
			t.Fatalf("waiting for %s: %v", want, err)
		}
		if strings.HasPrefix(string(b[:n]), want) {
			return
		}
	}
}

// Sockets go to the services that they are named after, two to one of them; a
// service that has one does not listen elsewhere.
func TestSocketActivation(t *testing.T) {
	smtp4, addr4 := socket(t)
	smtp6, addr6 := socket(t)
	pop3, pop3Addr := socket(t)
	cmd, notified, log := activate(t, "", "smtp:pop3:smtp", smtp4, pop3, smtp6)
	expect(t, notified, "READY=1")
	for addr, greeting := range map[string]string{addr4: "S: 220 *\n", addr6: "S: 220 *\n", pop3Addr: "S: +OK *\n"} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		linetest.Play(t, addr, greeting, conn)
		conn.Close()
	}
	expect(t, notified, "WATCHDOG=1")
	cmd.Process.Signal(syscall.SIGHUP)
	expect(t, notified, "RELOADING=1\nMONOTONIC_USEC=")
	expect(t, notified, "READY=1")
	cmd.Process.Signal(syscall.SIGTERM)
	expect(t, notified, "STOPPING=1")
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, log)
	}
}

// The authority's port comes from systemd, too, and is refused where it is of no use.
func TestSocketForACME(t *testing.T) {
	f, addr := socket(t)
	cmd, notified, log := activate(t, "[tls]\nacme = true\nacme_listen = \"127.0.0.1:2\"\nacme_directory = \"https://127.0.0.1:1/\"\n", "acme", f)
	expect(t, notified, "READY=1")
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	linetest.Play(t, "acme", "C: GET / HTTP/1.0\nC:\nS: HTTP/1.1 404 *\n", conn)
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, log)
	}
	cmd, _, log = activate(t, "", "acme", f)
	if err := cmd.Wait(); err == nil || !strings.Contains(log.String(), "acme: set acme = true in [tls]") {
		t.Errorf("%v\n%s", err, log)
	}
}

func TestSocketOfNoService(t *testing.T) {
	f, _ := socket(t)
	cmd, _, log := activate(t, "", "imap", f)
	if err := cmd.Wait(); err == nil || !strings.Contains(log.String(), `socket named "imap"`) {
		t.Errorf("%v\n%s", err, log)
	}
}
