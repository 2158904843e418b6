package mbox

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func readAll(t testing.TB, in io.Reader) (messages []string) {
	t.Helper()
	r := NewReader(in)
	for {
		err := r.Next()
		if err == io.EOF {
			return messages
		}
		if err != nil {
			t.Fatal(err)
		}
		m, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, string(m))
	}
}

func TestWrite(t *testing.T) {
	var b bytes.Buffer
	for _, m := range []string{"Subject: a\r\n\r\nFrom here\r\n>From\r\n>>From there\r\n", "no end of line", ""} {
		if err := Write(&b, "a@b.c", time.Unix(0, 0), strings.NewReader(m)); err != nil {
			t.Fatal(err)
		}
	}
	const line = "From a@b.c Thu Jan  1 00:00:00 1970\n"
	want := line + "Subject: a\n\n>From here\n>From\n>>>From there\n\n" + line + "no end of line\n\n" + line + "\n"
	if b.String() != want {
		t.Errorf("written:\n%q, want\n%q", &b, want)
	}
}

func TestRead(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	for text, want := range map[string][]string{
		"":                                       nil,
		"From x\n":                               {""},
		"From x":                                 {""},
		"From x\n\n":                             {""},
		"From x\na\n\nFrom y\nb\n\n":             {"a\n", "b\n"},
		"From x\r\na\r\n\r\nFrom y\r\nb\r\n\r\n": {"a\r\n", "b\r\n"},
		"From x\na\nFrom y\nb\n":                 {"a\nFrom y\nb\n"}, // not behind an empty line
		"From x\n\n\n\na\n":                      {"\n\n\na\n"},
		"From x\n>From a\n>>From b\n> From\n":    {"From a\n>From b\n> From\n"},
		"From x\na":                              {"a"},
		"From " + long + "\n" + long + "\n\nFrom " + long + "\nFrom b\n": {long + "\n", "From b\n"},
		"From x\nab\rc\n\r\r\n": {"ab\rc\n\r\r\n"},
	} {
		for name, in := range map[string]io.Reader{"whole": strings.NewReader(text), "in pieces": iotest.OneByteReader(strings.NewReader(text))} {
			if got := readAll(t, in); !slices.Equal(got, want) {
				t.Errorf("%.50q, %s: %.80q, want %.80q", text, name, got, want)
			}
		}
	}
}

func TestFailures(t *testing.T) {
	for _, text := range []string{"Subject: x\n", "From", "\nFrom x\n", ">From x\n"} {
		if err := NewReader(strings.NewReader(text)).Next(); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v", text, err)
		}
	}
	broken := errors.New("broken")
	r := NewReader(io.MultiReader(strings.NewReader("From x\na\n"), iotest.ErrReader(broken)))
	if err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); err != broken {
		t.Errorf("a broken input: %v", err)
	}
	if err := r.Next(); err != broken {
		t.Errorf("behind a broken input: %v", err)
	}
	if err := NewReader(iotest.ErrReader(broken)).Next(); err != broken {
		t.Errorf("a broken input at its beginning: %v", err)
	}
	if err := Write(io.Discard, "a", time.Now(), iotest.ErrReader(broken)); err != broken {
		t.Errorf("a broken message: %v", err)
	}
}

// What is not read of a message does not become a part of the next one.
func TestPassOver(t *testing.T) {
	r := NewReader(strings.NewReader("From x\n" + strings.Repeat("a\n", 10_000) + "\nFrom y\nb\n\n"))
	for range 2 {
		if err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if m, err := io.ReadAll(r); err != nil || string(m) != "b\n" {
		t.Errorf("%q, %v", m, err)
	}
}

// Messages survive a mailbox, but for CRLF, which becomes LF, and for a last
// line without an end, which gets one.
func FuzzRoundTrip(f *testing.F) {
	f.Add("Subject: a\n\nFrom x\n>From y\n", "\n\n")
	f.Add("a\r\n\r\nFrom b\r\n\r\r\n", "From \n")
	f.Add(strings.Repeat("y", 4095)+"\r\nz", "")
	f.Fuzz(func(t *testing.T, a, b string) {
		var box bytes.Buffer
		for _, m := range []string{a, b} {
			if err := Write(&box, "x@y", time.Now(), strings.NewReader(m)); err != nil {
				t.Fatal(err)
			}
		}
		want := []string{stored(a), stored(b)}
		if got := readAll(t, &box); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

func stored(m string) string {
	lines := strings.SplitAfter(m, "\n")
	for i, l := range lines {
		if line, ok := strings.CutSuffix(l, "\r\n"); ok {
			lines[i] = line + "\n"
		}
	}
	if m = strings.Join(lines, ""); m != "" && !strings.HasSuffix(m, "\n") {
		m += "\n"
	}
	return m
}
