package message

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"mime"
	"net/mail"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

var someTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))

var payload = strings.Repeat("0123456789abcdef", 40) + "$00$"

func sealed(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	err := Sealed{"alice@localhost", "bob@localhost.com", someTime}.Write(&b, func(w io.Writer) error {
		_, err := io.WriteString(w, payload)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// found returns the payload in a message.
func found(m *Message) (payload string, is bool, err error) {
	walkErr := m.Walk(func(p *Part) error {
		if is || !p.IsPayload() {
			return nil
		}
		line, readErr := io.ReadAll(p.Body)
		payload, _, _ = strings.Cut(string(line), "\n")
		payload, is, err = strings.TrimRight(payload, "\r"), true, readErr
		return ErrStop
	})
	return payload, is, errors.Join(err, walkErr)
}

func TestSealed(t *testing.T) {
	raw := sealed(t)
	for l := range strings.SplitSeq(raw, "\r\n") {
		if len(l) > 76 || strings.ContainsAny(l, "\r\n") {
			t.Errorf("a line of %d octets: %q", len(l), l)
		}
	}
	m, err := Read(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if got, is, err := found(m); err != nil || !is || got != payload {
		t.Errorf("payload of %d octets, %v", len(got), err)
	}
	if h := m.Header; h.Sender() != "alice@localhost" || h.Subject != sealedSubject || !h.Date.Equal(someTime) {
		t.Errorf("read as %+v", m.Header)
	}
	// Any other program must be able to read it.
	std, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil || !strings.HasSuffix(std.Header.Get("Message-Id"), "@localhost>") || std.Header.Get("To") != "bob@localhost.com" {
		t.Errorf("net/mail reads %v, %v", std, err)
	}
	for _, n := range []int64{0, 1, 72, 73, 74, 100_000} {
		var b bytes.Buffer
		s := Sealed{"a@b", "c@d", someTime}
		if err := s.Write(&b, func(w io.Writer) error { _, err := w.Write(bytes.Repeat([]byte("a"), int(n))); return err }); err != nil {
			t.Fatal(err)
		}
		if size := int64(b.Len()); size > s.Octets(n) || s.Octets(n) > size+mostOfHeader+softBreak {
			t.Errorf("a payload of %d makes %d octets; %d were expected", n, size, s.Octets(n))
		}
	}
}

func TestPayloads(t *testing.T) {
	for name, c := range map[string]struct {
		raw, from, sender, subject, payload string
	}{
		"the original's":    {"Return-Path: <alice@localhost>\r\nReceived: x\r\n\r\n" + payload + "\r\n", "alice@localhost", "alice@localhost", "", payload},
		"no header at all":  {payload + "\n", "", "", "", payload},
		"no last newline":   {"From: a@b\n\n" + payload, "a@b", "a@b", "", payload},
		"after empty lines": {"From: a@b\n\n\n\n" + payload, "a@b", "a@b", "", payload},
		"plain":             {"From: A B <a@b>\r\nSubject: =?utf-8?q?=C3=A4?=\r\n\r\nhello\r\n", "A B <a@b>", "a@b", "ä", ""},
		"one part":          {"From: a@b\r\nContent-Disposition: attachment; filename=enc\r\n\r\n" + payload, "a@b", "a@b", "", payload},
		"folded":            {"Subject: one\r\n two\r\n\tthree\r\n\r\n", "", "", "one two three", ""},
		"a broken field":    {"Subject: x\r\nno field\r\nFrom: a@b\r\n\r\nbody", "", "", "x", ""},
		"odd From":          {"From: \"Bob <x@y>\r\n\r\n", "Bob <x@y>", "x@y", "", ""},
		"no address":        {"From: the postman\r\n\r\n", "the postman", "", "", ""},
		"blank before :":    {"Subject : x\r\nFrom : a@b\r\n\r\n", "a@b", "a@b", "x", ""},
		"empty":             {"", "", "", "", ""},
		"in a part in a part": {"Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: multipart/mixed; boundary=y\n\n--y\nContent-Type: application/octet-stream; name=enc\n" +
			"Content-Transfer-Encoding: base64\n\naGVsbG8=\n--y--\n--x--\n", "", "", "", "hello"},
	} {
		m, err := Read(iotest.OneByteReader(strings.NewReader(c.raw)))
		if err != nil {
			t.Fatal(name, err)
		}
		from := ""
		if len(m.Header.From) > 0 {
			from = m.Header.From[0].String()
		}
		got, is, err := found(m)
		if err != nil || from != c.from || m.Header.Sender() != c.sender || m.Header.Subject != c.subject || got != c.payload || is != (c.payload != "") {
			t.Errorf("%s: from %q, %q, %q; payload %.20q, %v", name, from, m.Header.Sender(), m.Header.Subject, got, err)
		}
	}
}

// The beginning of a message tells that it is encrypted.
func TestBeginning(t *testing.T) {
	lines := strings.SplitAfter(sealed(t), "\r\n")
	m, err := Read(strings.NewReader(strings.Join(lines[:len(lines)-8], "")))
	if err != nil {
		t.Fatal(err)
	}
	if _, is, err := found(m); !is || err == nil {
		t.Errorf("%v, %v; want it found, and an error as the rest is missing", is, err)
	}
}

func file(name, content string) File {
	return File{Name: name, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }}
}

func TestDraftAndBack(t *testing.T) {
	binary := "\x00\xff\r\n.\n--x\n" + strings.Repeat("\xfe\n", 1000)
	for _, form := range []Form{Inside, Transport} {
		for _, files := range [][]File{nil, {file("a b.bin", binary), file("ä\"\n.txt", "text\n"), file("enc.html", "")}} {
			text := "Grüße,\n.\nFrom me " + strings.Repeat("long ", 300) + "\n"
			d := Draft{From: Address{"Alice \"A\" Äther", "alice@example.org"}, To: []Address{{"", "bob@example.org"}, {"Carol, C.", "c@d"}},
				Subject: "Schöne Grüße" + strings.Repeat(" und so weiter", 10), Date: someTime, MessageID: NewID("a@b.c"), References: "<1@x> <2@y>",
				Text: strings.NewReader(text), Files: files}
			var raw bytes.Buffer
			if err := d.Write(&raw, form); err != nil {
				t.Fatal(err)
			}
			if form == Transport {
				for l := range strings.SplitSeq(raw.String(), "\r\n") {
					if len(l) > 98 || strings.ContainsFunc(l, func(r rune) bool { return r > 126 || r < ' ' && r != '\t' }) {
						t.Errorf("a line of %d octets: %q", len(l), l)
					}
				}
			}
			if !IsEntity(bufio.NewReader(bytes.NewReader(raw.Bytes()))) {
				t.Error("it is not recognized as an entity")
			}
			m, err := Read(&raw)
			if err != nil {
				t.Fatal(err)
			}
			if h := m.Header; h.From[0] != d.From || len(h.To) != 2 || h.To[1] != d.To[1] || h.Subject != d.Subject || !h.Date.Equal(someTime) || h.MessageID != d.MessageID || h.References != d.References {
				t.Errorf("form %d: header read as %+v", form, h)
			}
			var kept []string
			body, err := m.Body(func(a Attachment, content io.Reader) error {
				b, err := io.ReadAll(content)
				kept = append(kept, string(b))
				return err
			})
			if err != nil || body.Problem != nil || body.Text != text || len(body.Attachments) != len(files) {
				t.Errorf("form %d: %v, %v, %d attachments, text %q", form, err, body.Problem, len(body.Attachments), body.Text)
			}
			if files != nil && (kept[0] != binary || kept[1] != "text\n" || body.Attachments[0].Name != "a b.bin" || body.Attachments[0].Octets != int64(len(binary)) || body.Attachments[1].Name != "ä\"\n.txt") {
				t.Errorf("form %d: attachments %+v", form, body.Attachments)
			}
		}
	}
}

func TestHeaderInjection(t *testing.T) {
	var raw bytes.Buffer
	d := Draft{From: Address{"x\r\nBcc: y", "a@b\r\nBcc: z"}, Subject: "s\r\nBcc: c\r\n\r\nbody", MessageID: "<x>\r\nBcc: i", Text: strings.NewReader("")}
	if err := d.Write(&raw, Inside); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(raw.String(), "\nBcc") {
		t.Errorf("a field was added:\n%s", &raw)
	}
}

func TestAlternatives(t *testing.T) {
	part := func(kind, body string) string { return "--x\nContent-Type: " + kind + "\n\n" + body + "\n" }
	for name, c := range map[string]struct{ raw, want string }{
		"plain first": {"Content-Type: multipart/alternative; boundary=x\n\n" + part("text/plain", "plain") + part("text/html", "<b>html</b>") + "--x--\n", "plain\n"},
		"html first":  {"Content-Type: multipart/alternative; boundary=x\n\n" + part("text/html", "<b>html</b>") + part("text/plain", "plain") + "--x--\n", "plain\n"},
		"html alone":  {"Content-Type: multipart/alternative; boundary=x\n\n" + part("text/html", "<b>html</b>") + "--x--\n", "html\n"},
		"mixed":       {"Content-Type: multipart/mixed; boundary=x\n\n" + part("text/plain", "one") + part("text/html", "two") + "--x--\n", "one\n\ntwo\n"},
		"related in an alternative": {"Content-Type: multipart/alternative; boundary=x\n\n" + part("text/plain", "plain") +
			part("multipart/related; boundary=y", "--y\nContent-Type: text/html\n\n<b>html</b>\n--y\nContent-Type: image/png\n\nx\n--y--") + "--x--\n", "plain\n"},
		"no end":        {"Content-Type: multipart/mixed; boundary=x\n\n" + part("text/plain", "one"), "one\n[the rest can't be read: unexpected EOF]\n"},
		"latin-1":       {"Content-Type: text/plain; charset=iso-8859-1\n\n\xe4\n", "ä\n"},
		"no charset":    {"Subject: x\n\n\xe4\n", "ä\n"},
		"koi8-r":        {"Content-Type: text/plain; charset=KOI8-R\nContent-Transfer-Encoding: base64\n\n8NLJ18XU\n", "Привет\n"},
		"iso-2022-jp":   {"Content-Type: text/plain; charset=ISO-2022-JP\n\n\x1b$B$3\x1b(B\n", "こ\n"},
		"odd charset":   {"Content-Type: text/plain; charset=x-klingon\n\nhi\n", "hi\n"},
		"broken base64": {"Content-Transfer-Encoding: base64\n\naGVsbG8h\n!!\nIQ\n", "hello!!\n[the rest can't be read: unexpected EOF]\n"},
		"html": {"Content-Type: text/html\n\n<head><title>no</title></head><style>no</style><h1>A&amp;B</h1><p>one\ntwo<br>three<ul><li>x<li>y</ul><script>no</script><a href=\"http://e.org/\">here</a>\n<pre> a\n  b</pre>",
			"A&B\n\none two\nthree\n\n* x\n* y\n\nhere <http://e.org/>\n\n a\n  b\n"},
	} {
		m, err := Read(strings.NewReader(c.raw))
		if err != nil {
			t.Fatal(err)
		}
		body, err := m.Body(nil)
		if err != nil || body.Text != c.want {
			t.Errorf("%s: %q, %v; want %q", name, body.Text, err, c.want)
		}
	}
}

// What is bounded stays so.
func TestBounds(t *testing.T) {
	deep := ""
	for range 2 * maxDepth {
		deep += "Content-Type: multipart/mixed; boundary=x\n\n--x\n"
	}
	for name, raw := range map[string]string{
		"deep":        deep,
		"many":        "Content-Type: multipart/mixed; boundary=x\n\n" + strings.Repeat("--x\n\na\n", 5*maxParts),
		"long text":   "Subject: x\n\n" + strings.Repeat("a\n", 3*maxText),
		"long HTML":   "Content-Type: text/html\n\n<" + strings.Repeat("a", 3*maxText),
		"many texts":  "Content-Type: multipart/mixed; boundary=x\n\n" + strings.Repeat("--x\n\n"+strings.Repeat("a", maxText)+"\n", 10),
		"long header": "Subject: " + strings.Repeat("a", 2*maxHeader),
	} {
		m, err := Read(strings.NewReader(raw))
		if (err != nil) != (name == "long header") {
			t.Errorf("%s: %v", name, err)
		}
		body, err := m.Body(nil)
		if name == "many texts" && len(body.Text) < maxAllText {
			t.Errorf("only %d octets of many texts", len(body.Text))
		}
		if err != nil || len(body.Text) > maxAllText+maxText {
			t.Errorf("%s: %d octets, %v", name, len(body.Text), err)
		}
	}
}

// A header of a million folded lines takes no longer than it should.
func BenchmarkReadFoldedHeader(b *testing.B) {
	raw := "Subject: x\r\n" + strings.Repeat(" a\r\n", 200_000) + "\r\n"
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if m, err := Read(strings.NewReader(raw)); err != nil || len(m.Header.Subject) != 400_001 {
			b.Fatalf("%d octets, %v", len(m.Header.Subject), err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(sealed(f)))
	f.Add([]byte("Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: multipart/alternative; boundary=y\n\n--y\nContent-Type: text/html\n\n<p>&amp;\n--y\n"))
	f.Add([]byte("Content-Type: text/plain; charset=iso-2022-jp\nContent-Transfer-Encoding: base64\n\nGyRC"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := Read(bytes.NewReader(raw))
		if err != nil {
			return
		}
		body, err := m.Body(nil)
		if err != nil || len(body.Text) > maxAllText+maxText {
			t.Errorf("%d octets, %v", len(body.Text), err)
		}
		if again, err := Read(bytes.NewReader(raw)); err != nil || again.Header.Subject != m.Header.Subject {
			t.Errorf("read again: %v", err)
		}
	})
}

// A subject reads as it was written, whatever it looks like, in lines that RFC 5322,
// section 2.1.1, allows.
func TestSubjects(t *testing.T) {
	for _, subject := range []string{
		"=?utf-8?q?=41?=", "a =?utf-8?b?QQ==?= b_c", "what=?", strings.Repeat("a", 2000), "see " + strings.Repeat("_=", 500) + "  then",
		strings.Repeat("ä", 300) + " =?utf-8?q?=41?=", strings.Repeat("word ", 100) + "end",
	} {
		var raw strings.Builder
		d := Draft{From: Address{Address: "a@x"}, Subject: subject, Date: someTime, Text: strings.NewReader("x")}
		if err := d.Write(&raw, Transport); err != nil {
			t.Fatal(err)
		}
		for l := range strings.SplitSeq(raw.String(), "\r\n") {
			if len(l) > 76 { // RFC 2047, section 2
				t.Errorf("%.40q: a line of %d octets", subject, len(l))
			}
		}
		m, err := Read(strings.NewReader(raw.String()))
		if err != nil || m.Header.Subject != subject {
			t.Errorf("%q became %q, %v", subject, m.Header.Subject, err)
		}
		std, err := mail.ReadMessage(strings.NewReader(raw.String()))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := new(mime.WordDecoder).DecodeHeader(std.Header.Get("Subject")); err != nil || got != subject {
			t.Errorf("the standard library reads %q as %q, %v", subject, got, err)
		}
	}
}

// A file that is a message stays what it is: RFC 2045, section 6.4, has no base64 for
// message/rfc822.
func TestAttachedMessage(t *testing.T) {
	const letter = "Received: one\nSubject: x\nReceived: two\n\nbody\n"
	for _, form := range []Form{Inside, Transport} {
		var raw strings.Builder
		d := Draft{From: Address{Address: "a@x"}, Date: someTime, Text: strings.NewReader("x"), Files: []File{{Name: "letter.eml",
			Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(letter)), nil }}}}
		if err := d.Write(&raw, form); err != nil {
			t.Fatal(err)
		}
		var stored strings.Builder
		if err := Store(&stored, strings.NewReader(raw.String()), nil); err != nil {
			t.Fatal(err)
		}
		m, err := Read(strings.NewReader(stored.String()))
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		body, err := m.Body(func(_ Attachment, content io.Reader) (err error) {
			got, err = io.ReadAll(content)
			return err
		})
		if err != nil || string(got) != letter || len(body.Attachments) != 1 || body.Attachments[0].Type != "application/octet-stream" {
			t.Errorf("%v: %q, %v, %v", form, got, body.Attachments, err)
		}
	}
}
