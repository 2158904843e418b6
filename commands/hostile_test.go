package commands_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// raw delivers a message as it is.
func (s *system) raw(to, text string) {
	s.t.Helper()
	dir := "data/" + to + "/new/"
	if err := os.MkdirAll(filepath.Join(s.dir, dir), 0o700); err != nil {
		s.t.Fatal(err)
	}
	s.file(dir+fmt.Sprint(time.Now().UnixNano())+".test", text)
}

// The password is read once, though an answer needs two servers.
func TestReplyReadsThePasswordOnce(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	s.client("alice", "", "send", "bob", "hello")
	servers := []string{"--user", "bob", "--password-file", "-", "--smtp", s.addr["smtp"], "--pop3", s.addr["pop3"]}
	s.must("bob", "bob's secret\n", append([]string{"reply", "1", "thanks"}, servers...)...)
	counter := filepath.Join(s.dir, "asked")
	command := fmt.Sprintf("echo x >> %s; echo \"bob's secret\"", counter)
	s.must("bob", "", "login", "bob", "--password-command", command, "--smtp", s.addr["smtp"], "--pop3", s.addr["pop3"])
	if err := os.Remove(counter); err != nil {
		t.Fatal(err)
	}
	s.must("bob", "", "reply", "1", "thanks")
	if asked, err := os.ReadFile(counter); err != nil || string(asked) != "x\n" {
		t.Errorf("password_command ran as often as %q tells: %v", asked, err)
	}
}

// A name of almost a megabyte is cut to one that a file can have.
func TestSaveUnderALongName(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	s.raw("bob", "From: x@y\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: application/x\n"+
		"Content-Disposition: attachment; filename=\""+strings.Repeat("é", 20_000)+".pdf\"\n\nx\n--b--\n")
	out := filepath.Join(s.dir, "out")
	s.client("bob", "", "read", "1", "--save", out)
	if files, err := os.ReadDir(out); err != nil || len(files) != 1 || len(files[0].Name()) != 200 || !strings.HasSuffix(files[0].Name(), "é.pdf") {
		t.Errorf("%v, %v", files, err)
	}
}

// A line end in a name does not begin another field on the page.
func TestNamesStayInTheirLine(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	s.raw("bob", "From: =?utf-8?q?bob=0ASubject:_paid?= <a@b>\nSubject: x\n\ntext\n")
	if got := s.client("bob", "", "read", "1"); got != "From: bob\ufffdSubject: paid <a@b>\nSubject: x\n\ntext\n" {
		t.Errorf("%q", got)
	}
}

// bare delivers a payload of a text alone, which alice has signed, in a message
// that says whatever header says.
func (s *system) bare(header, text string) {
	s.t.Helper()
	s.raw("bob", header+"Content-Type: text/plain\n\n"+s.must("alice", text, "encrypt", "-o", "-", "bob")+"\n")
}

// What stands outside of a payload is nobody's word: an answer goes to who signed
// it, and a list does not show it beside a good signature.
func TestTheOutsideIsNotSigned(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	s.bare("From: alice@localhost\nReply-To: mallory@localhost\nCc: mallory@localhost\nSubject: pay mallory\n", "a secret\n")
	_, stderr, _ := s.xm("bob", "", append([]string{"reply", "--all", "-n", "1", "x"}, s.account("bob")...)...)
	if got := s.client("bob", "", "reply", "--all", "-n", "1", "x"); strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, "alice@localhost ") {
		t.Errorf("the answer goes to %q, %s", got, stderr)
	}
	if strings.Contains(stderr, "mallory") {
		t.Errorf("%s", stderr)
	}
	s.bare("From: alice@elsewhere.example\nSubject: pay mallory\n", "a secret\n")
	for i, line := range strings.Split(strings.TrimSpace(s.client("bob", "", "inbox")), "\n") {
		if strings.Contains(line, "mallory") || strings.Contains(line, "elsewhere") || !strings.HasSuffix(line, " known") {
			t.Errorf("%d: listed as %q", i, line)
		}
	}
	// The same where the key has a passphrase, so that nothing is opened.
	s.file("passphrase", "a passphrase\n")
	s.must("bob", "", "keygen", "--force", "--passphrase-file", filepath.Join(s.dir, "passphrase"))
	for i, line := range strings.Split(strings.TrimSpace(s.client("bob", "", "inbox")), "\n") {
		if strings.Contains(line, "mallory") || strings.Contains(line, "elsewhere") || !strings.HasSuffix(line, " known") {
			t.Errorf("%d: listed unopened as %q", i, line)
		}
	}
}

// No message keeps xm fetch --decrypt from the others, and none can say itself
// who signed it.
func TestFetchWhatIsMadeToBreakIt(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	s.raw("bob", "From: alice@localhost\nxm-signature : verified;\n key=alice\nSubject: plain\n\nXm-Signature: in the text\n")
	s.raw("bob", "From: x@y\nX: "+strings.Repeat("a", 1<<20)+"\nSubject: huge\n\ntext\n")
	s.put("alice", "bob", "alice@localhost", "MIME-Version: 1.0\r\nFrom: alice@localhost\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ncut off")
	s.put("alice", "bob", "alice@localhost", "MIME-Version: 1.0\r\nFrom: alice@localhost\r\nX: "+strings.Repeat("a", 1<<20)+"\r\n\r\nx\r\n")
	s.client("alice", "", "send", "bob", "the last one")
	dir := filepath.Join(s.dir, "Mail")
	s.client("bob", "", "fetch", "--decrypt", "--maildir", dir)
	files, err := filepath.Glob(filepath.Join(dir, "new", "*"))
	if err != nil || len(files) != 5 {
		t.Fatalf("%v, %v", files, err)
	}
	signed := 0
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		header, body, _ := strings.Cut(string(text), "\n\n")
		if strings.Contains(strings.ToLower(header), "xm-signature") != (strings.Contains(body, "the last one") || strings.Contains(body, "cut off\n--b--\n")) {
			t.Errorf("%q", text)
		}
		if strings.HasPrefix(header, "Xm-Signature: known; key=alice\n") {
			signed++
		}
		if strings.Contains(body, "in the text") && string(text) != "From: alice@localhost\nSubject: plain\n\nXm-Signature: in the text\n" {
			t.Errorf("the plain one is %q", text)
		}
	}
	if signed != 2 {
		t.Errorf("%d messages have an Xm-Signature", signed)
	}
}

// A message whose payload is damaged early on is stored as it came, to its end.
func TestFetchWhatIsDamaged(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	payload := []byte(s.must("alice", strings.Repeat("x", 4<<20), "encrypt", "-o", "-", "bob"))
	payload[len(payload)/10] = 'x'
	text := "From: alice@localhost\nContent-Type: text/plain\n\n" + string(payload) + "\n"
	const count = 5
	for range count {
		s.raw("bob", text)
	}
	dir := filepath.Join(s.dir, "Mail")
	s.client("bob", "", "fetch", "--decrypt", "--maildir", dir)
	files, err := filepath.Glob(filepath.Join(dir, "new", "*"))
	if err != nil || len(files) != count {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		if got, err := os.ReadFile(f); err != nil || string(got) != text {
			t.Errorf("of %d octets, %d are stored, %v", len(text), len(got), err)
		}
	}
}

// pop3 is a server that has messages and does odd things: refuses are commands that
// it refuses, with "|" between. deleted tells which numbers were deleted in each session.
func pop3(t *testing.T, uids, messages []string, refuses string) (addr string, deleted <-chan []string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	sessions := make(chan []string, 10)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			sessions <- playPOP3(conn, uids, messages, refuses)
			conn.Close()
		}
	}()
	return l.Addr().String(), sessions
}

func playPOP3(conn net.Conn, uids, messages []string, refuses string) (deleted []string) {
	conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprint(conn, "+OK\r\n")
	refused := strings.Split(refuses, "|")
	for in := bufio.NewScanner(conn); in.Scan(); {
		words := append(strings.Fields(in.Text()), "", "")
		answer := "+OK\r\n"
		switch {
		case words[0] == "CAPA" || slices.ContainsFunc(refused, func(r string) bool { return strings.HasPrefix(in.Text(), r) }):
			answer = "-ERR\r\n"
		case words[0] == "LIST" || words[0] == "UIDL":
			for i := range messages {
				answer += fmt.Sprintf("%d %s\r\n", i+1, map[string]string{"LIST": fmt.Sprint(len(messages[i])), "UIDL": uids[i]}[words[0]])
			}
			answer += ".\r\n"
		case words[0] == "RETR" || words[0] == "TOP":
			n := int(words[1][0] - '1')
			answer += messages[n] + "\r\n.\r\n"
		case words[0] == "DELE":
			deleted = append(deleted, words[1])
		}
		fmt.Fprint(conn, answer)
		if words[0] == "QUIT" {
			return deleted
		}
	}
	return nil // nothing is deleted without QUIT
}

// Copies of a message may have one id (RFC 1939, section 7): each is there
// before it is deleted.
func TestFetchMessagesOfOneID(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	addr, deleted := pop3(t, []string{"a", "same", "same"}, []string{"X: 1\r\n\r\none", "X: 2\r\n\r\ntwo", "X: 3\r\n\r\nthree"}, "never")
	dir := filepath.Join(s.dir, "Mail")
	for round := range 2 {
		s.must("bob", "", append(append([]string{"fetch"}, s.account("bob")...), "--pop3", addr, "--maildir", dir, "--keep", "0")...)
		files, err := filepath.Glob(filepath.Join(dir, "new", "*"))
		if err != nil || len(files) != 3 {
			t.Fatalf("%d: %v, %v", round, files, err)
		}
		if got := <-deleted; !slices.Equal(got, []string{"1", "2", "3"}) {
			t.Errorf("%d: deleted are %q", round, got)
		}
	}
}

// A server that gives a UID to another message, against RFC 1939, section 7, does
// not make that one lost.
func TestFetchOfAReusedID(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	dir := filepath.Join(s.dir, "Mail")
	for round, text := range []string{"the first", "the second one", "the second one", "the third message"} {
		addr, deleted := pop3(t, []string{"1"}, []string{"X: 1\r\n\r\n" + text}, "never")
		s.must("bob", "", append(append([]string{"fetch"}, s.account("bob")...), "--pop3", addr, "--maildir", dir, "--keep", "0")...)
		files, err := filepath.Glob(filepath.Join(dir, "new", "*"))
		if want := []int{1, 2, 2, 3}[round]; err != nil || len(files) != want {
			t.Errorf("%s: %d messages, want %d: %v", text, len(files), want, err)
		}
		if got := <-deleted; !slices.Equal(got, []string{"1"}) {
			t.Errorf("%s: deleted are %q", text, got)
		}
	}
}

// One message that the server can't give does not keep it from giving others.
func TestAMessageThatTheServerCantGive(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	messages := []string{"Subject: one\r\n\r\nx", "Subject: two\r\n\r\nx", "Subject: three\r\n\r\nx"}
	addr, deleted := pop3(t, []string{"a", "b", "c"}, messages, "RETR 2")
	dir := filepath.Join(s.dir, "Mail")
	_, stderr, code := s.xm("bob", "", append([]string{"fetch", "--maildir", dir, "--keep", "0"}, append(s.account("bob"), "--pop3", addr)...)...)
	files, err := filepath.Glob(filepath.Join(dir, "new", "*"))
	if code != 1 || err != nil || len(files) != 2 || !strings.Contains(stderr, "message 2") {
		t.Errorf("exit code %d, %v, %v, %s", code, files, err, stderr)
	}
	if got := <-deleted; !slices.Equal(got, []string{"1", "3"}) {
		t.Errorf("deleted are %q", got)
	}
	// Nor does one that it does not delete keep the others there.
	addr, deleted = pop3(t, []string{"a", "b", "c"}, messages, "DELE 2")
	_, stderr, code = s.xm("bob", "", append([]string{"fetch", "--maildir", dir, "--keep", "0"}, append(s.account("bob"), "--pop3", addr)...)...)
	if got := <-deleted; code != 1 || !slices.Equal(got, []string{"1", "3"}) || !strings.Contains(stderr, "message 2 is not deleted") {
		t.Errorf("exit code %d, deleted are %q, %s", code, got, stderr)
	}
	addr, _ = pop3(t, []string{"a", "b", "c"}, messages, "TOP 2|RETR 2")
	list := s.must("bob", "", append(append([]string{"inbox"}, s.account("bob")...), "--pop3", addr)...)
	if strings.Count(list, "\n") != 3 || strings.Contains(list, "two") || !strings.Contains(list, "three") {
		t.Errorf("the list is %q", list)
	}
}

// The menu takes a message to the end of its input, a last full stop included.
func TestMenuMessageAtTheEndOfInput(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	for i, typed := range []string{"Hello.\n.\n4\n", "Hello.\n.", "Hello.\n", "Hello."} {
		s.client("alice", "2\nbob\nsubject\n"+typed, "client")
		if got := s.client("bob", "", "read", fmt.Sprint(i+1)); !strings.HasSuffix(got, "\n\nHello.\n") {
			t.Errorf("%q became %q", typed, got)
		}
	}
}

// A draft of 8-bit text says so to the server, as the message did.
func TestDraftOfEightBitText(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	args := s.account("alice")
	path := filepath.Join(s.dir, "draft.eml")
	s.file("draft.eml", "Xm-Send-To: bob@localhost\r\nMIME-Version: 1.0\r\nFrom: alice@localhost\r\n\r\nä\r\n")
	addr, said := smtpd(t)
	s.must("alice", "", append([]string{"send", "--draft", path}, append(args, "--smtp", addr)...)...)
	if got := <-said; got != "MAIL FROM:<alice@localhost> BODY=8BITMIME" {
		t.Errorf("%q", got)
	}
}

// smtpd is a server that tells what MAIL said.
func smtpd(t *testing.T) (addr string, said <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	mail := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		fmt.Fprint(conn, "220 x\r\n")
		for in := bufio.NewScanner(conn); in.Scan(); {
			switch verb, _, _ := strings.Cut(in.Text(), " "); verb {
			case "EHLO":
				fmt.Fprint(conn, "250-x\r\n250 8BITMIME\r\n")
			case "MAIL":
				mail <- in.Text()
				fmt.Fprint(conn, "250 ok\r\n")
			case "DATA":
				fmt.Fprint(conn, "354 go\r\n")
				for in.Scan() && in.Text() != "." {
				}
				fmt.Fprint(conn, "250 ok\r\n")
			default:
				fmt.Fprint(conn, "250 ok\r\n")
			}
		}
	}()
	return l.Addr().String(), mail
}

// A server that closes the connection after so many messages gets the others in the
// next; one that takes nothing gets no third connection (RFC 5321, section 3.8).
func TestSendToAServerThatCloses(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	for name, c := range map[string]struct {
		takes []int // in each connection
		code  int
	}{
		"one each":    {[]int{1, 1, 1}, 0},
		"two":         {[]int{2, 1}, 0},
		"no more":     {[]int{1, 0}, 1},
		"none":        {[]int{0}, 1},
		"unreachable": {[]int{1}, 1},
	} {
		addr, stop := closingServer(t, c.takes)
		args := []string{"send", "--plain", "bob", "--bcc", "carol", "--bcc", "dave", "hi", "--user", "alice",
			"--password-file", s.file("alice.password", "alice's secret\n"), "--smtp", addr, "--pop3", addr}
		_, stderr, code := s.xm("alice", "", args...)
		if taken := stop(); !slices.Equal(taken, c.takes) {
			t.Errorf("%s: the connections took %v messages", name, taken)
		}
		all := 0
		for _, count := range c.takes {
			all += count
		}
		if code != c.code || strings.Count(stderr, "sent to") != all+c.code {
			t.Errorf("%s: %d %s", name, code, stderr)
		}
	}
}

// closingServer takes so many messages in each connection, and no connection after
// those; stop tells how many it took.
func closingServer(t *testing.T, takes []int) (addr string, stop func() []int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken := make(chan []int, 1)
	go func() {
		defer l.Close()
		var counts []int
		for _, limit := range takes {
			conn, err := l.Accept()
			if err != nil {
				break
			}
			conn.SetDeadline(time.Now().Add(patience))
			counts = append(counts, takeMessages(conn, limit))
			conn.Close()
		}
		taken <- counts
	}()
	return l.Addr().String(), func() []int { l.Close(); return <-taken }
}

func takeMessages(conn net.Conn, limit int) (count int) {
	fmt.Fprint(conn, "220 x\r\n")
	for in := bufio.NewScanner(conn); in.Scan(); {
		switch verb, _, _ := strings.Cut(in.Text(), " "); {
		case verb == "MAIL" && count == limit:
			fmt.Fprint(conn, "421 4.7.0 enough\r\n")
			return count
		case verb == "DATA":
			fmt.Fprint(conn, "354 go\r\n")
			for in.Scan() && in.Text() != "." {
			}
			count++
			fallthrough
		default:
			fmt.Fprint(conn, "250 ok\r\n")
		}
	}
	return count
}

// One whom a message gives no address of, or none that mail can be sent to, is left out
// of the answer; the others are not.
func TestReplyLeavesOutWhoHasNoAddress(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	s.raw("bob", "From: alice@localhost\nTo: somebody else, carol@localhost, x/y@localhost, <dave@localhost\nSubject: x\n\nx\n")
	out, stderr, code := s.xm("bob", "", append([]string{"reply", "--all", "--plain", "-n", "1", "x"}, s.account("bob")...)...)
	if code != 0 || strings.Count(out, "\n") != 3 || !strings.Contains(out, "carol@") || !strings.Contains(out, "dave@") || !strings.Contains(stderr, `"somebody else" has no address`) || !strings.Contains(stderr, `"x/y@localhost" can't`) {
		t.Errorf("%d %s%s", code, out, stderr)
	}
	s.raw("bob", "From: nobody at all\nSubject: y\n\nx\n")
	if _, stderr, code := s.xm("bob", "", append([]string{"reply", "--plain", "-n", "2", "x"}, s.account("bob")...)...); code != 4 {
		t.Errorf("%d %s", code, stderr)
	}
}

// RFC 1939, section 7: a server need not have TOP.
func TestInboxWithoutTOP(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	messages := []string{"Subject: one\r\n\r\nx", "Subject: two\r\n\r\nx"}
	addr, _ := pop3(t, []string{"a", "b"}, messages, "TOP|RETR 2")
	out, stderr, code := s.xm("bob", "", append(append([]string{"inbox"}, s.account("bob")...), "--pop3", addr)...)
	if code != 0 || !strings.Contains(out, " one ") || !strings.Contains(out, " plain\n2 ") || strings.Contains(stderr, "message 1") || !strings.Contains(stderr, "message 2") {
		t.Errorf("%d\n%s%s", code, out, stderr)
	}
}

// A draft of a message that goes as it is may hold a payload, for somebody else or for
// oneself: it is not opened.
func TestDraftThatHoldsAPayload(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	s.login("bob")
	accounts := "bob/.config/xm/accounts.toml"
	s.file(accounts, strings.ReplaceAll(string(s.read(accounts)), s.addr["smtp"], "127.0.0.1:1"))
	s.client("alice", "", "send", "bob", "-s", "for bob", "x")
	s.client("alice", "", "send", "alice", "-s", "for alice", "x")
	for _, reader := range []string{"alice", "bob"} {
		letter := s.onDisk(reader)
		if _, stderr, code := s.xm("bob", letter, "sendmail", "-i", "--encrypt=never", "alice"); code != 1 {
			t.Fatalf("exit code %d, %s", code, stderr)
		}
		drafts, err := filepath.Glob(filepath.Join(s.dir, "bob/.local/share/xm/*/drafts/*"))
		if err != nil || len(drafts) != 1 {
			t.Fatalf("%v, %v", drafts, err)
		}
		s.client("alice", "", "rm", "1")
		s.client("bob", "", "send", "--draft", drafts[0])
		if _, body, _ := strings.Cut(letter, "\n\n"); !strings.HasSuffix(s.onDisk("alice"), "\n\n"+body) {
			t.Errorf("%s's letter was %q, and is %q", reader, letter, s.onDisk("alice"))
		}
	}
}

// Text in UTF-8 says so where it is attached: without a charset it would be US-ASCII (RFC
// 2046, section 4.1.2), and mail programs show "?".
func TestAttachedText(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	utf8, latin1 := s.file("utf8.html", "für\n"), s.file("latin1.html", "f\xfcr\n")
	s.client("alice", "", "send", "--plain", "bob", "-a", utf8, "-a", latin1, "-s", "x", "see there")
	got := s.onDisk("bob")
	if strings.Count(got, "Content-Type: text/html; charset=utf-8\n") != 1 || strings.Count(got, "Content-Type: text/html\n") != 1 {
		t.Errorf("%s", got)
	}
}
