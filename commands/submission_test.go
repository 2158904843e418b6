package commands_test

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xm/internal/line/linetest"
)

// smtpDialog plays a dialog in which there may be TLS.
func (s *system) smtpDialog(service, text string, config *tls.Config) {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr[service])
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	(&linetest.Dialog{Name: service, Text: text, TLS: config}).Play(s.t, conn)
}

// The ports for mail programs, with users.txt and Maildirs behind them: TLS, a
// user of the original's kind and one of ours, a quota, a proxy, and a
// certificate that is replaced while the servers run.
func TestSubmission(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	config := linetest.WriteCertificate(t, certFile, keyFile)
	s := startSystem(t, dir, `
[tls]
cert = "cert.pem"
key = "key.pem"
[submission]
listen = "127.0.0.1:0"
listen_tls = "127.0.0.1:0"
[smtp]
proxies = ["127.0.0.0/8"]
`)
	sum := sha256.Sum256([]byte("alice's secret" + "salt"))
	s.must("server", "", "user", "add", "--password-file", s.file("bob.password", "bob's secret\n"), "bob")
	s.must("server", "", "user", "set", "bob", "--messages", "1")
	appendTo(t, filepath.Join(dir, "data/users.txt"), fmt.Sprintf("alice,salt,%x\n", sum))
	plain := func(user string) string {
		return base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + user + "'s secret"))
	}
	const proxy = "C: PROXY TCP4 192.0.2.1 127.0.0.1 1 25\n"
	message := "C: MAIL FROM:<alice+tag@localhost>\nS: 250 *\nC: RCPT TO:<bob>\nS: 250 *\nC: DATA\nS: 354 *\nC: Subject: x\nC: .\nS: 250 *\n"

	s.smtpDialog("submission", proxy+"S: 220 *\nC: EHLO a\nU: 250 HELP\nC: AUTH PLAIN "+plain("alice")+"\nS: 538 *\nC: STARTTLS\nS: 220 *\nTLS\nC: EHLO a\nU: 250 HELP\n"+
		"C: MAIL FROM:<alice@localhost>\nS: 530 *\nC: AUTH PLAIN "+plain("alice")+"\nS: 235 *\n"+message+
		// One message was bob's quota.
		"C: MAIL FROM:<alice@localhost>\nS: 250 *\nC: RCPT TO:<bob>\nS: 452 4.2.2 *\nC: RCPT TO:<alice>\nS: 250 *\nC: QUIT\nS: 221 *\nX\n", config)
	if got := s.onDisk("bob"); !linetest.Match("Return-Path: <alice+tag@localhost>\nReceived: from a ([192.0.2.1])*with ESMTPSA id *Subject: x\nDate: *\nMessage-ID: <*>\n", got) {
		t.Errorf("bob has\n%s", got)
	}
	if users := s.must("server", "", "user", "list", "--json"); strings.Count(users, "SCRAM-SHA-256") != 2 {
		t.Errorf("after a login with the password, alice's record is the original's still:\n%s", users)
	}

	config = linetest.WriteCertificate(t, certFile, keyFile)
	s.smtpDialog("submissions", proxy+"TLS\nS: 220 *\nC: EHLO a\nU: 250 HELP\nC: AUTH LOGIN\nS: 334 *\nC: Ym9i\nS: 334 *\nC: "+
		base64.StdEncoding.EncodeToString([]byte("bob's secret"))+"\nS: 235 *\nC: MAIL FROM:<alice@localhost>\nS: 550 5.7.1 *\nC: QUIT\nS: 221 *\nX\n", config)
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}
