package keyring

import (
	"bytes"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xm/hybrid"
)

// publicPEM makes a public key.
func publicPEM(t *testing.T) []byte {
	t.Helper()
	key, err := hybrid.GenerateKey(2048)
	if err != nil {
		t.Fatal(err)
	}
	return hybrid.MarshalPublicKey(&key.PublicKey)
}

func TestImport(t *testing.T) {
	r, dir := open(t)
	one, two := publicPEM(t), publicPEM(t)
	file := filepath.Join(dir, "bob.pub")
	holds := func(what string, want []byte) {
		t.Helper()
		if got, _ := os.ReadFile(file); !bytes.Equal(got, want) {
			t.Errorf("%s: bob.pub is\n%s", what, got)
		}
	}
	for range 2 { // the second time it is known
		if _, kept, err := r.Import("bob", append([]byte("text around it\n"), one...), false); err != nil || kept != "" {
			t.Fatalf("%q, %v", kept, err)
		}
		holds("new", one)
	}
	_, _, err := r.Import("bob", two, false)
	known, _ := hybrid.ParsePublicKey(one)
	given, _ := hybrid.ParsePublicKey(two)
	if !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), "known  "+hybrid.Fingerprint(known)+"\ngiven  "+hybrid.Fingerprint(given)) {
		t.Errorf("a changed key: %v", err)
	}
	holds("a changed key", one)
	key, kept, err := r.Import("bob", two, true)
	if err != nil || !key.Equal(given) {
		t.Fatal(err)
	}
	holds("replaced", two)
	if got, _ := os.ReadFile(kept); !strings.HasPrefix(kept, filepath.Join(dir, "former", "bob.2")) || !bytes.Equal(got, one) {
		t.Errorf("%s holds\n%s", kept, got)
	}
	keys, unread, err := r.PublicKeys("bob")
	if err != nil || unread != nil || len(keys) != 2 || !keys[0].Key.Equal(given) || keys[0].Former || !keys[1].Key.Equal(known) || !keys[1].Former {
		t.Errorf("%+v, %v, %v", keys, unread, err)
	}
	// A damaged key is not replaced unasked.
	os.WriteFile(file, []byte("damaged"), 0o600)
	if _, _, err := r.Import("bob", two, false); err == nil || !strings.Contains(err.Error(), "bob.pub") {
		t.Errorf("over a damaged key: %v", err)
	}
	holds("damaged", []byte("damaged"))
}

func TestImportRefuses(t *testing.T) {
	r, dir := open(t)
	key, err := hybrid.GenerateKey(2048)
	if err != nil {
		t.Fatal(err)
	}
	public := hybrid.MarshalPublicKey(&key.PublicKey)
	for name, data := range map[string][]byte{
		"nothing":           nil,
		"text":              []byte("hello"),
		"private":           hybrid.MarshalPrivateKey(key),
		"both halves":       append(bytes.Clone(public), hybrid.MarshalPrivateKey(key)...),
		"somebody's ssh":    append(bytes.Clone(public), pem.EncodeToMemory(&pem.Block{Type: "OPENSSH PRIVATE KEY"})...),
		"a damaged encoded": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")}),
	} {
		if _, _, err := r.Import("bob", data, true); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	for _, name := range []string{"key", "../bob", "former/bob", ""} {
		if _, _, err := r.Import(name, public, true); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v, want ErrName", name, err)
		}
		if _, err := r.Remove(name); !errors.Is(err, ErrName) {
			t.Errorf("remove %q: %v, want ErrName", name, err)
		}
	}
	if got := files(t, dir); got != nil {
		t.Errorf("it wrote %v", got)
	}
}

// Stronger keys will stand beside the RSA key.
func TestOtherBlocksAreKept(t *testing.T) {
	r, _ := open(t)
	both := append(publicPEM(t), pem.EncodeToMemory(&pem.Block{Type: "XM NEXT KEY", Bytes: []byte("future")})...)
	if _, _, err := r.Import("bob", both, false); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Export("bob"); err != nil || !bytes.Equal(got, both) {
		t.Errorf("%q, %v", got, err)
	}
}

// A file that somebody wrote by hand may hold too much.
func TestExportIsPublic(t *testing.T) {
	r, dir := open(t)
	key := generate(t, r, "")
	both := append(hybrid.MarshalPublicKey(&key.PublicKey), hybrid.MarshalPrivateKey(key)...)
	os.WriteFile(filepath.Join(dir, "key.pub"), both, 0o600)
	if got, err := r.Export(Own); err == nil || got != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestRemove(t *testing.T) {
	r, _ := open(t)
	pem := publicPEM(t)
	if _, _, err := r.Import("bob", pem, false); err != nil {
		t.Fatal(err)
	}
	kept, err := r.Remove("bob")
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(kept); !bytes.Equal(got, pem) {
		t.Errorf("%s holds %q", kept, got)
	}
	if _, err := r.Public("bob"); !errors.Is(err, ErrNotFound) {
		t.Errorf("it is there: %v", err)
	}
	if keys, _, err := r.PublicKeys("bob"); err != nil || len(keys) != 1 || !keys[0].Former {
		t.Errorf("%+v, %v", keys, err)
	}
	if _, err := r.Remove("bob"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a second time: %v", err)
	}
	if _, _, err := r.PublicKeys("carol"); !errors.Is(err, ErrNotFound) {
		t.Errorf("nobody's key: %v", err)
	}
}

func TestList(t *testing.T) {
	r, dir := open(t)
	generate(t, r, "")
	generate(t, r, "")
	for _, name := range []string{"zoe", "alice", "server"} {
		if _, _, err := r.Import(name, publicPEM(t), false); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Remove("alice"); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(dir, "id_rsa.pub"), []byte("ssh-rsa AAAA"), 0o600)
	os.Remove(filepath.Join(dir, "key.pub")) // key.priv tells it, too
	keys, unread, err := r.List()
	if err != nil || len(unread) != 1 || !strings.Contains(unread[0].Error(), "id_rsa.pub") {
		t.Errorf("unread: %v, %v", unread, err)
	}
	var got []string
	for _, k := range keys {
		if k.Former {
			k.Name += "(former)"
		}
		got = append(got, k.Name)
	}
	if want := "key key(former) alice(former) server zoe"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}
