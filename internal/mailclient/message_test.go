package mailclient

import (
	"bytes"
	"io"
	"net/mail"
	"strings"
	"testing"
	"time"
)

var someTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))

var payload = bytes.Repeat([]byte("0123456789abcdef"), 100)

func init() { payload = append(payload, "$00$"...) }

func compose(t testing.TB) []byte {
	t.Helper()
	raw, err := Compose("alice@localhost", "bob@localhost.com", payload, someTime)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestComposeAndRead(t *testing.T) {
	raw := compose(t)
	for l := range strings.SplitSeq(string(raw), "\r\n") {
		if len(l) > 76 || strings.ContainsAny(l, "\r\n") {
			t.Errorf("a line of %d octets: %q", len(l), l)
		}
	}
	m, err := Read(raw)
	if err != nil || !m.Encrypted || !bytes.Equal(m.Payload, payload) {
		t.Errorf("payload of %d octets, %v", len(m.Payload), err)
	}
	if m.From != "alice@localhost" || m.Sender != "alice@localhost" || m.Subject != subject || !m.Date.Equal(someTime) {
		t.Errorf("read as %+v", m)
	}
	// Any other program must be able to read it.
	std, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil || !strings.HasSuffix(std.Header.Get("Message-Id"), "@localhost>") || std.Header.Get("To") != "bob@localhost.com" {
		t.Errorf("net/mail reads %v, %v", std, err)
	}
}

func TestReadForms(t *testing.T) {
	bare := string(payload)
	for name, c := range map[string]struct {
		raw  string
		want Message
	}{
		"the original's":    {"Return-Path: <alice@localhost>\r\nReceived: x\r\n\r\n" + bare + "\r\n", Message{From: "alice@localhost", Sender: "alice@localhost", Encrypted: true, Payload: payload}},
		"no header at all":  {bare + "\n", Message{Encrypted: true, Payload: payload}},
		"no last newline":   {"From: a@b\n\n" + bare, Message{From: "a@b", Sender: "a@b", Encrypted: true, Payload: payload}},
		"after empty lines": {"From: a@b\n\n\n\n" + bare, Message{From: "a@b", Sender: "a@b", Encrypted: true, Payload: payload}},
		"plain":             {"From: A B <a@b>\r\nSubject: =?utf-8?q?=C3=A4?=\r\n\r\nhello\r\n", Message{From: "A B <a@b>", Sender: "a@b", Subject: "ä"}},
		"one part":          {"From: a@b\r\nContent-Disposition: attachment; filename=enc\r\n\r\n" + bare, Message{From: "a@b", Sender: "a@b", Encrypted: true, Payload: payload}},
		"folded":            {"Subject: one\r\n two\r\n\tthree\r\n\r\n", Message{Subject: "one two three"}},
		"a broken field":    {"Subject: x\r\nno field\r\nFrom: a@b\r\n\r\nbody", Message{Subject: "x"}},
		"odd From":          {"From: \"Bob <x@y>\r\n\r\n", Message{From: "\"Bob <x@y>", Sender: "x@y"}},
		"no address":        {"From: the postman\r\n\r\n", Message{From: "the postman"}},
		"broken base64":     {"Content-Type: application/octet-stream; name=enc\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!!", Message{Encrypted: true}},
		"empty":             {"", Message{}},
	} {
		got, err := Read([]byte(c.raw))
		if (err != nil) != (name == "broken base64") {
			t.Errorf("%s: %v", name, err)
		}
		if got.From != c.want.From || got.Sender != c.want.Sender || got.Subject != c.want.Subject || got.Encrypted != c.want.Encrypted || !bytes.Equal(got.Payload, c.want.Payload) {
			t.Errorf("%s: read as %+v", name, got)
		}
	}
}

// The beginning of a message tells that it is encrypted: inbox asks for no more.
func TestReadBeginning(t *testing.T) {
	lines := bytes.SplitAfter(compose(t), []byte("\r\n"))
	m, err := Read(bytes.Join(lines[:len(lines)-15], nil))
	if !m.Encrypted || m.Sender != "alice@localhost" || err == nil {
		t.Errorf("read as %+v, %v; want it encrypted, and an error as the rest is missing", m, err)
	}
}

// A header of a million folded lines takes no longer than it should.
func BenchmarkReadFoldedHeader(b *testing.B) {
	raw := []byte("Subject: x\r\n" + strings.Repeat(" a\r\n", 1_000_000) + "\r\n")
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if m, _ := Read(raw); len(m.Subject) != 2_000_001 {
			b.Fatalf("%d octets", len(m.Subject))
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(compose(f))
	f.Add([]byte("Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: multipart/mixed; boundary=y\n\n--y\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := Read(raw)
		if m.Payload != nil && !m.Encrypted {
			t.Errorf("%+v, %v", m, err)
		}
	})
}

func FuzzTerminalWriter(f *testing.F) {
	f.Add([]byte("a\x1b[2Jb\r\nc\u202ed\xc3"), 1)
	f.Add([]byte("\r\n\r\r\n\u009b"), 2)
	f.Fuzz(func(t *testing.T, text []byte, chunk int) {
		chunk = max(1, min(chunk, 64))
		var out bytes.Buffer
		w := NewTerminalWriter(&out)
		if _, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{bytes.NewReader(text)}, make([]byte, chunk)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		for _, r := range out.String() {
			if r != '\n' && r != '\t' && r < ' ' || r >= 0x7f && r <= 0x9f || r == '\u202e' {
				t.Fatalf("%q came out as %q", text, out.String())
			}
		}
		if clean := strings.Map(func(r rune) rune {
			if r >= ' ' && r < 0x7f || r == '\n' || r == '\t' {
				return r
			}
			return -1
		}, string(text)); clean == string(text) && out.String() != clean {
			t.Fatalf("%q came out as %q", text, out.String())
		}
	})
}
