package regd

import (
	"bytes"
	"crypto/rsa"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
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

// secretRecord is that of the password "secret".
var secretRecord = sync.OnceValue(func() string {
	name, err := userdb.ParseName("x")
	if err != nil {
		panic(err)
	}
	r, err := userdb.NewRecord(name, "secret", 4096)
	if err != nil {
		panic(err)
	}
	return r.Salt + "," + r.Hash
})

// request makes one that is good for a new user: change it, and sign it.
func (c *client) request(action, name string) regwire.Request {
	c.t.Helper()
	return regwire.Request{
		Action: action, Name: name, Record: secretRecord(), Challenge: c.challenge(), Secret: regwire.NewSecret(),
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

// The same for whoever is not there, and whoever has no key.
func TestKeys(t *testing.T) {
	s, _ := newServer(t)
	c := newClient(t, s)
	c.want(c.sign(c.request(regwire.Register, "alice"), newKey(), nil), "+OK registered")
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
	c.want(c.sign(c.request(regwire.Register, "alice"), newKey(), nil), "+OK registered")
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

// Whoever has listened to a registration of the original's protocol can send it here. The
// answer tells nothing of what is in it.
func TestForeignPayload(t *testing.T) {
	s, _ := newServer(t)
	c := newClient(t, s)
	const want = "-ERR the payload holds no request that is known here\r\n"
	for _, message := range []string{"newone,salt,hash", "nullius,salt,hash", "1234,salt,hash", "", `{"action":"register","else":"secret"}`} {
		payload, err := hybrid.SealUnsigned([]byte(message), &c.s.Key.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		response, err := c.http.Post(c.base+"/register", "text/plain", bytes.NewReader(payload))
		if err != nil {
			t.Fatal(err)
		}
		if text := c.read(response); text != want || response.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %d %q", message, response.StatusCode, text)
		}
	}
}
