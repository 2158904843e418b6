package keyring

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"xm/hybrid"
)

func open(t *testing.T) (*Ring, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "keys")
	if _, err := Open(dir, nil); !errors.Is(err, ErrNotFound) {
		t.Fatalf("a directory that is not there: %v", err)
	}
	r, err := Create(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, dir
}

func TestGenerateNeverOverwrites(t *testing.T) {
	r, dir := open(t)
	if _, err := r.Private(); !errors.Is(err, ErrNotFound) {
		t.Errorf("an empty ring: %v", err)
	}
	key, err := r.Generate(2048, nil)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(filepath.Join(dir, "key.priv")); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("key.priv: %v, %v", st.Mode(), err)
	}
	if got, err := r.Private(); err != nil || !got.Equal(key) {
		t.Errorf("key.priv: %v", err)
	}
	if got, err := r.Public("key"); err != nil || !got.Equal(&key.PublicKey) {
		t.Errorf("key.pub: %v", err)
	}
	for _, missing := range []string{"", "key.pub", "key.priv"} {
		backup, _ := os.ReadFile(filepath.Join(dir, missing))
		if missing != "" {
			os.Remove(filepath.Join(dir, missing))
		}
		if _, err := r.Generate(2048, nil); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), dir+"/key.p") {
			t.Errorf("without %q: %v, want fs.ErrExist and the file's name", missing, err)
		}
		if missing != "" {
			os.WriteFile(filepath.Join(dir, missing), backup, 0o600)
		}
	}
	if got, err := r.Private(); err != nil || !got.Equal(key) {
		t.Errorf("the key changed: %v", err)
	}
}

func TestEnsure(t *testing.T) {
	r, dir := open(t)
	key, made, err := r.Ensure(nil)
	if err != nil || !made {
		t.Fatalf("the first time: %v, %v", made, err)
	}
	os.Remove(filepath.Join(dir, "key.pub"))
	again, made, err := r.Ensure(nil)
	if err != nil || made || !again.Equal(key) {
		t.Errorf("the second time: %v, %v", made, err)
	}
	if pub, _ := os.ReadFile(filepath.Join(dir, "key.pub")); !bytes.Equal(pub, hybrid.MarshalPublicKey(&key.PublicKey)) {
		t.Error("a lost key.pub was not made again")
	}
	other, err := hybrid.GenerateKey(2048)
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(dir, "key.pub"), hybrid.MarshalPublicKey(&other.PublicKey), 0o644)
	if _, _, err := r.Ensure(nil); err == nil || !strings.Contains(err.Error(), "key.pub is not the half of key.priv: move it away") {
		t.Errorf("another's key.pub: %v", err)
	}
	os.WriteFile(filepath.Join(dir, "key.priv"), []byte("damaged"), 0o600)
	if _, _, err := r.Ensure(nil); err == nil || !strings.Contains(err.Error(), "key.priv") {
		t.Errorf("a damaged key: %v", err)
	}
	if got, _ := os.ReadFile(filepath.Join(dir, "key.priv")); string(got) != "damaged" {
		t.Error("a damaged key was overwritten")
	}
}

// Several programs may find that there is no key at the same time.
func TestEnsureAtOnce(t *testing.T) {
	_, dir := open(t)
	keys, made := make([]*rsa.PrivateKey, 6), atomic.Int32{}
	var wg sync.WaitGroup
	for i := range keys {
		r := reopen(t, dir, nil)
		wg.Go(func() {
			key, mine, err := r.Ensure(nil)
			if err != nil {
				t.Error(err)
			}
			if mine {
				made.Add(1)
			}
			keys[i] = key
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for _, key := range keys {
		if !keys[0].Equal(key) {
			t.Error("there are two keys")
		}
	}
	if made.Load() != 1 {
		t.Errorf("%d keys were made", made.Load())
	}
}

func TestNamesAreConfined(t *testing.T) {
	r, dir := open(t)
	os.WriteFile(filepath.Join(dir, "../outside.pub"), nil, 0o600)
	for _, name := range []string{"", "..", "../outside", "../../etc/passwd", "/etc/passwd", "a/b", ".hidden", "a\x00b", "a\nb", "a\x1b[2Jb", strings.Repeat("a", 252)} {
		if _, err := r.Public(name); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v, want ErrName", name, err)
		}
	}
	if err := os.Symlink("../outside.pub", filepath.Join(dir, "link.pub")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Public("link"); err == nil {
		t.Error("a link out of the directory was followed")
	}
	if _, err := r.Public("bob@localhost.com"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "bob@localhost.com.pub") {
		t.Errorf("a missing key: %v", err)
	}
}
