package acme

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// selfSigned is a Manager's SelfSigned.
func selfSigned(names []string) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), DNSNames: names, NotBefore: now, NotAfter: now.AddDate(10, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), err
}

// ca issues certificates.
type ca struct {
	key  *ecdsa.PrivateKey
	root *x509.Certificate
}

func newCA(t testing.TB) *ca {
	t.Helper()
	c := &ca{key: newKey(t)}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().AddDate(9, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, c.key.Public(), c.key)
	if err != nil {
		t.Fatal(err)
	}
	if c.root, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *ca) issue(t testing.TB, names []string, key crypto.PublicKey, from, until time.Time) [][]byte {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: serial, DNSNames: names, NotBefore: from, NotAfter: until}, c.root, key, c.key)
	if err != nil {
		t.Fatal(err)
	}
	return [][]byte{der, c.root.Raw}
}

// fakeCA is an authority (RFC 8555) that asks at one address, whatever the name.
// It takes signatures for good: scripts/acme.sh runs an authority that does not.
type fakeCA struct {
	*httptest.Server
	t  *testing.T
	ca *ca
	// ask is where it asks: http://HOST:PORT. refuse, if not empty, is the type of
	// problem of all authorizations, or "challenge" for one of another kind.
	ask, refuse string
	stale       int // requests that get badNonce

	mu       sync.Mutex
	nonces   int
	thumb    string            // of the account's key
	accounts map[string]bool   // by thumb
	names    []string          // of the order
	status   map[string]string // of an authorization, by name
	issued   [][]byte
}

func newFakeCA(t *testing.T) *fakeCA {
	f := &fakeCA{t: t, ca: newCA(t), accounts: map[string]bool{}, status: map[string]string{}}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(f.serve))
	f.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes fail on purpose
	f.StartTLS()
	t.Cleanup(f.Close)
	return f
}

// payload opens a request without looking at the signature.
func (f *fakeCA) payload(r *http.Request) (payload []byte, jwk map[string]string) {
	var jws struct{ Protected, Payload string }
	if err := json.NewDecoder(r.Body).Decode(&jws); err != nil {
		f.t.Error(err)
	}
	var head struct{ JWK map[string]string }
	protected, err := base64.RawURLEncoding.DecodeString(jws.Protected)
	if err == nil {
		err = json.Unmarshal(protected, &head)
	}
	if err != nil {
		f.t.Error(err)
	}
	if payload, err = base64.RawURLEncoding.DecodeString(jws.Payload); err != nil {
		f.t.Error(err)
	}
	return payload, head.JWK
}

func (f *fakeCA) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nonces++
	w.Header().Set("Replay-Nonce", fmt.Sprint("nonce", f.nonces))
	var payload []byte
	var jwk map[string]string
	if r.Method == http.MethodPost {
		payload, jwk = f.payload(r)
		if f.stale > 0 {
			f.stale--
			f.send(w, http.StatusBadRequest, map[string]string{"type": problemType + "badNonce"})
			return
		}
	}
	name := strings.TrimPrefix(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/'):], "/")
	switch action, _, _ := strings.Cut(r.URL.Path[1:], "/"); action {
	case "directory":
		f.send(w, http.StatusOK, map[string]any{"newNonce": f.URL + "/nonce", "newAccount": f.URL + "/account", "newOrder": f.URL + "/order",
			"meta": map[string]string{"termsOfService": "https://ca.example.org/terms"}})
	case "nonce":
	case "account":
		f.account(w, payload, jwk)
	case "order":
		f.order(w, payload)
	case "authz":
		f.send(w, http.StatusOK, f.authorization(name))
	case "challenge":
		f.validate(name)
		f.send(w, http.StatusOK, f.challenge(name))
	case "finalize":
		f.finalize(w, payload)
	case "cert":
		for _, der := range f.issued {
			pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: der})
		}
	default:
		http.NotFound(w, r)
	}
}

func (f *fakeCA) send(w http.ResponseWriter, status int, v any) {
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		f.t.Error(err)
	}
}

func (f *fakeCA) account(w http.ResponseWriter, payload []byte, jwk map[string]string) {
	if !strings.Contains(string(payload), `"termsOfServiceAgreed":true`) {
		f.t.Errorf("the terms are not agreed to: %s", payload)
	}
	// RFC 7638: the members in this order.
	sum := crypto.SHA256.New()
	fmt.Fprintf(sum, `{"crv":%q,"kty":%q,"x":%q,"y":%q}`, jwk["crv"], jwk["kty"], jwk["x"], jwk["y"])
	f.thumb = base64.RawURLEncoding.EncodeToString(sum.Sum(nil))
	status := http.StatusCreated
	if f.accounts[f.thumb] {
		status = http.StatusOK
	}
	f.accounts[f.thumb] = true
	w.Header().Set("Location", f.URL+"/account/1")
	f.send(w, status, map[string]string{"status": "valid"})
}

func (f *fakeCA) order(w http.ResponseWriter, payload []byte) {
	if len(payload) > 0 { // else it is asked how it is
		var request struct{ Identifiers []struct{ Value string } }
		if err := json.Unmarshal(payload, &request); err != nil {
			f.t.Error(err)
		}
		f.names = nil
		for _, i := range request.Identifiers {
			f.names = append(f.names, i.Value)
			f.status[i.Value] = "pending"
		}
		w.Header().Set("Location", f.URL+"/order/1")
	}
	f.sendOrder(w, len(payload) > 0)
}

func (f *fakeCA) sendOrder(w http.ResponseWriter, isNew bool) {
	order := map[string]any{"status": "ready", "finalize": f.URL + "/finalize/1"}
	var urls []string
	for _, name := range f.names {
		urls = append(urls, f.URL+"/authz/"+name)
		if f.status[name] != "valid" {
			order["status"] = "pending"
		}
	}
	order["authorizations"] = urls
	if f.issued != nil && !isNew {
		order["status"], order["certificate"] = "valid", f.URL+"/cert/1"
	}
	status := http.StatusOK
	if isNew {
		status = http.StatusCreated
	}
	f.send(w, status, order)
}

func (f *fakeCA) challenge(name string) map[string]any {
	c := map[string]any{"type": http01, "url": f.URL + "/challenge/" + name, "token": "token-" + name, "status": f.status[name]}
	if f.refuse == "challenge" {
		c["type"] = "dns-01"
	} else if f.status[name] == "invalid" {
		c["error"] = map[string]string{"type": problemType + f.refuse, "detail": "refused"}
	}
	return c
}

func (f *fakeCA) authorization(name string) map[string]any {
	return map[string]any{"status": f.status[name], "identifier": map[string]string{"type": "dns", "value": name}, "challenges": []any{f.challenge(name)}}
}

// validate asks for the answer to a challenge (RFC 8555, section 8.3).
func (f *fakeCA) validate(name string) {
	if f.refuse != "" {
		f.status[name] = "invalid"
		return
	}
	f.status[name] = "valid"
	resp, err := http.Get(f.ask + challengePath + "token-" + name)
	if err != nil {
		f.t.Error(err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if want := "token-" + name + "." + f.thumb; err != nil || resp.StatusCode != http.StatusOK || string(body) != want {
		f.t.Errorf("the answer is %s %q, %v; want %q", resp.Status, body, err, want)
	}
}

func (f *fakeCA) finalize(w http.ResponseWriter, payload []byte) {
	var request struct{ CSR string }
	err := json.Unmarshal(payload, &request)
	der, err2 := base64.RawURLEncoding.DecodeString(request.CSR)
	csr, err3 := x509.ParseCertificateRequest(der)
	if err != nil || err2 != nil || err3 != nil || csr.CheckSignature() != nil {
		f.t.Errorf("the request for the certificate: %v, %v, %v", err, err2, err3)
		return
	}
	f.issued = f.ca.issue(f.t, csr.DNSNames, csr.PublicKey, time.Now(), time.Now().Add(lifetime))
	w.Header().Set("Location", f.URL+"/order/1")
	f.sendOrder(w, false)
}
