package safefile

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// tree makes files that hold their names, and directories for names that end with /.
func tree(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		file := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(file), 0o700)
		if err == nil && strings.HasSuffix(name, "/") {
			err = os.MkdirAll(file, 0o700)
		} else if err == nil {
			err = os.WriteFile(file, []byte(name), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// What can be moved is, whatever becomes of the others, and nothing is overwritten.
func TestMoveAll(t *testing.T) {
	root, dir := openRoot(t)
	tree(t, dir, "from/file", "from/taken", "from/dir/below", "from/taken.dir/below", "to/taken", "to/taken.dir/")
	if err := os.Symlink("nowhere", filepath.Join(dir, "from/link")); err != nil {
		t.Fatal(err)
	}
	names := []string{"file", "taken", "dir", "taken.dir", "missing", "link"}
	var moves []Move
	for _, name := range names {
		moves = append(moves, Move{From: "from/" + name, To: "to/" + name})
	}
	failed := errors.New("before")
	moves = append(moves, Move{From: "from/taken", To: "to/free", Err: failed})
	MoveAll(root, moves)
	for i, want := range []error{nil, fs.ErrExist, nil, fs.ErrExist, fs.ErrNotExist, nil, failed} {
		if !errors.Is(moves[i].Err, want) {
			t.Errorf("%s: %v, want %v", moves[i].From, moves[i].Err, want)
		}
	}
	for file, want := range map[string]string{
		"to/file": "from/file", "to/dir/below": "from/dir/below",
		"from/taken": "from/taken", "to/taken": "to/taken", "from/taken.dir/below": "from/taken.dir/below",
		"from/file": "", "from/dir": "", "to/free": "",
	} {
		if content, _ := os.ReadFile(filepath.Join(dir, file)); string(content) != want {
			t.Errorf("%s holds %q, want %q", file, content, want)
		}
	}
	if target, err := os.Readlink(filepath.Join(dir, "to/link")); target != "nowhere" {
		t.Error(target, err)
	}
}

// Where files can't have two names, they are renamed, and nothing is overwritten either.
func TestMoveWithoutHardLinks(t *testing.T) {
	root, dir := openRoot(t)
	tree(t, dir, "file", "other", "taken")
	moves := []Move{{From: "file", To: "moved"}, {From: "other", To: "taken"}}
	MoveAll(failing{Dir: root, link: syscall.EPERM}, moves)
	if moves[0].Err != nil || !errors.Is(moves[1].Err, fs.ErrExist) {
		t.Errorf("%v, %v", moves[0].Err, moves[1].Err)
	}
	for file, want := range map[string]string{"moved": "file", "file": "", "other": "other", "taken": "taken"} {
		if content, _ := os.ReadFile(filepath.Join(dir, file)); string(content) != want {
			t.Errorf("%s holds %q, want %q", file, content, want)
		}
	}
}

func TestAside(t *testing.T) {
	for file, begins := range map[string]string{
		"alice/new/1.M2R3.host,S=4,W=5": "1.M2R3.host.new.",
		"alice/cur/1.M2R3.host:2,S":     "1.M2R3.host.cur.",
		".tmp-ABC":                      ".tmp-ABC.",
		",":                             ",.",
		strings.Repeat("d", 255) + "/1": "1." + strings.Repeat("d", maxPart) + ".",
		"a/" + strings.Repeat("n", 255): strings.Repeat("n", maxPart) + ".a.",
	} {
		to := Aside(file, "aside/x")
		name, ok := strings.CutPrefix(to, "aside/x/"+begins)
		if !ok || len(name) < 16 || len(path.Base(to)) > 255 || Aside(file, "aside/x") == to {
			t.Errorf("%s goes to %s", file, to)
		}
	}
}
