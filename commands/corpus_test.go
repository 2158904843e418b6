package commands_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Mail of all kinds is listed and read without an error, and nothing in it can
// command a terminal. ../internal/message/testdata/make.py says where it comes
// from.
func TestCorpus(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.must("server", "", "user", "add", "bob", "--password-file", s.file("bob.password", "bob's secret\n"))
	files, err := filepath.Glob("../internal/message/testdata/mail/*.eml")
	if err != nil || len(files) < 50 {
		t.Fatalf("%d messages, %v", len(files), err)
	}
	if err := os.MkdirAll(filepath.Join(s.dir, "data/bob/new"), 0o700); err != nil {
		t.Fatal(err)
	}
	for i, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s.file("data/bob/new/"+strconv.Itoa(1000+i)+".test", string(raw))
	}
	var list []struct{ Trust string }
	if err := json.Unmarshal([]byte(s.client("bob", "", "inbox", "--json")), &list); err != nil || len(list) != len(files) {
		t.Fatalf("%d of %d messages are listed; %v", len(list), len(files), err)
	}
	table, stderr, code := s.xm("bob", "", append([]string{"inbox"}, s.account("bob")...)...)
	if code != 0 {
		t.Fatal(stderr)
	}
	noControls(t, "inbox", table+stderr)
	for i, file := range files {
		if list[i].Trust != "plain" {
			t.Errorf("%s: %s", file, list[i].Trust)
		}
		stdout, stderr, code := s.xm("bob", "", append([]string{"read", strconv.Itoa(i + 1), "--save", "saved"}, s.account("bob")...)...)
		if code != 0 || !strings.Contains(stdout, "Subject: ") {
			t.Errorf("%s: exit code %d\n%s", file, code, stderr)
		}
		noControls(t, file, stdout+stderr)
	}
	outside, err := filepath.Glob(filepath.Join(s.dir, "*", "passwd"))
	if err != nil || len(outside) != 1 || filepath.Base(filepath.Dir(outside[0])) != "saved" {
		t.Errorf("../../etc/passwd was saved as %q; %v", outside, err)
	}
}

func noControls(t *testing.T, name, text string) {
	t.Helper()
	for _, r := range text {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			t.Errorf("%s: %U comes out raw", name, r)
			return
		}
	}
}
