package mailclient

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"xm/internal/line"
)

// script is a server that plays its part of a dialog: each line that it is sent
// must be the next "C: ", and is answered with the "S: " lines after it. "BODY"
// reads a message, "TLS" begins it, "CUT" closes the connection. "ANY" reads any
// line, and "END" all that comes until the client closes the connection, which
// must not end a message.
func script(t *testing.T, dialog string) (addr string, done <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	result := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			result <- err.Error()
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(20 * time.Second)) // bounds a failing test alone
		result <- playServer(conn, dialog)
	}()
	return l.Addr().String(), result
}

func playServer(conn net.Conn, dialog string) string {
	in := bufio.NewReader(conn)
	for step := range strings.SplitSeq(strings.TrimSpace(dialog), "\n") {
		step = strings.TrimSpace(step)
		switch {
		case step == "CUT":
			return ""
		case step == "TLS":
			secured := tls.Server(conn, serverTLS)
			if err := secured.Handshake(); err != nil {
				return err.Error()
			}
			conn, in = secured, bufio.NewReader(secured)
		case step == "ANY":
			if _, err := in.ReadString('\n'); err != nil {
				return err.Error()
			}
		case step == "END":
			rest, err := io.ReadAll(in)
			if strings.Contains(string(rest), "\n.\r\n") {
				return "got the end of a message: " + string(rest)
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return "waits for the client to close the connection"
			}
		case strings.HasPrefix(step, "R: "): // octets as they are
			io.WriteString(conn, strings.ReplaceAll(step[3:], `\n`, "\r\n"))
		case strings.HasPrefix(step, "S: "):
			io.WriteString(conn, step[3:]+"\r\n")
		case strings.HasPrefix(step, "C: "):
			if got, err := in.ReadString('\n'); err != nil || got != step[3:]+"\r\n" {
				return "got " + got + ", want " + step[3:]
			}
		case strings.HasPrefix(step, "BODY "):
			body, err := io.ReadAll(line.NewBody(in, 1000))
			if err != nil || string(body) != strings.ReplaceAll(step[5:], `\n`, "\r\n") {
				return "got the message " + string(body)
			}
		}
	}
	return ""
}

const message = "Subject: x\r\n\r\n.hello\r\n"

// submit sends the message to one recipient.
func submit(server Server, from, to string, auth *Credentials) error {
	s, err := OpenSMTP(context.Background(), server, auth)
	if err != nil {
		return err
	}
	defer s.Close()
	refused, err := s.Send(Envelope{From: from, To: []string{to}}, func(w io.Writer) error {
		_, err := io.WriteString(w, message)
		return err
	})
	if err != nil {
		return err
	}
	if refused[0] == nil {
		s.Quit()
	}
	return refused[0]
}

func TestSubmit(t *testing.T) {
	for name, c := range map[string]struct {
		dialog, want string
		auth         *Credentials
	}{
		"plain": {dialog: `
			S: 220-two
			S: 220 lines
			C: EHLO [127.0.0.1]
			S: 250-x
			S: 250 SIZE 1000
			C: MAIL FROM:<alice@localhost>
			S: 250 ok
			C: RCPT TO:<bob@localhost>
			S: 251 will forward
			C: DATA
			S: 354 go
			BODY Subject: x\n\n.hello\n
			S: 250 ok
			C: QUIT
			S: 221 bye`},
		"HELO where EHLO is unknown, and a server gone before QUIT": {dialog: `
			S: 220 x
			C: EHLO [127.0.0.1]
			S: 500 what
			C: HELO [127.0.0.1]
			S: 250 x
			C: MAIL FROM:<alice@localhost>
			S: 250
			C: RCPT TO:<bob@localhost>
			S: 250 ok
			C: DATA
			S: 354 go
			BODY Subject: x\n\n.hello\n
			S: 250 ok
			CUT`},
		"login": {auth: &Credentials{"alice", "secret"}, dialog: `
			S: 220 x
			C: EHLO [127.0.0.1]
			S: 250-x
			S: 250 AUTH LOGIN PLAIN
			C: AUTH PLAIN AGFsaWNlAHNlY3JldA==
			S: 535 5.7.8 no`, want: "AUTH with: 535 5.7.8 no"},
		"refused recipient": {dialog: `
			S: 220 x
			C: EHLO [127.0.0.1]
			S: 250 x
			C: MAIL FROM:<alice@localhost>
			S: 250 ok
			C: RCPT TO:<bob@localhost>
			S: 550-5.1.1 no
			S: 550 5.1.1 such`, want: "RCPT TO:<bob@localhost> with: 550 5.1.1 no 5.1.1 such"},
		"busy":         {dialog: "S: 421 later", want: "421 later"},
		"no SMTP":      {dialog: "S: SSH-2.0-OpenSSH", want: "not SMTP"},
		"cut at once":  {dialog: "CUT", want: "broke the connection off"},
		"cut in DATA":  {dialog: "S: 220 x\nC: EHLO [127.0.0.1]\nS: 250 x\nC: MAIL FROM:<alice@localhost>\nS: 250 x\nC: RCPT TO:<bob@localhost>\nS: 250 x\nC: DATA\nCUT", want: "broke the connection off"},
		"message lost": {dialog: "S: 220 x\nC: EHLO [127.0.0.1]\nS: 250 x\nC: MAIL FROM:<alice@localhost>\nS: 250 x\nC: RCPT TO:<bob@localhost>\nS: 250 x\nC: DATA\nS: 354 x\nBODY Subject: x\\n\\n.hello\\n\nCUT", want: "broke the connection off"},
		"long line":    {dialog: "S: 220 " + strings.Repeat("x", 5000), want: "over 4096 octets"},
	} {
		addr, done := script(t, c.dialog)
		err := submit(Server{Addr: addr}, "alice@localhost", "bob@localhost", c.auth)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if problem := <-done; problem != "" {
			t.Errorf("%s: the server %s", name, problem)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells the password: %v", name, err)
		}
	}
}

// UTF8 is said where it is offered; nothing is lost where it is refused then.
func TestPOP3InUTF8(t *testing.T) {
	for _, answer := range []string{"+OK", "-ERR"} {
		addr, done := script(t, "S: +OK\nC: CAPA\nS: +OK\nS: UTF8 USER\nS: SASL PLAIN\nS: .\nC: UTF8\nS: "+answer+
			"\nC: AUTH PLAIN AGFsaWNlAHNlY3JldA==\nS: +OK\nC: QUIT\nS: +OK")
		p, err := OpenPOP3(context.Background(), Server{Addr: addr}, Credentials{"alice", "secret"})
		if err != nil {
			t.Fatal(answer, err, <-done)
		}
		if err := p.Quit(); err != nil {
			t.Error(answer, err)
		}
		if problem := <-done; problem != "" {
			t.Error(answer, problem)
		}
	}
}

func TestAddressesCannotInject(t *testing.T) {
	addr, _ := script(t, "S: 220 x\nC: EHLO [127.0.0.1]\nS: 250 x")
	err := submit(Server{Addr: addr}, "a@b>\r\nRCPT TO:<c@d", "bob@localhost", nil)
	if err == nil || !strings.Contains(err.Error(), "can't be part of a command") {
		t.Errorf("got %v", err)
	}
	addr, _ = script(t, "S: +OK\nC: CAPA\nS: -ERR\nC: USER alice\nS: +OK")
	_, err = OpenPOP3(context.Background(), Server{Addr: addr}, Credentials{"alice", "sec\rret"})
	if err == nil || !strings.Contains(err.Error(), "can't be part of a command") || strings.Contains(err.Error(), "ret") {
		t.Errorf("got %v", err)
	}
}

func TestPOP3(t *testing.T) {
	addr, done := script(t, `
		S: +OK hello
		C: CAPA
		S: -ERR what
		C: USER alice
		S: +OK
		C: PASS two  words
		S: +OK
		C: LIST
		S: +OK
		S: 1 10
		S: 3 20 and more
		S: .
		C: UIDL
		S: +OK
		S: 1 one
		S: 3 three
		S: .
		C: TOP 1 5
		S: +OK
		S: Subject: x
		S: ..dot
		S: .
		C: RETR 3
		S: -ERR gone
		C: QUIT
		S: +OK`)
	p, err := OpenPOP3(context.Background(), Server{Addr: addr}, Credentials{"alice", "two  words"})
	if err != nil {
		t.Fatal(err, <-done)
	}
	list, err := p.List()
	if err != nil || len(list) != 2 || list[1] != (Listing{3, 20, "three"}) {
		t.Errorf("LIST: %v, %v", list, err)
	}
	top, err := p.Top(1, 5)
	if err != nil || !bytes.Equal(top, []byte("Subject: x\r\n.dot\r\n")) {
		t.Errorf("TOP: %q, %v", top, err)
	}
	var refused *ReplyError
	if err := p.Retrieve(3, io.Discard); !errors.As(err, &refused) || refused.Reply != "-ERR gone" {
		t.Errorf("RETR: %v", err)
	}
	if err := p.Quit(); err != nil {
		t.Error(err)
	}
	if problem := <-done; problem != "" {
		t.Error(problem)
	}
}

func TestPOP3Failures(t *testing.T) {
	for dialog, want := range map[string]string{
		"S: +OK\nC: CAPA\nS: -ERR\nC: USER alice\nS: +OK\nC: PASS secret\nS: -ERR [AUTH] \x1b[2Jno": "PASS with: -ERR [AUTH] \ufffd[2Jno",
		"S: 220 smtp": "not POP3",
		"S: +OK\nC: CAPA\nS: -ERR\nC: USER alice\nCUT": "broke the connection off",
		"S: " + strings.Repeat("x", 5000):              "over 4096 octets",
	} {
		addr, done := script(t, dialog)
		_, err := OpenPOP3(context.Background(), Server{Addr: addr}, Credentials{"alice", "secret"})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%.40q: %v, want %q", dialog, err, want)
		}
		if problem := <-done; problem != "" {
			t.Errorf("%.40q: the server %s", dialog, problem)
		}
	}
	const login = "S: +OK\nC: CAPA\nS: -ERR\nC: USER alice\nS: +OK\nC: PASS secret\nS: +OK\nC: LIST\n"
	for dialog, want := range map[string]string{
		login + "S: +OK\nS: one\nS: .":           "not POP3",
		login + "S: +OK\nS: 1 10\nCUT":           "unexpected EOF",
		login + "S: +OK\nS: 1 -10\nS: .":         "not POP3",
		login + "S: +OK\nS: 1 10\nS: 1 10\nS: .": "not POP3",
	} {
		addr, _ := script(t, dialog)
		p, err := OpenPOP3(context.Background(), Server{Addr: addr}, Credentials{"alice", "secret"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.List(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80q: %v, want %q", dialog, err, want)
		}
		p.Close()
	}
}

// What was read is read, however the server says goodbye; what was to be deleted may
// not be.
func TestPOP3Goodbye(t *testing.T) {
	const login = "S: +OK\nC: CAPA\nS: -ERR\nC: USER alice\nS: +OK\nC: PASS secret\nS: +OK\n"
	for _, end := range []string{"C: QUIT\nCUT", "C: QUIT\nS: -ERR what"} {
		for _, deletes := range []bool{false, true} {
			dialog := login
			if deletes {
				dialog += "C: DELE 1\nS: +OK\n"
			}
			addr, done := script(t, dialog+end)
			p, err := OpenPOP3(context.Background(), Server{Addr: addr}, Credentials{"alice", "secret"})
			if err != nil {
				t.Fatal(err)
			}
			if deletes {
				err = p.Delete(1)
			}
			if quit := p.Quit(); err != nil || deletes != (quit != nil) {
				t.Errorf("%q, deletes %v: %v, %v", end, deletes, err, quit)
			}
			<-done
		}
	}
}

// sendAll sends the message to each of the envelopes, and tells why not.
func sendAll(t *testing.T, dialog string, envelopes ...Envelope) (failed []error) {
	t.Helper()
	addr, done := script(t, dialog)
	s, err := OpenSMTP(context.Background(), Server{Addr: addr}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, env := range envelopes {
		_, err := s.Send(env, func(w io.Writer) error {
			_, err := io.WriteString(w, message)
			return err
		})
		failed = append(failed, err)
	}
	s.Close()
	if problem := <-done; problem != "" {
		t.Error("the server", problem)
	}
	return failed
}

// What one message needs, and the server lacks, is no reason not to send the next.
func TestUnfitMessage(t *testing.T) {
	failed := sendAll(t, `
		S: 220 x
		C: EHLO [127.0.0.1]
		S: 250-x
		S: 250 SIZE 100
		C: MAIL FROM:<alice@localhost> SIZE=50
		S: 250 ok
		C: RCPT TO:<bob@localhost>
		S: 250 ok
		C: DATA
		S: 354 go
		BODY Subject: x\n\n.hello\n
		S: 250 ok`,
		Envelope{From: "alice@localhost", To: []string{"jürgen@localhost"}, Size: 50},
		Envelope{From: "alice@localhost", To: []string{"bob@localhost"}, Size: 101},
		Envelope{From: "alice@localhost", To: []string{"bob@localhost"}, Size: 50})
	var unfit *UnfitError
	if !errors.As(failed[0], &unfit) || !errors.As(failed[1], &unfit) || !errors.Is(failed[1], ErrTooLarge) || failed[2] != nil {
		t.Errorf("%v", failed)
	}
}

// RFC 5321, section 3.8: 421 is the last word, and says why.
func TestServerThatCloses(t *testing.T) {
	const begin = "S: 220 x\nC: EHLO [127.0.0.1]\nS: 250 x\nC: MAIL FROM:<a@x>\n"
	for _, dialog := range []string{
		begin + "S: 421 4.3.2 going down\nCUT",
		begin + "S: 250 ok\nC: RCPT TO:<b@x>\nS: 250 ok\nC: RCPT TO:<c@x>\nS: 421 4.3.2 going down\nCUT",
		begin + "S: 250 ok\nC: RCPT TO:<b@x>\nS: 250 ok\nC: RCPT TO:<c@x>\nS: 250 ok\nC: DATA\nS: 421 4.3.2 going down\nCUT",
	} {
		err := sendAll(t, dialog, Envelope{From: "a@x", To: []string{"b@x", "c@x"}})[0]
		var reply *ReplyError
		if !errors.Is(err, ErrBroken) || errors.As(err, &reply) || !strings.Contains(err.Error(), "421 4.3.2 going down") {
			t.Errorf("%v", err)
		}
	}
}
