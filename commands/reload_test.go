package commands_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"xm/internal/line/linetest"
)

// reload gives a system another config, and returns when that is in force. It
// has that name as its host name.
func (s *system) reload(hostname, settings string) {
	s.t.Helper()
	next := s.file("xm.toml.next", fmt.Sprintf("hostname = %q\n[login]\nfailure_delay = \"0s\"\n%s", hostname, settings))
	if err := os.Rename(next, filepath.Join(s.dir, "xm.toml")); err != nil { // a SIGHUP before may still be at work
		s.t.Fatal(err)
	}
	s.hangUp()
	for deadline := time.Now().Add(patience); s.greeting("smtp") != "220 "+hostname; {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s is not in force", hostname)
		}
	}
}

func (s *system) hangUp() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		s.t.Fatal(err)
	}
}

// refuse gives a system a config that it can't take.
func (s *system) refuse(text, why string) {
	s.t.Helper()
	s.file("xm.toml", text)
	s.refused(why)
}

// refused reads the settings again, in vain.
func (s *system) refused(why string) {
	s.t.Helper()
	s.hangUp()
	for deadline := time.Now().Add(patience); !strings.Contains(s.log.String(), why); runtime.Gosched() {
		if time.Now().After(deadline) {
			s.t.Fatalf("no %q in the log:\n%s", why, s.log)
		}
	}
}

// greeting is what a service says first, up to the host name.
func (s *system) greeting(service string) string {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr[service])
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	text, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		s.t.Fatal(err)
	}
	name, _, _ := strings.Cut(text, " ESMTP")
	return name
}

// Under load, no session and no message is lost while the settings are read
// again and again.
func TestReloadUnderLoad(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.must("server", "", "user", "add", "alice", "--password-file", s.file("alice.password", "secret\n"))
	const message = "C: MAIL FROM:<x@example.com>\nS: 250 *\nC: RCPT TO:<alice>\nS: 250 *\nC: DATA\nS: 354 *\nC: Subject: x\nC: .\nS: 250 *\n"
	var stop atomic.Bool
	var sent atomic.Int64
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() { // a session that outlives all reloads, and short ones beside it
			long, err := net.Dial("tcp", s.addr["smtp"])
			if err != nil {
				t.Error(err)
				return
			}
			defer long.Close()
			linetest.Play(t, "long", "S: 220 *\nC: HELO a\nS: 250 *\n", long)
			for !stop.Load() {
				linetest.Play(t, "long", message, long)
				s.dialog("smtp", "S: 220 *\nC: HELO a\nS: 250 *\n"+message+"C: QUIT\nS: 221 *\nX\n")
				sent.Add(2)
			}
			linetest.Play(t, "long", "C: QUIT\nS: 221 *\n", long)
		})
	}
	for i := range 10 {
		s.reload(fmt.Sprintf("mail%d.example.org", i), fmt.Sprintf("[smtp]\nmax_recipients = %d\n", i+1))
	}
	stop.Store(true)
	load.Wait()
	files, err := os.ReadDir(filepath.Join(s.dir, "data", "alice", "new"))
	if err != nil || int64(len(files)) != sent.Load() || sent.Load() == 0 {
		t.Errorf("%d messages were accepted, %d are there: %v", sent.Load(), len(files), err)
	}
	if err := s.stop(syscall.SIGTERM); err != nil {
		t.Errorf("%v\n%s", err, s.log)
	}
}

func TestReload(t *testing.T) {
	dir := t.TempDir()
	s := startSystem(t, dir)
	s.must("server", "", "user", "add", "alice", "--password-file", s.file("alice.password", "alice's secret\n"))
	s.dialog("smtp", "S: 220 *\nC: EHLO a\nU: 250 HELP\nC: MAIL FROM:<>\nS: 250 *\nC: RCPT TO:<info>\nS: 550 *\n")

	// Aliases, domains and a certificate come; a session that began before goes on.
	early, err := net.Dial("tcp", s.addr["smtp"])
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	linetest.Play(t, "early", "S: 220 *\nC: EHLO a\nU: 250 HELP\nC: MAIL FROM:<>\nS: 250 *\n", early)
	config := linetest.WriteCertificate(t, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	s.reload("one.example.org", "[aliases]\ninfo = [\"alice\"]\n[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n")
	s.smtpDialog("smtp", "S: 220 one.example.org *\nC: EHLO a\nU: 250 HELP\nC: STARTTLS\nS: 220 *\nTLS\nC: EHLO a\nU: 250 HELP\nC: MAIL FROM:<>\nS: 250 *\nC: RCPT TO:<info>\nS: 250 *\n", config)
	linetest.Play(t, "early", "C: RCPT TO:<alice>\nS: 250 *\nC: DATA\nS: 354 *\nC: x\nC: .\nS: 250 *\nC: QUIT\nS: 221 *\n", early)

	// What is wrong, or can't be changed, leaves all as it is.
	s.refuse("hostnam = 1\n", `the settings in force stay" err="xm.toml:1: unknown setting`)
	s.reload("two.example.org", "[smtp]\nlisten = \"127.0.0.1:1\"\n")
	s.reload("three.example.org", "")
	if log := s.log.String(); strings.Count(log, `this setting changes at a restart alone" setting=smtp.listen`) != 1 {
		t.Errorf("of another port, the log says\n%s", log)
	}
	users := filepath.Join(dir, "data/users.txt")
	if err := os.Rename(users, users+".old"); err != nil {
		t.Fatal(err)
	}
	s.refused(`the settings in force stay" err="users.txt is gone"`)
	s.dialog("smtp", "S: 220 *\nC: EHLO a\nU: 250 HELP\nC: MAIL FROM:<>\nS: 250 *\nC: RCPT TO:<alice>\nS: 451 *\n")
	if err := errors.Join(os.Rename(users+".old", users), os.Remove(filepath.Join(dir, "xm.toml"))); err != nil {
		t.Fatal(err)
	}
	s.refused(`the settings in force stay" err="open xm.toml: no such file`)
	t.Run("sandbox", func(t *testing.T) {
		if abi, _, _ := syscall.Syscall(sysLandlockCreateRuleset, 0, 0, 1); int(abi) < 1 {
			t.Skip("this kernel has no Landlock")
		}
		cert, key := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
		linetest.WriteCertificate(t, cert, key)
		s.refuse(fmt.Sprintf("[tls]\ncert = %q\nkey = %q\n", cert, key), "permission denied")
	})
}

// landlock_create_ruleset(2), which tells the version with flag 1.
const sysLandlockCreateRuleset = 444

// After a reload, in the sandbox, the journal still tells a crash of the system from
// the end of the process.
func TestJournalAfterReload(t *testing.T) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Skip(err)
	}
	s := startSystem(t, t.TempDir())
	s.must("server", "", "user", "add", "alice", "--password-file", s.file("alice.password", "secret\n"))
	s.reload("mail.example.org", "")
	s.dialog("smtp", "S: 220 *\nC: HELO a\nS: 250 *\nC: MAIL FROM:<>\nS: 250 *\nC: RCPT TO:<alice>\nS: 250 *\nC: DATA\nS: 354 *\nC: x\nC: .\nS: 250 *\nC: QUIT\nS: 221 *\nX\n")
	journal, err := os.ReadFile(filepath.Join(s.dir, "data", ".journal"))
	if header, _, _ := strings.Cut(string(journal), "\n"); err != nil || !strings.Contains(header, " "+strings.TrimSpace(string(boot))+"/") {
		t.Errorf("the journal begins with %q, %v", header, err)
	}
	if err := s.stop(syscall.SIGTERM); err != nil {
		t.Errorf("%v\n%s", err, s.log)
	}
}
