package commands_test

import (
	"bufio"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xm/internal/line/linetest"
)

// forgetful passes connections on to a server, but not the answers to POSTs, which
// it waits for. It returns its address.
func forgetful(t *testing.T, server string) string {
	t.Helper()
	return linetest.Serve(t, func(l net.Listener) func() error {
		go func() {
			for {
				client, err := l.Accept()
				if err != nil {
					return
				}
				forget(t, client, server)
			}
		}()
		return l.Close
	})
}

func forget(t *testing.T, client net.Conn, addr string) {
	defer client.Close()
	server, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer server.Close()
	in := bufio.NewReader(client)
	verb, err := in.Peek(4)
	if err != nil {
		return // whoever looked only
	}
	post := string(verb) == "POST"
	go io.Copy(server, in)
	answer, err := io.ReadAll(server)
	if err != nil {
		t.Error(err)
	}
	if !post {
		client.Write(answer)
	}
}

// join registers a person over the network.
func (s *system) join(person string) {
	s.t.Helper()
	own, _, _ := strings.Cut(s.must("server", "", "key", "list"), "\n")
	fingerprint := strings.TrimSpace(strings.TrimPrefix(own, "key"))
	s.must(person, "", "register", "--server", s.addr["regd"], "--server-key", fingerprint, "--password-file", s.file(person+".password", person+"'s secret\n"), person)
}

// A key is never lost half way: the server has the new one, and the answer does
// not arrive; or it does not have it.
func TestKeyRotationGoesOn(t *testing.T) {
	s := startSystem(t, t.TempDir())
	s.join("alice")
	s.join("bob")
	key := func() string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(s.dir, "alice/key.pub"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	before := key()
	if _, stderr, code := s.xm("alice", "", "key", "rotate", "alice", "--server", forgetful(t, s.addr["regd"])); code != 1 || !strings.Contains(stderr, "run it again") {
		t.Fatalf("without an answer: exit code %d\n%s", code, stderr)
	}
	if key() != before {
		t.Error("the new key is in use, before it is known that the server has it")
	}
	if _, stderr, code := s.xm("alice", "", "key", "rotate", "alice"); code != 0 || !strings.Contains(stderr, "going on") {
		t.Fatalf("the second time: exit code %d\n%s", code, stderr)
	}
	s.must("bob", "", "key", "fetch", "alice")
	if pem := s.must("bob", "", "key", "export", "alice"); pem != key() || pem == before {
		t.Error("the server has another key")
	}

	// The server is told nothing.
	if _, stderr, code := s.xm("alice", "", "key", "rotate", "bob"); code != 1 || !strings.Contains(stderr, "not signed with the user's key") {
		t.Fatalf("the key of somebody else: exit code %d\n%s", code, stderr)
	}
	before = key()
	if _, stderr, code := s.xm("alice", "", "key", "rotate", "alice"); code != 0 || !strings.Contains(stderr, "going on") || !strings.Contains(stderr, "alice is changed") {
		t.Fatalf("the next time: exit code %d\n%s", code, stderr)
	}
	if _, _, code := s.xm("bob", "", "key", "fetch", "alice"); code != 1 || key() == before {
		t.Error("the key was not replaced")
	}
}

// Whose name has no domain may be written to by address, too: an answer to all does.
func TestReplyToAllFetchesKeys(t *testing.T) {
	s := startSystem(t, t.TempDir())
	for _, person := range []string{"alice", "bob", "carol"} {
		s.join(person)
	}
	s.client("alice", "", "send", "bob", "--cc", "carol", "hello")
	s.client("carol", "", "reply", "--all", "1", "hello to you, too")
	if got := s.client("bob", "", "read", "2"); !strings.Contains(got, "to you, too") {
		t.Errorf("%q", got)
	}
}
