package commands_test

import (
	"fmt"
	"strings"
	"testing"
)

// Only the command sendmail has flags of its own, not a word "sendmail".
func TestTheWordSendmail(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	s.client("alice", "", "send", "bob", "I like", "sendmail", "-s", "a subject")
	if got := s.client("bob", "", "read", "1"); !strings.Contains(got, "Subject: a subject\n\nI like sendmail\n") {
		t.Errorf("%q", got)
	}
}

// What other programs hand to sendmail: names without a domain, and a line of an
// mbox before the header.
func TestSendmailAsOthersUseIt(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	s.login("alice")
	for i, c := range []struct{ in, subject string }{
		{"From: root (Cron Daemon)\nTo: bob\nSubject: one\n\nx\n", "one"},
		{"From: alice\nTo: bob, alice@localhost\nSubject: two\n\nx\n", "two"},
		{"From 0123abcd Mon Sep 17 00:00:00 2001\nFrom: alice\nTo: bob\nSubject: three\n\nx\n", "three"},
		{"From : alice\nTo: bob\nSubject: four\n\nx\n", "four"},
	} {
		s.must("alice", c.in, "sendmail", "-t", "-i")
		if got := s.client("bob", "", "read", fmt.Sprint(i+1)); !strings.Contains(got, "Subject: "+c.subject+"\n\nx\n") {
			t.Errorf("%q became %q", c.in, got)
		}
	}
	if got := s.client("alice", "", "inbox"); !strings.Contains(got, "two") || strings.Count(got, "\n") != 1 {
		t.Errorf("alice has %q", got)
	}
}

// The name of somebody else than the account's owner stays readable.
func TestSendmailKeepsTheName(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	s.login("alice")
	for i, c := range [][2]string{
		{"From: =?utf-8?q?J=C3=BCrgen?= <j@y.example>\n", "Jürgen <j@y.example> <alice@localhost>"},
		{"From: \"B, C\" <b@y.example>\n", "B, C <b@y.example> <alice@localhost>"},
		{"From: <b@y.example>\n", "b@y.example <alice@localhost>"},
		{"", "alice@localhost"},
	} {
		s.must("alice", c[0]+"To: bob\nSubject: x\n\nx\n", "sendmail", "-t", "-i")
		if got := s.client("bob", "", "read", fmt.Sprint(i+1)); !strings.HasPrefix(got, "From: "+c[1]+"\n") {
			t.Errorf("%q became %q", c[0], got)
		}
	}
}

// A list of recipients may be long: none is left out without a word.
func TestSendmailToMany(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	s.login("alice")
	to := strings.Repeat("alice@localhost,\n ", 1200) + "bob@localhost"
	s.must("alice", "To: "+to+"\nSubject: all\n\nx\n", "sendmail", "-t", "-i")
	if got := s.client("bob", "", "inbox"); !strings.Contains(got, " all ") {
		t.Errorf("bob has %q", got)
	}
}

// RFC 5322, section 3.6.6: a message that is sent again goes to those whom the newest
// Resent fields name, and not once more to its first recipients; Resent-Bcc is as Bcc.
func TestSendmailSendsAgain(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	s.login("alice")
	for i, encrypt := range []string{"always", "never"} {
		s.must("alice", "Resent-From: alice\nResent-BCC: bob\nResent-From: carol\nResent-To: nobody\nFrom: carol\nTo: nobody\nSubject: x\n\nx\n",
			"sendmail", "-t", "--encrypt="+encrypt)
		if got := s.client("bob", "", "read", "--raw", fmt.Sprint(i+1)); strings.Contains(strings.ToLower(got), "bcc") || !strings.Contains(got, "Resent-To: nobody") {
			t.Errorf("%q", got)
		}
	}
}

// Options are read as getopt reads them: what is the value of one is no recipient.
func TestSendmailOptions(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	s.login("alice")
	const text = "To: bob\nSubject: x\n\nx\n.\nto the end\n"
	for i, args := range []string{
		"-tvi", "-ivtf alice", "-ti -O ErrorMode=m", "-i -C /etc/mail.cf -D log bob", "-o i -o em -A c -bm bob", "-oi -em -FCron -B8BITMIME -d0 -q bob",
		"-i <bob@localhost>", "-i bob,Bob<bob@localhost>",
	} {
		_, stderr, code := s.xm("alice", text, append([]string{"sendmail"}, strings.Fields(args)...)...)
		if code != 0 || stderr != "xm: sent to bob@localhost, encrypted\n" {
			t.Fatalf("%s: exit code %d, %s", args, code, stderr)
		}
		if got := s.client("bob", "", "read", fmt.Sprint(i+1)); !strings.HasSuffix(got, "to the end\n") {
			t.Errorf("%s: %q", args, got)
		}
	}
	for _, to := range []string{"bob\nBcc: alice", "no name", ""} {
		if _, stderr, code := s.xm("alice", text, "sendmail", to); code != 2 {
			t.Errorf("%q: exit code %d, %s", to, code, stderr)
		}
	}
	if _, stderr, code := s.xm("alice", text, "sendmail", "-bs"); code != 2 || !strings.Contains(stderr, "-bs") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

// RFC 5321, section 4.5.3.1.10: where a server has enough recipients, the others get
// the message in another transaction.
func TestMoreRecipientsThanATransactionMayHave(t *testing.T) {
	s := startSystem(t, t.TempDir(), "[smtp]\nmax_recipients = 1\n")
	s.pair()
	s.must("server", "", "user", "add", "carol", "--password-file", s.file("carol.password", "carol's secret\n"))
	s.client("alice", "", "send", "--plain", "alice", "--to", "bob", "--cc", "carol", "-s", "all", "x")
	for _, name := range []string{"alice", "bob", "carol"} {
		if got := s.client(name, "", "inbox"); strings.Count(got, " all ") != 1 {
			t.Errorf("%s has %q", name, got)
		}
	}
}

// A line end that lies across two pieces of what is read is one.
func TestSendmailLongLines(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.pair()
	s.login("alice")
	const head = "Subject: x\r\n\r\n"
	for i, size := range []int{64<<10 - 2, 64<<10 - 1, 64 << 10} {
		line := strings.Repeat("x", size)
		s.must("alice", head+line+"\r\nend\r\n", "sendmail", "-i", "--encrypt=never", "bob")
		if got := s.client("bob", "", "read", "--raw", fmt.Sprint(i+1)); !strings.HasSuffix(strings.ReplaceAll(got, "\r\n", "\n"), "\n"+line+"\nend\n") {
			t.Errorf("%d octets: %.60q ... %q", size, got, got[len(got)-20:])
		}
	}
}
