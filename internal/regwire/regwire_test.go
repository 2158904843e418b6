package regwire

import (
	"crypto/rsa"
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"xm/hybrid"
)

var keys = sync.OnceValue(func() (k [3]*rsa.PrivateKey) {
	for i := range k {
		var err error
		if k[i], err = hybrid.GenerateKey(2048); err != nil {
			panic(err)
		}
	}
	return k
})

// signedRequest is by keys()[1], to the server of keys()[0].
func signedRequest(t *testing.T) Request {
	t.Helper()
	server, own := keys()[0], keys()[1]
	r := Request{Action: Change, Name: "alice", Record: "salt,hash", Keys: string(hybrid.MarshalPublicKey(&own.PublicKey)),
		Invite: "code", Challenge: "challenge", Secret: NewSecret()}
	if err := errors.Join(r.Prove(&server.PublicKey, own), r.Sign(&server.PublicKey, own)); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSealAndOpen(t *testing.T) {
	server := keys()[0]
	r := signedRequest(t)
	payload, err := r.Seal(&server.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Open(payload, server)
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := Open(payload, keys()[1]); !errors.Is(err, hybrid.ErrNotAuthentic) {
		t.Errorf("with another key: %v", err)
	}
}

// Every field is signed, but for the secret and the signatures themselves.
func TestSignaturesCoverAllFields(t *testing.T) {
	server, own := &keys()[0].PublicKey, &keys()[1].PublicKey
	r := signedRequest(t)
	if err := errors.Join(r.VerifyProof(server, own), r.VerifySignature(server, own)); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"Action", "Name", "Record", "Keys", "Invite", "Challenge"} {
		changed := r
		f := reflect.ValueOf(&changed).Elem().FieldByName(field)
		f.SetString(f.String() + "x")
		if err := changed.VerifyProof(server, own); !errors.Is(err, ErrSignature) {
			t.Errorf("with another %s, the proof: %v", field, err)
		}
		if err := changed.VerifySignature(server, own); !errors.Is(err, ErrSignature) {
			t.Errorf("with another %s, the signature: %v", field, err)
		}
	}
	other := &keys()[2].PublicKey
	if r.VerifyProof(other, own) == nil || r.VerifySignature(other, own) == nil {
		t.Error("good at another server")
	}
	if r.VerifyProof(server, other) == nil || r.VerifySignature(server, other) == nil {
		t.Error("good for another key")
	}
}

func TestParseRefuses(t *testing.T) {
	secret, err := json.Marshal(NewSecret())
	if err != nil {
		t.Fatal(err)
	}
	good := `{"action":"register","name":"alice","challenge":"c","secret":` + string(secret) + `}`
	if _, err := Parse([]byte(good + "\n")); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		"", "null", "[]", "alice,salt,hash", good + good, good + "}", good[:len(good)-1],
		strings.Replace(good, "{", `{"more":1,`, 1),
		strings.Replace(good, "register", "destroy", 1),
		strings.Replace(good, string(secret), `"AAAA"`, 1),
		strings.Replace(good, string(secret), `null`, 1),
		strings.Replace(good, `"alice"`, `7`, 1),
	} {
		if r, err := Parse([]byte(bad)); err == nil {
			t.Errorf("%q is read as %+v", bad, r)
		}
	}
}

func TestReplyMAC(t *testing.T) {
	server := &keys()[0].PublicKey
	r := Request{Challenge: "c", Secret: []byte("secret")}
	mac := string(r.ReplyMAC(server, "+OK"))
	if mac != string(r.ReplyMAC(server, "+OK")) {
		t.Error("it is not always the same")
	}
	for name, other := range map[string][]byte{
		"line":      r.ReplyMAC(server, "-ERR"),
		"server":    r.ReplyMAC(&keys()[2].PublicKey, "+OK"),
		"challenge": Request{Challenge: "d", Secret: r.Secret}.ReplyMAC(server, "+OK"),
		"secret":    Request{Challenge: "c", Secret: []byte("other")}.ReplyMAC(server, "+OK"),
	} {
		if string(other) == mac {
			t.Errorf("it does not depend on the %s", name)
		}
	}
}

func TestKeyAnswer(t *testing.T) {
	server := keys()[0]
	a := KeyAnswer{Name: "alice", Time: FormatTime(time.Unix(1, 0)), PEM: []byte("pem")}
	sig, err := a.Sign(server)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Verify(&server.PublicKey, sig); err != nil {
		t.Error(err)
	}
	for name, other := range map[string]KeyAnswer{
		"name":  {"bob", a.Time, a.PEM},
		"time":  {a.Name, FormatTime(time.Unix(2, 0)), a.PEM},
		"key":   {a.Name, a.Time, []byte("other")},
		"none":  {a.Name, a.Time, nil},
		"empty": {a.Name, a.Time, []byte{}},
	} {
		if err := other.Verify(&server.PublicKey, sig); !errors.Is(err, ErrSignature) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	if err := a.Verify(&keys()[1].PublicKey, sig); !errors.Is(err, ErrSignature) {
		t.Errorf("another server: %v", err)
	}
}

// readStatement is the reverse of statement.
func readStatement(t *testing.T, s string) (texts []string) {
	for s != "" {
		length, rest, _ := strings.Cut(s, ":")
		n, err := strconv.Atoi(length)
		if err != nil || n >= len(rest) || rest[n] != ',' {
			t.Fatalf("%q is no statement", s)
		}
		texts, s = append(texts, rest[:n]), rest[n+1:]
	}
	return texts
}

// Lists of texts that differ make statements that differ: they can be read back.
func FuzzStatement(f *testing.F) {
	f.Add("", "a", "1:a,")
	f.Add("xm keys 1", ",", "12:")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		want := []string{a, b, c}
		if got := readStatement(t, string(statement(want...))); !reflect.DeepEqual(got, want) {
			t.Errorf("%q came back as %q", want, got)
		}
	})
}

// What is read as a request is written as one that reads the same.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"action":"register","name":"alice","challenge":"c","secret":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`))
	f.Add([]byte(`{"action":"change","name":"alice","record":"salt,hash","keys":"x","invite":"i","proof":"AA==","signature":"AA==","challenge":"c","secret":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`))
	f.Fuzz(func(t *testing.T, message []byte) {
		r, err := Parse(message)
		if err != nil {
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		r2, err := Parse(again)
		if err != nil || string(r.statement(&keys()[0].PublicKey)) != string(r2.statement(&keys()[0].PublicKey)) {
			t.Errorf("%q is read as %+v, and then as %+v, %v", message, r, r2, err)
		}
	})
}
