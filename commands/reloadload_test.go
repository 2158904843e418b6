package commands_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"xm/internal/line/linetest"
)

const (
	shortSMTP = "S: 220 *\nC: EHLO a\nU: 250 HELP\n"
	shortPOP3 = "S: +OK *\n"
	tlsSMTP   = shortSMTP + "C: STARTTLS\nS: 220 *\nTLS\nC: EHLO a\nU: 250 HELP\n"
	tlsPOP3   = shortPOP3 + "C: STLS\nS: +OK *\nTLS\n"
	quitSMTP  = "C: QUIT\nS: 221 *\nX\n"
	quitPOP3  = "C: QUIT\nS: +OK *\nX\n"
)

// sendTo delivers one message.
func sendTo(user string) string {
	return "C: MAIL FROM:<x@example.com>\nS: 250 *\nC: RCPT TO:<" + user + ">\nS: 250 *\nC: DATA\nS: 354 *\nC: Subject: x\nC: .\nS: 250 *\n"
}

// fetchAll logs in, and takes the two messages that there must be.
func fetchAll(user string) string {
	return "C: USER " + user + "\nS: +OK *\nC: PASS secret\nS: +OK 2 *\nC: RETR 1\nS: +OK *\nU: Subject: x\nU: .\n" +
		"C: RETR 2\nS: +OK *\nU: Subject: x\nU: .\nC: DELE 1\nS: +OK *\nC: DELE 2\nS: +OK *\n"
}

// Settings, users and certificates change again and again while sessions of both
// protocols, in clear and under TLS, short ones and such as outlive it all,
// deliver, fetch and delete. No command fails, no message is lost, and what has
// changed holds for who comes after.
func TestReloadWhileMailIsSentAndFetched(t *testing.T) {
	dir := t.TempDir()
	// A pair of files each time: a SIGHUP may still be at work on those before.
	certificate := func(i int) (settings string, client *tls.Config) {
		cert, key := fmt.Sprintf("cert%d.pem", i), fmt.Sprintf("key%d.pem", i)
		client = linetest.WriteCertificate(t, filepath.Join(dir, cert), filepath.Join(dir, key))
		return fmt.Sprintf("iterations = 10000\n[tls]\ncert = %q\nkey = %q\n", cert, key), client
	}
	settings, _ := certificate(-1)
	s := startSystem(t, dir, settings)
	s.file("password", "secret\n")
	users := []string{"alice", "bob", "carol", "dave"}
	for _, name := range append(users, "eve", "frank", "grace") {
		s.must("server", "", "user", "add", name, "--password-file", filepath.Join(dir, "password"))
	}
	anyone := &tls.Config{InsecureSkipVerify: true} // under load; see below
	var stop atomic.Bool
	var load sync.WaitGroup
	var rounds atomic.Int64
	for i, name := range users {
		load.Go(func() {
			for round := i; !stop.Load() && !t.Failed(); round++ {
				hello, login := shortSMTP, shortPOP3
				if round%2 == 0 {
					hello, login = tlsSMTP, tlsPOP3
				}
				s.smtpDialog("smtp", hello+sendTo(name)+sendTo(name)+quitSMTP, anyone)
				s.smtpDialog("pop3", login+fetchAll(name)+quitPOP3, anyone)
				rounds.Add(1)
			}
		})
	}
	load.Go(func() { s.outlive("eve", false, &stop) })
	load.Go(func() { s.outlive("grace", true, &stop) })
	for i := range 8 {
		settings, client := certificate(i)
		for range 5 { // in a row, and while one is under way
			s.hangUp()
		}
		name, size := fmt.Sprintf("mail%d.example.org", i), 100_000+i
		s.reload(name, fmt.Sprintf("%s[smtp]\nmax_size = %d\n[aliases]\nalias%d = [\"eve\"]\n", settings, size, i))
		user := fmt.Sprintf("user%d", i)
		s.must("server", "", "user", "add", user, "--password-file", filepath.Join(dir, "password"))
		s.smtpDialog("smtp", fmt.Sprintf("S: 220 %s *\nC: EHLO a\nU: 250-SIZE %d\nU: 250 HELP\nC: STARTTLS\nS: 220 *\nTLS\nC: EHLO a\nU: 250 HELP\nC: MAIL FROM:<> SIZE=%d\nS: 552 *\n",
			name, size, size+1)+sendTo(fmt.Sprintf("alias%d", i))+sendTo(user)+sendTo(user)+"C: MAIL FROM:<>\nS: 250 *\n"+
			fmt.Sprintf("C: RCPT TO:<alias%d>\nS: 550 *\n", i-1)+quitSMTP, client)
		s.smtpDialog("pop3", tlsPOP3+fetchAll(user)+quitPOP3, client)
	}
	stop.Store(true)
	load.Wait()
	if rounds.Load() == 0 {
		t.Error("there was no load")
	}
	if got := strings.Count(s.onDisk("eve"), "Subject: x\n"); got != 8 {
		t.Errorf("eve has %d messages", got)
	}
	for _, name := range users {
		if left := s.onDisk(name); left != "" {
			t.Errorf("%s was not to have\n%s", name, left)
		}
	}
	if err := s.stop(syscall.SIGTERM); err != nil {
		t.Errorf("%v\n%s", err, s.log)
	}
	for _, bad := range []string{"level=ERROR", "cut off", "panicked"} {
		if strings.Contains(s.log.String(), bad) {
			t.Errorf("%s is in the log:\n%s", bad, s.log)
		}
	}
}

// outlive is two sessions, in clear or under TLS, from before the first reload
// until after the last. The maildrop of user is empty.
func (s *system) outlive(user string, secured bool, stop *atomic.Bool) {
	begin := func(service, hello, upgrade string) net.Conn {
		conn, err := net.Dial("tcp", s.addr[service])
		if err != nil {
			s.t.Fatal(err)
		}
		linetest.Play(s.t, service, hello, conn)
		if secured {
			linetest.Play(s.t, service, upgrade, conn)
			conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		}
		return conn
	}
	smtp := begin("smtp", "S: 220 *\n", "C: EHLO a\nU: 250 HELP\nC: STARTTLS\nS: 220 *\n")
	defer smtp.Close()
	pop3 := begin("pop3", "S: +OK *\n", "C: STLS\nS: +OK *\n")
	defer pop3.Close()
	linetest.Play(s.t, "long SMTP", "C: EHLO a\nU: 250 HELP\n", smtp)
	linetest.Play(s.t, "long POP3", "C: USER "+user+"\nS: +OK *\nC: PASS secret\nS: +OK 0 *\n", pop3)
	for !stop.Load() && !s.t.Failed() {
		linetest.Play(s.t, "long SMTP", sendTo("frank"), smtp)
		linetest.Play(s.t, "long POP3", "C: STAT\nS: +OK 0 0\nC: NOOP\nS: +OK *\n", pop3)
	}
	linetest.Play(s.t, "long SMTP", quitSMTP, smtp)
	linetest.Play(s.t, "long POP3", quitPOP3, pop3)
}
