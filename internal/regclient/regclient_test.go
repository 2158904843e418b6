package regclient

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"xm/hybrid"
	"xm/internal/regwire"
)

var serverKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := hybrid.GenerateKey(2048)
	if err != nil {
		panic(err)
	}
	return key
})

// connect returns a client of a server that answers as handle does.
func connect(t *testing.T, handle http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	a, err := ParseAddress(strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	c := New(a)
	c.Key = &serverKey().PublicKey
	return c
}

// vouch answers a question for keys.
func vouch(t *testing.T, w http.ResponseWriter, a regwire.KeyAnswer) {
	signature, err := a.Sign(serverKey())
	if err != nil {
		t.Error(err)
	}
	w.Header().Set(regwire.TimeField, a.Time)
	w.Header().Set(regwire.SignatureField, base64.StdEncoding.EncodeToString(signature))
	if a.PEM == nil {
		w.WriteHeader(http.StatusNotFound)
	}
	w.Write(a.PEM)
}

func TestKeys(t *testing.T) {
	now := regwire.FormatTime(time.Now())
	recorded, ahead := regwire.FormatTime(time.Now().Add(-2*time.Hour)), regwire.FormatTime(time.Now().Add(2*time.Hour))
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter)
		want   error
	}{
		"good": {func(w http.ResponseWriter) {
			vouch(t, w, regwire.KeyAnswer{Name: "alice", Time: now, PEM: []byte("pem")})
		}, nil},
		"none": {func(w http.ResponseWriter) { vouch(t, w, regwire.KeyAnswer{Name: "alice", Time: now}) }, ErrNoKey},
		"bob's": {func(w http.ResponseWriter) {
			vouch(t, w, regwire.KeyAnswer{Name: "bob", Time: now, PEM: []byte("pem")})
		}, hybrid.ErrNotAuthentic},
		"old": {func(w http.ResponseWriter) {
			vouch(t, w, regwire.KeyAnswer{Name: "alice", Time: recorded, PEM: []byte("pem")})
		}, hybrid.ErrNotAuthentic},
		"to be replayed": {func(w http.ResponseWriter) {
			vouch(t, w, regwire.KeyAnswer{Name: "alice", Time: ahead, PEM: []byte("pem")})
		}, hybrid.ErrNotAuthentic},
		"changed": {func(w http.ResponseWriter) {
			vouch(t, w, regwire.KeyAnswer{Name: "alice", Time: now, PEM: []byte("pem")})
			w.Write([]byte("x"))
		}, hybrid.ErrNotAuthentic},
		"hidden": {func(w http.ResponseWriter) {
			vouch(t, httptest.NewRecorder(), regwire.KeyAnswer{Name: "alice", Time: now, PEM: []byte("pem")})
			w.WriteHeader(http.StatusNotFound)
		}, hybrid.ErrNotAuthentic},
	} {
		client := connect(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != "GET" || r.URL.Path != "/keys/alice" {
				t.Errorf("asked for %s %s", r.Method, r.URL)
			}
			c.answer(w)
		})
		pem, _, err := client.Keys(t.Context(), "alice")
		if !errors.Is(err, c.want) || (err == nil) != (string(pem) == "pem") {
			t.Errorf("%s: %q, %v", name, pem, err)
		}
	}
}

// What is no answer of a registration server's is an error, and never more than
// that.
func TestOtherServers(t *testing.T) {
	visited := false
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visited = true }))
	defer elsewhere.Close()
	for name, handle := range map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) },
		"trouble":  func(w http.ResponseWriter, r *http.Request) { http.Error(w, "x", http.StatusInternalServerError) },
		"web site": func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>") },
		"flood":    func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, maxAnswer+1)) },
		"no HTTP": func(w http.ResponseWriter, r *http.Request) {
			hijack(t, w, "-ERR too many connections, try again later\r\n")
		},
		"cut short": func(w http.ResponseWriter, r *http.Request) {
			hijack(t, w, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n+OK")
		},
	} {
		c := connect(t, handle)
		if _, _, err := c.Keys(t.Context(), "alice"); err == nil {
			t.Errorf("%s: it gives keys", name)
		}
		if _, err := c.ServerKey(t.Context()); err == nil || !strings.Contains(err.Error(), c.Address.HostPort()) {
			t.Errorf("%s: it has a key: %v", name, err)
		}
		r := regwire.Request{Action: regwire.Register, Name: "alice", Secret: regwire.NewSecret()}
		if text, err := c.Send(t.Context(), r); err == nil {
			t.Errorf("%s: it registers: %q", name, text)
		}
	}
	if visited {
		t.Error("a redirection was followed")
	}
}

// A limit that is reached is no other server's answer.
func TestTooManyRequests(t *testing.T) {
	c := connect(t, func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "too many requests from your address, try again later", http.StatusTooManyRequests)
	})
	_, err := c.ServerKey(t.Context())
	_, _, err2 := c.Keys(t.Context(), "alice")
	_, err3 := c.Send(t.Context(), regwire.Request{Secret: regwire.NewSecret()})
	want := c.Address.String() + " takes no more requests from your address for now: try again later"
	for _, err := range []error{err, err2, err3, c.Prepare(t.Context(), &regwire.Request{})} {
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// A server with too many connections says so before it hears whether the client
// speaks HTTP, TLS or the original's protocol.
func TestBusyServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, "-ERR too many connections, try again later\x1b[2J\r\n")
			go func() { io.Copy(io.Discard, conn); conn.Close() }()
		}
	}()
	for _, address := range []string{l.Addr().String(), "https://" + l.Addr().String()} {
		a, err := ParseAddress(address)
		if err != nil {
			t.Fatal(err)
		}
		want := a.String() + ": the server refused: too many connections, try again later\ufffd[2J"
		if _, err := New(a).ServerKey(t.Context()); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func hijack(t *testing.T, w http.ResponseWriter, text string) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	io.WriteString(conn, text)
	conn.Close()
}

func TestSend(t *testing.T) {
	for name, c := range map[string]struct {
		line, mac string
		want      string
		refusal   *Refusal
	}{
		"done":            {line: "+OK alice is registered", want: "alice is registered"},
		"refused":         {line: "-ERR the name is taken", refusal: &Refusal{"the name is taken", true}},
		"refused, no mac": {line: "-ERR the name is taken", mac: "none", refusal: &Refusal{"the name is taken", false}},
		"forged":          {line: "+OK alice is registered", mac: "other"},
	} {
		client := connect(t, func(w http.ResponseWriter, r *http.Request) {
			payload, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			request, err := regwire.Open(payload, serverKey())
			if err != nil {
				t.Error(err)
			}
			signed := c.line
			if c.mac == "other" {
				signed = "-ERR the name is taken"
			}
			if c.mac != "none" {
				w.Header().Set(regwire.MACField, base64.StdEncoding.EncodeToString(request.ReplyMAC(&serverKey().PublicKey, signed)))
			}
			io.WriteString(w, c.line+"\r\n")
		})
		text, err := client.Send(t.Context(), regwire.Request{Action: regwire.Register, Name: "alice", Secret: regwire.NewSecret()})
		var refused *Refusal
		if text != c.want || errors.As(err, &refused) != (c.refusal != nil) || refused != nil && *refused != *c.refusal {
			t.Errorf("%s: %q, %v", name, text, err)
		}
		if name == "forged" && !errors.Is(err, hybrid.ErrNotAuthentic) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSilentServer(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	c := connect(t, func(_ http.ResponseWriter, r *http.Request) {
		stop()
		<-r.Context().Done()
	})
	if err := c.Prepare(ctx, &regwire.Request{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestPrepare(t *testing.T) {
	c := connect(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "challenge\r\n") })
	var r regwire.Request
	if err := c.Prepare(t.Context(), &r); err != nil || r.Challenge != "challenge" || len(r.Secret) != 32 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestParseAddress(t *testing.T) {
	for text, want := range map[string]string{
		"mail.example.org": "mail.example.org:60085", "Mail.Example.Org:1": "mail.example.org:1", "https://a": "https://a:60085",
		"https://a:443": "https://a:443", "127.0.0.1:1": "127.0.0.1:1", "[::1]:2": "[::1]:2", "::1": "[::1]:60085", "[::1]": "[::1]:60085",
		"bücher.example": "bücher.example:60085",
	} {
		a, err := ParseAddress(text)
		if err != nil || a.String() != want || a.IsZero() {
			t.Errorf("%q is read as %q, %v", text, a, err)
		}
		if again, err := ParseAddress(a.String()); again != a {
			t.Errorf("%q is read as %q, %v", a, again, err)
		}
	}
	for _, bad := range []string{"", ":1", "a:", "a:0", "a:65536", "a:x", "a b", "http://a", "a/b", "a@b", "a\n", "https://", "a:1:2", "https://https://a", "../x"} {
		if a, err := ParseAddress(bad); err == nil {
			t.Errorf("%q is read as %q", bad, a)
		}
	}
}

// Whoever can't prove who they are may still choose the names in their certificate.
func TestNamesInACertificate(t *testing.T) {
	key := serverKey()
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"\x1b[2J"}}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.StartTLS()
	defer s.Close()
	a, err := ParseAddress("https://localhost:" + s.URL[strings.LastIndex(s.URL, ":")+1:])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(a).ServerKey(t.Context()); err == nil || !strings.Contains(err.Error(), "\ufffd[2J") || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("%v", err)
	}
}
