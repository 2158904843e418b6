package commands_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"xm/internal/line/linetest"
	"xm/internal/trace"
)

// patience only bounds a failing test.
const patience = 20 * time.Second

// system is a running xm serve and the directory that everything is in.
type system struct {
	t    *testing.T
	dir  string
	cmd  *exec.Cmd
	addr map[string]string // of each service
	log  *linetest.Log     // complete once the process has ended
	done chan struct{}
}

// startSystem runs xm serve on free ports, with its files in dir/data and
// dir/server. settings go into its config: a first one that begins with hostname
// to its beginning, the others into [login] and behind it.
func startSystem(t *testing.T, dir string, settings ...string) *system {
	t.Helper()
	s := &system{t: t, dir: dir, addr: map[string]string{}, log: &linetest.Log{}, done: make(chan struct{})}
	hostname := ""
	if len(settings) > 0 && strings.HasPrefix(settings[0], "hostname") {
		hostname, settings = settings[0], settings[1:]
	}
	s.file("xm.toml", hostname+"[login]\nfailure_delay = \"0s\"\n"+strings.Join(settings, ""))
	s.cmd = exec.Command("xm", "--data", filepath.Join(dir, "data"), "--keys", filepath.Join(dir, "server"), "serve",
		"--listen", "smtp=127.0.0.1:0", "--listen", "pop3=127.0.0.1:0", "--listen", "regd=127.0.0.1:0")
	s.cmd.Dir = dir
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(io.TeeReader(stderr, s.log))
	last := "regd"
	if strings.Contains(strings.Join(settings, ""), "[metrics]") {
		last = "metrics"
	}
	for s.addr[last] == "" && in.Scan() {
		if r, _ := trace.Parse(in.Bytes()); r.Msg == "listening" {
			s.addr[r.Get("service")] = r.Get("addr")
		}
	}
	if s.addr[last] == "" {
		t.Fatalf("xm serve did not start:\n%s", s.log)
	}
	go func() {
		for in.Scan() {
		}
		close(s.done)
	}()
	t.Cleanup(func() { s.stop(syscall.SIGKILL) })
	return s
}

// stop sends a signal and returns how the process ended.
func (s *system) stop(signal os.Signal) error {
	s.cmd.Process.Signal(signal)
	<-s.done
	return s.cmd.Wait()
}

func field(line, name string) string {
	_, value, _ := strings.Cut(line, name)
	value, _, _ = strings.Cut(value, " ")
	return value
}

// xm runs the program as the person whose keys are in dir/person.
func (s *system) xm(person, stdin string, args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	cmd := exec.Command("xm", append([]string{"--keys", filepath.Join(s.dir, person), "--data", filepath.Join(s.dir, "data")}, args...)...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "HOME="+filepath.Join(s.dir, person), "XDG_CONFIG_HOME=", "XDG_DATA_HOME=")
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		s.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// login makes the account of somebody whom pair has added.
func (s *system) login(person string) {
	s.t.Helper()
	s.must(person, person+"'s secret\n", "login", person, "--password-file", "-", "--store", "--smtp", s.addr["smtp"], "--pop3", s.addr["pop3"])
}

// must is xm that has to succeed. It returns standard output.
func (s *system) must(person, stdin string, args ...string) string {
	s.t.Helper()
	stdout, stderr, code := s.xm(person, stdin, args...)
	if code != 0 {
		s.t.Fatalf("xm %q: exit code %d\n%s", args, code, stderr)
	}
	return stdout
}

// client runs a mail client's command for person.
func (s *system) client(person, stdin string, args ...string) string {
	s.t.Helper()
	return s.must(person, stdin, append(args, s.account(person)...)...)
}

func (s *system) account(person string) []string {
	return []string{"--user", person, "--password-file", s.file(person+".password", person+"'s secret\n"), "--smtp", s.addr["smtp"], "--pop3", s.addr["pop3"]}
}

func (s *system) file(name, content string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func (s *system) copy(from, to string) {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, from))
	if err != nil {
		s.t.Fatal(err)
	}
	s.file(to, string(b))
}

// dialog plays lines as linetest has them.
func (s *system) dialog(service, text string) {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr[service])
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	linetest.Play(s.t, service, text, conn)
}

// onDisk returns everything that lies in a maildrop.
func (s *system) onDisk(name string) string {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, "data", name, "new", "*"))
	if err != nil {
		s.t.Fatal(err)
	}
	var all []byte
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, b...)
	}
	return string(all)
}

func TestFromKeygenToADecryptedMail(t *testing.T) {
	s := startSystem(t, t.TempDir())
	for _, name := range []string{"alice", "bob"} {
		s.must(name, "", "keygen")
		s.copy("server/key.pub", name+"/server.pub")
	}
	// alice comes in over the network, with the original's kind of record.
	sum := sha256.Sum256([]byte("alice's secret" + "salt"))
	s.must("alice", "", "register", "-o", filepath.Join(s.dir, "reg"), fmt.Sprintf("alice,salt,%x", sum))
	if got := s.sendFile("regd", "reg"); got != "+OK registered\r\n" {
		t.Fatalf("regd answered %q", got)
	}
	if got := s.sendFile("regd", "reg"); got != "-ERR the name is taken\r\n" {
		t.Errorf("the second time, regd answered %q", got)
	}
	// bob is added by the operator, while the servers run.
	s.must("server", "", "user", "add", "bob", "--password-file", s.file("bob.password", "bob's secret\n"))
	s.copy("alice/key.pub", "bob/alice.pub")
	s.copy("bob/key.pub", "alice/bob.pub")

	const text = "Meet me at the bridge.\n\x1b[2J escapes too\n"
	const shown = "Meet me at the bridge.\n\ufffd[2J escapes too\n"
	s.client("alice", text, "send", "bob", "-s", "Plans")
	if disk := s.onDisk("bob"); strings.Contains(disk, "bridge") || !strings.Contains(disk, `filename="enc"`) {
		t.Errorf("on the server's disk lies\n%s", disk)
	}
	var list []struct {
		Number        int
		From, Subject string
		Encrypted     bool
	}
	if err := json.Unmarshal([]byte(s.client("bob", "", "inbox", "--json")), &list); err != nil || len(list) != 1 ||
		list[0].From != "alice@localhost" || !list[0].Encrypted || list[0].Number != 1 || list[0].Subject != "Plans" {
		t.Errorf("the inbox: %+v, %v", list, err)
	}
	if got := s.client("bob", "", "read", "1"); !strings.HasSuffix(got, "\nSubject: Plans\n\n"+shown) {
		t.Errorf("bob reads %q", got)
	}
	// Somebody else's key in the place of alice's: not authentic, and not shown.
	s.copy("bob/key.pub", "bob/alice.pub")
	stdout, stderr, code := s.xm("bob", "", append([]string{"read", "1"}, s.account("bob")...)...)
	if code != 3 || stdout != "" || !strings.Contains(stderr, "not authentic") {
		t.Errorf("with the wrong key: exit code %d, %q, %q", code, stdout, stderr)
	}
	os.Remove(filepath.Join(s.dir, "bob/alice.pub"))
	if _, stderr, code := s.xm("bob", "", append([]string{"read", "1"}, s.account("bob")...)...); code != 4 {
		t.Errorf("without the key: exit code %d, %q", code, stderr)
	}
	if _, stderr, code := s.xm("bob", "", append([]string{"read", "9"}, s.account("bob")...)...); code != 4 {
		t.Errorf("a message that is not there: exit code %d, %q", code, stderr)
	}
	// Known to her, but not to the server.
	s.copy("bob/key.pub", "alice/carol.pub")
	if _, stderr, code := s.xm("alice", "x", append([]string{"send", "carol"}, s.account("alice")...)...); code != 4 || !strings.Contains(stderr, "550 5.1.1") {
		t.Errorf("a recipient that the server does not know: exit code %d, %q", code, stderr)
	}
	// Nobody vouches for plain mail.
	s.dialog("smtp", "S: 220 *\nC: HELO a\nS: 250 *\nC: MAIL FROM:<alice@localhost>\nS: 250 *\nC: RCPT TO:<bob>\nS: 250 *\nC: DATA\nS: 354 *\nC: From: alice@localhost\nC: Subject: \x1b[2J\u202e\nC:\nC: plain text\nC: .\nS: 250 *\nC: QUIT\nS: 221 *\nX\n")
	if got := s.client("bob", "", "read", "2"); !strings.HasSuffix(got, "Subject: \ufffd[2J\ufffd\n\nplain text\n") {
		t.Errorf("plain mail reads %q", got)
	}
	stdout, stderr, code = s.xm("bob", "", append([]string{"read", "2", "--sender", "alice"}, s.account("bob")...)...)
	if code != 3 || stdout != "" || !strings.Contains(stderr, "neither encrypted nor signed") {
		t.Errorf("plain mail with --sender: exit code %d, %q, %q", code, stdout, stderr)
	}
	for _, args := range [][]string{{"inbox"}, {"inbox", "--json"}} {
		if got := s.client("bob", "", args...); strings.ContainsAny(got, "\x1b\u202e") || !strings.Contains(got, "alice@localhost") {
			t.Errorf("%v prints %q", args, got)
		}
	}
	if _, stderr, code := s.xm("alice", "x", append([]string{"send", "bob@elsewhere.example"}, s.account("alice")...)...); code != 4 {
		t.Errorf("a recipient without a key: exit code %d, %q", code, stderr)
	}
}

// The session of the original README, with its users added, and what came of it.
func TestOriginalSessions(t *testing.T) {
	s := startSystem(t, t.TempDir())
	for _, name := range []string{"bill@localhost.com", "alice@localhost.com"} {
		s.must("server", "123456\n", "user", "add", "--password-file", "-", name)
	}
	readDialog := func(path string) string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	s.dialog("smtp", readDialog("../smtpd/testdata/dialogs/original-readme.txt"))
	s.dialog("pop3", `S: +OK *
C: USER alice@localhost.com
S: +OK *
C: PASS 123456
S: +OK *
C: STAT
S: +OK 1 *
C: LIST
S: +OK *
S: 1 *
S: .
C: TOP 1 0
S: +OK *
S: Return-Path: <bill@localhost.com>
S: Received: from unknown ([127.0.0.1])
S: 	by *
S: 	for <alice@localhost.com>;
S: 	*
S: 
S: .
C: RETR 1
S: +OK *
S: Return-Path: *
S: Received: *
S: 	by *
S: 	for *
S: 	*
S: 
S: Hello Alice. This is a test message.
S: .
C: DELE 1
S: +OK *
C: QUIT
S: +OK *
X
`)
	if left := s.onDisk("alice@localhost.com"); left != "" {
		t.Errorf("the deleted message is still there:\n%s", left)
	}
}

// With the original's users.txt and a message that it left.
func TestOriginalData(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "data/test"), 0o700); err != nil {
		t.Fatal(err)
	}
	users, err := os.ReadFile("testdata/seed/users.txt")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"data/users.txt": string(users), "data/test/1462313083": "this is a message\n<CR><LF>"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := startSystem(t, dir)
	for name, password := range map[string]string{"robert@localhost.com": "password", "soly": "pass", "test": "test", "user": "user"} {
		s.dialog("pop3", fmt.Sprintf("S: +OK *\nC: USER %s\nS: +OK *\nC: PASS %s!\nS: -ERR [AUTH] *\nC: USER %s\nS: +OK *\nC: PASS %s\nS: +OK *\nC: QUIT\nS: +OK *\nX\n", name, password, name, password))
	}
	s.dialog("pop3", "S: +OK *\nC: USER test\nS: +OK *\nC: PASS test\nS: +OK 1 *\nC: RETR 1\nS: +OK 29 octets\nS: this is a message\nS: <CR><LF>\nS: .\nC: UIDL 1\nS: +OK 1 test/1462313083\nC: QUIT\nS: +OK *\nX\n")
}

// What was acknowledged is there after a kill -9.
func TestKilledAfter250(t *testing.T) {
	dir := t.TempDir()
	s := startSystem(t, dir)
	s.must("server", "secret\n", "user", "add", "--password-file", "-", "alice")
	s.dialog("smtp", "S: 220 *\nC: HELO a\nS: 250 *\nC: MAIL FROM:<>\nS: 250 *\nC: RCPT TO:<alice@localhost>\nS: 250 *\nC: DATA\nS: 354 *\nC: Subject: x\nC:\nC: still here\nC: .\nS: 250 *\n")
	s.stop(syscall.SIGKILL)

	s = startSystem(t, dir)
	s.dialog("pop3", "S: +OK *\nC: USER alice\nS: +OK *\nC: PASS secret\nS: +OK 1 *\nC: TOP 1 1\nS: +OK *\nS: Return-Path: <>\nS: Received: *\nS: *\nS: *\nS: *\nS: Subject: x\nS: \nS: still here\nS: .\nC: QUIT\nS: +OK *\nX\n")
}

func TestSIGTERM(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.must("server", "secret\n", "user", "add", "--password-file", "-", "alice")
	idle, err := net.Dial("tcp", s.addr["smtp"])
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	busy, err := net.Dial("tcp", s.addr["smtp"])
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	linetest.Play(t, "idle", "S: 220 *\n", idle)
	linetest.Play(t, "busy", "S: 220 *\nC: HELO a\nS: 250 *\nC: MAIL FROM:<>\nS: 250 *\nC: RCPT TO:<alice@localhost>\nS: 250 *\nC: DATA\nS: 354 *\nC: half\n", busy)
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	linetest.Play(t, "idle", "S: 421 4.3.2 *\nX\n", idle)
	// The transaction may end; after it, nothing new begins.
	linetest.Play(t, "busy", "C: done\nC: .\nS: 250 *\nS: 421 4.3.2 *\nX\n", busy)
	<-s.done
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("ended with %v; the log:\n%s", err, s.log)
	}
	if !strings.Contains(s.onDisk("alice"), "half\ndone\n") {
		t.Error("the message is not there")
	}
}

// A second SIGTERM does not wait for the transactions.
func TestSecondSIGTERM(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.must("server", "secret\n", "user", "add", "--password-file", "-", "alice")
	conn, err := net.Dial("tcp", s.addr["smtp"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	linetest.Play(t, "busy", "S: 220 *\nC: HELO a\nS: 250 *\nC: MAIL FROM:<>\nS: 250 *\nC: RCPT TO:<alice@localhost>\nS: 250 *\nC: DATA\nS: 354 *\nC: half\n", conn)
	// The first is noticed at some time. One upon the other, they may meet a Go program
	// in the midst of dying of one, which then ends in another way.
	for ended := false; !ended; {
		s.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-s.done:
			ended = true
		case <-time.After(10 * time.Millisecond):
		}
	}
	s.cmd.Wait()
	if status := s.cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("ended with %v; the log:\n%s", s.cmd.ProcessState, s.log)
	}
	if strings.Contains(s.log.String(), "cut off") {
		t.Errorf("the transaction had its time:\n%s", s.log)
	}
	if got := s.onDisk("alice"); got != "" {
		t.Errorf("half of a message is there:\n%s", got)
	}
}

// Two servers that share the files, as two processes.
func TestSeparateProcesses(t *testing.T) {
	dir := t.TempDir()
	s := startSystem(t, dir)
	other := startSystem(t, dir)
	s.must("server", "secret\n", "user", "add", "--password-file", "-", "alice")
	conn, err := net.Dial("tcp", s.addr["pop3"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const login = "S: +OK *\nC: USER alice\nS: +OK *\nC: PASS secret\n"
	linetest.Play(t, "first", login+"S: +OK 0 *\n", conn)
	other.dialog("smtp", "S: 220 *\nC: HELO a\nS: 250 *\nC: MAIL FROM:<>\nS: 250 *\nC: RCPT TO:<alice>\nS: 250 *\nC: DATA\nS: 354 *\nC: x\nC: .\nS: 250 *\nC: QUIT\nS: 221 *\nX\n")
	other.dialog("pop3", login+"S: -ERR [IN-USE] *\nC: QUIT\nS: +OK *\nX\n")
	linetest.Play(t, "first", "C: STAT\nS: +OK 0 0\nC: QUIT\nS: +OK *\nX\n", conn)
	other.dialog("pop3", login+"S: +OK 1 *\nC: QUIT\nS: +OK *\nX\n")
}

// One copy for each user whom an alias stands for, postmaster among them; none
// is lost where a user is missing.
func TestAliases(t *testing.T) {
	s := startSystem(t, t.TempDir(), `
[aliases]
postmaster = ["alice"]
"info@example.org" = ["postmaster", "bob", "alice"]
missing = ["alice", "carol"]
`)
	for _, name := range []string{"alice", "bob"} {
		s.must("server", "secret\n", "user", "add", "--password-file", "-", name)
	}
	if _, stderr, code := s.xm("server", "secret\n", "user", "add", "--password-file", "-", "Postmaster"); code != 1 || !strings.Contains(stderr, "postmaster is an alias") {
		t.Errorf("xm user add Postmaster: exit code %d\n%s", code, stderr)
	}
	s.dialog("smtp", "S: 220 *\nC: HELO a\nS: 250 *\nC: MAIL FROM:<>\nS: 250 *\nC: RCPT TO:<missing@localhost>\nS: 451 *\n"+
		"C: RCPT TO:<info@example.org>\nS: 250 *\nC: RCPT TO:<PostMaster>\nS: 250 *\nC: DATA\nS: 354 *\nC: Subject: to all\nC: .\nS: 250 *\nC: QUIT\nS: 221 *\nX\n")
	for _, name := range []string{"alice", "bob"} {
		if got := strings.Count(s.onDisk(name), "Subject: to all\n"); got != 1 {
			t.Errorf("%s has %d copies", name, got)
		}
	}
	s.stop(syscall.SIGTERM)
	for _, want := range []string{"alias missing: no user", "alias missing: no user carol"} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, s.log)
		}
	}
}

// sendFile writes a file to a service and returns the answer.
func (s *system) sendFile(service, name string) string {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	conn, err := net.Dial("tcp", s.addr[service])
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(b); err != nil {
		s.t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(answer)
}

// A server outlives whoever reads its log.
func TestNobodyReadsTheLog(t *testing.T) {
	cmd := exec.Command("xm", "--data", t.TempDir(), "smtpd", "--listen", "127.0.0.1:0", "--log-level", "debug")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addr := ""
	for in := bufio.NewScanner(stderr); addr == "" && in.Scan(); {
		if r, _ := trace.Parse(in.Bytes()); r.Msg == "listening" {
			addr = r.Get("addr")
		}
	}
	stderr.Close()
	for range 2 { // each has lines in the log
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Error(err)
			break
		}
		io.WriteString(conn, "HELO a\r\nQUIT\r\n")
		if said, err := io.ReadAll(conn); err != nil || !strings.Contains(string(said), "\n221 ") {
			t.Errorf("%q, %v", said, err)
		}
		conn.Close()
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
