package regd

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"xm/hybrid"
	"xm/internal/line"
	"xm/internal/line/linetest"
	"xm/internal/regwire"
	"xm/userdb"
)

// The server's key, alice's, and another.
var moreKeys = sync.OnceValue(func() (keys [2]*rsa.PrivateKey) {
	for i := range keys {
		var err error
		if keys[i], err = hybrid.GenerateKey(2048); err != nil {
			panic(err)
		}
	}
	return keys
})

func TestDialogs(t *testing.T) {
	s, _ := newServer(t)
	addr := start(t, s)
	linetest.Run(t, "testdata/dialogs/*.txt", func(t *testing.T, d *linetest.Dialog) net.Conn {
		d.Vars = map[string]string{"FLOOD": strings.Repeat("x", regwire.MaxPayload+1)}
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		return conn
	})
}

// client is a careless one: it believes everything.
type client struct {
	t    *testing.T
	s    *Server
	base string
	http http.Client
}

func newClient(t *testing.T, s *Server) *client {
	return &client{t: t, s: s, base: "http://" + start(t, s), http: http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
}

func (c *client) get(path string) (*http.Response, string) {
	c.t.Helper()
	r, err := c.http.Get(c.base + path)
	if err != nil {
		c.t.Fatal(err)
	}
	return r, c.read(r)
}

func (c *client) read(r *http.Response) string {
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Error(err)
	}
	return string(body)
}

func (c *client) challenge() string {
	c.t.Helper()
	_, body := c.get("/challenge")
	return strings.TrimSuffix(body, "\r\n")
}

// request makes one that is good for a new user: change it, and sign it.
func (c *client) request(action, name string) regwire.Request {
	c.t.Helper()
	n, err := userdb.ParseName("x")
	if err != nil {
		c.t.Fatal(err)
	}
	record, err := userdb.NewRecord(n, "secret", 4096)
	if err != nil {
		c.t.Fatal(err)
	}
	return regwire.Request{
		Action: action, Name: name, Record: record.Salt + "," + record.Hash, Challenge: c.challenge(), Secret: regwire.NewSecret(),
		Keys: string(hybrid.MarshalPublicKey(&newKey().PublicKey)),
	}
}

// sign adds the signatures, with keys that may be nil.
func (c *client) sign(r regwire.Request, proof, onRecord *rsa.PrivateKey) regwire.Request {
	c.t.Helper()
	server := &c.s.Key.PublicKey
	if proof != nil {
		if err := r.Prove(server, proof); err != nil {
			c.t.Fatal(err)
		}
	}
	if onRecord != nil {
		if err := r.Sign(server, onRecord); err != nil {
			c.t.Fatal(err)
		}
	}
	return r
}

// post sends a request and returns the line that answers it, whose MAC is good.
func (c *client) post(r regwire.Request) string {
	c.t.Helper()
	payload, err := r.Seal(&c.s.Key.PublicKey)
	if err != nil {
		c.t.Fatal(err)
	}
	response, err := c.http.Post(c.base+"/register", "text/plain", bytes.NewReader(payload))
	if err != nil {
		c.t.Fatal(err)
	}
	text := strings.TrimSuffix(c.read(response), "\r\n")
	mac := base64.StdEncoding.EncodeToString(r.ReplyMAC(&c.s.Key.PublicKey, text))
	if got := response.Header.Get(regwire.MACField); got != mac && response.StatusCode != http.StatusTooManyRequests {
		c.t.Errorf("%q has the MAC %q", text, got)
	}
	return text
}

func (c *client) want(r regwire.Request, want string) {
	c.t.Helper()
	if got := c.post(r); got != want {
		c.t.Errorf("%s %s: got %q, want %q", r.Action, r.Name, got, want)
	}
}

// login reports whether a password is good.
func (c *client) login(name, password string) bool {
	c.t.Helper()
	_, ok, err := c.s.Users.Authenticate(c.t.Context(), name, password)
	if err != nil {
		c.t.Error(err)
	}
	return ok
}

func TestRegistrationOverHTTP(t *testing.T) {
	s, _ := newServer(t)
	c := newClient(t, s)
	r := c.sign(c.request(regwire.Register, "alice"), newKey(), nil)
	c.want(r, "+OK alice is registered")
	if !c.login("alice@localhost", "secret") {
		t.Error("the password is not good")
	}
	c.want(r, "-ERR "+errChallenge.Error())

	for name, change := range map[string]func(*regwire.Request){
		"-ERR the name is taken":                                         func(r *regwire.Request) { r.Name = "Alice@localhost" },
		"-ERR the name is kept for those who run the server":             func(r *regwire.Request) { r.Name = "root" },
		"-ERR names are registered under this server's own domains only": func(r *regwire.Request) { r.Name = "bob@elsewhere.example" },

		"-ERR \"a/x\" can't be a user name: it holds '/'":                        func(r *regwire.Request) { r.Name = "a/x" },
		"-ERR the record is no salt,hash of SCRAM-SHA-256":                       func(r *regwire.Request) { r.Record = "salt," + hash },
		"-ERR the request has fields too few, or too many, for what it wants":    func(r *regwire.Request) { r.Record = "" },
		"-ERR " + errChallenge.Error():                                           func(r *regwire.Request) { r.Challenge = "x" },
		"-ERR the public key can't be used: there is more than PEM blocks in it": func(r *regwire.Request) { r.Keys += "junk" },
	} {
		r := c.request(regwire.Register, "bob")
		change(&r)
		c.want(c.sign(r, newKey(), nil), name)
	}
	for _, key := range []*rsa.PrivateKey{nil, moreKeys()[0]} {
		c.want(c.sign(c.request(regwire.Register, "bob"), key, key), "-ERR nothing proves that the new key is yours")
	}
	// Mixed scripts.
	r = c.request(regwire.Register, "bоb")
	c.want(c.sign(r, newKey(), nil), "-ERR the name is taken")
	// The record that two lines would make.
	r = c.request(regwire.Register, "bob")
	r.Record += "\nmallory," + r.Record
	c.want(c.sign(r, newKey(), nil), "-ERR the record is no salt,hash of SCRAM-SHA-256")
	if users, err := s.Users.Users(); err != nil || len(users) != 1 {
		t.Errorf("there are %d users, %v", len(users), err)
	}
}

func TestChanges(t *testing.T) {
	s, _ := newServer(t)
	s.Policy = Closed // for new names
	c := newClient(t, s)
	alice, err := userdb.ParseRecord(strings.TrimSpace(registration("alice")))
	if err != nil {
		t.Fatal(err)
	}
	bob, err := userdb.ParseRecord("bob,salt," + hash) // without a key
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []userdb.Record{alice, bob} {
		if err := s.Users.Add(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	own, next := newKey(), moreKeys()[0]
	nextPEM := string(hybrid.MarshalPublicKey(&next.PublicKey))
	password := func(name string, key *rsa.PrivateKey) regwire.Request {
		r := c.request(regwire.Change, name)
		r.Keys = ""
		return c.sign(r, nil, key)
	}
	rotation := func(proof, key *rsa.PrivateKey) regwire.Request {
		r := c.request(regwire.Change, "alice")
		r.Keys, r.Record = nextPEM, ""
		return c.sign(r, proof, key)
	}
	removal := func(name string, key *rsa.PrivateKey) regwire.Request {
		r := c.request(regwire.Unregister, name)
		r.Keys, r.Record = "", ""
		return c.sign(r, nil, key)
	}
	const unsigned = "-ERR there is no such user, or this is not signed with the user's key"
	for _, r := range []regwire.Request{
		password("alice", nil), password("alice", next), password("bob", own), password("carol", own), password("carol", s.Key),
		removal("alice", next), removal("carol", s.Key), rotation(next, nil), rotation(next, next),
	} {
		c.want(r, unsigned)
	}
	disabled := func(yes bool) {
		t.Helper()
		if _, err := s.Users.Set(t.Context(), alice.Name, func(settings *userdb.Settings) error { settings.Disabled = yes; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	disabled(true)
	c.want(password("alice", own), unsigned)
	disabled(false)
	c.want(rotation(own, own), "-ERR nothing proves that the new key is yours")
	if !c.login("alice", "test") || c.login("alice", "secret") {
		t.Error("the password was changed")
	}

	change := password("alice@localhost", own)
	c.want(change, "+OK alice is changed")
	if c.login("alice", "test") || !c.login("alice", "secret") {
		t.Error("the password was not changed")
	}
	c.want(change, "-ERR "+errChallenge.Error())

	late := password("alice", own)
	c.want(rotation(next, own), "+OK alice is changed")
	if former, err := s.Users.FormerKeys(alice.Name); err != nil || len(former) != 1 || !bytes.Equal(former[0].Keys, alice.Keys) {
		t.Errorf("the former keys: %v, %v", former, err)
	}
	if _, pem := c.get("/keys/alice"); pem != nextPEM {
		t.Errorf("the key is %q", pem)
	}
	if !c.login("alice", "secret") {
		t.Error("the password was changed")
	}
	c.want(late, unsigned)
	c.want(removal("alice", own), unsigned)
	empty := removal("alice", next)
	empty.Action = regwire.Change
	c.want(c.sign(empty, nil, next), "-ERR the request has fields too few, or too many, for what it wants")
	c.want(removal("alice", next), "+OK alice is registered no more")
	if c.login("alice", "secret") {
		t.Error("alice can log in")
	}
}

func TestPolicies(t *testing.T) {
	s, _ := newServer(t)
	s.Policy = Invite
	c := newClient(t, s)
	code, err := s.Users.NewInvite(t.Context(), time.Hour, "")
	if err != nil {
		t.Fatal(err)
	}
	invited := func(name, code string) regwire.Request {
		r := c.request(regwire.Register, name)
		r.Invite = code
		return c.sign(r, newKey(), nil)
	}
	refused := "-ERR " + userdb.ErrInvite.Error()
	c.want(invited("alice", ""), refused)
	c.want(invited("alice", "AAAAA-AAAAA-AAAAA-AAAAA"), refused)
	c.want(invited("alice", code), "+OK alice is registered")
	c.want(invited("bob", code), refused)

	closed, _ := newServer(t)
	closed.Policy = Closed
	c = newClient(t, closed)
	c.want(invited("alice", ""), "-ERR this server registers nobody: ask its operator")
	for _, s := range []*Server{s, closed} {
		if got := ask(t, start(t, s), seal(t, &s.Key.PublicKey, registration("carol"))); !strings.HasPrefix(got, "-ERR not everybody may register here") {
			t.Errorf("the original's protocol: %q", got)
		}
	}
}

// The same for whoever is not there, and whoever has no key.
func TestKeys(t *testing.T) {
	s, _ := newServer(t)
	c := newClient(t, s)
	c.want(c.sign(c.request(regwire.Register, "alice"), newKey(), nil), "+OK alice is registered")
	bob, err := userdb.ParseRecord("bob,salt," + hash)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Users.Add(t.Context(), bob); err != nil {
		t.Fatal(err)
	}
	for path, name := range map[string]string{
		"alice": "alice", "alice@localhost": "alice@localhost", "%61lice": "alice",
		"bob": "", "carol": "", "alice@elsewhere.example": "", "..%2falice": "", "": "", "%00": "", "alice/": "",
	} {
		r, body := c.get("/keys/" + path)
		a := regwire.KeyAnswer{Name: name, Time: r.Header.Get(regwire.TimeField), PEM: []byte(body)}
		want := http.StatusOK
		if name == "" {
			want, a.PEM = http.StatusNotFound, nil
			a.Name = strings.NewReplacer("%2f", "/", "%00", "\x00").Replace(path)
			if body != "" || fieldNames(r) != "Cache-Control Content-Length Content-Type Date X-Content-Type-Options Xm-Signature Xm-Time" {
				t.Errorf("%s: %q, %s", path, body, fieldNames(r))
			}
		}
		signature, err := base64.StdEncoding.DecodeString(r.Header.Get(regwire.SignatureField))
		if err != nil || r.StatusCode != want || a.Verify(&s.Key.PublicKey, signature) != nil {
			t.Errorf("%s: %s, %v, %q signed as %+v", path, r.Status, err, body, a)
		}
		if _, err := time.Parse(time.RFC3339, a.Time); err != nil {
			t.Error(err)
		}
	}
}

func fieldNames(r *http.Response) string {
	var names []string
	for name := range r.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func TestTLS(t *testing.T) {
	certFile, keyFile, config := linetest.Certificate(t)
	s, _ := newServer(t)
	var err error
	if s.Certificate, err = line.LoadCertificate(certFile, keyFile, s.Log); err != nil {
		t.Fatal(err)
	}
	c := newClient(t, s)
	addr := strings.TrimPrefix(c.base, "http://")
	c.base = "https://" + addr
	c.http.Transport = &http.Transport{DisableKeepAlives: true, TLSClientConfig: config}
	if _, body := c.get("/server.pub"); body != string(hybrid.MarshalPublicKey(&s.Key.PublicKey)) {
		t.Errorf("got %q", body)
	}
	c.want(c.sign(c.request(regwire.Register, "alice"), newKey(), nil), "+OK alice is registered")
	// The same port, in clear, and the original's protocol under TLS.
	linetest.Play(t, "clear", "C: GET /server.pub HTTP/1.0\nC:\nS: HTTP/1.1 200 OK\n", dial(t, addr))
	secured := tls.Client(dial(t, addr), config)
	linetest.Play(t, "original", "C: x\nS: -ERR this is no registration payload\nX\n", secured)
	// Damage, and TLS within TLS.
	linetest.Play(t, "no TLS", "R: \"\\x16\\x03\\x01\\x00\\x05hello\"\n", dial(t, addr))
	linetest.Play(t, "twice", "R: \"\\x16\\x03\\x01\"\nS: -ERR this is no registration payload\n", tls.Client(dial(t, addr), config))
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// 20 clients register 200 names, each of them twice.
func TestManyRegistrations(t *testing.T) {
	s, dir := newServer(t)
	c := newClient(t, s)
	names := make(chan string)
	var mu sync.Mutex
	answers := map[string]int{}
	var clients sync.WaitGroup
	for range 20 {
		clients.Go(func() {
			for name := range names {
				text := c.post(c.sign(c.request(regwire.Register, name), newKey(), nil))
				mu.Lock()
				answers[text]++
				mu.Unlock()
			}
		})
	}
	for i := range 400 {
		names <- fmt.Sprint("user", i/2)
	}
	close(names)
	clients.Wait()
	for i := range 200 {
		if text := fmt.Sprintf("+OK user%d is registered", i); answers[text] != 1 {
			t.Errorf("%d times %q", answers[text], text)
		}
	}
	if answers["-ERR the name is taken"] != 200 {
		t.Errorf("answered: %v", answers)
	}
	content, err := os.ReadFile(dir + "/users.txt")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		if n := strings.Count("\n"+string(content), fmt.Sprintf("\nuser%d,", i)); n != 1 {
			t.Errorf("user%d is there %d times", i, n)
		}
	}
}

// farConn is a connection from somewhere else.
type farConn struct {
	net.Conn
	peer netip.Addr
}

func (c farConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.peer, 1)) }

// serve runs a server for one connection over a pipe, and calls f with the
// client's side of it.
func serve(t *testing.T, s *Server, peer string, f func(net.Conn)) {
	l := &pipeListener{conns: make(chan net.Conn, 1)}
	ours, theirs := net.Pipe()
	l.conns <- farConn{theirs, netip.MustParseAddr(peer)}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	f(ours)
	ours.Close()
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A peer that sends an octet a second, wherever in a request, gets 10 seconds; one
// that says nothing too.
func TestSlowHTTP(t *testing.T) {
	for begin, want := range map[string]string{
		"G":                         "HTTP/1.1 408 Request Timeout",
		"GET /challenge HTTP/1.1\r": "HTTP/1.1 408 Request Timeout",
		"POST /register HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n": "HTTP/1.1 408 Request Timeout",
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &Server{Key: newKey(), Log: slog.New(slog.DiscardHandler)}
			serve(t, s, "127.0.0.1", func(conn net.Conn) {
				began := time.Now()
				var writer sync.WaitGroup
				writer.Go(func() {
					for _, b := range []byte(begin) {
						if _, err := conn.Write([]byte{b}); err != nil {
							return
						}
					}
					for {
						time.Sleep(time.Second)
						if _, err := conn.Write([]byte("x")); err != nil {
							return
						}
					}
				})
				out, _ := io.ReadAll(conn)
				if !strings.HasPrefix(string(out), want) || time.Since(began) != timeout {
					t.Errorf("%q: got %q after %v", begin, out, time.Since(began))
				}
				writer.Wait()
			})
		})
	}
}

// A peer that has its answer and does not close is closed.
func TestPeerThatNeverCloses(t *testing.T) {
	s, _ := newServer(t)
	conn := dial(t, start(t, s))
	linetest.Play(t, "open", "C: GET /nothing HTTP/1.1\nC: Host: x\nC:\nU: there is nothing here\nX\n", conn)
}

func TestRateLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Key: newKey(), Requests: Rate{3, time.Minute}, Registrations: Rate{2, time.Hour}, Log: slog.New(slog.DiscardHandler)}
		h := s.handler()
		a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
		other := netip.MustParseAddr("2001:db8:0:1::1")
		for i, want := range []bool{true, true, true, false, false} {
			if got := h.requests.allow([]netip.Addr{a, b}[i%2]); got != want {
				t.Errorf("request %d: %v", i, got)
			}
		}
		if !h.requests.allow(other) || !h.requests.allow(netip.MustParseAddr("192.0.2.1")) || !h.registrations.allow(a) {
			t.Error("one limit counts for another")
		}
		time.Sleep(20 * time.Second)
		if !h.requests.allow(a) || h.requests.allow(b) {
			t.Error("a third of a minute is not one of three requests")
		}
		for range 10 {
			if !h.requests.allow(netip.MustParseAddr("127.0.0.1")) {
				t.Error("loopback is limited")
			}
		}
		none := limiter{}
		if !none.allow(a) {
			t.Error("no limit is one")
		}
	})
}

func TestLimiterIsBounded(t *testing.T) {
	l := limiter{rate: Rate{2, time.Hour}}
	addr := netip.MustParseAddr("10.0.0.0")
	for range maxBuckets + 10 {
		l.allow(addr)
		addr = addr.Next()
	}
	if len(l.buckets) > maxBuckets || len(l.buckets) < maxBuckets/2 {
		t.Errorf("%d are remembered", len(l.buckets))
	}
}

// Both protocols, over the wire.
func TestLimitedPeers(t *testing.T) {
	s := &Server{Key: newKey(), Requests: Rate{1, time.Hour}, Registrations: Rate{1, time.Hour}, Log: slog.New(slog.DiscardHandler)}
	h := s.handler()
	peer := netip.MustParseAddr("192.0.2.1")
	for !h.requests.allow(peer) || !h.registrations.allow(peer) {
		t.Fatal("limited at once")
	}
	for request, want := range map[string]string{
		"GET /challenge HTTP/1.0\r\n\r\n": "HTTP/1.1 429 Too Many Requests",
		"00$00$00$00$":                    "-ERR too many registrations from your address",
	} {
		ours, theirs := net.Pipe()
		l := &pipeListener{conns: make(chan net.Conn, 1)}
		l.conns <- farConn{theirs, peer}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		server := &line.Server{Handle: h.handle, Log: s.Log}
		go func() { done <- server.Serve(ctx, l) }()
		go io.WriteString(ours, request)
		out, err := io.ReadAll(ours)
		if err != nil || !strings.HasPrefix(string(out), want) {
			t.Errorf("%q: got %q, %v", request, out, err)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestChallenges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChallenges()
		first, second := c.issue(), c.issue()
		if first == second || c.use(first) != nil || c.use(first) == nil {
			t.Error("a challenge is not good once")
		}
		if newChallenges().use(second) == nil {
			t.Error("a challenge is good elsewhere")
		}
		for _, bad := range []string{"", "x", second + "A", second[:len(second)-1], "A" + second[1:], second + "\n", strings.Repeat("A", len(second))} {
			if bad != second && c.use(bad) == nil {
				t.Errorf("%q is good", bad)
			}
		}
		time.Sleep(challengeLife - 2*time.Second)
		if _, _, err := c.open(second); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Second)
		if c.use(second) == nil {
			t.Error("a challenge lives for ever")
		}
		c.forget()
		if len(c.used) != 0 {
			t.Errorf("%d are remembered", len(c.used))
		}
	})
}

func TestUsedChallengesAreBounded(t *testing.T) {
	c := newChallenges()
	for i := range maxUsed {
		c.used[[nonceSize]byte{byte(i), byte(i >> 8), byte(i >> 16)}] = time.Now().Add(time.Minute)
	}
	if err := c.use(c.issue()); err != errBusy {
		t.Errorf("got %v", err)
	}
	for nonce := range c.used {
		c.used[nonce] = time.Now().Add(-time.Minute)
		break
	}
	if err := c.use(c.issue()); err != nil {
		t.Error(err)
	}
}

// bufferConn is a peer that has sent something and then hung up.
type bufferConn struct {
	in     io.Reader
	out    bytes.Buffer
	closed chan struct{}
	once   sync.Once
}

func (c *bufferConn) Read(p []byte) (int, error)       { return c.in.Read(p) }
func (c *bufferConn) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *bufferConn) Close() error                     { c.once.Do(func() { close(c.closed) }); return nil }
func (c *bufferConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *bufferConn) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (c *bufferConn) SetDeadline(time.Time) error      { return nil }
func (c *bufferConn) SetReadDeadline(time.Time) error  { return nil }
func (c *bufferConn) SetWriteDeadline(time.Time) error { return nil }

// Whatever is sent, the server answers with a line or with HTTP, and nobody is
// registered.
func FuzzConnection(f *testing.F) {
	f.Add([]byte("GET /keys/alice HTTP/1.1\r\nHost: x\r\n\r\n"))
	f.Add([]byte("GET http://x/keys/%2e%2e%2f HTTP/1.0\r\n\r\n"))
	f.Add([]byte("HEAD /challenge?x=1 HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n"))
	f.Add([]byte("POST /register HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n00$0\r\n0\r\n\r\n"))
	f.Add([]byte("POST /register HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\nExpect: 100-continue\r\n\r\n00$"))
	f.Add([]byte("CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n"))
	f.Add([]byte("\x16\x03\x01"))
	s, _ := newServer(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		l := &pipeListener{conns: make(chan net.Conn, 1)}
		conn := &bufferConn{in: bytes.NewReader(data), closed: make(chan struct{})}
		l.conns <- conn
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, l) }()
		<-conn.closed
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		out := conn.out.String()
		if !strings.HasPrefix(out, "-ERR ") && !strings.HasPrefix(out, "HTTP/1.1 ") {
			t.Errorf("%q is answered %q", data, out)
		}
		if users, err := s.Users.Users(); err != nil || len(users) > 0 {
			t.Errorf("%q registered %v, %v", data, users, err)
		}
	})
}

// A request that its sender may sign, with any fields.
func FuzzPerform(f *testing.F) {
	f.Add("register", "alice", "c2FsdA==,"+hash, "", "")
	f.Add("change", "alice", "", "x", "code")
	f.Add("unregister", "alice@localhost", "", "", "")
	f.Fuzz(func(t *testing.T, action, name, record, keys, invite string) {
		s, _ := newServer(t)
		h := s.handler()
		r := regwire.Request{Action: action, Name: name, Record: record, Keys: keys, Invite: invite, Challenge: h.challenges.issue(), Secret: regwire.NewSecret()}
		if err := r.Prove(&s.Key.PublicKey, newKey()); err != nil {
			t.Fatal(err)
		}
		r.Signature = r.Proof
		_, err := h.perform(t.Context(), r)
		users, uerr := s.Users.Users()
		if uerr != nil || len(users) > 0 != (err == nil) || len(users) > 1 {
			t.Errorf("%+v: %v; users %v, %v", r, err, users, uerr)
		}
	})
}
