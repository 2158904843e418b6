package keyring

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xm/hybrid"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func wantState(t *testing.T, r *Ring, name string, want State) {
	t.Helper()
	if got, err := r.Trust(name); err != nil || got.State != want {
		t.Errorf("%s is %q, %v; want %q", name, got.State, err, want)
	}
}

func TestTrust(t *testing.T) {
	r, dir := open(t)
	one, two := publicPEM(t), publicPEM(t)
	wantState(t, r, "bob", Unknown)
	key, err := r.Fetched("bob", one, "mail.example.org:60085", noon)
	if err != nil {
		t.Fatal(err)
	}
	wantState(t, r, "bob", Known)
	text, err := os.ReadFile(filepath.Join(dir, "trust/bob"))
	if want := "key " + hybrid.Fingerprint(key) + "\nfrom mail.example.org:60085\nfetched 2026-06-01T12:00:00Z\n"; err != nil || string(text) != want {
		t.Errorf("trust/bob holds %q, %v", text, err)
	}
	if err := r.Verify("bob", key, noon); err != nil {
		t.Fatal(err)
	}
	wantState(t, r, "bob", Verified)
	if _, err := r.Fetched("bob", one, "other:60085", noon.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	got, err := r.Trust("bob")
	if want := (Trust{Verified, "other:60085", noon.Add(time.Hour), noon}); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}

	// Another key waits until it is accepted, and is not verified then.
	if _, err := r.Fetched("bob", two, "other:60085", noon); !errors.Is(err, ErrChanged) {
		t.Errorf("another key: %v", err)
	}
	wantState(t, r, "bob", Changed)
	if pem, err := os.ReadFile(filepath.Join(dir, "bob.pub")); err != nil || !bytes.Equal(pem, one) {
		t.Errorf("bob.pub holds %q, %v", pem, err)
	}
	accepted, kept, err := r.Accept("bob")
	if err != nil || !strings.HasPrefix(kept, filepath.Join(dir, "former", "bob.")) {
		t.Fatalf("%q, %v", kept, err)
	}
	wantState(t, r, "bob", Known)
	if err := r.Verify("bob", key, noon); !errors.Is(err, ErrChanged) {
		t.Errorf("the fingerprint of the former key: %v", err)
	}
	if err := r.Verify("bob", accepted, noon); err != nil {
		t.Error(err)
	}
	if _, _, err := r.Accept("bob"); !errors.Is(err, ErrNotFound) {
		t.Errorf("nothing to accept: %v", err)
	}

	// What is known is of the key, not of the file.
	if err := os.WriteFile(filepath.Join(dir, "bob.pub"), one, 0o644); err != nil {
		t.Fatal(err)
	}
	wantState(t, r, "bob", Known)
}

// A change that is taken back, or replaced by hand, is none any more.
func TestChangedNoMore(t *testing.T) {
	r, _ := open(t)
	one, two := publicPEM(t), publicPEM(t)
	change := func() {
		t.Helper()
		if _, err := r.Fetched("bob", two, "x:1", noon); !errors.Is(err, ErrChanged) {
			t.Fatal(err)
		}
		wantState(t, r, "bob", Changed)
	}
	if _, err := r.Fetched("bob", one, "x:1", noon); err != nil {
		t.Fatal(err)
	}
	change()
	if _, err := r.Fetched("bob", one, "x:1", noon); err != nil {
		t.Fatal(err)
	}
	wantState(t, r, "bob", Known)
	change()
	if _, _, err := r.Import("bob", two, true); err != nil {
		t.Fatal(err)
	}
	wantState(t, r, "bob", Known)
	if _, err := r.Fetched("bob", one, "x:1", noon); !errors.Is(err, ErrChanged) {
		t.Fatal(err)
	}
	if _, err := r.Remove("bob"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Accept("bob"); !errors.Is(err, ErrNotFound) {
		t.Errorf("after the key was removed: %v", err)
	}
}

func TestTrustFilesByHand(t *testing.T) {
	r, dir := open(t)
	key, err := r.Fetched("bob", publicPEM(t), "x:1", noon)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "trust/bob")
	line := "key " + hybrid.Fingerprint(key) + "\n"
	for text, want := range map[string]State{
		"": Known, "key 0000\nverified 2026-06-01T12:00:00Z\n": Known, "something else\n\n" + line: Known,
		"verified 2026-06-01T12:00:00Z\n" + line: Verified, line + "verified soon\n": "",
	} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := r.Trust("bob"); got.State != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", text, got.State, err)
		}
	}
	for _, name := range []string{"../bob", "", Own} {
		if _, err := r.Fetched(name, publicPEM(t), "x:1", noon); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := r.Fetched("bob", publicPEM(t), "x:1\nverified 2026-06-01T12:00:00Z", noon); err == nil {
		t.Error("a server's name with a line end")
	}
}

func TestServerKeys(t *testing.T) {
	r, dir := open(t)
	own, err := hybrid.ParsePublicKey(publicPEM(t))
	if err != nil {
		t.Fatal(err)
	}
	other, err := hybrid.ParsePublicKey(publicPEM(t))
	if err != nil {
		t.Fatal(err)
	}
	if addr, err := r.OwnServer(); addr != "" || err != nil {
		t.Errorf("%q, %v", addr, err)
	}
	if file, err := r.PinServer("a:1", true, own); err != nil || file != filepath.Join(dir, "server.pub") {
		t.Fatalf("%s, %v", file, err)
	}
	if file, err := r.PinServer("b:1", false, other); err != nil || file != filepath.Join(dir, "servers/b:1.pub") {
		t.Fatalf("%s, %v", file, err)
	}
	if got, err := r.ServerKey("a:1", true); err != nil || !got.Equal(own) {
		t.Error(err)
	}
	if got, err := r.ServerKey("b:1", false); err != nil || !got.Equal(other) {
		t.Error(err)
	}
	if _, err := r.ServerKey("a:1", false); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	for addr, isOwn := range map[string]bool{"a:1": true, "b:1": false, "../x": false} {
		if _, err := r.PinServer(addr, isOwn, other); err == nil {
			t.Errorf("%s is pinned twice, or where it must not be", addr)
		}
	}
	if err := r.SetOwnServer("a:1"); err != nil {
		t.Fatal(err)
	}
	if addr, err := r.OwnServer(); addr != "a:1" || err != nil {
		t.Errorf("%q, %v", addr, err)
	}
}

func TestNext(t *testing.T) {
	_, dir := open(t)
	asked := 0
	r := reopen(t, dir, func(string) ([]byte, error) { asked++; return []byte("secret"), nil })
	old := generate(t, r, "secret")
	if _, err := r.Private(); err != nil {
		t.Fatal(err)
	}
	next, made, err := r.Next(2048)
	if err != nil || !made {
		t.Fatal(made, err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "next/key.priv")); err != nil || !strings.Contains(string(data), "ENCRYPTED") {
		t.Errorf("next/key.priv holds %q, %v", data, err)
	}
	if again, made, err := r.Next(2048); err != nil || made || !again.Equal(next) {
		t.Errorf("the second time: %v, %v", made, err)
	}
	// The server may have it by now.
	keys, unread, err := r.OwnKeys()
	if err != nil || unread != nil || len(keys) != 2 || !keys[0].Key.Equal(old) || !keys[1].Key.Equal(next) || keys[1].Former {
		t.Errorf("%v, %v, %v", keys, unread, err)
	}
	kept, err := r.UseNext()
	if err != nil {
		t.Fatal(err)
	}
	keys, unread, err = r.OwnKeys()
	if err != nil || unread != nil || len(keys) != 2 || !keys[0].Key.Equal(next) || !keys[1].Key.Equal(old) || keys[1].File != kept {
		t.Errorf("%v, %v, %v", keys, unread, err)
	}
	if public, err := r.Public(Own); err != nil || !public.Equal(&next.PublicKey) {
		t.Error(err)
	}
	if _, err := r.UseNext(); !errors.Is(err, ErrNotFound) {
		t.Errorf("without a next key: %v", err)
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}
