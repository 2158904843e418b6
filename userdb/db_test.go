package userdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestMain lets the test binary stand for another process: see
// TestSeveralProcesses.
func TestMain(m *testing.M) {
	if dir := os.Getenv("USERDB_TEST_ADD_TO"); dir != "" {
		if err := addMany(dir, os.Getenv("USERDB_TEST_PREFIX")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if dir := os.Getenv("USERDB_TEST_CHURN"); dir != "" {
		fmt.Fprintln(os.Stderr, churn(dir, os.Getenv("USERDB_TEST_PREFIX")))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

const perProcess = 25

func addMany(dir, prefix string) error {
	db, err := Open(dir, Options{LocalDomains: []string{"localhost"}}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer db.Close()
	for i := range perProcess {
		r, err := ParseRecord(fmt.Sprintf("%s%d,salt,%064d", prefix, i, 0))
		if err != nil {
			return err
		}
		if err := db.Add(context.Background(), r); err != nil {
			return err
		}
	}
	return nil
}

func openDB(t *testing.T, content string) (*DB, string) {
	t.Helper()
	dir := t.TempDir()
	if content != "" {
		if err := os.WriteFile(filepath.Join(dir, "users.txt"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	db, err := Open(dir, Options{LocalDomains: []string{"localhost", "localhost.com"}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db, dir
}

func original(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("testdata/users.txt")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func record(t *testing.T, name string) Record {
	t.Helper()
	n, err := ParseName(name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewRecord(n, "secret", minIterations)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func login(t *testing.T, db *DB, name, password string) (string, bool) {
	t.Helper()
	n, ok, err := db.Authenticate(context.Background(), name, password)
	if err != nil {
		t.Fatal(err)
	}
	return n.String(), ok
}

func TestOriginalUsersLogIn(t *testing.T) {
	db, dir := openDB(t, original(t))
	passwords := map[string]string{"robert@localhost.com": "password", "soly": "pass", "test": "test", "user": "user"}
	for range 2 { // the second time against the records that replaced the original's
		for name, password := range passwords {
			if got, ok := login(t, db, name, password); !ok || got != name {
				t.Errorf("%s with its password: %q, %v", name, got, ok)
			}
			if _, ok := login(t, db, name, password+"x"); ok {
				t.Errorf("%s with a wrong password got in", name)
			}
		}
	}
	content, err := os.ReadFile(filepath.Join(dir, "users.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(content), scramPrefix); n != len(passwords) || strings.Count(string(content), "\n") != 5 {
		t.Errorf("%d of %d records were replaced:\n%s", n, len(passwords), content)
	}
}

func TestLoginNames(t *testing.T) {
	db, _ := openDB(t, original(t))
	if err := db.Add(context.Background(), record(t, "Two@localhost")); err != nil {
		t.Fatal(err)
	}
	if err := db.Add(context.Background(), record(t, "Two@localhost.com")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"test": "test", "TEST": "test", "test@localhost": "test", "Test@LOCALHOST.com": "test",
		"test@elsewhere": "", "test+x": "", "": "", "@": "", "@localhost": "",
		"robert": "robert@localhost.com", "robert@localhost": "",
		"two": "", "two@localhost": "Two@localhost",
	} {
		password := map[string]string{"test": "test", "robert@localhost.com": "password"}[want]
		if password == "" {
			password = "secret"
		}
		got, ok := login(t, db, name, password)
		if ok != (want != "") || ok && got != want {
			t.Errorf("%q logs in as %q, %v; want %q", name, got, ok, want)
		}
	}
}

func TestFind(t *testing.T) {
	db, _ := openDB(t, "")
	for _, name := range []string{"bare", "Case", "far@example.org", "one@localhost"} {
		if err := db.Add(context.Background(), record(t, name)); err != nil {
			t.Fatal(err)
		}
	}
	for address, want := range map[string]string{
		"bare@localhost": "bare", "bare@LOCALHOST.com": "bare", "bare@": "bare", "bare@example.org": "",
		"BARE@localhost": "bare", "bare+tag@localhost": "bare", "+tag@localhost": "",
		"case@localhost": "Case", "far@example.ORG": "far@example.org", "far@localhost": "",
		"one@": "one@localhost", "one@localhost.com": "", "nobody@localhost": "",
	} {
		local, domain, _ := cutDomain(address)
		r, ok, err := db.Find(local, domain)
		if err != nil || ok != (want != "") || r.Name.String() != want {
			t.Errorf("%s: %q, %v, %v; want %q", address, r.Name, ok, err, want)
		}
	}
}

func TestAddRefusesOverlaps(t *testing.T) {
	db, dir := openDB(t, "")
	for _, name := range []string{"alice", "bob@localhost", "carol@example.org"} {
		if err := db.Add(context.Background(), record(t, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, left := range []string{"left", "gone@localhost.com"} {
		if err := os.Mkdir(filepath.Join(dir, left), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{
		"alice", "ALICE", "alice+x", "alice@localhost", "alice@LocalHost.com", "bob", "Bob@localhost",
		"bob+y@localhost", "carol@Example.org", "left", "LEFT", "left@localhost", "gone", "gone@localhost.com",
	} {
		if err := db.Add(context.Background(), record(t, name)); !errors.Is(err, ErrTaken) {
			t.Errorf("%s: %v, want ErrTaken", name, err)
		}
	}
	for _, name := range []string{"alice@example.org", "bob@localhost.com", "carol", "gone@example.org"} {
		if err := db.Add(context.Background(), record(t, name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBrokenLinesHideNothing(t *testing.T) {
	const content = "# the family\n\nnonsense\n" +
		"test,xBBsHj7Py6IIQ2G1,4416f634e437d6377fe8d12a46fcbbda694b6209274ffa649c5ad9d8d124d0f6\r\n" +
		"test,again,4416f634e437d6377fe8d12a46fcbbda694b6209274ffa649c5ad9d8d124d0f6\n" +
		"../../x,y,z\n"
	db, dir := openDB(t, content)
	users, err := db.Users()
	if len(users) != 1 {
		t.Errorf("users: %v", users)
	}
	for _, want := range []string{"line 3", "line 5", "line 6"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	if _, ok := login(t, db, "test", "test"); !ok {
		t.Error("the whole line's user can't log in")
	}
	if err := db.Add(context.Background(), record(t, "new")); err != nil {
		t.Fatal(err)
	}
	now, _ := os.ReadFile(filepath.Join(dir, "users.txt"))
	for _, kept := range []string{"# the family\n\nnonsense\n", "test,again,", "../../x,y,z\n"} {
		if !strings.Contains(string(now), kept) {
			t.Errorf("%q was lost:\n%s", kept, now)
		}
	}
}

func TestChangeByAnotherIsSeen(t *testing.T) {
	db, dir := openDB(t, original(t))
	if _, ok := login(t, db, "test", "test"); !ok {
		t.Fatal("no login before the change")
	}
	other, err := Open(dir, Options{LocalDomains: []string{"localhost"}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.Add(context.Background(), record(t, "late")); err != nil {
		t.Fatal(err)
	}
	if _, ok := login(t, db, "late", "secret"); !ok {
		t.Error("a user added by another process can't log in")
	}
	if err := os.WriteFile(filepath.Join(dir, "users.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := login(t, db, "test", "test"); ok {
		t.Error("a removed user still logs in")
	}
}

// A login's own change of a record must not undo what somebody else did to it.
func TestStrengthenYieldsToOthers(t *testing.T) {
	db, dir := openDB(t, original(t))
	s, err := db.load()
	if err != nil {
		t.Fatal(err)
	}
	old, _, _ := s.byLogin(db, "test")
	changed := strings.Replace(original(t), old.String(), old.String()+",eA==", 1)
	if err := os.WriteFile(filepath.Join(dir, "users.txt"), []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := db.strengthen(old, "test"); got.Hash != old.Hash {
		t.Error("the record was replaced though it had changed")
	}
	if now, _ := os.ReadFile(filepath.Join(dir, "users.txt")); string(now) != changed {
		t.Errorf("users.txt was changed:\n%s", now)
	}
}

func TestSeveralProcesses(t *testing.T) {
	db, dir := openDB(t, original(t))
	const processes = 4
	var running []*exec.Cmd
	for i := range processes {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "USERDB_TEST_ADD_TO="+dir, fmt.Sprintf("USERDB_TEST_PREFIX=p%d-", i))
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		running = append(running, cmd)
	}
	for _, cmd := range running {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	users, err := db.Users()
	if err != nil || len(users) != 5+processes*perProcess {
		t.Errorf("%d users, %v; want %d", len(users), err, 5+processes*perProcess)
	}
}

func TestCacheForgetsChangedRecords(t *testing.T) {
	db, _ := openDB(t, "")
	a, b := record(t, "a"), record(t, "a")
	db.sessions.add(a, "secret")
	if !db.sessions.has(a, "secret") || db.sessions.has(b, "secret") || db.sessions.has(a, "other") {
		t.Error("the cache answers for another record or password")
	}
	for i := range cacheSize + 10 {
		db.sessions.add(a, fmt.Sprint(i))
	}
	if n := len(db.sessions.expires); n > cacheSize {
		t.Errorf("the cache holds %d entries, over %d", n, cacheSize)
	}
}

// Whoever holds the lock and does not let go keeps neither logins nor others
// waiting for ever.
func TestHeldLock(t *testing.T) {
	db, _ := openDB(t, original(t))
	other, err := os.OpenFile(filepath.Join(db.root.Name(), lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := syscall.Flock(int(other.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, ok := login(t, db, "test", "test"); !ok {
		t.Error("no login while the file is locked")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := db.Add(ctx, record(t, "new")); !errors.Is(err, errLocked) {
		t.Errorf("Add: %v", err)
	}
	syscall.Flock(int(other.Fd()), syscall.LOCK_UN)
	if err := db.Add(context.Background(), record(t, "new")); err != nil {
		t.Errorf("after the lock is gone: %v", err)
	}
}

// A name on a line that can't be read belongs to somebody.
func TestNamesOnBrokenLines(t *testing.T) {
	db, _ := openDB(t, "bob,salt,SCRAM-SHA-256$2000000:x$y:z\n")
	if err := db.Add(context.Background(), record(t, "bob@localhost")); !errors.Is(err, ErrTaken) {
		t.Errorf("Add: %v, want ErrTaken", err)
	}
	if _, ok, err := db.Find("bob", "localhost"); ok || err == nil {
		t.Errorf("Find: %v, %v, want an error: it may be repaired", ok, err)
	}
	if _, ok, err := db.Find("eve", "localhost"); ok || err != nil {
		t.Errorf("another name: %v, %v", ok, err)
	}
}

// A record that would tear the file apart is not written.
func TestAddRefusesLineEnds(t *testing.T) {
	db, dir := openDB(t, "")
	r := record(t, "eve")
	r.Hash = strings.Replace(r.Hash, "=$", "\n=$", 1)
	if err := db.Add(context.Background(), r); err == nil {
		t.Error("a hash with a line end was written")
	}
	if _, err := ParseRecord(r.String()); err == nil {
		t.Error("a hash with a line end was read")
	}
	if _, err := os.Stat(filepath.Join(dir, "users.txt")); err == nil {
		t.Error("users.txt was made")
	}
}

// The host name may be one of the configured domains.
func TestRepeatedLocalDomain(t *testing.T) {
	dir := t.TempDir()
	db, err := Open(dir, Options{LocalDomains: []string{"localhost", "LOCALHOST", "localhost"}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, name := range []string{"alice@localhost", "bob"} {
		if err := db.Add(context.Background(), record(t, name)); err != nil {
			t.Fatal(err)
		}
	}
	if r, ok, err := db.Find("alice", ""); err != nil || !ok || r.Name.String() != "alice@localhost" {
		t.Errorf("alice: %v, %v, %v", r.Name, ok, err)
	}
	bob, _ := ParseName("bob")
	if dirs, err := db.Maildrops(bob); err != nil || !slices.Equal(dirs, []string{"bob", "bob@localhost"}) {
		t.Errorf("bob's maildrops: %v, %v", dirs, err)
	}
}

// A file by hand may hold both alice and alice@localhost: each has their own.
func TestMaildropsOfOthers(t *testing.T) {
	db, _ := openDB(t, record(t, "alice").String()+"\n"+record(t, "Alice@localhost.com").String()+"\n")
	alice, _ := ParseName("alice")
	if dirs, err := db.Maildrops(alice); err != nil || !slices.Equal(dirs, []string{"alice", "alice@localhost"}) {
		t.Errorf("alice's maildrops: %v, %v", dirs, err)
	}
}

// A file that is gone for a moment makes nobody unknown.
func TestMissingFile(t *testing.T) {
	db, dir := openDB(t, original(t))
	if _, ok, err := db.Find("test", ""); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if err := os.Rename(filepath.Join(dir, "users.txt"), filepath.Join(dir, "users.txt~")); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := db.Find("test", ""); ok || err == nil {
		t.Errorf("with users.txt gone: %v, %v; want an error", ok, err)
	}
}

// What stands in the file need not be how we would write it.
func TestStrengthenOddLine(t *testing.T) {
	db, _ := openDB(t, "test,xBBsHj7Py6IIQ2G1,4416F634E437D6377FE8D12A46FCBBDA694B6209274FFA649C5AD9D8D124D0F6,\r\n")
	if _, ok := login(t, db, "test", "test"); !ok {
		t.Fatal("no login")
	}
	if users, err := db.Users(); err != nil || users[0].Kind() != "SCRAM-SHA-256" {
		t.Errorf("%v, %v", users, err)
	}
}
