package pop3d

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"xm/internal/line"
	"xm/internal/line/linetest"
)

// A reply is one write. Replies to pipelined commands may be less.
func TestOneWriteForEachReply(t *testing.T) {
	var writes atomic.Int64
	s, _ := newServer()
	addr := serve(t, s, func(l net.Listener) net.Listener { return linetest.CountWrites(l, &writes) })
	c := newClient(t, dial(t, addr))
	c.must("+OK", "")
	commands := []string{"CAPA", "USER alice@localhost.com", "PASS 123456", "LIST", "UIDL", "RETR 1", "TOP 1 0", "QUIT"}
	for i, command := range commands {
		c.must("+OK", "%s", command)
		if command == "CAPA" || i >= 3 && i < 7 {
			c.text()
		}
	}
	if n := int64(len(commands) + 1); writes.Load() != n {
		t.Errorf("%d writes for %d replies", writes.Load(), n)
	}
	writes.Store(0)
	if out := say(t, addr, commands...); strings.Count(out, "+OK") != len(commands)+1 || writes.Load() > 3 {
		t.Errorf("%d writes for pipelined commands:\n%s", writes.Load(), out)
	}
}

// Commands behind STLS, PASS or AUTH in one segment are answered all the same.
func TestPipelining(t *testing.T) {
	s, _ := newServer()
	addr := serve(t, s, asIs)
	out := say(t, addr, "USER alice@localhost.com", "PASS wrong", "AUTH PLAIN", "*", "USER alice@localhost.com", "PASS 123456",
		"RETR 2", "DELE 1", "STAT", "NOOP", "QUIT")
	want := "+OK now the password\r\n-ERR [AUTH] wrong name or password\r\n+ \r\n-ERR cancelled, as you wish\r\n" +
		"+OK now the password\r\n+OK 3 messages (82 octets)\r\n-ERR the message is gone: another program has removed it\r\n" +
		"+OK message 1 will be deleted\r\n+OK 2 34\r\n+OK nothing done\r\n+OK bye\r\n"
	if _, got, _ := strings.Cut(out, "\r\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// sent gives what a client gets of a message, after un-stuffing.
func sent(t *testing.T, m *outgoing, top *topper) string {
	t.Helper()
	var wire bytes.Buffer
	w := line.NewDotWriter(&wire)
	var err error
	if top == nil {
		err = m.copy(w)
	} else {
		err = m.copyTop(w, top)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReaderSize(&wire, 16)
	text, err := io.ReadAll(line.NewText(in, 1<<30))
	if rest, _ := io.ReadAll(in); err != nil || len(rest) > 0 {
		t.Fatalf("%q, %v is left", rest, err)
	}
	return string(text)
}

// slow gives its mailbox's messages in small pieces.
type slow struct{ *testBox }

func (b slow) Open(i int) (io.ReadCloser, error) {
	r, err := b.testBox.Open(i)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(iotest.HalfReader(iotest.DataErrReader(iotest.OneByteReader(r)))), nil
}

// wanted is what TOP has, found in another way: line by line.
func wanted(body string, lines uint64) string {
	var top strings.Builder
	inBody := false
	for l := range strings.Lines(body) {
		if inBody {
			if lines == 0 {
				break
			}
			lines--
		}
		top.WriteString(l)
		inBody = inBody || strings.Trim(l, "\r\n") == ""
	}
	return top.String()
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte("Subject: x\n\n.\n..\nend"), uint64(1))
	f.Add([]byte("\n.a\r\rb\x00\xff\n\n"), uint64(0))
	f.Add([]byte("no body"), uint64(5))
	f.Fuzz(func(t *testing.T, data []byte, lines uint64) {
		// A mailbox gives CRLF or LF line ends; CRLF are sent.
		body := strings.ReplaceAll(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n", "\r\n")
		if body != "" && !strings.HasSuffix(body, "\n") {
			body += "\r\n"
		}
		box := &testBox{bodies: []string{string(data)}}
		for _, b := range []Mailbox{box, slow{box}} {
			if strings.Contains(body, "vanished") || strings.Contains(body, "unreadable") ||
				strings.Contains(body, "forbidden") || strings.Contains(body, "bad block") {
				return
			}
			for _, top := range []*topper{nil, {lines: lines}} {
				m, err := openMessage(b, 0)
				if err != nil {
					t.Fatal(err)
				}
				want := body
				if top != nil {
					want = wanted(body, lines)
				}
				if got := sent(t, m, top); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
				m.close()
			}
		}
	})
}

// However long the message, what is allocated for it is the same.
func TestCopyingAllocatesNothing(t *testing.T) {
	s, mail := newServer()
	mail.put("small", strings.Repeat("a line.\r\n", 10))
	mail.put("large", strings.Repeat("a line.\r\n.\r\n", 100_000))
	allocated := func(name string) float64 {
		w := line.NewDotWriter(bufio.NewWriter(io.Discard))
		return testing.AllocsPerRun(10, func() {
			m, err := openMessage(mail.boxes[name], 0)
			if err != nil {
				t.Fatal(err)
			}
			m.copy(w)
			m.close()
		})
	}
	_ = s
	if small, large := allocated("small"), allocated("large"); large > small+2 {
		t.Errorf("%v allocations for a small message, %v for a large one", small, large)
	}
}

func TestManyMessages(t *testing.T) {
	s, mail := newServer()
	bodies := make([]string, 5000)
	for i := range bodies {
		bodies[i] = fmt.Sprintf("%d\r\n", i)
	}
	mail.put("many", bodies...)
	c := login(t, dial(t, serve(t, s, asIs)), "many")
	for _, i := range []int{1, 63, 64, 65, 128, 4999, 5000} {
		c.must("+OK", "DELE %d", i)
	}
	c.must("+OK", "LIST")
	if got := strings.Count(c.text(), "\r\n"); got != 4993 {
		t.Errorf("%d messages are listed", got)
	}
	c.must("+OK", "UIDL")
	if list := c.text(); strings.Count(list, "\r\n") != 4993 || strings.Contains(list, "\r\n64 ") || !strings.Contains(list, "\r\n66 uid-66\r\n") {
		t.Errorf("UIDL has %d lines", strings.Count(list, "\r\n"))
	}
	c.must("+OK 4993 ", "STAT")
	c.must("+OK bye", "QUIT")
	if want := "[uid-1 uid-63 uid-64 uid-65 uid-128 uid-4999 uid-5000]"; fmt.Sprint(mail.deleted) != want {
		t.Errorf("deleted: %v", mail.deleted)
	}
}
