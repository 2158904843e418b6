package mailclient

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// A character that comes in pieces is one.
func TestTerminalWriterInPieces(t *testing.T) {
	var out bytes.Buffer
	w := NewTerminalWriter(&out)
	for _, c := range []byte("ä€😀\r\n\r\xe2\x82") {
		if _, err := w.Write([]byte{c}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil || out.String() != "ä€😀\n\ufffd\ufffd" {
		t.Errorf("%q, %v", out.String(), err)
	}
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
