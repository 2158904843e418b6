package maildir

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"xm/internal/disk/disktest"
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
	write("cur/9.taken,S=6,W=9", "hello\n", 0o600)
	write("cur/9.taken,S=6,W=7", "HELLO\n", 0o600)
	write("new/"+strings.Repeat("l", 248)+",S=1", "hello\n", 0o600)
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
		"alice/cur":                                      "others may use it: mode 0755",
		"alice/tmp/5.old":                                "a delivery did not end",
		"alice/new/1.short,S=6,W=7":                      "it has 5 octets, and S=6 in its name",
		"alice/new/7.directory":                          "it is no file",
		"alice/cur/2.wire,S=6,W=9:2,S":                   "it has 7 octets on the wire, and W=9 in its name",
		"alice/cur/9.taken,S=6,W=9":                      "it has 7 octets on the wire, and W=9 in its name",
		"alice/new/" + strings.Repeat("l", 248) + ",S=1": "it has 6 octets, and S=1 in its name",
		"alice/cur/4.others":                             "others may use it: mode 0644",
		"alice/cur/8.link":                               "it is no file",
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
	if problems := s.Check("alice", false); len(problems) > 0 {
		t.Fatalf("a maildrop as the store leaves it: %v", problems)
	}
	want := damage(t, dir)
	before := everything(t, dir)
	compare(t, s.Check("alice", false), want)
	if after := everything(t, dir); !maps.Equal(before, after) {
		t.Errorf("looking has changed something: %v, then %v", before, after)
	}

	problems := s.Check("alice", true)
	compare(t, problems, want)
	for _, p := range problems {
		if p.Done == "" {
			t.Errorf("%s is not repaired", p.Path)
		}
	}
	if problems := s.Check("alice", true); len(problems) > 0 {
		t.Errorf("after the repair: %v", problems)
	}
	if after := everything(t, dir); !maps.Equal(before, after) {
		t.Errorf("the repair has changed or deleted something: %v, then %v", before, after)
	}
	if names, err := filepath.Glob(filepath.Join(dir, "alice/.broken/*")); err != nil || len(names) != 6 {
		t.Errorf("set aside: %v, %v", names, err)
	}
	m := open(t, s, "alice")
	if m.Len() != 6 { // the first, 2, 3, 4, 9 with the right name, and the original's
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

// What a directory lacks is made, what is in its place set aside, and nothing else is
// touched: not even what a delivery would remove.
func TestCheckMakesDirectories(t *testing.T) {
	s, dir := newStore(t)
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "alice/tmp"), 0o700),
		os.WriteFile(filepath.Join(dir, "alice/new"), []byte("a file"), 0o600),
		os.WriteFile(filepath.Join(dir, "alice/tmp/1.old"), []byte("hal"), 0o600),
		os.Chtimes(filepath.Join(dir, "alice/tmp/1.old"), time.Time{}, time.Now().Add(-2*leftOver)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	compare(t, s.Check("alice", false), map[string]string{"alice/tmp/1.old": "a delivery did not end", "alice/new": "it is no directory", "alice/cur": "the directory is missing"})
	problems := s.Check("alice", true)
	made := slices.IndexFunc(problems, func(p Problem) bool { return p.Path == "alice/new" && p.Done == "made" })
	if made < 0 || len(problems) != 4 {
		t.Errorf("%v", problems)
	}
	if problems := s.Check("alice", false); len(problems) > 0 {
		t.Errorf("after the repair: %v", problems)
	}
	if all := everything(t, dir); all["a file"] != 1 || all["hal"] != 1 {
		t.Errorf("the repair has deleted something: %v", all)
	}
	names, unread, err := s.Maildrops()
	if err != nil || len(unread) > 0 || !slices.Equal(names, []string{"alice"}) {
		t.Errorf("maildrops %v, %v, %v", names, unread, err)
	}
}

// What smtpd writes anew while fsck sets a damaged file aside stays.
func TestCheckDuringRescue(t *testing.T) {
	c := &crashed{disk: disktest.New()}
	c.open()
	c.prepare("alice")
	c.deliver("one", 100, "alice")
	file := c.find(t, body("one", 100))
	other := On(c.disk.Root(), "host")
	rescued := false
	c.disk.SetFault(func(op, name string) error {
		switch {
		case op == "open" && name == file && !rescued: // a page that could not be written is gone
			return syscall.EIO
		case op == "sync" && name == "alice/.broken" && !rescued:
			rescued = true
			c.failOnce("*") // the checkpoint gets the same error
			c.checkpoint()
			c.disk.SetFault(nil)
		}
		return nil
	})
	if problems := other.Check("alice", true); len(problems) != 1 || problems[0].Done == "" || !rescued {
		t.Errorf("%v, %v", problems, rescued)
	}
	m := open(t, c.store, "alice")
	if m.Len() != 1 {
		t.Fatalf("alice has %d messages", m.Len())
	}
	if text, err := content(m, 0); text != body("one", 100) {
		t.Error(text, err)
	}
}

// What is no maildrop is told, and what can't be mended keeps nothing else from it.
func TestCheckGoesOn(t *testing.T) {
	s, dir := newStore(t)
	for _, err := range []error{
		os.WriteFile(filepath.Join(dir, "file"), nil, 0o600),
		os.Symlink("/", filepath.Join(dir, "outside")),
		os.MkdirAll(filepath.Join(dir, "alice/new"), 0o700),
		os.Symlink("/", filepath.Join(dir, "alice/tmp")),
		os.Symlink("nowhere", filepath.Join(dir, "alice/.broken")),
		os.MkdirAll(filepath.Join(dir, "bob/new"), 0o700),
		os.Mkdir(filepath.Join(dir, "bob/tmp"), 0o700),
		os.Symlink("nowhere", filepath.Join(dir, "bob/cur")),
		os.WriteFile(filepath.Join(dir, "alice/new/1.short,S=6"), []byte("hell\n"), 0o600),
		os.WriteFile(filepath.Join(dir, "alice/new/2.wire,S=6,W=9"), []byte("hello\n"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	compare(t, s.Check("nobody", true), nil)
	compare(t, s.Check("file", true), map[string]string{"file": "it is no directory"})
	compare(t, s.Check("outside", true), map[string]string{"outside": "it can't be used as a maildrop: "})
	compare(t, s.Check("bob", false), map[string]string{"bob/cur": "it is no directory"})
	if problems := s.Check("bob", true); len(problems) != 2 || problems[0].Done == "" || problems[1].Done != "made" {
		t.Errorf("a link that leads nowhere: %v", problems)
	}
	problems := s.Check("alice", true)
	compare(t, problems, map[string]string{
		"alice/tmp":                "it can't be read: ",
		"alice/cur":                "the directory is missing",
		"alice/new/1.short,S=6":    "it has 5 octets, and S=6 in its name; it can't be mended: alice/.broken is not a directory",
		"alice/new/2.wire,S=6,W=9": "it has 7 octets on the wire, and W=9 in its name",
	})
	for _, p := range problems {
		if mended := p.Path == "alice/cur" || p.Path == "alice/new/2.wire,S=6,W=9"; (p.Done != "") != mended {
			t.Errorf("%s: %s; %s", p.Path, p.What, p.Done)
		}
	}
}
