package keyring

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"xm/hybrid"
	"xm/internal/disk"
)

func generate(t *testing.T, r *Ring, passphrase string) *rsa.PrivateKey {
	t.Helper()
	key, _, err := r.Regenerate(2048, []byte(passphrase))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func reopen(t *testing.T, dir string, ask Ask) *Ring {
	t.Helper()
	r, err := Open(dir, ask)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestRegenerateKeepsFormerKeys(t *testing.T) {
	r, dir := open(t)
	first := generate(t, r, "")
	if files(t, filepath.Join(dir, "former")) != nil {
		t.Error("the first key has a former one")
	}
	if err := os.Chmod(filepath.Join(dir, "key.priv"), 0o644); err != nil {
		t.Fatal(err)
	}
	second, third := generate(t, r, ""), generate(t, r, "")
	keys, unread, err := r.OwnKeys()
	if err != nil || unread != nil || len(keys) != 3 {
		t.Fatalf("%d keys, %v, %v", len(keys), unread, err)
	}
	for i, want := range []*rsa.PrivateKey{third, second, first} {
		if !keys[i].Key.Equal(want) || keys[i].Former != (i > 0) {
			t.Errorf("key %d is another: %s", i, keys[i].File)
		}
	}
	if got, err := r.Public(Own); err != nil || !got.Equal(&third.PublicKey) {
		t.Errorf("key.pub: %v", err)
	}
	if st, err := os.Stat(filepath.Join(dir, "key.priv")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the mode of the former key.priv was taken over: %v, %v", st.Mode(), err)
	}
	if got := files(t, filepath.Join(dir, "former")); len(got) != 4 {
		t.Errorf("former/ has %v", got)
	}
}

// fat is a directory on a file system without hard links.
type fat struct{ disk.Dir }

func (fat) Link(from, to string) error {
	return &os.LinkError{Op: "linkat", Old: from, New: to, Err: syscall.EPERM}
}

func TestFormerKeysWithoutHardLinks(t *testing.T) {
	r, dir := open(t)
	r.root = fat{r.root}
	first, second := generate(t, r, ""), generate(t, r, "")
	keys, unread, err := r.OwnKeys()
	if err != nil || unread != nil || len(keys) != 2 || !keys[0].Key.Equal(second) || !keys[1].Key.Equal(first) {
		t.Fatalf("%d keys, %v, %v", len(keys), unread, err)
	}
	if st, err := os.Stat(keys[1].File); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("former key: %v, %v", st.Mode(), err)
	}
	if got := files(t, dir); !slices.Equal(got, []string{"former", "key.priv", "key.pub"}) {
		t.Errorf("left behind %v", got)
	}
}

// A crash may come after each step of Regenerate.
func TestRegenerateIsSafeHalfWay(t *testing.T) {
	r, dir := open(t)
	key := generate(t, r, "")
	if _, err := r.keep(Own, privSuffix, pubSuffix); err != nil {
		t.Fatal(err)
	}
	if keys, unread, err := r.OwnKeys(); err != nil || unread != nil || len(keys) != 1 || !keys[0].Key.Equal(key) {
		t.Errorf("with two names: %d keys, %v, %v", len(keys), unread, err)
	}
	if err := r.remove(publicFile); err != nil {
		t.Fatal(err)
	}
	if made, err := r.RestorePublic(); err != nil || !made {
		t.Errorf("without key.pub: %v, %v", made, err)
	}
	next := generate(t, r, "")
	if err := os.Remove(filepath.Join(dir, "key.pub")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.RestorePublic(); err != nil {
		t.Error(err)
	}
	if pub, err := r.Public(Own); err != nil || !pub.Equal(&next.PublicKey) {
		t.Errorf("key.pub: %v", err)
	}
}

func TestRegenerateFailsWithoutHarm(t *testing.T) {
	r, dir := open(t)
	key := generate(t, r, "")
	former := filepath.Join(dir, "former")
	for name, spoil := range map[string]func() error{
		"former is a file":  func() error { return os.WriteFile(former, nil, 0o600) },
		"former leads away": func() error { return os.Symlink(t.TempDir(), former) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.Regenerate(2048, nil); err == nil {
			t.Errorf("%s: a key was made", name)
		}
		if got, err := r.Private(); err != nil || !got.Equal(key) {
			t.Errorf("%s: key.priv: %v", name, err)
		}
		if got := files(t, dir); !slices.Equal(got, []string{"former", "key.priv", "key.pub"}) {
			t.Errorf("%s: left behind %v", name, got)
		}
		if err := os.Remove(former); err != nil {
			t.Fatal(err)
		}
	}
	// A link would lead nowhere from former/.
	if err := errors.Join(os.Rename(filepath.Join(dir, "key.priv"), filepath.Join(dir, "real")), os.Symlink("real", filepath.Join(dir, "key.priv"))); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Regenerate(2048, nil); err == nil || !strings.Contains(err.Error(), "key.priv: it is not a regular file") {
		t.Errorf("a link: %v", err)
	}
	if got, err := r.Private(); err != nil || !got.Equal(key) {
		t.Errorf("a link: key.priv: %v", err)
	}
}

func TestPassphrases(t *testing.T) {
	r, dir := open(t)
	old, middle, current := generate(t, r, "old"), generate(t, r, "new"), generate(t, r, "new")
	if _, err := r.Private(); !errors.Is(err, hybrid.ErrPassphraseNeeded) {
		t.Errorf("nobody to ask: %v", err)
	}
	var asked []string
	answers := func(answers ...string) Ask {
		asked = nil
		return func(file string) ([]byte, error) {
			asked = append(asked, strings.TrimPrefix(file, dir+"/"))
			if len(asked) > len(answers) {
				return nil, errors.New("nobody answers")
			}
			return []byte(answers[len(asked)-1]), nil
		}
	}
	if _, err := reopen(t, dir, answers("bad")).Private(); !errors.Is(err, hybrid.ErrWrongPassphrase) || !strings.Contains(err.Error(), "key.priv") {
		t.Errorf("a wrong passphrase: %v", err)
	}
	// A former key that nobody can open is no hindrance.
	ring := reopen(t, dir, answers("new", "bad"))
	if got, err := ring.Private(); err != nil || !got.Equal(current) {
		t.Fatal(err)
	}
	keys, unread, err := ring.OwnKeys()
	if err != nil || len(keys) != 2 || !keys[1].Key.Equal(middle) || len(unread) != 1 || !errors.Is(unread[0], hybrid.ErrWrongPassphrase) {
		t.Errorf("%d keys, %v, %v", len(keys), unread, err)
	}
	if len(asked) != 2 || asked[0] != "key.priv" || !strings.HasPrefix(asked[1], "former/key.") {
		t.Errorf("asked for %q", asked)
	}
	keys, unread, err = reopen(t, dir, answers("new", "old")).OwnKeys()
	if err != nil || unread != nil || len(keys) != 3 || !keys[2].Key.Equal(old) {
		t.Errorf("%d keys, %v, %v", len(keys), unread, err)
	}
	// A key of one's own is told without a passphrase.
	if keys, unread, err := reopen(t, dir, answers()).PublicKeys(Own); err != nil || unread != nil || len(keys) != 3 || asked != nil {
		t.Errorf("%d public keys, %v, %v, asked %v", len(keys), unread, err, asked)
	}
}

func TestLoose(t *testing.T) {
	r, dir := open(t)
	generate(t, r, "")
	generate(t, r, "")
	if _, _, err := r.OwnKeys(); err != nil || r.Loose() != nil {
		t.Errorf("new keys are loose, or %v", err)
	}
	kept, _ := filepath.Glob(dir + "/former/*.priv")
	for file, mode := range map[string]os.FileMode{dir + "/key.priv": 0o640, kept[0]: 0o604} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	r = reopen(t, dir, nil)
	if _, err := r.Private(); err != nil || !slices.Equal(r.Loose(), []string{dir + "/key.priv"}) {
		t.Errorf("key.priv is not loose, or %v", err)
	}
	if _, _, err := r.OwnKeys(); err != nil || !slices.Equal(r.Loose(), kept) {
		t.Errorf("the former key is not loose, or %v", err)
	}
}

func TestFormerNames(t *testing.T) {
	for stem, want := range map[string]former{
		"key.20260102T150405Z":                    {"key", "20260102T150405Z", 1},
		"bob@localhost.com.20260102T150405Z-12":   {"bob@localhost.com", "20260102T150405Z", 12},
		"bob.20260102T150405Z.20270102T150405Z-2": {"bob.20260102T150405Z", "20270102T150405Z", 2},
	} {
		got, ok := parseFormer(stem)
		if !ok || got != want || got.stem() != "former/"+stem {
			t.Errorf("%s: %+v, %v", stem, got, ok)
		}
	}
	for _, stem := range []string{"", "key", "20260102T150405Z", ".20260102T150405Z", "key.2026", "key.20261302T150405Z",
		"key.20260102T150405Z-1", "key.20260102T150405Z-0", "key.20260102T150405Z-02", "key.20260102T150405Z-", "key.20260102T150405Z-x"} {
		if got, ok := parseFormer(stem); ok {
			t.Errorf("%s was read as %+v", stem, got)
		}
	}
}

func TestFormersNewestFirst(t *testing.T) {
	r, dir := open(t)
	os.Mkdir(filepath.Join(dir, "former"), 0o700)
	order := []string{"key.20270101T000000Z", "key.20260102T150405Z-10", "key.20260102T150405Z-9", "key.20260102T150405Z"}
	for _, stem := range append(order, "bob.20260102T150405Z", "notes") {
		for _, suffix := range []string{".priv", ".pub"} {
			os.WriteFile(filepath.Join(dir, "former", stem+suffix), nil, 0o600)
		}
	}
	found, err := r.formers(Own)
	var got []string
	for _, f := range found {
		got = append(got, strings.TrimPrefix(f.stem(), "former/"))
	}
	if err != nil || !slices.Equal(got, order) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestRestore(t *testing.T) {
	from, _ := open(t)
	old, current := generate(t, from, ""), generate(t, from, "")
	backup := []*rsa.PrivateKey{current, old}
	to, dir := open(t)
	for i, want := range []int{2, 0} { // new files, the second time none
		restored, err := to.Restore(backup, []byte("secret"), []byte("secret"))
		count := 0
		for _, r := range restored {
			if r.File != "" {
				count++
			}
		}
		if err != nil || len(restored) != 2 || count != want {
			t.Fatalf("time %d: %+v, %v", i, restored, err)
		}
	}
	check := func(what string, want ...*rsa.PrivateKey) {
		t.Helper()
		keys, unread, err := reopen(t, dir, func(string) ([]byte, error) { return []byte("secret"), nil }).OwnKeys()
		if err != nil || unread != nil || len(keys) != len(want) {
			t.Fatalf("%s: %d keys, %v, %v", what, len(keys), unread, err)
		}
		for i := range want {
			if !keys[i].Key.Equal(want[i]) {
				t.Errorf("%s: key %d is another", what, i)
			}
		}
	}
	check("into an empty ring", current, old)

	// Beside a key that is there, in the order of the backup, and nothing changes.
	to, dir = open(t)
	mine := generate(t, to, "")
	before, _ := os.ReadFile(filepath.Join(dir, "key.priv"))
	if _, err := to.Restore(backup, nil, []byte("secret")); err != nil {
		t.Fatal(err)
	}
	check("beside another key", mine, current, old)
	if after, _ := os.ReadFile(filepath.Join(dir, "key.priv")); !bytes.Equal(after, before) {
		t.Error("key.priv was overwritten")
	}
	for _, name := range files(t, filepath.Join(dir, "former")) {
		if st, _ := os.Stat(filepath.Join(dir, "former", name)); strings.HasSuffix(name, ".priv") && st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", name, st.Mode())
		}
	}
}

func TestRestoreBesideAPublicKey(t *testing.T) {
	from, _ := open(t)
	key, other := generate(t, from, ""), generate(t, from, "")
	to, dir := open(t)
	os.WriteFile(filepath.Join(dir, "key.pub"), hybrid.MarshalPublicKey(&key.PublicKey), 0o600)
	if _, err := to.Restore([]*rsa.PrivateKey{other}, nil, nil); err == nil || !strings.Contains(err.Error(), "half of another key") {
		t.Errorf("another key's half: %v", err)
	}
	if got := files(t, dir); !slices.Equal(got, []string{"key.pub"}) {
		t.Errorf("it wrote %v", got)
	}
	if _, err := to.Restore([]*rsa.PrivateKey{key}, nil, nil); err != nil {
		t.Error(err)
	}
	// A damaged key.priv is nobody's: the key is put beside it.
	os.WriteFile(filepath.Join(dir, "key.priv"), []byte("damaged"), 0o600)
	if got, err := to.Restore([]*rsa.PrivateKey{key}, nil, nil); err != nil || len(got) != 1 || !strings.Contains(got[0].File, "/former/") {
		t.Errorf("beside a damaged key: %+v, %v", got, err)
	}
}
