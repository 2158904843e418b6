package safefile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"xm/internal/disk"
)

func openRoot(t *testing.T) (disk.Dir, string) {
	t.Helper()
	dir := t.TempDir()
	root, err := disk.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root, dir
}

func onlyFile(t *testing.T, dir, name, content string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != name {
		t.Errorf("directory holds %v, want only %s", entries, name)
	}
	if got, _ := os.ReadFile(filepath.Join(dir, name)); string(got) != content {
		t.Errorf("%s holds %q, want %q", name, got, content)
	}
}

func TestReplaceKeepsMode(t *testing.T) {
	root, dir := openRoot(t)
	path := filepath.Join(dir, "f")
	if err := Replace(root, "f", []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := Replace(root, "f", []byte("two"), 0o600); err != nil {
		t.Fatal(err)
	}
	onlyFile(t, dir, "f", "two")
	if st, _ := os.Stat(path); st.Mode().Perm() != 0o640 {
		t.Errorf("mode %v after a replace, want the old file's 0640", st.Mode())
	}
}

func TestReplaceRefusesWhatIsNoFile(t *testing.T) {
	root, dir := openRoot(t)
	if err := os.Symlink("elsewhere", filepath.Join(dir, "f")); err != nil {
		t.Fatal(err)
	}
	if err := Replace(root, "f", []byte("x"), 0o600); err == nil {
		t.Fatal("a symbolic link was replaced")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestWriteNewNeverOverwrites(t *testing.T) {
	root, dir := openRoot(t)
	if err := WriteNew(root, "f", []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteNew(root, "f", []byte("two"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("second WriteNew: %v, want fs.ErrExist", err)
	}
	onlyFile(t, dir, "f", "one")
}

func TestAbortLeavesNothing(t *testing.T) {
	root, dir := openRoot(t)
	f, err := Create(root, "f", 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	f.Abort()
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestNamesAreConfined(t *testing.T) {
	root, dir := openRoot(t)
	if err := Replace(root, "../escaped", []byte("x"), 0o600); err == nil {
		t.Error("a path outside the root was written")
	}
	if _, err := os.Stat(filepath.Join(dir, "..", "escaped")); err == nil {
		t.Error("the file outside exists")
	}
}

func TestRootGivesFilesToTheirDirectorysOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	root, dir := openRoot(t)
	const somebody = 12345
	if err := os.Chown(dir, somebody, somebody); err != nil {
		t.Fatal(err)
	}
	if err := Replace(root, "f", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	lock, err := OpenLock(root, "lock")
	if err != nil {
		t.Fatal(err)
	}
	lock.Close()
	for range 2 {
		if err := Mkdir(root, "d", 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"f", "lock", "d"} {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if uid := st.Sys().(*syscall.Stat_t).Uid; uid != somebody {
			t.Errorf("%s belongs to user %d, not to the directory's owner", name, uid)
		}
	}
}

func TestMkdirAll(t *testing.T) {
	_, dir := openRoot(t)
	for range 2 {
		if err := MkdirAll(filepath.Join(dir, "a/b"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if st, err := os.Stat(filepath.Join(dir, "a/b")); err != nil || !st.IsDir() {
		t.Errorf("a/b: %v, %v", st, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"f", "f/x"} {
		if err := MkdirAll(filepath.Join(dir, path), 0o700); err == nil {
			t.Errorf("%s was made", path)
		}
	}
}

// failing is a directory whose file system does not do everything.
type failing struct {
	disk.Dir
	link, chown error
}

func (d failing) Link(from, to string) error {
	if d.link != nil {
		return &os.LinkError{Op: "linkat", Old: from, New: to, Err: d.link}
	}
	return d.Dir.Link(from, to)
}

func (d failing) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	f, err := d.Dir.OpenFile(name, flag, perm)
	return failingFile{f, d.chown}, err
}

type failingFile struct {
	disk.File
	chown error
}

func (f failingFile) Chown(int, int) error { return f.chown }

// FAT has no hard links.
func TestWriteNewWithoutHardLinks(t *testing.T) {
	root, dir := openRoot(t)
	fat := failing{Dir: root, link: syscall.EPERM}
	if err := WriteNew(fat, "f", []byte("one"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := WriteNew(fat, "f", []byte("two"), 0o640); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("second WriteNew: %v, want fs.ErrExist", err)
	}
	onlyFile(t, dir, "f", "one")
	if st, _ := os.Stat(filepath.Join(dir, "f")); st.Mode().Perm() != 0o640 {
		t.Errorf("mode %v", st.Mode())
	}
}

// Root in a user namespace can't give files to owners that this does not map; root
// without CAP_CHOWN can't give any, and leaves nothing behind.
func TestRootWhoCannotGiveFilesAway(t *testing.T) {
	root, dir := openRoot(t)
	asRoot := func(uid int, gid uint32) { euid, egid = uid, gid }
	defer asRoot(euid, egid)
	asRoot(0, egid+1) // so that no directory belongs to it
	if err := Replace(failing{Dir: root, chown: syscall.EINVAL}, "f", []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Replace(failing{Dir: root, chown: syscall.EPERM}, "f", []byte("two"), 0o600); !errors.Is(err, fs.ErrPermission) {
		t.Fatalf("without CAP_CHOWN: %v", err)
	}
	onlyFile(t, dir, "f", "one")
}
