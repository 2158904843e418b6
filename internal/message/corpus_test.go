package message

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// testdata/make.py says where the messages come from.
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob("testdata/mail/*.eml")
	if err != nil || len(files) < 50 {
		t.Fatalf("%d messages, %v", len(files), err)
	}
	want := map[string]string{ // a part of the text
		"python-charset-koi8-r": "Привет, мир", "python-charset-shift_jis": "こんにちは", "python-charset-gb18030": "你好，世界",
		"python-charset-big5": "你好", "python-charset-euc-kr": "안녕하세요", "python-charset-iso-8859-15": "5 €", "python-charset-iso-2022-jp": "こんにちは",
		"python-alternative": "The plain text.", "python-html": "three here <https://example.org/>", "python-nested": "the innermost",
		"python-bounce": "Action: failed", "mutt-text": "Zeile eins ä", "mutt-attachment": "See the file.", "s-nail-text": "Text ä",
		"git-patch-2": "zwei ä", "swaks-text": "This is a test mailing", "torture-no-end": "the text", "torture-no-header": "body alone",
		"torture-raw-8bit": "Grüße", "torture-bad-encodings": "text =C3", "torture-bad-header": "body",
	}
	attachments := map[string]string{"python-attachments": "all octets.bin,Übersicht.txt,../../etc/passwd", "mutt-attachment": "file.txt", "s-nail-attachment": "file.txt", "swaks-attachment": "file.txt"}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".eml")
		m, err := Read(bytes.NewReader(raw))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		body, err := m.Body(nil)
		if err != nil || !utf8.ValidString(body.Text) || !utf8.ValidString(m.Header.Subject) {
			t.Errorf("%s: %v, %q", name, err, body.Text)
		}
		if !strings.Contains(body.Text, want[name]) {
			t.Errorf("%s: no %q in %q", name, want[name], body.Text)
		}
		if strings.HasPrefix(name, "python-charset") && m.Header.Subject != strings.TrimSpace(body.Text) {
			t.Errorf("%s: subject %q, text %q", name, m.Header.Subject, body.Text)
		}
		if body.Problem != nil && !strings.HasPrefix(name, "torture") {
			t.Errorf("%s: %v", name, body.Problem)
		}
		var names []string
		for _, a := range body.Attachments {
			names = append(names, a.Name)
		}
		if wanted, ok := attachments[name]; ok && strings.Join(names, ",") != wanted {
			t.Errorf("%s: attachments %q", name, names)
		}
	}
}
