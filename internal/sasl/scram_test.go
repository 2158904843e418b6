package sasl

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// RFC 7677, section 3.
const (
	vectorNonce       = "rOprNGfwEbeRWgbNEkqO"
	vectorServerNonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
	vectorClientFirst = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
	vectorServerFirst = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
	vectorClientFinal = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
	vectorServerFinal = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
)

func vectorServer(t testing.TB) *Server {
	s := newServer(t, ScramSHA256, secure)
	s.nonce = func() string { return vectorServerNonce }
	return s
}

// vectorClient is a client that has sent its first message.
func vectorClient(t testing.TB) *Client {
	t.Helper()
	x, err := newScramClient("user", "pencil", false, nil)
	if err != nil {
		t.Fatal(err)
	}
	x.setNonce("user", vectorNonce)
	c := &Client{err: ErrUnfinished, begin: x.first}
	if first, err := c.Start(); err != nil || string(first) != vectorClientFirst {
		t.Fatalf("%q, %v", first, err)
	}
	return c
}

func TestVectorServer(t *testing.T) {
	s := vectorServer(t)
	for i, c := range [][2]string{{vectorClientFirst, vectorServerFirst}, {vectorClientFinal, vectorServerFinal}} {
		challenge, done, err := s.Next(context.Background(), []byte(c[0]))
		if err != nil || done || string(challenge) != c[1] || s.User() != "" {
			t.Fatalf("%d: %q, %v, %v, user %q", i, challenge, done, err, s.User())
		}
	}
	if _, done, err := s.Next(context.Background(), []byte{}); !done || err != nil || s.User() != "user" {
		t.Errorf("%v, %v, %q", done, err, s.User())
	}
}

func TestVectorClient(t *testing.T) {
	c := vectorClient(t)
	for i, m := range [][2]string{{vectorServerFirst, vectorClientFinal}, {vectorServerFinal, ""}} {
		if c.Done() != ErrUnfinished {
			t.Errorf("%d: done: %v", i, c.Done())
		}
		response, err := c.Next([]byte(m[0]))
		if err != nil || string(response) != m[1] || response == nil {
			t.Fatalf("%d: %q, %v", i, response, err)
		}
	}
	if c.Done() != nil {
		t.Error(c.Done())
	}
}

func TestServerNonces(t *testing.T) {
	a, b := newNonce(), newNonce()
	if a == b || len(a) < nonceSize || !isNonce(a) {
		t.Error(a, b)
	}
}

func TestClientFirst(t *testing.T) {
	for message, want := range map[string]error{
		"n,,n=user,r=x":              nil,
		"n,,n=user,r=x,z=ext,y=a=b":  nil,
		"n,a=user,n=user,r=x":        nil, // wrong ones fail at the end
		"n,a=other,n=user,r=x":       nil,
		"y,,n=user,r=x":              nil,
		"n,,n=nobody,r=x":            nil,
		"n,,n=a=2Cb=3Dc,r=x":         nil,
		"p=tls-exporter,,n=user,r=x": ErrFailed,
		"n,,n=u\a,r=x":               ErrFailed,
		"n,,n=\u00ad,r=x":            ErrFailed,
		"n,,n=trouble,r=x":           errTrouble,
		"":                           ErrSyntax,
		"n":                          ErrSyntax,
		"n,":                         ErrSyntax,
		"n,,":                        ErrSyntax,
		"n,,n=user":                  ErrSyntax,
		"n,,r=x,n=user":              ErrSyntax,
		"n,,n=,r=x":                  ErrSyntax,
		"n,,n=user,r=":               ErrSyntax,
		"n,,n=user,r=\x7f":           ErrSyntax,
		"n,,n=user,r=x y":            ErrSyntax,
		"n,,n=user,r=ü":              ErrSyntax,
		"n,,m=ext,n=user,r=x":        ErrSyntax, // RFC 5802, section 5.1
		"n,,n=user,r=x,m=ext":        ErrSyntax,
		"n,,n=user,r=x,":             ErrSyntax,
		"n,,n=user,r=x,z":            ErrSyntax,
		"n,,n=user,r=x,z=":           ErrSyntax,
		"n,,n=user,r=x,1=x":          ErrSyntax,
		"n,,n=us=er,r=x":             ErrSyntax,
		"n,,n=us=2cer,r=x":           ErrSyntax,
		"n,,n=us=,r=x":               ErrSyntax,
		"n,,n=us\x00er,r=x":          ErrSyntax,
		"n,,n=us\xffer,r=x":          ErrSyntax,
		"n,user,n=user,r=x":          ErrSyntax,
		"n,a=,n=user,r=x":            ErrSyntax,
		"n,a=x=,n=user,r=x":          ErrSyntax,
		"n,a=\xff,n=user,r=x":        ErrSyntax,
		"x,,n=user,r=x":              ErrSyntax,
		"N,,n=user,r=x":              ErrSyntax,
		",,n=user,r=x":               ErrSyntax,
		"p,,n=user,r=x":              ErrSyntax,
		" n,,n=user,r=x":             ErrSyntax,
		strings.Repeat("n,,n=u,r=x,z=", maxMessage): ErrSyntax,
	} {
		s := vectorServer(t)
		challenge, done, err := s.Next(context.Background(), []byte(message))
		if err != want || done || (err == nil) != strings.HasPrefix(string(challenge), "r=x"+vectorServerNonce+",s=") {
			t.Errorf("%.40q: %q, %v; want %v", message, challenge, err, want)
		}
	}
}

func TestClientFinal(t *testing.T) {
	const nonces = "r=" + vectorNonce + vectorServerNonce
	head, proof, _ := strings.Cut(vectorClientFinal, ",p=")
	zeros := base64.StdEncoding.EncodeToString(make([]byte, proofSize))
	for message, want := range map[string]error{
		vectorClientFinal:                         nil,
		head + ",p=" + zeros:                      ErrFailed,
		head + ",z=ext,p=" + proof:                ErrFailed, // accepted as such, but not what was proved
		"c=eSws," + nonces + ",p=" + proof:        ErrFailed, // "y,,"
		"c=biws,r=" + vectorNonce + ",p=" + proof: ErrFailed,
		"c=biws," + nonces + "x,p=" + proof:       ErrFailed,
		head:                                      ErrSyntax,
		"":                                        ErrSyntax,
		head + ",p=":                              ErrSyntax,
		head + ",p=" + proof[:40]:                 ErrSyntax,
		head + ",p=" + proof + "AAAA":             ErrSyntax,
		head + ",p=" + proof + ",z=x":             ErrSyntax,
		head + ",p=" + strings.TrimSuffix(proof, "="): ErrSyntax,
		head + ",p=\r\n" + proof:                      ErrSyntax,
		head + ",m=x,p=" + proof:                      ErrSyntax,
		nonces + ",c=biws,p=" + proof:                 ErrSyntax,
		"c=bi," + nonces + ",p=" + proof:              ErrSyntax,
		"c=biws,p=" + proof:                           ErrSyntax,
		"c=biws," + nonces + "\x00,p=" + proof:        ErrSyntax,
	} {
		s := vectorServer(t)
		if _, _, err := s.Next(context.Background(), []byte(vectorClientFirst)); err != nil {
			t.Fatal(err)
		}
		challenge, done, err := s.Next(context.Background(), []byte(message))
		if err != want || done || (err == nil) != (challenge != nil) || s.User() != "" {
			t.Errorf("%q: %q, %v; want %v", message, challenge, err, want)
		}
	}
	s := vectorServer(t)
	for _, response := range []string{vectorClientFirst, vectorClientFinal, "x"} {
		if _, done, err := s.Next(context.Background(), []byte(response)); done || err != nil && (err != ErrSyntax || response != "x") {
			t.Errorf("%q: %v, %v", response, done, err)
		}
	}
	if s.User() != "" {
		t.Error("a malformed end is an end")
	}
}

// A proof of other nonces than ours is one that was made for another exchange.
func TestProofOfOtherNonces(t *testing.T) {
	for nonces, want := range map[string]error{vectorNonce + vectorServerNonce: nil, vectorNonce + "theirs": ErrFailed} {
		s := vectorServer(t)
		challenge, _, err := s.Next(context.Background(), []byte(vectorClientFirst))
		if err != nil {
			t.Fatal(err)
		}
		v := makeVerifier("user", "pencil")
		salted, err := pbkdf2.Key(sha256.New, "pencil", v.Salt, v.Iterations, proofSize)
		if err != nil {
			t.Fatal(err)
		}
		message := "c=biws,r=" + nonces
		text := strings.TrimPrefix(vectorClientFirst, "n,,") + "," + string(challenge) + "," + message
		proof := signature(v.StoredKey, text)
		subtle.XORBytes(proof, proof, signature(salted, "Client Key"))
		message += ",p=" + base64.StdEncoding.EncodeToString(proof)
		if _, _, err := s.Next(context.Background(), []byte(message)); err != want {
			t.Errorf("%s: %v, want %v", nonces, err, want)
		}
	}
}

// withHeader runs an exchange whose client uses another GS2 header than it
// should.
func withHeader(t *testing.T, mechanism string, ch Channel, header string, data []byte) error {
	t.Helper()
	x, err := newScramClient("user", "pencil", false, nil)
	if err != nil {
		t.Fatal(err)
	}
	x.header, x.binding.Data = header, data
	_, err = exchange(newServer(t, mechanism, ch), &Client{err: ErrUnfinished, begin: x.first})
	return err
}

func TestBindingFlags(t *testing.T) {
	for _, c := range []struct {
		mechanism, header, data string
		ch                      Channel
		want                    error
	}{
		{ScramSHA256, "n,,", "", bound, nil},
		{ScramSHA256, "n,,", "", Channel{}, nil},
		{ScramSHA256, "y,,", "", secure, nil},
		{ScramSHA256, "y,,", "", bound, ErrFailed}, // a downgrade: RFC 5802, section 6
		{ScramSHA256, "p=tls-exporter,,", "exported", bound, ErrFailed},
		{ScramSHA256Plus, "p=tls-exporter,,", "exported", bound, nil},
		{ScramSHA256Plus, "p=tls-server-end-point,,", "hash", bound, nil},
		{ScramSHA256Plus, "p=tls-exporter,,", "hash", bound, ErrFailed}, // another connection
		{ScramSHA256Plus, "p=tls-exporter,,", "", bound, ErrFailed},
		{ScramSHA256Plus, "p=tls-unique,,", "exported", bound, ErrFailed},
		{ScramSHA256Plus, "p=,,", "", bound, ErrFailed},
		{ScramSHA256Plus, "n,,", "", bound, ErrFailed},
		{ScramSHA256Plus, "y,,", "", bound, ErrFailed},
		{ScramSHA256Plus, "x,,", "", bound, ErrSyntax},
		{ScramSHA256, "n,a=user,", "", secure, nil},
		{ScramSHA256, "n,a=USER,", "", secure, nil},
		{ScramSHA256, "n,a=tim,", "", secure, ErrFailed},
		{ScramSHA256, "n,a=nobody,", "", secure, ErrFailed},
		{ScramSHA256, "n,a=trouble,", "", secure, errTrouble},
	} {
		if err := withHeader(t, c.mechanism, c.ch, c.header, []byte(c.data)); err != c.want {
			t.Errorf("%s %q %q: %v, want %v", c.mechanism, c.header, c.data, err, c.want)
		}
	}
}

// A name that does not exist must fail like one that does, even for a client
// that knows what the invented verifier was made of.
func TestUnknownUserFailsAtTheEnd(t *testing.T) {
	for _, user := range []string{"user", "nobody"} {
		x, err := newScramClient(user, "wrong", false, nil)
		if err != nil {
			t.Fatal(err)
		}
		if user == "nobody" {
			x.password = "" // what testUsers' verifier has
		}
		s := newServer(t, ScramSHA256, secure)
		first, next := x.first()
		challenge, _, err := s.Next(context.Background(), first)
		if err != nil {
			t.Fatalf("%s: %v", user, err)
		}
		final, _, err := next(challenge)
		if err != nil {
			t.Fatal(err)
		}
		if challenge, _, err := s.Next(context.Background(), final); err != ErrFailed || challenge != nil {
			t.Errorf("%s: %q, %v", user, challenge, err)
		}
		if s.login != user {
			t.Errorf("login %q, want %q", s.login, user)
		}
	}
}

func TestClientRefusesServers(t *testing.T) {
	const nonces, salt = "r=" + vectorNonce + vectorServerNonce, "s=W22ZaJ0SNY7soEsUEjb6gQ=="
	for _, challenge := range []string{
		"", "x", "e=other-error", salt + ",i=4096",
		"r=" + vectorNonce + "," + salt + ",i=4096",  // no nonce of its own
		"r=x" + vectorNonce + "," + salt + ",i=4096", // not ours
		nonces + " ," + salt + ",i=4096",
		nonces + ",s=,i=4096", nonces + ",s=W2,i=4096", nonces + ",i=4096," + salt,
		nonces + "," + salt, nonces + "," + salt + ",i=4095", nonces + "," + salt + ",i=1000001",
		nonces + "," + salt + ",i=-4096", nonces + "," + salt + ",i=04096", nonces + "," + salt + ",i=9999999999999999999999",
		"m=x," + vectorServerFirst, vectorServerFirst + ",m=x",
		vectorServerFirst + ",z=" + strings.Repeat("x", maxMessage),
	} {
		c := vectorClient(t)
		if response, err := c.Next([]byte(challenge)); !errors.Is(err, ErrServer) || response != nil || !errors.Is(c.Done(), ErrServer) {
			t.Errorf("%.60q: %q, %v, %v", challenge, response, err, c.Done())
		}
	}
	for challenge, want := range map[string]error{
		"":                 ErrServer,
		"v=":               ErrServer,
		"v=6rriTRBi23WpRR": ErrServer,
		vectorServerFinal[:2] + strings.Repeat("A", 43) + "=": ErrServer,
		"e=invalid-proof": ErrFailed,
	} {
		c := vectorClient(t)
		if _, err := c.Next([]byte(vectorServerFirst)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Next([]byte(challenge)); !errors.Is(err, want) || !errors.Is(c.Done(), want) {
			t.Errorf("%q: %v, %v; want %v", challenge, err, c.Done(), want)
		}
	}
}

// The flag says that the client could have bound.
func TestClientFlags(t *testing.T) {
	for _, c := range []struct {
		mechanism string
		bindings  []Binding
		want      string
	}{
		{ScramSHA256, nil, "n,,n=user,"}, {ScramSHA256, bound.Bindings, "y,,n=user,"},
		{ScramSHA256Plus, bound.Bindings, "p=tls-exporter,,n=user,"},
		{ScramSHA256Plus, bound.Bindings[1:], "p=tls-server-end-point,,n=user,"},
	} {
		client, err := NewClient(c.mechanism, "user", "pencil", c.bindings)
		if err != nil {
			t.Fatal(err)
		}
		if first, err := client.Start(); err != nil || !strings.HasPrefix(string(first), c.want) {
			t.Errorf("%q, %v; want %q", first, err, c.want)
		}
	}
}

func FuzzSaslname(f *testing.F) {
	f.Add("a=2Cb=3Dc")
	f.Add("=3D2C")
	f.Fuzz(func(t *testing.T, s string) {
		if name, ok := unescapeName(s); ok && escapeName(name) != s {
			t.Errorf("%q became %q", s, name)
		}
		if name, ok := unescapeName(escapeName(s)); s != "" && (!ok || name != s) {
			t.Errorf("%q became %q", s, name)
		}
	})
}

func FuzzClient(f *testing.F) {
	f.Add([]byte(vectorServerFirst), []byte(vectorServerFinal))
	f.Fuzz(func(t *testing.T, first, final []byte) {
		c := vectorClient(t)
		if _, err := c.Next(first); err != nil {
			return
		}
		if _, err := c.Next(final); (err == nil) != (c.Done() == nil) || err == nil && !strings.HasPrefix(string(final), "v=") {
			t.Errorf("%v, %v", err, c.Done())
		}
	})
}

func ExampleServer_Converse() {
	users := testUsers{"alice": "secret"}
	s, err := NewServer(Login, users, Channel{Secure: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	lines := []string{"YWxpY2U=", "c2VjcmV0"}
	user, err := s.Converse(context.Background(), nil, func(challenge string) (string, error) {
		fmt.Println("334", challenge)
		line := lines[0]
		lines = lines[1:]
		return line, nil
	})
	fmt.Println(user, err)
	// Output:
	// 334 VXNlcm5hbWU6
	// 334 UGFzc3dvcmQ6
	// alice <nil>
}
