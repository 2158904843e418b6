package mailclient

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

// cuts makes dialogs of one: each ends, with the connection, before or within
// something that the server says.
func cuts(dialog string) (all []string) {
	var done []string
	for _, step := range strings.Split(strings.TrimSpace(dialog), "\n") {
		step = strings.TrimSpace(step)
		before := strings.Join(done, "\n")
		if text, ok := strings.CutPrefix(step, "S: "); ok {
			all = append(all, before+"\nCUT", before+"\nR: "+text[:(len(text)+1)/2]+"\nCUT", before+"\nR: "+text+"\nCUT")
		}
		if step == "TLS" || strings.HasPrefix(step, "BODY") {
			all = append(all, before+"\nCUT")
		}
		done = append(done, step)
	}
	return all
}

// Wherever the server dies before it has accepted the message, the client says
// that it was not sent.
func TestSMTPServerDies(t *testing.T) {
	dialog := `
		S: 220-two
		S: 220 lines
		C: EHLO [127.0.0.1]
		S: 250-x
		S: 250 STARTTLS
		C: STARTTLS
		S: 220 go
		TLS
		C: EHLO [127.0.0.1]
		S: 250-x
		S: 250-AUTH LOGIN
		S: 250 SIZE 1000
		C: AUTH LOGIN
		S: 334 VXNlcjo=
		C: YWxpY2U=
		S: 334 UGFzczo=
		C: c2VjcmV0
		S: 235 yes
		C: MAIL FROM:<alice@localhost>
		S: 250 ok
		C: RCPT TO:<bob@localhost>
		S: 250 ok
		C: DATA
		S: 354 go
		BODY Subject: x\n\n.hello\n
		S: 250 ok`
	all := cuts(dialog)
	if len(all) < 40 {
		t.Fatalf("only %d points", len(all))
	}
	for _, cut := range all {
		addr, done := script(t, cut)
		err := submit(Server{Addr: addr, RequireTLS: true, Roots: roots}, "alice@localhost", "bob@localhost", &Credentials{"alice", "secret"})
		<-done
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("cut at ...%q: %v", cut[max(0, len(cut)-60):], err)
		}
	}
	addr, done := script(t, dialog)
	if err := submit(Server{Addr: addr, RequireTLS: true, Roots: roots}, "alice@localhost", "bob@localhost", &Credentials{"alice", "secret"}); err != nil {
		t.Errorf("not cut: %v", err)
	}
	<-done
}

func TestPOP3ServerDies(t *testing.T) {
	dialog := `
		S: +OK
		C: CAPA
		S: +OK
		S: STLS
		S: .
		C: STLS
		S: +OK
		TLS
		C: CAPA
		S: +OK
		S: SASL PLAIN
		S: .
		C: AUTH PLAIN AGFsaWNlAHNlY3JldA==
		S: +OK
		C: LIST
		S: +OK
		S: 1 10
		S: .
		C: UIDL
		S: +OK
		S: 1 a
		S: .
		C: RETR 1
		S: +OK
		S: Subject: x
		S: .
		C: DELE 1
		S: +OK
		C: QUIT
		S: +OK`
	session := func(addr string) error {
		p, err := OpenPOP3(context.Background(), Server{Addr: addr, RequireTLS: true, Roots: roots}, Credentials{"alice", "secret"})
		if err != nil {
			return err
		}
		defer p.Close()
		if _, err := p.List(); err != nil {
			return err
		}
		return errors.Join(p.Retrieve(1, io.Discard), p.Delete(1), p.Quit())
	}
	for _, cut := range cuts(dialog) {
		addr, done := script(t, cut)
		if err := session(addr); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("cut at ...%q: %v", cut[max(0, len(cut)-60):], err)
		}
		<-done
	}
	addr, done := script(t, dialog)
	if err := session(addr); err != nil {
		t.Errorf("not cut: %v", err)
	}
	<-done
}

// What a message needs is asked of the server before anything of it is sent.
func TestWhatAMessageNeeds(t *testing.T) {
	for name, c := range map[string]struct {
		extensions, mail, want string
		env                    Envelope
	}{
		"size":          {"SIZE 1000", "MAIL FROM:<a@b> SIZE=900", "", Envelope{From: "a@b", Size: 900}},
		"too large":     {"SIZE 1000", "RSET", "too large for the server: it has 1001 octets, and may have 1000", Envelope{From: "a@b", Size: 1001}},
		"no limit":      {"SIZE", "MAIL FROM:<a@b> SIZE=1001", "", Envelope{From: "a@b", Size: 1001}},
		"eight bits":    {"8BITMIME", "MAIL FROM:<a@b> BODY=8BITMIME", "", Envelope{From: "a@b", EightBit: true}},
		"seven bits":    {"HELP", "RSET", "8BITMIME", Envelope{From: "a@b", EightBit: true}},
		"UTF-8":         {"SMTPUTF8", "MAIL FROM:<ä@b> SMTPUTF8", "", Envelope{From: "ä@b"}},
		"no UTF-8":      {"HELP", "RSET", "SMTPUTF8", Envelope{From: "ä@b"}},
		"one too many":  {"HELP", "MAIL FROM:<a@b>", "", Envelope{From: "a@b", To: []string{"no", "yes"}}},
		"no recipients": {"HELP", "MAIL FROM:<a@b>", "", Envelope{From: "a@b", To: []string{"no"}}},
	} {
		dialog := "S: 220 x\nC: EHLO [127.0.0.1]\nS: 250-x\nS: 250 " + c.extensions + "\n"
		if c.mail != "RSET" {
			dialog += "C: " + c.mail + "\nS: 250 ok\n"
			for _, to := range c.env.To {
				dialog += "C: RCPT TO:<" + to + ">\nS: " + map[string]string{"no": "550 5.1.1 no", "yes": "250 ok"}[to] + "\n"
			}
			if len(c.env.To) == 1 {
				dialog += "C: RSET\nS: 250 ok\n"
			} else {
				dialog += "C: DATA\nS: 354 go\nBODY x\\n\nS: 250 ok\n"
			}
		}
		if c.env.To == nil {
			c.env.To = []string{"c@d"}
			dialog = strings.Replace(dialog, "C: DATA", "C: RCPT TO:<c@d>\nS: 250 ok\nC: DATA", 1)
		}
		addr, done := script(t, dialog)
		s, err := OpenSMTP(context.Background(), Server{Addr: addr}, nil)
		if err != nil {
			t.Fatal(err)
		}
		refused, err := s.Send(c.env, func(w io.Writer) error { _, err := io.WriteString(w, "x\r\n"); return err })
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		for i, to := range c.env.To {
			if err == nil && errors.Is(refused[i], ErrNoSuchUser) != (to == "no") {
				t.Errorf("%s: %s: %v", name, to, refused[i])
			}
		}
		s.Close()
		if problem := <-done; problem != "" {
			t.Errorf("%s: the server %s", name, problem)
		}
	}
}
