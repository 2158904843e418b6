package regd

import (
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"xm/hybrid"
	"xm/internal/line/linetest"
	"xm/internal/regwire"
	"xm/userdb"
)

var newKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := hybrid.GenerateKey(2048)
	if err != nil {
		panic(err)
	}
	return key
})

func newServer(t testing.TB) (*Server, string) {
	t.Helper()
	dir := t.TempDir()
	users, err := userdb.Open(dir, userdb.Options{LocalDomains: []string{"localhost"}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { users.Close() })
	return &Server{Key: newKey(), Users: users, Log: slog.New(slog.DiscardHandler)}, dir
}

func start(t *testing.T, s *Server) string {
	t.Helper()
	return linetest.Serve(t, func(l net.Listener) func() error {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, l) }()
		return func() error { cancel(); return <-done }
	})
}

// ask sends data and returns the answer.
func ask(t *testing.T, addr string, data []byte) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second)) // bounds a failing test alone
	conn.Write(data)
	out, err := io.ReadAll(conn)
	if err != nil || bytes.Count(out, []byte("\r\n")) != 1 || !bytes.HasSuffix(out, []byte("\r\n")) {
		t.Errorf("the answer is %q, %v; want one line", out, err)
	}
	return strings.TrimSpace(string(out))
}

func seal(t *testing.T, to *rsa.PublicKey, message string) []byte {
	t.Helper()
	payload, err := hybrid.SealUnsigned([]byte(message), to)
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

const hash = "4416f634e437d6377fe8d12a46fcbbda694b6209274ffa649c5ad9d8d124d0f6" // of "test"

func registration(name string) string {
	pem := hybrid.MarshalPublicKey(&newKey().PublicKey)
	return name + ",xBBsHj7Py6IIQ2G1," + hash + "," + base64.StdEncoding.EncodeToString(pem) + "\n"
}

func TestRegister(t *testing.T) {
	s, dir := newServer(t)
	addr := start(t, s)
	if got := ask(t, addr, seal(t, &s.Key.PublicKey, registration("alice"))); got != "+OK registered" {
		t.Fatalf("got %q", got)
	}
	// At once, with the password and the key that were given.
	name, ok, err := s.Users.Authenticate(context.Background(), "alice@localhost", "test")
	if err != nil || !ok || name.String() != "alice" {
		t.Errorf("login: %q, %v, %v", name, ok, err)
	}
	users, err := s.Users.Users()
	if err != nil || len(users) != 1 || !bytes.Equal(users[0].Keys, hybrid.MarshalPublicKey(&newKey().PublicKey)) {
		t.Errorf("users.txt holds %v, %v", users, err)
	}

	if err := os.Mkdir(filepath.Join(dir, "left"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"alice", "Alice@localhost", "alice+x", "left"} {
		if got := ask(t, addr, seal(t, &s.Key.PublicKey, registration(name))); got != "-ERR the name is taken" {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

// Python's encode("base64") breaks its output into lines.
func TestBase64InLines(t *testing.T) {
	s, _ := newServer(t)
	r := strings.TrimSpace(registration("alice"))
	if got := ask(t, start(t, s), seal(t, &s.Key.PublicKey, r[:200]+"\n"+r[200:300]+"\n"+r[300:]+"\n")); !strings.HasPrefix(got, "+OK") {
		t.Errorf("got %q", got)
	}
}

func TestRefusals(t *testing.T) {
	s, dir := newServer(t)
	addr := start(t, s)
	good := seal(t, &s.Key.PublicKey, registration("alice"))
	other, err := hybrid.GenerateKey(2048)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(good)
	if at := len(flipped) - 2; flipped[at] == '0' {
		flipped[at] = '1'
	} else {
		flipped[at] = '0'
	}
	signed, err := hybrid.Seal([]byte(registration("alice")), &s.Key.PublicKey, newKey())
	if err != nil {
		t.Fatal(err)
	}
	const crypto = "-ERR the payload was not sealed with this server's key, or was changed"
	const syntax = "-ERR the registration is not name,salt,hash,base64(PEM public key)"
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"another key":  {seal(t, &other.PublicKey, registration("alice")), crypto},
		"changed":      {flipped, crypto},
		"signed":       {signed, crypto},
		"short fields": {[]byte("00$00$00$00$"), crypto},
		"separators":   {[]byte("$$$$"), crypto},
		"text":         {[]byte("hello\r\n\r\n"), "-ERR this is no registration payload"},
		"upper case":   {append([]byte("0"), bytes.ToUpper(good)...), "-ERR this is no registration payload"},
		"TLS":          {[]byte("\x16\x03\x01\x00\x05hello"), "-ERR this is no registration payload"},
		"oversized":    {bytes.Repeat([]byte("a"), regwire.MaxPayload+1), "-ERR the payload is over 65536 octets"},
		"no record":    {seal(t, &s.Key.PublicKey, "hello"), syntax},
		"no key":       {seal(t, &s.Key.PublicKey, "bob,salt,"+hash), "-ERR the public key can't be used: it holds no PEM block, where \"PUBLIC KEY\" is wanted"},
		"a path":       {seal(t, &s.Key.PublicKey, registration("../../etc/passwd")), syntax},
		"two lines":    {seal(t, &s.Key.PublicKey, "eve,salt,"+hash+"\n"+registration("mallory")), syntax},
		"far domain":   {seal(t, &s.Key.PublicKey, registration("bob@elsewhere.example")), "-ERR names are registered under this server's own domains only"},
		"look-alike":   {seal(t, &s.Key.PublicKey, registration("аlice")), "-ERR the name is taken"},
		"a role":       {seal(t, &s.Key.PublicKey, registration("PostMaster+x@localhost")), "-ERR the name is kept for those who run the server"},
		"line ends": {seal(t, &s.Key.PublicKey, "eve,W22ZaJ0SNY7soEsUEjb6gQ==,SCRAM-SHA-256$4096:W22Z\naJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=,"+
			strings.SplitN(registration("x"), ",", 4)[3]), syntax},
		"junk after the key": {seal(t, &s.Key.PublicKey, "eve,salt,"+hash+","+base64.StdEncoding.EncodeToString(
			append(hybrid.MarshalPublicKey(&newKey().PublicKey), "junk"...))), "-ERR the public key can't be used: there is more than PEM blocks in it"},
		"terminal control": {seal(t, &s.Key.PublicKey, "eve,salt,"+hash+","+base64.StdEncoding.EncodeToString(
			append(hybrid.MarshalPublicKey(&newKey().PublicKey), "-----BEGIN \x1b[2J-----\nAAAA\n-----END \x1b[2J-----\n"...))), "-ERR the public key can't be used: it holds characters that PEM does not need"},
		"salt that ends a line": {seal(t, &s.Key.PublicKey, strings.Replace(registration("eve"), "xBB", "\u2028\u009b", 1)), syntax},
		"salt that is no text":  {seal(t, &s.Key.PublicKey, strings.Replace(registration("eve"), "xBB", "\xff", 1)), syntax},
		"private key": {seal(t, &s.Key.PublicKey, "eve,salt,"+hash+","+base64.StdEncoding.EncodeToString(
			append(hybrid.MarshalPublicKey(&newKey().PublicKey), hybrid.MarshalPrivateKey(newKey())...))), "-ERR the public key can't be used: there is a private key in it"},
		"large keys": {seal(t, &s.Key.PublicKey, "eve,salt,"+hash+","+base64.StdEncoding.EncodeToString(
			append(hybrid.MarshalPublicKey(&newKey().PublicKey), bytes.Repeat([]byte("\n"), maxKeys)...))), "-ERR the public key can't be used: over 4096 octets"},
		"no clear hash": {seal(t, &s.Key.PublicKey, strings.Replace(registration("bob"), hash, "secret", 1)), syntax},
	} {
		if got := ask(t, addr, c.data); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "users.txt")); err == nil {
		t.Error("somebody was registered")
	}
}

func TestCutShort(t *testing.T) {
	s, _ := newServer(t)
	conn, err := net.Dial("tcp", start(t, s))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	good := seal(t, &s.Key.PublicKey, registration("alice"))
	conn.Write(good[:len(good)-1])
	conn.(*net.TCPConn).CloseWrite()
	if out, _ := io.ReadAll(conn); string(out) != "-ERR the payload is cut short\r\n" {
		t.Errorf("got %q", out)
	}
}

// A client that does not wait for the answer is served all the same.
func TestClientThatClosesAtOnce(t *testing.T) {
	s, _ := newServer(t)
	addr := start(t, s)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	conn.Write(seal(t, &s.Key.PublicKey, registration("alice")))
	conn.Close()
	// The name is taken as soon as that connection has been served.
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		users, err := s.Users.Users()
		if err != nil {
			t.Fatal(err)
		}
		if len(users) == 1 {
			return
		}
	}
	t.Error("not registered")
}

func TestConcurrentRegistrations(t *testing.T) {
	s, _ := newServer(t)
	addr := start(t, s)
	var wg sync.WaitGroup
	for i := range 10 {
		payload := seal(t, &s.Key.PublicKey, registration(fmt.Sprint("user", i%5)))
		wg.Go(func() { ask(t, addr, payload) })
	}
	wg.Wait()
	if users, err := s.Users.Users(); err != nil || len(users) != 5 {
		t.Errorf("%d users, %v; want 5", len(users), err)
	}
}

// A silent peer, and one that sends an octet a second, get 10 seconds.
func TestSlowPeers(t *testing.T) {
	for _, data := range []string{"", strings.Repeat("0", 1000)} {
		synctest.Test(t, func(t *testing.T) {
			s := &Server{Key: newKey(), Log: slog.New(slog.DiscardHandler)}
			l := &pipeListener{conns: make(chan net.Conn, 1)}
			ours, theirs := net.Pipe()
			l.conns <- theirs
			ctx, stop := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- s.Serve(ctx, l) }()
			var writer sync.WaitGroup
			writer.Go(func() {
				for i := range len(data) {
					if _, err := ours.Write([]byte{data[i]}); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			})
			began := time.Now()
			out, _ := io.ReadAll(ours)
			if want := "-ERR no payload within 10s\r\n"; string(out) != want || !linetest.Waited(time.Since(began), timeout) {
				t.Errorf("got %q after %v", out, time.Since(began))
			}
			writer.Wait()
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

type pipeListener struct {
	conns  chan net.Conn
	closed sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	c, ok := <-l.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (l *pipeListener) Close() error   { l.closed.Do(func() { close(l.conns) }); return nil }
func (l *pipeListener) Addr() net.Addr { return nil }

func FuzzRegister(f *testing.F) {
	f.Add("alice,salt," + hash + ",")
	f.Add(registration("bob"))
	f.Add("alice,W22ZaJ0SNY7soEsUEjb6gQ==,SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=," +
		strings.SplitN(registration("x"), ",", 4)[3])
	f.Fuzz(func(t *testing.T, message string) {
		s, _ := newServer(t)
		payload := seal(t, &s.Key.PublicKey, message)
		name, err := s.handler().registerPayload(t.Context(), payload)
		if users, uerr := s.Users.Users(); uerr != nil || len(users) > 0 != (err == nil) {
			t.Errorf("%q: registered %q, %v; users %v, %v", message, name, err, users, uerr)
		}
	})
}
