package maildir

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// damage is a maildrop in which everything that can be wrong is wrong once, and
// what Check is to say.
func damage(t *testing.T, dir string) (want map[string]string) {
	t.Helper()
	alice := filepath.Join(dir, "alice")
	write := func(name, content string, mode fs.FileMode) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(alice, name), []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(alice, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("new/1.short,S=6,W=7", "hell\n", 0o600)
	write("cur/2.wire,S=6,W=9:2,S", "hello\n", 0o600)
	write("cur/3.good,S=6,W=7:2,S", "hello\n", 0o600)
	write("cur/4.others", "hello\n", 0o644)
	write("tmp/5.old", "hal", 0o600)
	write("tmp/6.young", "hal", 0o600)
	write("1700000000", "of the original\n", 0o600)
	old := time.Now().Add(-2 * leftOver)
	err := os.Chtimes(filepath.Join(alice, "tmp/5.old"), old, old)
	if err == nil {
		err = os.Mkdir(filepath.Join(alice, "new/7.directory"), 0o700)
	}
	if err == nil {
		err = os.Symlink("/etc/passwd", filepath.Join(alice, "cur/8.link"))
	}
	if err == nil {
		err = os.Chmod(filepath.Join(alice, "cur"), 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"alice/cur":                    "others may use it: mode 0755",
		"alice/tmp/5.old":              "a delivery did not end",
		"alice/new/1.short,S=6,W=7":    "it has 5 octets, and S=6 in its name",
		"alice/new/7.directory":        "it is no file",
		"alice/cur/2.wire,S=6,W=9:2,S": "it has 7 octets on the wire, and W=9 in its name",
		"alice/cur/4.others":           "others may use it: mode 0644",
		"alice/cur/8.link":             "it is no file",
	}
}

func compare(t *testing.T, problems []Problem, want map[string]string) {
	t.Helper()
	for _, p := range problems {
		if what, ok := want[p.Path]; !ok || !strings.HasPrefix(p.What, what) {
			t.Errorf("%s: %s", p.Path, p.What)
		}
	}
	if len(problems) != len(want) {
		t.Errorf("%d problems, want those of %v", len(problems), slices.Sorted(maps.Keys(want)))
	}
}

func TestCheck(t *testing.T) {
	s, dir := newStore(t)
	deliver(t, s, "hello\r\n", "alice")
	problems, err := s.Check("alice", false)
	if err != nil || len(problems) > 0 {
		t.Fatalf("a maildrop as the store leaves it: %v, %v", problems, err)
	}
	want := damage(t, dir)
	before := everything(t, dir)
	problems, err = s.Check("alice", false)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, problems, want)
	if after := everything(t, dir); !maps.Equal(before, after) {
		t.Errorf("looking has changed something: %v, then %v", before, after)
	}

	problems, err = s.Check("alice", true)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, problems, want)
	for _, p := range problems {
		if p.Done == "" {
			t.Errorf("%s is not repaired", p.Path)
		}
	}
	if problems, err := s.Check("alice", true); err != nil || len(problems) > 0 {
		t.Errorf("after the repair: %v, %v", problems, err)
	}
	if after := everything(t, dir); !maps.Equal(before, after) {
		t.Errorf("the repair has changed or deleted something: %v, then %v", before, after)
	}
	if names, err := filepath.Glob(filepath.Join(dir, "alice/.broken/*")); err != nil || len(names) != 4 {
		t.Errorf("set aside: %v, %v", names, err)
	}
	m := open(t, s, "alice")
	if m.Len() != 5 { // the first, 2, 3, 4, and the original's
		t.Errorf("%d messages are left", m.Len())
	}
}

// everything counts what there is by its content: names and modes may change.
func everything(t *testing.T, dir string) map[string]int {
	t.Helper()
	all := map[string]int{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.Name() == ".broken" || e.Name() == lockName {
			return err
		}
		if !e.Type().IsRegular() {
			all[fmt.Sprint(e.Type())]++
			return nil
		}
		content, err := os.ReadFile(path)
		all[string(content)]++
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestCheckMakesDirectories(t *testing.T) {
	s, dir := newStore(t)
	if err := os.MkdirAll(filepath.Join(dir, "alice/new"), 0o700); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"alice/tmp": "the directory is missing", "alice/cur": "the directory is missing"}
	problems, err := s.Check("alice", true)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, problems, want)
	if problems, err := s.Check("alice", false); err != nil || len(problems) > 0 {
		t.Errorf("after the repair: %v, %v", problems, err)
	}
	names, err := s.Maildrops()
	if err != nil || !slices.Equal(names, []string{"alice"}) {
		t.Errorf("maildrops %v, %v", names, err)
	}
}
