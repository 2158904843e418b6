package smtpd

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"xm/internal/line/linetest"
)

func greeted(t *testing.T, s *Server) *client {
	t.Helper()
	c := newClient(t, start(t, s, asIs))
	c.must("220", "")
	c.must("250", "EHLO client.example")
	return c
}

// send sends a message to alice.
func (c *client) send(want, from, text string) {
	c.t.Helper()
	c.must("250", "MAIL FROM:%s", from)
	c.must("250", "RCPT TO:<alice@localhost>")
	c.must("354", "DATA")
	c.must(want, "%s.", text)
}

func TestProtocolInTrace(t *testing.T) {
	for _, c := range []struct {
		tls, auth bool
		params    string
		want      string
	}{
		{false, false, "", "with ESMTP id *\r\n\tfor <alice@localhost>;\r\n"},
		{false, true, "", "with ESMTPA id *"},
		{true, false, "", "with ESMTPS id *\r\n\tfor <alice@localhost>\r\n\ttls TLS_AES_128_GCM_SHA256;\r\n"},
		{true, true, "", "with ESMTPSA id *"},
		{true, true, " SMTPUTF8", "with UTF8SMTPSA id *"},
		{false, false, " SMTPUTF8", "with UTF8SMTP id *"},
	} {
		s, mail := newServer()
		config := addCertificate(t, s)
		conn := greeted(t, s)
		if c.tls {
			conn.startTLS(config)
		}
		if c.auth {
			conn.must("235", "AUTH PLAIN %s", plain("bill", "secret"))
		}
		conn.must("250", "MAIL FROM:<bill@localhost>%s", c.params)
		conn.must("250", "RCPT TO:<alice@localhost>")
		conn.must("354", "DATA")
		conn.must("250", "A: b\r\n\r\n.")
		if got := mail.of(t, "alice"); !linetest.Match("*"+c.want+"*", got) {
			t.Errorf("%+v:\n%s", c, got)
		}
	}
}

// What a user's message lacks is added, and nobody else's is touched.
func TestMissingFields(t *testing.T) {
	for _, c := range []struct {
		auth       bool
		text, want string
	}{
		{true, "Subject: x\r\n\r\nhello\r\n", "*Subject: x\r\nDate: *\r\nMessage-ID: <*@mail.example.org>\r\n\r\nhello\r\n"},
		{true, "Date: x\r\nMessage-Id: <y>\r\n\r\nhello\r\n", "*;\r\n\t*\r\nDate: x\r\nMessage-Id: <y>\r\n\r\nhello\r\n"},
		{true, "hello\r\n", "*Date: *\r\nMessage-ID: *\r\n\r\nhello\r\n"},
		{false, "Subject: x\r\n\r\nhello\r\n", "*;\r\n\t* *\r\nSubject: x\r\n\r\nhello\r\n"},
	} {
		s, mail := newServer()
		conn := greeted(t, s)
		if c.auth {
			conn.must("235", "AUTH PLAIN %s", plain("bill", "secret"))
		}
		conn.send("250", "<bill@localhost>", c.text)
		if got := mail.of(t, "alice"); !linetest.Match(c.want, got) {
			t.Errorf("got\n%s\nwant\n%s", got, c.want)
		}
	}
}

func TestMessagesThatAreRefusedForTheirHeader(t *testing.T) {
	s, mail := newServer()
	s.MaxSize = 4 << 20
	conn := greeted(t, s)
	conn.send("554 5.4.6 The message has passed 100 servers", "<>", strings.Repeat("Received: x\r\n", 100)+"\r\n")
	conn.send("552 5.3.4 The header is over", "<>", strings.Repeat("X: y\r\n", 200_000)+"\r\n")
	conn.send("552 5.3.4 The header is over", "<>", "X: "+strings.Repeat("y", 2<<20)+"\r\n")
	if len(mail.got) > 0 {
		t.Error("they were delivered")
	}
	conn.send("250 ", "<>", strings.Repeat("Received: x\r\n", 99)+"\r\n")
}

// However the chunks are cut, the message is what DATA would have made of it.
func TestChunksMakeTheMessage(t *testing.T) {
	const text = "Subject: x\r\n\r\n.\r\n..two\r\n.\r\nlast line without an end"
	for size := 1; size <= len(text); size += 5 {
		s, mail := newServer()
		conn := greeted(t, s)
		conn.must("250", "MAIL FROM:<>")
		conn.must("250", "RCPT TO:<alice@localhost>")
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			fmt.Fprintf(conn, "BDAT %d\r\n%s", n, rest[:n])
			conn.must("250", "")
			rest = rest[n:]
		}
		conn.must("250 2.0.0 OK ", "BDAT 0 LAST")
		if got := mail.of(t, "alice"); !strings.HasSuffix(got, "\r\n"+text) {
			t.Errorf("in chunks of %d:\n%s", size, got)
		}
	}
}

func TestAliasDeliversToEachOnce(t *testing.T) {
	s, mail := newServer()
	conn := greeted(t, s)
	conn.must("250", "MAIL FROM:<>")
	conn.must("250", "RCPT TO:<team@localhost>")
	conn.must("250", "RCPT TO:<bill@localhost>")
	conn.must("354", "DATA")
	conn.must("250", "A: b\r\n.")
	mail.of(t, "alice")
	mail.of(t, "bill")
}

// What a client says can't make lines, or fields, of the log.
func TestLogInjection(t *testing.T) {
	var log bytes.Buffer
	s, _ := newServer()
	s.Log = slog.New(slog.NewTextHandler(&log, nil))
	conn := greeted(t, s)
	conn.must("501", "MAIL FROM:<a\x1b[2Jb@c>")
	conn.must("250", `MAIL FROM:<"level=ERROR msg=x"@elsewhere.example>`)
	conn.must("550", "RCPT TO:<\"x\\\" to=[y]\"@localhost> ")
	conn.must("501", "RCPT TO:<\u2028\u202e\u0085msg=forged@localhost>")
	conn.must("250", "RSET")
	conn.must("535", "AUTH PLAIN %s", plain("x\nlevel=ERROR msg=forged", "y"))
	conn.must("221", "QUIT")
	for l := range strings.Lines(log.String()) {
		if !strings.HasPrefix(l, "time=") || strings.ContainsAny(l, "\x1b\u2028\u202e\u0085") || strings.Contains(l, "level=ERROR") && !strings.Contains(l, `"`) {
			t.Errorf("%q", l)
		}
	}
}

// At level debug, each command and its reply are in the log, those of a transaction
// with its id, and no secret.
func TestDebugLog(t *testing.T) {
	var log bytes.Buffer
	s, _ := newServer()
	s.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	conn := greeted(t, s)
	conn.must("235", "AUTH PLAIN %s", plain("bill", "secret"))
	conn.send("250 2.0.0 OK ", "<bill@localhost>", "A: b\r\n")
	conn.must("221", "QUIT")
	end := log.String()[strings.Index(log.String(), ` id=`)+len(` id=`):]
	id, _, _ := strings.Cut(end, " ")
	for _, want := range []string{
		`*level=DEBUG msg=connected session=* peer=127.0.0.1 local=*`,
		`*level=DEBUG msg=answered session=* command="EHLO client.example" reply="250 mail.example.org greets you"`,
		`*level=DEBUG msg=answered session=* user=bill command=AUTH reply="235 2.7.0 Welcome"`,
		`*level=DEBUG msg=answered session=* id=` + id + ` command="MAIL FROM:<bill@localhost>" from=<bill@localhost> reply="250 *`,
		`*level=DEBUG msg=answered session=* id=` + id + ` command="RCPT TO:<alice@localhost>" from=<bill@localhost> reply="250 *`,
		`*level=INFO msg="message accepted" session=* id=` + id + ` *`,
	} {
		found := 0
		for l := range strings.Lines(log.String()) {
			if linetest.Match(want, strings.TrimSuffix(l, "\n")) {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%d lines are %s:\n%s", found, want, log.String())
		}
	}
	if strings.Contains(log.String(), plain("bill", "secret")) {
		t.Errorf("the password is in the log:\n%s", log.String())
	}
}

// One line tells what happened to a message.
func TestLogLine(t *testing.T) {
	var log bytes.Buffer
	s, _ := newServer()
	s.Log = slog.New(slog.NewTextHandler(&log, nil))
	config := addCertificate(t, s)
	conn := greeted(t, s)
	conn.startTLS(config)
	conn.must("235", "AUTH PLAIN %s", plain("bill", "secret"))
	conn.send("250 2.0.0 OK ", "<bill@localhost>", "A: b\r\n")
	conn.send("550 ", "<bill@localhost>", "\x00\r\n")
	conn.must("250", "MAIL FROM:<bill@localhost>")
	conn.must("550", "RCPT TO:<nobody@localhost>")
	conn.must("221", "QUIT")
	for _, want := range []string{
		`*level=INFO msg="message accepted" session=* peer=127.0.0.1 tls="TLS 1.3" user=bill id=* from=<bill@localhost> to=[<alice@localhost>] octets=6 took=* helo=* message_id=<*.*@mail.example.org> mailboxes=alice file="123.file,S=6" uid=123.uid reply="250 2.0.0 OK *"`,
		`*level=WARN msg="message refused" session=* user=bill id=* from=<bill@localhost> to=[<alice@localhost>] octets=* reply="550 5.6.0 * err=*`,
		`*level=INFO msg=refused session=* user=bill id=* command="RCPT TO:<nobody@localhost>" from=<bill@localhost> reply="550 5.1.1 *`,
	} {
		found := 0
		for l := range strings.Lines(log.String()) {
			if linetest.Match(want, strings.TrimSuffix(l, "\n")) {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%d lines are %s:\n%s", found, want, log.String())
		}
	}
}
