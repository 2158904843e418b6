package pop3d_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"xm/internal/line"
	"xm/internal/line/linetest"
	"xm/internal/maildir"
	"xm/internal/sasl"
	"xm/pop3d"
)

var target struct{ addr, user, pass, maildir, deliver string }

func init() {
	flag.StringVar(&target.addr, "addr", "", "the POP3 server that TestConformance tries, HOST:PORT; our own if it is empty")
	flag.StringVar(&target.user, "user", "", "a user, whose mail is lost")
	flag.StringVar(&target.pass, "pass", "", "the user's password")
	flag.StringVar(&target.maildir, "maildir", "", "the user's Maildir")
	flag.StringVar(&target.deliver, "deliver", "", "a shell command that delivers its standard input, as it is, to the user")
}

// TestConformance plays what every POP3 server must get right against ours, over
// a Maildir, or against any other:
//
//	go test ./pop3d -run Conformance -args -addr HOST:PORT -user U -pass P -maildir DIR
//
// It needs a user of its own, all of whose mail it deletes, a server that takes
// the password in clear, and a way to put messages there: the user's Maildir, to
// whose new directory it writes (and in which it moves and deletes messages, as
// an IMAP server does), or, with -deliver COMMAND in its place, a shell command
// that stores its standard input octet for octet.
func TestConformance(t *testing.T) {
	if given := target; given.addr == "" {
		defer func() { target = given }()
		target.addr, target.user, target.pass, target.maildir = serveMaildir(t)
	}
	for _, c := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"states", conformStates}, {"login", conformLogin}, {"SASL", conformSASL}, {"CAPA", conformCAPA}, {"STLS", conformSTLS},
		{"octets", conformOctets}, {"TOP", conformTOP}, {"numbers", conformNumbers}, {"deletion", conformDeletion},
		{"UIDL", conformUIDL}, {"lock", conformLock}, {"delivery", conformDelivery}, {"vanished", conformVanished},
		{"pipelining", conformPipelining}, {"lines", conformLines},
	} {
		t.Run(c.name, c.run)
	}
}

// store shows a Maildir to a server, as package commands does.
type store struct{ *maildir.Store }

func (s store) Open(mailbox string) (pop3d.Mailbox, error) {
	m, err := s.Store.Open([]string{mailbox})
	if errors.Is(err, maildir.ErrLocked) {
		return nil, pop3d.ErrInUse
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

type oneUser struct{}

func (oneUser) Authenticate(_ context.Context, name, password string) (string, bool, error) {
	return name, name == "alice" && password == "secret", nil
}

func (oneUser) SCRAM(string) (sasl.Verifier, error) { return sasl.Verifier{}, errors.New("no SCRAM") }

// serveMaildir runs our own server.
func serveMaildir(t *testing.T) (addr, user, pass, dir string) {
	data := t.TempDir()
	mail, err := maildir.New(data, "host")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mail.Close() })
	log := slog.New(slog.DiscardHandler)
	certFile, keyFile, _ := linetest.Certificate(t)
	cert, err := line.LoadCertificate(certFile, keyFile, log)
	if err != nil {
		t.Fatal(err)
	}
	s := &pop3d.Server{Hostname: "host", Certificate: cert, Users: oneUser{}, Mail: store{mail}, Log: log}
	addr = linetest.Serve(t, func(l net.Listener) func() error {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, l) }()
		return func() error { cancel(); return <-done }
	})
	return addr, "alice", "secret", filepath.Join(data, "alice")
}

// peer is a client of the server. It trusts nothing that the server says.
type peer struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func connect(t *testing.T) *peer {
	t.Helper()
	conn, err := net.Dial("tcp", target.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(time.Minute)) // bounds a failing test alone
	p := &peer{t, conn, bufio.NewReader(conn)}
	p.ok("")
	return p
}

// enter logs in.
func enter(t *testing.T) *peer {
	t.Helper()
	p := connect(t)
	p.ok("USER " + target.user)
	p.ok("PASS " + target.pass)
	return p
}

// cmd sends a command, unless it is empty, and returns the first line of the
// response: an empty one if the server hung up.
func (p *peer) cmd(command string) string {
	p.t.Helper()
	if command != "" {
		if _, err := io.WriteString(p.conn, command+"\r\n"); err != nil {
			return ""
		}
	}
	l, err := p.in.ReadString('\n')
	if err != nil {
		return ""
	}
	if !strings.HasSuffix(l, "\r\n") || len(l) > 512 || l[0] != '+' && l[0] != '-' {
		p.t.Errorf("%.40q: %q is no response", command, l)
	}
	return strings.TrimSuffix(l, "\r\n")
}

func (p *peer) ok(command string) string {
	p.t.Helper()
	got := p.cmd(command)
	if got != "+OK" && !strings.HasPrefix(got, "+OK ") {
		p.t.Fatalf("%.40q: %q, want +OK", command, got)
	}
	return strings.TrimPrefix(got, "+OK ")
}

func (p *peer) refused(command string) {
	p.t.Helper()
	if got := p.cmd(command); got != "-ERR" && !strings.HasPrefix(got, "-ERR ") {
		p.t.Fatalf("%.40q: %q, want -ERR", command, got)
	}
}

// text gives the rest of a multi-line response, un-stuffed.
func (p *peer) text() string {
	p.t.Helper()
	b, err := io.ReadAll(line.NewText(p.in, 1<<30))
	if err != nil {
		p.t.Fatalf("after %.40q: %v", b, err)
	}
	return string(b)
}

func (p *peer) multi(command string) string {
	p.t.Helper()
	p.ok(command)
	return p.text()
}

// list gives the numbers and values of LIST or UIDL.
func (p *peer) list(command string) (numbers []int, values []string) {
	p.t.Helper()
	for l := range strings.Lines(p.multi(command)) {
		number, value, _ := strings.Cut(strings.TrimSuffix(l, "\r\n"), " ")
		n, err := strconv.Atoi(number)
		if err != nil {
			p.t.Fatalf("%s has %q", command, l)
		}
		numbers, values = append(numbers, n), append(values, value)
	}
	return numbers, values
}

// stat gives the number of messages and their octets.
func (p *peer) stat() (n, octets int) {
	p.t.Helper()
	if got := p.ok("STAT"); func() bool { c, err := fmt.Sscan(got, &n, &octets); return c != 2 || err != nil }() {
		p.t.Fatalf("STAT: %q", got)
	}
	return n, octets
}

func (p *peer) quit() {
	p.t.Helper()
	p.ok("QUIT")
	if rest, err := io.ReadAll(p.in); err != nil || len(rest) > 0 {
		p.t.Errorf("after QUIT: %q, %v", rest, err)
	}
}

// fill empties the maildrop and puts messages there, which must be listed in
// that order.
func fill(t *testing.T, stored ...string) {
	t.Helper()
	p := enter(t)
	n, _ := p.stat()
	for i := range n {
		p.ok(fmt.Sprint("DELE ", i+1))
	}
	p.quit()
	for _, s := range stored {
		put(t, s)
	}
	p = enter(t)
	if n, _ := p.stat(); n != len(stored) {
		t.Fatalf("%d messages, want %d", n, len(stored))
	}
	p.quit()
}

var delivered = time.Now().Unix() - 100_000 // so that each is of another second, and none of the future

// put delivers one message.
func put(t *testing.T, stored string) {
	t.Helper()
	if target.deliver != "" {
		cmd := exec.Command("sh", "-c", target.deliver)
		cmd.Stdin = strings.NewReader(stored)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", target.deliver, err, out)
		}
		return
	}
	delivered++
	name := fmt.Sprintf("%d.M1P%d.conformance", delivered, os.Getpid())
	tmp := filepath.Join(target.maildir, "tmp", name)
	if err := os.WriteFile(tmp, []byte(stored), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(tmp, 0o666); err != nil { // the server may be another user
		t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(target.maildir, "new", name)); err != nil {
		t.Fatal(err)
	}
}

// wire is a stored message with CRLF line ends, the last one included.
func wire(stored string) string {
	w := strings.ReplaceAll(strings.ReplaceAll(stored, "\r\n", "\n"), "\n", "\r\n")
	if w != "" && !strings.HasSuffix(w, "\r\n") {
		w += "\r\n"
	}
	return w
}

func conformStates(t *testing.T) {
	fill(t, "A: b\n\nx\n")
	for _, command := range []string{"STAT", "LIST", "RETR 1", "DELE 1", "NOOP", "RSET", "TOP 1 0", "UIDL"} {
		connect(t).refused(command) // a server may hang up after several
	}
	p := connect(t)
	p.refused("FROB")
	p.refused("PASS " + target.pass)
	p.ok("user " + target.user)
	p.ok("pass " + target.pass)
	p.refused("USER " + target.user)
	p.refused("PASS " + target.pass)
	p.refused("FROB")
	p.ok("noop")
	p.ok("sTaT")
	for _, command := range []string{"RETR", "DELE", "TOP", "TOP 1"} {
		p.refused(command)
	}
	p.quit()
}

func conformLogin(t *testing.T) {
	p := connect(t)
	p.ok("USER " + target.user)
	p.refused("PASS " + target.pass + "x")
	p.refused("STAT")
	p = connect(t)
	p.ok("USER nobody-of-that-name")
	p.refused("PASS " + target.pass)
	enter(t).quit()
}

func conformSASL(t *testing.T) {
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + target.user + "\x00" + target.pass))
	p := connect(t)
	p.refused("AUTH FROB")
	if got := p.cmd("AUTH PLAIN"); strings.TrimRight(got, " ") != "+" {
		t.Fatalf("AUTH PLAIN: %q", got)
	}
	p.refused("*")
	p.cmd("AUTH PLAIN")
	p.ok(plain)
	p.quit()
	p = connect(t)
	p.ok("AUTH PLAIN " + plain)
	p.quit()
	p = connect(t)
	p.refused("AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+target.user+"\x00wrong")))
}

func conformCAPA(t *testing.T) {
	p := connect(t)
	for range 2 {
		list := "\r\n" + strings.ToUpper(p.multi("CAPA"))
		for _, want := range []string{"TOP", "UIDL", "RESP-CODES", "PIPELINING", "AUTH-RESP-CODE"} {
			if !strings.Contains(list, "\r\n"+want+"\r\n") {
				t.Errorf("CAPA lacks %s: %q", want, list)
			}
		}
		if p.cmd("STAT"); !strings.Contains(list, "\r\nUSER") {
			t.Error("CAPA lacks USER")
		}
		p.cmd("USER " + target.user)
		p.cmd("PASS " + target.pass)
	}
	p.quit()
}

// What was sent in clear is forgotten, whether it was taken up or not.
func conformSTLS(t *testing.T) {
	p := connect(t)
	if !strings.Contains("\r\n"+p.multi("CAPA"), "\r\nSTLS\r\n") {
		t.Skip("no STLS here")
	}
	p.ok("USER " + target.user)
	p.ok("STLS\r\nUSER injected\r\nNOOP")
	if p.handshake() != nil { // to hang up on whoever sends more behind STLS is as safe
		p = connect(t)
		p.ok("USER " + target.user)
		p.ok("STLS")
		if err := p.handshake(); err != nil {
			t.Fatal(err)
		}
	}
	p.refused("PASS " + target.pass)
	p.refused("STLS")
	if strings.Contains("\r\n"+p.multi("CAPA"), "\r\nSTLS\r\n") {
		t.Error("STLS is offered under TLS")
	}
	p.ok("USER " + target.user)
	p.ok("PASS " + target.pass)
	p.quit()
}

func (p *peer) handshake() error {
	secured := tls.Client(p.conn, &tls.Config{InsecureSkipVerify: true})
	err := secured.Handshake()
	p.conn, p.in = secured, bufio.NewReader(secured)
	return err
}

var bodies = map[string]string{
	"plain":                "Subject: x\n\nhello\n",
	"dot at octet 0":       ".\nSubject: x\n\nhello\n",
	"dots":                 "Subject: x\n\n.\n..\n.a\nb.\n\n.\n",
	"no line end":          "Subject: x\n\nhello",
	"dot and no line end":  "Subject: x\n\nhello\n.",
	"CRLF":                 "Subject: x\r\n\r\nhello\r\n.\r\n",
	"mixed line ends":      "Subject: x\r\n\nhello\r\n.x\n",
	"bare CR":              "Subject: x\n\na\rb\n\rc\n",
	"8-bit":                "Subject: x\n\nGr\xfc\xdfe \xc3\xa4\n",
	"NUL":                  "Subject: x\n\na\x00b\n",
	"no body":              "Subject: x\n",
	"no header":            "\nhello\n",
	"empty lines":          "Subject: x\n\n\n\n\n",
	"a line of 64 KiB":     "Subject: x\n\n" + strings.Repeat("x", 1<<16) + "\n.\n",
	"a line of 1 MiB":      "Subject: x\n\n" + strings.Repeat("x", 1<<20) + "\n.y\n",
	"dots at all places":   "Subject: x\n\n" + strings.Repeat(".\n.x\n", 40_000),
	"lines of 4096 octets": "Subject: x\n\n" + strings.Repeat("."+strings.Repeat("y", 4093)+"\n", 20),
}

// A message comes as it was stored, in the size that was listed.
func conformOctets(t *testing.T) {
	for name, stored := range bodies {
		t.Run(name, func(t *testing.T) {
			fill(t, stored)
			p := enter(t)
			want := wire(stored)
			got := p.multi("RETR 1")
			if got != want {
				t.Errorf("%d octets came, %d were stored: %.60q, want %.60q", len(got), len(want), got, want)
			}
			_, sizes := p.list("LIST")
			if fmt.Sprint(sizes) != fmt.Sprint([]int{len(got)}) {
				t.Errorf("LIST says %v, %d octets came", sizes, len(got))
			}
			if one := p.ok("LIST 1"); one != "1 "+sizes[0] {
				t.Errorf("LIST 1: %q", one)
			}
			if _, octets := p.stat(); octets != len(got) {
				t.Errorf("STAT says %d, %d octets came", octets, len(got))
			}
			p.quit()
		})
	}
}

func conformTOP(t *testing.T) {
	fill(t, "Subject: x\nTo: y\n\n.1\n2\n\n4\n", "Subject: x\n", "\nx\n", "Subject: x\n\n"+strings.Repeat("z", 100_000)+"\nlast\n")
	p := enter(t)
	const header = "Subject: x\r\nTo: y\r\n\r\n"
	for command, want := range map[string]string{
		"TOP 1 0": header, "TOP 1 1": header + ".1\r\n", "TOP 1 3": header + ".1\r\n2\r\n\r\n",
		"TOP 1 4": header + ".1\r\n2\r\n\r\n4\r\n", "TOP 1 5": header + ".1\r\n2\r\n\r\n4\r\n", "TOP 1 100000": header + ".1\r\n2\r\n\r\n4\r\n",
		"TOP 2 1": "Subject: x\r\n", "TOP 3 0": "\r\n", "TOP 3 1": "\r\nx\r\n",
		"TOP 4 1": "Subject: x\r\n\r\n" + strings.Repeat("z", 100_000) + "\r\n",
	} {
		if got := p.multi(command); got != want {
			t.Errorf("%s: %.60q, want %.60q", command, got, want)
		}
	}
	p.refused("TOP 1 x")
	p.refused("TOP 1 -1")
	p.quit()
}

func conformNumbers(t *testing.T) {
	fill(t, "A: b\n\n1\n", "A: b\n\n2\n")
	for _, verb := range []string{"RETR ", "LIST ", "UIDL ", "DELE ", "TOP "} {
		p := enter(t)
		for _, number := range []string{"0", "3", "-1", "x", "1x", "99999999999", "18446744073709551617", "340282366920938463463374607431768211457"} {
			if verb == "TOP " {
				number += " 0"
			}
			p.refused(verb + number)
		}
		if n, _ := p.stat(); n != 2 {
			t.Errorf("%s: %d messages are left", verb, n)
		}
		p.quit()
	}
}

func conformDeletion(t *testing.T) {
	fill(t, "A: b\n\n1\n", "A: b\n\n22\n", "A: b\n\n333\n")
	p := enter(t)
	p.ok("DELE 2")
	for _, command := range []string{"DELE 2", "RETR 2", "TOP 2 0", "LIST 2", "UIDL 2"} {
		p.refused(command)
	}
	for _, command := range []string{"LIST", "UIDL"} {
		if numbers, _ := p.list(command); fmt.Sprint(numbers) != "[1 3]" {
			t.Errorf("%s: %v", command, numbers)
		}
	}
	want := len(wire("A: b\n\n1\n")) + len(wire("A: b\n\n333\n"))
	if n, octets := p.stat(); n != 2 || octets != want {
		t.Errorf("STAT: %d %d", n, octets)
	}
	p.ok("RSET")
	if n, _ := p.stat(); n != 3 {
		t.Errorf("after RSET: %d", n)
	}
	p.ok("DELE 1")
	p.conn.Close() // no QUIT: nothing is deleted
	p = again(t)
	if n, _ := p.stat(); n != 3 {
		t.Errorf("after a session without QUIT: %d", n)
	}
	p.ok("DELE 1")
	p.ok("DELE 3")
	p.quit()
	p = enter(t)
	if got := p.multi("RETR 1"); got != "A: b\r\n\r\n22\r\n" {
		t.Errorf("left: %q", got)
	}
	if n, _ := p.stat(); n != 1 {
		t.Errorf("%d messages are left", n)
	}
	p.quit()
}

// again logs in after a session whose end the server may not have seen yet.
func again(t *testing.T) *peer {
	t.Helper()
	for range 1000 {
		p := connect(t)
		p.ok("USER " + target.user)
		if strings.HasPrefix(p.cmd("PASS "+target.pass), "+OK") {
			return p
		}
	}
	t.Fatal("no login is possible after a connection was lost")
	return nil
}

func conformUIDL(t *testing.T) {
	fill(t, "A: b\n\nsame\n", "A: b\n\nsame\n", "A: b\n\nother\n")
	p := enter(t)
	_, ids := p.list("UIDL")
	seen := map[string]bool{}
	for i, id := range ids {
		if id == "" || len(id) > 70 || seen[id] || strings.ContainsFunc(id, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
			t.Errorf("unique-id %q among %q", id, ids)
		}
		seen[id] = true
		if got := p.ok(fmt.Sprint("UIDL ", i+1)); got != fmt.Sprint(i+1, " ", id) {
			t.Errorf("UIDL %d: %q", i+1, got)
		}
	}
	p.ok("DELE 1")
	p.quit()
	if target.deliver == "" { // another program flags the others
		files, err := filepath.Glob(filepath.Join(target.maildir, "[nc]*", "[0-9]*"))
		if err != nil || len(files) != 2 {
			t.Fatalf("%v, %v", files, err)
		}
		for _, f := range files {
			base, _, _ := strings.Cut(filepath.Base(f), ":")
			if err := os.Rename(f, filepath.Join(target.maildir, "cur", base+":2,FS")); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(t, "A: b\n\nsame\n")
	p = enter(t)
	_, now := p.list("UIDL")
	if len(now) != 3 || fmt.Sprint(now[:2]) != fmt.Sprint(ids[1:]) || seen[now[2]] {
		t.Errorf("the unique-ids were %q and are %q", ids, now)
	}
	p.quit()
}

// RFC 1939, section 3: the maildrop is locked exclusively.
func conformLock(t *testing.T) {
	fill(t, "A: b\n\n1\n")
	first := enter(t)
	second := connect(t)
	second.ok("USER " + target.user)
	if got := second.cmd("PASS " + target.pass); !strings.HasPrefix(got, "-ERR [IN-USE]") {
		t.Errorf("a second session: %q, want -ERR [IN-USE]", got)
	}
	first.quit()
	enter(t).quit()
}

// Mail that arrives shows in the next session.
func conformDelivery(t *testing.T) {
	fill(t, "A: b\n\n1\n")
	p := enter(t)
	put(t, "A: b\n\n2\n")
	if n, _ := p.stat(); n != 1 {
		t.Errorf("%d messages in the session that was open before", n)
	}
	p.refused("RETR 2")
	p.quit()
	p = enter(t)
	if n, _ := p.stat(); n != 2 {
		t.Errorf("%d messages", n)
	}
	if got := p.multi("RETR 2"); got != "A: b\r\n\r\n2\r\n" {
		t.Errorf("got %q", got)
	}
	p.quit()
}

// Another program deletes a message, and moves one.
func conformVanished(t *testing.T) {
	if target.deliver != "" {
		t.Skip("it needs -maildir")
	}
	fill(t, "A: b\n\n1\n", "A: b\n\n2\n\n", "A: b\n\n3\n\n\n")
	p := enter(t)
	if _, sizes := p.list("LIST"); fmt.Sprint(sizes) != "[11 13 15]" {
		t.Fatalf("the messages are not in the order of their arrival: sizes %v", sizes)
	}
	files, err := filepath.Glob(filepath.Join(target.maildir, "[nc]*", "[0-9]*"))
	if err != nil || len(files) != 3 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, f := range files {
		content, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case bytes.Contains(content, []byte("1")):
			err = os.Remove(f)
		case bytes.Contains(content, []byte("2")):
			base, _, _ := strings.Cut(filepath.Base(f), ":")
			err = os.Rename(f, filepath.Join(target.maildir, "cur", base+":2,T"))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := p.multi("RETR 2"); got != "A: b\r\n\r\n2\r\n\r\n" {
		t.Errorf("the moved message: %q", got)
	}
	p.refused("RETR 1")
	if got := p.multi("RETR 3"); got != "A: b\r\n\r\n3\r\n\r\n\r\n" {
		t.Errorf("the message after: %q", got)
	}
	p.ok("DELE 1")
	p.ok("DELE 2")
	p.quit()
	p = enter(t)
	if n, _ := p.stat(); n != 1 {
		t.Errorf("%d messages are left", n)
	}
	p.quit()
}

func conformPipelining(t *testing.T) {
	fill(t, "A: b\n\n1\n", "A: b\n\n.2\n")
	p := connect(t)
	io.WriteString(p.conn, "USER "+target.user+"\r\nPASS "+target.pass+"\r\nSTAT\r\nRETR 2\r\nRETR 9\r\nLIST\r\nDELE 1\r\nNOOP\r\nQUIT\r\n")
	p.ok("")
	p.ok("")
	p.ok("")
	if got := p.multi(""); got != "A: b\r\n\r\n.2\r\n" {
		t.Errorf("RETR 2: %q", got)
	}
	p.refused("")
	if got := p.multi(""); strings.Count(got, "\r\n") != 2 {
		t.Errorf("LIST: %q", got)
	}
	p.ok("")
	p.ok("")
	p.ok("")
	p = enter(t)
	if n, _ := p.stat(); n != 1 {
		t.Errorf("%d messages are left", n)
	}
	p.quit()
}

// A line that is too long is no command, nor several.
func conformLines(t *testing.T) {
	fill(t, "A: b\n\n1\n")
	p := enter(t)
	got := p.cmd(strings.Repeat("x", 5000) + " DELE 1")
	if strings.HasPrefix(got, "+OK") {
		t.Errorf("%q", got)
	}
	p.conn.Close()
	p = again(t)
	if n, _ := p.stat(); n != 1 {
		t.Errorf("%d messages", n)
	}
	p.quit()
}
