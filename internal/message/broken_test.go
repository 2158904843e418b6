package message

import (
	"io"
	"strings"
	"testing"
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
	body, _ := bodyOf(t, "Content-Type: text/html\n\n<html><head><title>a title</title><style>p {}</style><meta name=a><body><p>the text</p></body></html>\n")
	if body.Text != "the text\n" {
		t.Errorf("%q", body.Text)
	}
}
