package message

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

// nested is a message of parts within parts.
func nested(depth int) string {
	text := "MIME-Version: 1.0\n"
	for i := range depth {
		text += fmt.Sprintf("Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
	}
	return text + "\ninnermost\n"
}

func TestPartsAreBounded(t *testing.T) {
	deepest, parts := 0, 0
	visit := func(p *Part) error {
		parts++
		deepest = max(deepest, p.Depth)
		_, err := io.Copy(io.Discard, p.Body)
		return err
	}
	m, err := Read(strings.NewReader(nested(3 * maxDepth)))
	if err != nil {
		t.Fatal(err)
	}
	_ = m.Walk(visit) // it has no end
	if deepest != maxDepth {
		t.Errorf("parts are looked into %d deep", deepest)
	}
	many := "Content-Type: multipart/mixed; boundary=x\n\n" + strings.Repeat("--x\n\na\n", 2*maxParts) + "--x--\n"
	parts = 0
	if m, err = Read(strings.NewReader(many)); err != nil {
		t.Fatal(err)
	}
	if err := m.Walk(visit); err != errTooManyParts || parts > maxParts {
		t.Errorf("%d parts, %v", parts, err)
	}
	if m, err = Read(strings.NewReader(many)); err != nil {
		t.Fatal(err)
	}
	if body, err := m.Body(nil); err != nil || body.Problem != errTooManyParts {
		t.Errorf("what is left out is not told: %v, %v", body.Problem, err)
	}
	if err := Store(io.Discard, strings.NewReader(nested(3*maxDepth)), nil); err == nil || !strings.Contains(err.Error(), "too deep") {
		t.Errorf("stored: %v", err)
	}
}

// What is signed can't say itself how far to trust it.
func TestStoreReplacesFields(t *testing.T) {
	var out strings.Builder
	err := Store(&out, strings.NewReader("MIME-Version: 1.0\r\nx-SIGNED-by: boss\r\nSubject: a\r\n\r\nx\r\n"), [][2]string{{"X-Signed-By", "alice\r\nBcc: eve"}})
	if want := "X-Signed-By: alice  Bcc: eve\nMIME-Version: 1.0\nSubject: a\n\nx\n"; err != nil || out.String() != want {
		t.Errorf("%q, %v; want %q", out.String(), err, want)
	}
}

// An attachment is not shown in the text, whatever its type is.
func TestAttachedText(t *testing.T) {
	m, err := Read(strings.NewReader("Content-Type: multipart/mixed; boundary=x\n\n--x\n\nshown\n" +
		"--x\nContent-Type: text/plain\nContent-Disposition: attachment\n\nnot shown\n--x--\n"))
	if err != nil {
		t.Fatal(err)
	}
	if body, err := m.Body(nil); err != nil || body.Text != "shown\n" || len(body.Attachments) != 1 {
		t.Errorf("%q, %v, %v", body.Text, body.Attachments, err)
	}
}
