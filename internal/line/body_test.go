package line

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// what a reader of a body is left with
type outcome struct {
	text, rest string
	err        error
	outOfStep  bool
}

func readBody(input string, bufSize int, max int64, oneByte bool) outcome {
	var src io.Reader = strings.NewReader(input)
	if oneByte {
		src = iotest.OneByteReader(src)
	}
	in := bufio.NewReaderSize(src, bufSize)
	b := NewBody(in, max)
	text, err := io.ReadAll(b)
	o := outcome{text: string(text), err: err, outOfStep: b.OutOfStep()}
	if !o.outOfStep {
		rest, _ := io.ReadAll(in)
		o.rest = string(rest)
	}
	return o
}

func TestBody(t *testing.T) {
	long := strings.Repeat("x", 100)
	for name, c := range map[string]struct {
		in   string
		want outcome
	}{
		"empty":                {".\r\nQUIT\r\n", outcome{rest: "QUIT\r\n"}},
		"one line":             {"hello\r\n.\r\nQUIT\r\n", outcome{text: "hello\r\n", rest: "QUIT\r\n"}},
		"stuffed":              {"..\r\n.a\r\n...\r\n.\r\n", outcome{text: ".\r\na\r\n..\r\n"}},
		"dot within":           {"a.\r\n.\r\n", outcome{text: "a.\r\n"}},
		"long lines":           {long + "\r\n." + long + "\r\n.\r\n", outcome{text: long + "\r\n" + long + "\r\n"}},
		"8 bit":                {"\xff\x80\r\n.\r\n", outcome{text: "\xff\x80\r\n"}},
		"cut off":              {"hello\r\n", outcome{text: "hello\r\n", err: io.ErrUnexpectedEOF, outOfStep: true}},
		"cut off in the end":   {"hello\r\n.\r", outcome{text: "hello\r\n", err: io.ErrUnexpectedEOF, outOfStep: true}},
		"bare LF":              {"a\nb\r\n.\r\nQUIT\r\n", outcome{err: ErrBareLineEnd, rest: "QUIT\r\n"}},
		"bare CR":              {"a\rb\r\n.\r\nQUIT\r\n", outcome{err: ErrBareLineEnd, rest: "QUIT\r\n"}},
		"bare LF first":        {"\n\r\n.\r\nQUIT\r\n", outcome{err: ErrBareLineEnd, rest: "QUIT\r\n"}},
		"CR CR LF . CR LF":     {"a\r\r\n.\r\nMAIL FROM:<x>\r\n", outcome{err: ErrBareLineEnd, outOfStep: true}},
		"CR CR LF":             {"a\r\r\nb\r\n.\r\nQUIT\r\n", outcome{err: ErrBareLineEnd, rest: "QUIT\r\n"}},
		"NUL":                  {"a\x00b\r\n.\r\nQUIT\r\n", outcome{err: ErrNUL, rest: "QUIT\r\n"}},
		"LF . LF":              {"a\n.\nMAIL FROM:<x>\r\n", outcome{err: ErrBareLineEnd, outOfStep: true}},
		"LF . CR LF":           {"a\n.\r\nMAIL FROM:<x>\r\n", outcome{err: ErrBareLineEnd, outOfStep: true}},
		"CR LF . LF":           {"a\r\n.\nMAIL FROM:<x>\r\n", outcome{err: ErrBareLineEnd, outOfStep: true}},
		"CR LF . CR":           {"a\r\n.\rMAIL FROM:<x>\r\n", outcome{err: ErrBareLineEnd, outOfStep: true}},
		"CR . CR LF":           {"a\r.\r\nMAIL FROM:<x>\r\n", outcome{err: ErrBareLineEnd, outOfStep: true}},
		"CR . CR":              {"a\r.\rMAIL FROM:<x>\r\n", outcome{err: ErrBareLineEnd, outOfStep: true}},
		"CR . LF":              {"a\r.\nMAIL FROM:<x>\r\n", outcome{err: ErrBareLineEnd, outOfStep: true}},
		"LF . CR":              {"a\n.\rMAIL FROM:<x>\r\n", outcome{err: ErrBareLineEnd, outOfStep: true}},
		"CR CR LF . CR CR LF":  {"a\r\r\n.\r\r\nMAIL FROM:<x>\r\n", outcome{err: ErrBareLineEnd, outOfStep: true}},
		". LF at once":         {".\nMAIL FROM:<x>\r\n", outcome{err: ErrBareLineEnd, outOfStep: true}},
		"bare LF, no end":      {"a\nb\r\n", outcome{err: ErrBareLineEnd, outOfStep: true}},
		"dots that are no end": {"a\n..\n.b\n. \r\n.\r\nQUIT\r\n", outcome{err: ErrBareLineEnd, rest: "QUIT\r\n"}},
	} {
		for _, size := range []int{16, 17, 4096} {
			for _, oneByte := range []bool{false, true} {
				got := readBody(c.in, size, 1000, oneByte)
				if got.err != nil {
					got.text = c.want.text // what came before the fault does not count
				}
				if got != c.want {
					t.Errorf("%s, buffer of %d: got %+v, want %+v", name, size, got, c.want)
				}
			}
		}
	}
}

func TestBodyTooLarge(t *testing.T) {
	in := strings.Repeat("0123456789\r\n", 10) + ".\r\nQUIT\r\n"
	if got := readBody(in, 64, 120, false); got.err != nil || got.rest != "QUIT\r\n" {
		t.Errorf("at the limit: %+v", got)
	}
	if got := readBody(in, 64, 119, false); got.err != ErrTooLarge || got.rest != "QUIT\r\n" || got.outOfStep {
		t.Errorf("over the limit: %+v", got)
	}
	flood := strings.Repeat("x", 4*100+endless+1000)
	if got := readBody(flood, 64, 100, false); got.err != ErrTooLarge || !got.outOfStep {
		t.Errorf("a flood: %v, out of step %v", got.err, got.outOfStep)
	}
}

// The text of a server may hold anything but the end.
func TestText(t *testing.T) {
	in := bufio.NewReader(strings.NewReader("a\nb\r\n..c\x00\rd\n.\r\n\n.\n\r\n.\r\nrest"))
	got, err := io.ReadAll(NewText(in, 1000))
	if want := "a\nb\r\n.c\x00\rd\n.\r\n\n.\n\r\n"; err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func FuzzBody(f *testing.F) {
	f.Add([]byte("hello\r\n..x\r\n"), 16)
	f.Add([]byte("a\n.\nMAIL FROM:<x>\r\n.\r\n"), 16)
	f.Fuzz(func(t *testing.T, data []byte, size int) {
		size = max(16, min(size, 4096))
		// However it is cut, strict reading takes what CRLF.CRLF alone ends.
		got := readBody(string(data), size, 1<<20, false)
		if got.err == nil {
			if strings.ContainsAny(strings.ReplaceAll(got.text, "\r\n", ""), "\r\n\x00") {
				t.Errorf("%q was accepted as %q", data, got.text)
			}
			end := len(data) - len(got.rest)
			if !bytes.HasSuffix(append([]byte("\r\n"), data[:end]...), []byte("\r\n.\r\n")) {
				t.Errorf("%q ended after %q", data, data[:end])
			}
		}

		// What DotWriter writes, both readers give back.
		var wire bytes.Buffer
		w := NewDotWriter(&wire)
		for i := 0; i < len(data); i += size {
			w.Write(data[i:min(i+size, len(data))])
		}
		w.Close()
		want := strings.ReplaceAll(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n", "\r\n")
		if want != "" && !strings.HasSuffix(want, "\n") {
			want += "\r\n"
		}
		if clean := strings.ReplaceAll(want, "\r\n", ""); !strings.ContainsAny(clean, "\r\n\x00") {
			if got := readBody(wire.String(), size, 1<<20, false); got.err != nil || got.text != want {
				t.Errorf("%q came back as %q, %v", want, got.text, got.err)
			}
			text, err := io.ReadAll(NewText(bufio.NewReaderSize(&wire, size), 1<<20))
			if err != nil || string(text) != want {
				t.Errorf("%q came back as %q, %v", want, text, err)
			}
		}
	})
}

func TestDotWriterReportsErrors(t *testing.T) {
	broken := errors.New("broken")
	w := NewDotWriter(failingWriter{broken})
	if _, err := w.Write([]byte(".x\r\n")); !errors.Is(err, broken) {
		t.Errorf("Write: %v", err)
	}
	if err := w.Close(); !errors.Is(err, broken) {
		t.Errorf("Close: %v", err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }
func (w failingWriter) AvailableBuffer() []byte   { return nil }

// A bad message is not read for ever, even if it is bad within a CRLF that lies
// across the buffer's end.
func TestBadBodyAtTheEdges(t *testing.T) {
	got := readBody(strings.Repeat("x", 15)+"\r.\r\nMAIL FROM:<x>\r\n", 16, 1000, false)
	if got.err != ErrBareLineEnd || !got.outOfStep {
		t.Errorf("CR . CR LF across a buffer's end: %+v", got)
	}
	flood := strings.NewReader("\x00" + strings.Repeat("x\r\n", endless))
	b := NewBody(bufio.NewReader(flood), 1000)
	if _, err := b.WriteTo(io.Discard); err != ErrNUL || !b.OutOfStep() || flood.Len() == 0 {
		t.Errorf("a flood: %v, out of step %v, %d octets left", err, b.OutOfStep(), flood.Len())
	}
}

func TestTextCheckInAnyPieces(t *testing.T) {
	for text, want := range map[string]error{
		"": nil, "a": nil, "a\r\nb\r\n": nil, "\r\n\r\n": nil,
		"a\nb": ErrBareLineEnd, "\n": ErrBareLineEnd, "a\rb": ErrBareLineEnd, "a\r": ErrBareLineEnd, "\r\r\n": ErrBareLineEnd, "\r\n\n": ErrBareLineEnd,
		"a\x00b": ErrNUL,
	} {
		for size := 1; size <= len(text)+1; size++ {
			var c TextCheck
			var got error
			for piece := range slices.Chunk([]byte(text), size) {
				got = cmp.Or(got, c.Next(piece))
			}
			if got = cmp.Or(got, c.End()); got != want {
				t.Errorf("%q in pieces of %d: %v, want %v", text, size, got, want)
			}
		}
	}
}
