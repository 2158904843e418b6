package commands_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// lastTrust is what xm inbox tells bob of his last message, in a word.
func (s *system) lastTrust() string {
	s.t.Helper()
	words := strings.Fields(s.client("bob", "", "inbox"))
	return words[len(words)-1]
}

// What is wrong here says nothing of a message.
func TestOwnFaultsAreNotTheMessages(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	s.file("passphrase", "a passphrase\n")
	s.must("bob", "", "keygen", "--force", "--passphrase-file", filepath.Join(s.dir, "passphrase"))
	s.copy("bob/key.pub", "alice/bob.pub")
	s.client("alice", "", "send", "bob", "x")
	list := func(file string) (string, string, int) {
		return s.xm("bob", "", append([]string{"inbox", "--passphrase-file", filepath.Join(s.dir, file)}, s.account("bob")...)...)
	}
	if stdout, stderr, code := list("passphrase"); code != 0 || !strings.HasSuffix(stdout, " known\n") {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
	for _, file := range []string{"bob.password", "missing"} {
		if stdout, stderr, code := list(file); code != 1 || strings.Contains(stdout, "bad") {
			t.Errorf("%s: exit code %d, %s%s", file, code, stdout, stderr)
		}
	}
	if err := os.Remove(filepath.Join(s.dir, "bob", "key.priv")); err != nil {
		t.Fatal(err)
	}
	if got := s.lastTrust(); got != "known" {
		t.Errorf("without key.priv: %s", got)
	}
}

// A signature over what a message no longer holds is none.
func TestChangedOnItsWay(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	payload := s.must("alice", "a secret", "encrypt", "-o", "-", "bob")
	last := map[bool]string{true: "1$", false: "0$"}[strings.HasSuffix(payload, "0$")]
	s.raw("bob", "From: alice@localhost\nContent-Type: text/plain\n\n"+payload+"\n")
	if got := s.lastTrust(); got != "known" {
		t.Errorf("as it was: %s", got)
	}
	s.raw("bob", "From: alice@localhost\nContent-Type: text/plain\n\n"+payload[:len(payload)-2]+last+"\n")
	if got := s.lastTrust(); got != "bad" {
		t.Errorf("changed: %s", got)
	}
	if stdout, _, code := s.xm("bob", "", append([]string{"read", "2"}, s.account("bob")...)...); code != 3 || stdout != "" {
		t.Errorf("exit code %d, %q", code, stdout)
	}
}

// What was compared is the current key, and a former one is not it.
func TestAFormerKeyIsNotVerified(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	s.put("alice", "bob", "alice@localhost", "with the former key")
	s.must("alice", "", "keygen", "--force")
	s.must("bob", string(s.read("alice/key.pub")), "key", "import", "--replace", "alice", "-")
	fingerprint := strings.TrimSpace(s.must("bob", string(s.read("alice/key.pub")), "key", "import", "alice", "-"))
	s.must("bob", "", "key", "verify", "alice", "--fingerprint", fingerprint)
	if got := s.lastTrust(); got != "known" {
		t.Errorf("the former key: %s", got)
	}
	s.put("alice", "bob", "alice@localhost", "with the current key")
	if got := s.lastTrust(); got != "verified" {
		t.Errorf("the current key: %s", got)
	}
}

// key.pub and server.pub are not the keys of people of these names.
func TestNobodyIsCalledKey(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	s.copy("bob/key.pub", "bob/server.pub")
	for _, name := range []string{"key", "server"} {
		s.put("bob", "bob", name+"@elsewhere.example", "text")
		if got := s.lastTrust(); got != "unknown" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// Attachments get names that do no harm, in their directory.
func TestNamesOfAttachments(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	text := "From: x@y\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n"
	for _, name := range []string{"../../up", "/etc/abs", `C:\dir\win`, "-rf", ".hidden", "..", " ", "=?utf-8?q?a=0Ab=1B?=", "=?utf-8?q?x=E2=80=AEgpj?=", "up"} {
		text += "--b\nContent-Type: application/x\nContent-Disposition: attachment; filename=\"" + strings.ReplaceAll(name, `\`, `\\`) + "\"\n\nx\n"
	}
	s.raw("bob", text+"--b--\n")
	out := filepath.Join(s.dir, "deep", "out")
	s.client("bob", "", "read", "1", "--save", out)
	entries, err := os.ReadDir(out)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{"a_b_", "abs", "attachment", "attachment-2", "hidden", "rf", "up", "up-2", "win", "x_gpj"}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
}

// A draft stays where it is until another holds what could not be sent.
func TestDraftIsNotLost(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	draft := s.file("draft.eml", "Xm-Send-To: bob@localhost\r\nMIME-Version: 1.0\r\nFrom: alice@localhost\r\n\r\nx\r\n")
	s.file("alice/.local", "where the drafts would be")
	_, stderr, code := s.xm("alice", "", append(append([]string{"send", "--draft", draft}, s.account("alice")...), "--smtp", "127.0.0.1:1")...)
	if code != 1 || !strings.Contains(stderr, "could not be kept") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	if _, err := os.Stat(draft); err != nil {
		t.Error(err)
	}
}

// Nobody learns from a copy who else got one.
func TestBlindCopies(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	s.login("alice")
	for i, encrypt := range []string{"always", "never"} {
		s.must("alice", "From: alice@localhost\nTo: bob@localhost\nbcc: alice@localhost\nSubject: x\n\nx\n", "sendmail", "-t", "--encrypt="+encrypt)
		for _, name := range []string{"alice", "bob"} {
			if got := s.client(name, "", "read", "--raw", fmt.Sprint(i+1)); strings.Contains(strings.ToLower(got), "bcc") || !strings.Contains(got, "Subject: x") {
				t.Errorf("%s has %q", name, got)
			}
		}
	}
}

// Reading a message again is no replay; the same message under another id is.
func TestReplaysAreToldFromReadingAgain(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	const inside = "MIME-Version: 1.0\r\nFrom: alice@localhost\r\nMessage-ID: <1@x>\r\n\r\nx\r\n"
	s.put("alice", "bob", "alice@localhost", inside)
	s.put("alice", "bob", "alice@localhost", inside)
	for i, c := range []struct {
		number string
		replay bool
	}{{"1", false}, {"1", false}, {"2", true}, {"2", true}, {"1", false}} {
		_, stderr, code := s.xm("bob", "", append([]string{"read", c.number}, s.account("bob")...)...)
		if code != 0 || strings.Contains(stderr, "POSSIBLE REPLAY") != c.replay {
			t.Errorf("%d: exit code %d, %s", i, code, stderr)
		}
	}
}
