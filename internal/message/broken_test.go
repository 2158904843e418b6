package message

import (
	"errors"
	"io"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// bodyOf is the body of a message with that header, and the contents of its
// attachments.
func bodyOf(t *testing.T, raw string) (Body, []string) {
	t.Helper()
	m, err := Read(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	var contents []string
	body, err := m.Body(func(_ Attachment, content io.Reader) error {
		b, _ := io.ReadAll(content)
		contents = append(contents, string(b))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return body, contents
}

// The end of a head need not be marked.
func TestHTMLWithoutAnEndOfItsHead(t *testing.T) {
	body, _ := bodyOf(t, "Content-Type: text/html\n\n<html><head><title>a title</title><style>p {}</style><noscript><style>p {}</style></noscript><meta name=a><body><p>the text</p></body></html>\n")
	if body.Text != "the text\n" {
		t.Errorf("%q", body.Text)
	}
}

// A broken character costs itself alone.
func TestBrokenUTF8(t *testing.T) {
	const russian = "Content-Type: text/plain; charset=utf-8\n\nПривет, \xff мир\n"
	if body, _ := bodyOf(t, russian); body.Text != "Привет, \ufffd мир\n" {
		t.Errorf("%q", body.Text)
	}
	long := "Content-Type: text/plain; charset=utf-8\n\nx" + strings.Repeat("ä", maxText/2+1) + "\n" // the limit is within a character
	if body, _ := bodyOf(t, long); !strings.HasPrefix(body.Text, "xää") || strings.Contains(body.Text, "Ã") {
		t.Errorf("%.30q", body.Text)
	}
	if got := decodeText("=?utf-8?q?Gr=C3=BC=C3?="); got != "Grü\ufffd" {
		t.Errorf("%q", got)
	}
	if body, _ := bodyOf(t, "Content-Type: text/plain\n\nGr\xfc\xdfe, \xe4\n"); body.Text != "Grüße, ä\n" {
		t.Errorf("%q", body.Text)
	}
}

func TestCharsets(t *testing.T) {
	for charset, test := range map[string][2]string{
		"hz-gb-2312":  {"~{VPND~} a", "中文 a"},
		"utf-16":      {"\xfe\xff\x00a\x00\xe4", "aä"},
		"iso-2022-kr": {"\x1b$)Ca \x0eGQ\x0f", "\x1b$)Ca \x0eGQ\x0f"}, // not known: shown as it came
	} {
		body, _ := bodyOf(t, "Content-Type: text/plain; charset="+charset+"\n\n"+test[0])
		if strings.TrimSpace(body.Text) != test[1] {
			t.Errorf("%s: %q, %v", charset, body.Text, body.Problem)
		}
	}
	for word, want := range map[string]string{
		"=?x-unknown?q?a?= =?utf-8?q?=C3=A4?=": "aä",
		"=?iso-8859-1*en?q?=E4?=":              "ä", // RFC 2231, section 5
		"=?hz-gb-2312?q?~{VPND~}?=":            "中文",
	} {
		if got := decodeText(word); got != want {
			t.Errorf("%s: %q", word, got)
		}
	}
}

// What is broken in a part's header costs no other part.
func TestBrokenParts(t *testing.T) {
	const head = "Content-Type: multipart/mixed; boundary=b\n\n"
	for name, test := range map[string]struct{ parts, text, problem string }{
		"no field":           {"--b\nContent-Type: text/plain\nno field\n\none\n--b\n\ntwo\n--b--\n", "no field\n\none\n\ntwo\n", ""},
		"no header":          {"--b\none\n--b\n\ntwo\n--b--\n", "one\n\ntwo\n", ""},
		"nothing":            {"--b\n--b\n\ntwo\n--b--\n", "two\n", ""},
		"a long line":        {"--b\n\n" + strings.Repeat("x", 4095) + "\r\n--b\r\n\r\ntwo\r\n--b--\r\n", strings.Repeat("x", 4095) + "\n\ntwo\n", ""},
		"another boundary":   {"--c\n\none\n--c--\n", "--c\n\none\n--c--\n", "the parts are not where the message says"},
		"a longer boundary":  {"--b\n\none\n--bb\n --b\n--b \n\ntwo\n--b--\n", "one\n--bb\n --b\n\ntwo\n", ""},
		"no end":             {"--b\n\none\n--b\n\ntwo\n", "one\n\ntwo\n[the rest can't be read: unexpected EOF]\n", "unexpected EOF"},
		"no end within":      {"--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\none\n--b\n\ntwo\n--b--\n", "one\n[the rest can't be read: unexpected EOF]\n\ntwo\n", "unexpected EOF"},
		"line ends":          {"--b\r\n\r\n\r\none\r\n\n\r\n--b--\r\n", "\none\n\n", ""},
		"before, and behind": {"before\n--b\n\none\n--b--\nbehind\n--b\n\nx\n", "one\n", ""},
	} {
		body, _ := bodyOf(t, head+test.parts)
		if body.Text != test.text || body.Problem == nil && test.problem != "" || body.Problem != nil && body.Problem.Error() != test.problem {
			t.Errorf("%s: %q, %v", name, body.Text, body.Problem)
		}
	}
}

// A line end is the boundary's, and no octet before it is, wherever the pieces end in
// which a long line is read.
func TestEndsOfParts(t *testing.T) {
	for size := 4090; size < 4100; size++ {
		for _, end := range []string{"", "\r", "\r\r", "\r\r\r", "\r\n", "\r\r\n", "\n\r", "\n", "\r\nx"} {
			want := strings.Repeat("x", size) + end
			if got := partsOf("--b\r\n\r\n" + want + "\r\n--b--\r\n"); !slices.Equal(got, []string{want}) {
				t.Errorf("%d and %q: %d parts, the first of %d octets", size, end, len(got), len(strings.Join(got, "")))
			}
		}
	}
}

// What quoted-printable and base64 may not hold costs no more than itself.
func TestBrokenEncodings(t *testing.T) {
	const qp, b64 = "quoted-printable", "base64"
	const cut = "\n[the rest can't be read: unexpected EOF]\n"
	long := strings.Repeat("=61", 3000)
	for name, test := range map[string]struct{ encoding, body, text string }{
		"a line without breaks": {qp, long + "\nb\n", strings.Repeat("a", 3000) + "\nb\n"},
		"a long line of blanks": {qp, "a" + strings.Repeat(" \t", 3000) + "\nb\n", "a\nb\n"},
		"blanks in a long line": {qp, "a" + strings.Repeat(" \t", 3000) + "b\n", "a" + strings.Repeat(" \t", 3000) + "b\n"},
		"control characters":    {qp, "a\fb\x00c\x1bd\n", "a\fb\x00c\x1bd\n"},
		"digits":                {qp, "=C3=A4=c3=a4=4=G1==41= x=\n=zz\n", "ää=4=G1=A= x=zz\n"},
		"blanks at the end":     {qp, "a \t\nb= \t\nc \r\nd=  \r\ne=20\n", "a\nbc\nde \n"},
		"no end":                {qp, "a=", "a\n"},
		"a bare CR":             {qp, "a\rb=\rc\n", "a\rb=\rc\n"},
		"dots":                  {qp, ".=\n.\n", "..\n"},
		"no padding":            {b64, "w6TDpA\n", "ää" + cut},
		"less padding":          {b64, "w6TDpA=\n", "ää" + cut},
		"no padding of one":     {b64, "w6TDpDE\n", "ää1" + cut},
		"what is not base64":    {b64, "w6*T\x00Dp\nA==\n", "ää\n"},
	} {
		body, _ := bodyOf(t, "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: "+test.encoding+"\n\n"+test.body)
		if body.Text != test.text {
			t.Errorf("%s: %.80q, %v", name, body.Text, body.Problem)
		}
	}
}

// A line of a mailbox that a program left in the header hides no field.
func TestFromLines(t *testing.T) {
	for _, raw := range []string{
		"From a@b  Mon Nov 30 16:30:29 2026\nSubject: x\n\ntext\n",
		">From a@b  Mon Nov 30 16:30:29 2026\r\nSubject: x\r\n\r\ntext\r\n",
		"Received: y\n folded\n>From a@b  Mon Nov 30 16:30:29 2026\nSubject: x\n\ntext\n",
	} {
		m, err := Read(strings.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if body, err := m.Body(nil); err != nil || m.Header.Subject != "x" || body.Text != "text\n" {
			t.Errorf("%q: %q, %q, %v", raw, m.Header.Subject, body.Text, err)
		}
	}
	if body, _ := bodyOf(t, "\nFrom here on, it is text.\n"); body.Text != "From here on, it is text.\n" {
		t.Errorf("%q", body.Text)
	}
}

func TestDates(t *testing.T) {
	const want = "2026-11-30T16:30:29Z"
	for date, want := range map[string]string{
		"Mon, 30 Nov 2026 17:30:29 +0100 (CET)":              want,
		"Mon,30 Nov 2026 16:30:29 GMT":                       want, // RFC 5322, section 3.3: no blank is needed
		"30 Nov 26 16:30 UT":                                 "2026-11-30T16:30:00Z",
		"Mon, 30 Nov 2026 11:30:29 EST":                      want, // section 4.3
		"Mon, 30 Nov 2026 09:30:29 PDT":                      want,
		"Mon, 30 Nov 2026 16:30:29 Z":                        want,
		"Mon, 30 Nov 2026 16:30:29 XYZ":                      want,
		"Mon (a (b) c) , 30 Nov 2026 (d) 16 : 30 : 29 -0000": want,
		"30 Nov 126 16:30:29 +0000":                          want,
		"Mon, 30 Nov 2026 16:30:60 +0000":                    "2026-11-30T16:31:00Z",
		"Monday, 30 November 2026 16:30:29 +0000":            want,
		"Mon, 30-Nov-2026 16:30:29 +00:00":                   want,
		"Mon, 30 Nov 2026 16:30:29":                          want,
		"Mon Nov 30 16:30:29 2026":                           want,
		"Mon Nov 30 17:30:29 CET 2026":                       "2026-11-30T17:30:29Z",
		"2026-11-30T16:30:29Z":                               want,
		"Mon, 31 Nov 2026 16:30:29 +0000":                    "",
		"Mon, 30 Nov 2026 25:30:29 +0000":                    "",
		"Mon, 30 Nov 99999999 16:30:29 +0000":                "",
		"Mon, 30 Nov 2026 16:30:29 +9999":                    "",
		"Mon, 30 Nov 2026 16:30:29 +2400":                    "", // RFC 3339, section 5.6: there is no such time-hour
		"tomorrow":                                           "",
		"":                                                   "",
	} {
		got := ""
		if at := parseDate(date); !at.IsZero() {
			got = at.UTC().Format(time.RFC3339)
		}
		if got != want {
			t.Errorf("%s: %s; want %s", date, got, want)
		}
	}
}

// Message ids stand in many ways.
func TestMessageIDs(t *testing.T) {
	m, err := Read(strings.NewReader("Message-ID: (a)<1@x>(b)\nIn-Reply-To: Your message of <now>, <2@x><3@x>\nReferences: <4@x><5@x>,<6@x>\n (c <7@x\n"))
	if err != nil {
		t.Fatal(err)
	}
	if h := m.Header; h.MessageID != "<1@x>" || h.References != "<4@x> <5@x> <6@x>" {
		t.Errorf("%q, %q", h.MessageID, h.References)
	}
}

// An address that is none costs no other in the field.
func TestBrokenAddresses(t *testing.T) {
	for field, want := range map[string][]Address{
		`good@x, broken, other@y, <third@z`: {{Address: "good@x"}, {Name: "broken"}, {Address: "other@y"}, {Address: "third@z"}},
		`good@x, "bad <oops@y`:              {{Address: "good@x"}, {Name: "bad", Address: "oops@y"}},
		`a@b; Ann <c@d>;`:                   {{Address: "a@b"}, {Name: "Ann", Address: "c@d"}},
		`x y@z, Foo, Inc. <foo@x>, "a, b" <c@d>, (a, b) e@f (g)`: {{Name: "x y@z"}, {Name: "Foo, Inc.", Address: "foo@x"},
			{Name: "a, b", Address: "c@d"}, {Address: "e@f"}},
		`<@relay:a@b>`:       {{Address: "a@b"}}, // RFC 5322, section 4.4
		`[x] <a@b> y, c@d`:   {{Name: "[x]", Address: "a@b"}, {Address: "c@d"}},
		`a b, c@d, e\`:       {{Name: "a b"}, {Address: "c@d"}, {Name: `e\`}},
		`root (Cron Daemon)`: {{Name: "root (Cron Daemon)"}},
		// RFC 5322, appendix A.5 and A.6.
		`Pete(A nice \) chap) <pete(his account)@silly.test(his host)>`: {{Name: "Pete", Address: "pete@silly.test"}},
		`A Group(Some people) :Chris Jones <c@(Chris's host.)public.example>, joe@example.org, John <jdoe@one.test> (my dear friend); (the end of the group)`: {
			{Name: "Chris Jones", Address: "c@public.example"}, {Address: "joe@example.org"}, {Name: "John", Address: "jdoe@one.test"}},
		`(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;`:  nil,
		`John Doe <jdoe@machine(comment).  example>`:                       {{Name: "John Doe", Address: "jdoe@machine.example"}},
		`Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example`: {{Name: "Mary Smith", Address: "mary@example.net"}, {Address: "jdoe@test.example"}},
		`"A (B" <a@b>, c (d@e`: {{Name: "A (B", Address: "a@b"}, {Name: "c (d@e"}},
	} {
		if got := addresses(textproto.MIMEHeader{"To": {field}}, "To"); !slices.Equal(got, want) {
			t.Errorf("%s: %+q", field, got)
		}
	}
}

// What a signature covers is stored as it is (RFC 1847, section 2.1), and a message
// within one is not base64 (RFC 2046, section 5.2.1), whatever it holds.
func TestStoreKeepsWhatIsWithin(t *testing.T) {
	const signed = "--s\nX-Z: 1\nA: folded\n line\n\ntext\n--s\n\nsignature\n--s--\n"
	const raw = "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/signed; boundary=s\n\n" + signed +
		"--b\nContent-Type: message/rfc822\nContent-Transfer-Encoding: binary\n\nSubject: within\n" +
		"Content-Transfer-Encoding: binary\n\na\x00b\n--b--\n"
	var out strings.Builder
	if err := Store(&out, strings.NewReader(strings.ReplaceAll(raw, "\n", "\r\n")), nil); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), signed) {
		t.Errorf("signed: %s", out.String())
	}
	if !strings.Contains(out.String(), "Content-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\nSubject: within\nContent-Transfer-Encoding: base64\n\nYQBi\n") {
		t.Errorf("within: %s", out.String())
	}
}

// What is stored is what the sender wrote: fields in their order and of any octets, what
// stands around the parts, boundaries that are against the grammar. Parts without an end
// get one.
func TestStoreKeepsTheMessage(t *testing.T) {
	const head = "Received: second\n\tline\nX-b: 1\nReceived: first\nSubject: J\xfcrgen\nx-a: 2\n"
	const mixed = head + "Content-Type: multipart/mixed; boundary=b\n\n"
	boundary := strings.Repeat("long", 20) + "&"
	odd := head + "Content-Type: multipart/mixed;\n boundary=\"" + boundary + "\"\n\nbefore\n\n--" + boundary + "\nX-Y: 1\nContent-Type: text/plain\n\nbody\n"
	for _, c := range []struct{ raw, want string }{
		{head + "\nbody\n", head + "\nbody\n"},
		{odd + "--" + boundary + "--\nafter\n", odd + "--" + boundary + "--\nafter\n"},
		{mixed + "--b\n" + odd + "--" + boundary + "--\n--b--", mixed + "--b\n" + odd + "--" + boundary + "--\n--b--"},
		{odd, odd + "--" + boundary + "--\n"},
		{mixed + "no parts\n", mixed + "no parts\n"},
		{mixed + "--b\nX-Cut: off\n", mixed + "--b\nX-Cut: off\n\n\n--b--\n"},
		{mixed + "--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\nx\n--b\n\ny\n--b--\n",
			mixed + "--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\nx\n--c--\n\n--b\n\ny\n--b--\n"},
	} {
		var out strings.Builder
		if err := Store(&out, strings.NewReader(strings.ReplaceAll(c.raw, "\n", "\r\n")), nil); err != nil || out.String() != c.want {
			t.Errorf("%q\nbecame %q, %v\n  want %q", c.raw, out.String(), err, c.want)
		}
	}
}

// A byte order mark is no part of a text.
func TestByteOrderMark(t *testing.T) {
	for _, raw := range []string{"Content-Type: text/plain; charset=utf-8\n\n\ufefftext\n", "Content-Type: text/html\n\n\ufeff<p>text</p>\n"} {
		if body, _ := bodyOf(t, raw); body.Text != "text\n" {
			t.Errorf("%q", body.Text)
		}
	}
}

// A disk that fails is not the message's fault.
func TestPartsThatCannotBeRead(t *testing.T) {
	trouble := errors.New("trouble")
	in := io.MultiReader(strings.NewReader("Content-Type: multipart/mixed; boundary=b\n\nbefore\n"), iotest.ErrReader(trouble))
	m, err := Read(in)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := m.Body(nil); err != nil || !errors.Is(body.Problem, trouble) {
		t.Errorf("%v, %v", body.Problem, err)
	}
}
