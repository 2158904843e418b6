package commands_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	attached     = 25 << 20 // octets
	mostResident = 64 << 10 // kibibytes
)

// 25 MiB of attachments are sent and read in less than 64 MiB of memory.
func TestLargeMessage(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector's own memory would be measured")
	}
	s := startSystem(t, t.TempDir())
	for _, name := range []string{"alice", "bob"} {
		s.must(name, "", "keygen")
		s.must("server", "", "user", "add", name, "--password-file", s.file(name+".password", name+"'s secret\n"))
	}
	s.copy("alice/key.pub", "bob/alice.pub")
	s.copy("bob/key.pub", "alice/bob.pub")
	content := make([]byte, attached)
	rand.Read(content)
	s.file("large", string(content))
	s.measured("alice", "send", "bob", "-a", "large", "see it")
	s.measured("bob", "inbox")
	s.measured("bob", "read", "1", "--save", "saved")
	saved, err := os.ReadFile(filepath.Join(s.dir, "saved", "large"))
	if err != nil || !bytes.Equal(saved, content) {
		t.Errorf("what was saved is not what was sent: %d octets, %v", len(saved), err)
	}
	s.measured("bob", "fetch", "--maildir", "mail", "--decrypt")
	s.measured("bob", "forward", "1", "alice")
}

// peakFile is where xm, if it is set, writes how much memory it took: what the
// kernel tells the parent counts the parent's own, from before the exec.
const peakFile = "XM_TEST_PEAK"

func notePeak() {
	path := os.Getenv(peakFile)
	if path == "" {
		return
	}
	status, err := os.ReadFile("/proc/self/status")
	if err == nil {
		err = os.WriteFile(path, status, 0o600)
	}
	if err != nil {
		panic(err)
	}
}

// measured runs a mail client's command, and looks at its memory.
func (s *system) measured(person string, args ...string) {
	s.t.Helper()
	cmd := exec.Command("xm", append(append([]string{"--keys", filepath.Join(s.dir, person)}, args...), s.account(person)...)...)
	cmd.Dir = s.dir
	peak := filepath.Join(s.dir, "peak")
	cmd.Env = append(os.Environ(), "HOME="+filepath.Join(s.dir, person), "XDG_CONFIG_HOME=", "XDG_DATA_HOME=", peakFile+"="+peak)
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("xm %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	status, err := os.ReadFile(peak)
	if err != nil {
		s.t.Fatal(err)
	}
	_, used, _ := strings.Cut(string(status), "VmHWM:")
	var kib int
	if _, err := fmt.Sscan(used, &kib); err != nil {
		s.t.Fatal(err)
	}
	t := s.t.Logf
	if kib > mostResident {
		t = s.t.Errorf
	}
	t("xm %s took %d KiB", strings.Join(args, " "), kib)
}
