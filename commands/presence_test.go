package commands_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// Who is logged in shows in the list of users, and goes when the server does; a
// disabled user gets mail, and the answer of a wrong password.
func TestWhoIsOn(t *testing.T) {
	s := startSystem(t, t.TempDir())
	for _, name := range []string{"alice", "bob"} {
		s.must("server", "", "user", "add", name, "--password-file", s.file(name+".password", name+"'s secret\n"))
	}
	conn, err := net.Dial("tcp", s.addr["pop3"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewScanner(conn)
	for _, line := range []string{"USER alice", "PASS alice's secret", "NOOP"} {
		fmt.Fprintf(conn, "%s\r\n", line)
		if !in.Scan() || !strings.HasPrefix(in.Text(), "+OK") {
			t.Fatalf("%s: %s", line, in.Text())
		}
	}
	s.awaitUser("alice", "on since")
	fmt.Fprint(conn, "QUIT\r\n")
	s.awaitUser("alice", "off since")
	if list := s.must("server", "", "user", "list"); strings.Contains(list, "on since") || strings.Count(list, "since") != 1 {
		t.Errorf("the list:\n%s", list)
	}

	s.must("server", "", "user", "disable", "bob")
	const refused = "S: +OK *\nC: USER bob\nS: +OK *\nC: PASS %s\nS: -ERR [AUTH] *\nC: QUIT\nS: +OK *\nX\n"
	s.dialog("pop3", fmt.Sprintf(refused, "bob's secret"))
	s.dialog("pop3", fmt.Sprintf(refused, "another"))
	s.dialog("smtp", "S: 220 *\nC: HELO a\nS: 250 *\nC: MAIL FROM:<alice@localhost>\nS: 250 *\nC: RCPT TO:<bob>\nS: 250 *\nC: DATA\nS: 354 *\nC: Hello.\nC: .\nS: 250 *\nC: QUIT\nS: 221 *\nX\n")
	s.must("server", "", "user", "enable", "bob")
	s.dialog("pop3", "S: +OK *\nC: USER bob\nS: +OK *\nC: PASS bob's secret\nS: +OK 1 *\nC: QUIT\nS: +OK *\nX\n")
}

// awaitUser waits until the list of users says something of one.
func (s *system) awaitUser(name, state string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for {
		list := s.must("server", "", "user", "list")
		for line := range strings.Lines(list) {
			if strings.HasPrefix(line, name+" ") && strings.Contains(line, state) {
				return
			}
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			s.t.Fatalf("%s is never %s:\n%s", name, state, list)
		}
	}
}
