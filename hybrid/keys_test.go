package hybrid

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
)

func TestKeysComeBackAsWritten(t *testing.T) {
	seed := readFile(t, "seed", "key.priv")
	me, sender := seedKeys(t)
	if got := MarshalPrivateKey(me); !bytes.Equal(bytes.TrimSpace(got), bytes.TrimSpace(seed)) {
		t.Errorf("key.priv came back as\n%s", got)
	}
	pub := readFile(t, "seed", "test.pub")
	if got := MarshalPublicKey(sender); !bytes.Equal(bytes.TrimSpace(got), bytes.TrimSpace(pub)) {
		t.Errorf("test.pub came back as\n%s", got)
	}
}

func TestParsePKCS8(t *testing.T) {
	me, _ := seedKeys(t)
	der, err := x509.MarshalPKCS8PrivateKey(me)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParsePrivateKey(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if err != nil || !got.Equal(me) {
		t.Errorf("PKCS#8: %v", err)
	}
}

// Stronger keys will stand beside the RSA key in the same file.
func TestOtherBlocksArePassedOver(t *testing.T) {
	me, _ := seedKeys(t)
	other := pem.EncodeToMemory(&pem.Block{Type: "XM NEXT KEY", Bytes: []byte("future")})
	both := append(other, append(MarshalPrivateKey(me), MarshalPublicKey(&me.PublicKey)...)...)
	if got, err := ParsePrivateKey(both); err != nil || !got.Equal(me) {
		t.Errorf("private: %v", err)
	}
	if got, err := ParsePublicKey(both); err != nil || !got.Equal(&me.PublicKey) {
		t.Errorf("public: %v", err)
	}
}

func TestBadKeys(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecPriv, err := x509.MarshalPKCS8PrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	ecPub, err := x509.MarshalPKIXPublicKey(&ec.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	me, _ := seedKeys(t)
	even := rsa.PublicKey{N: new(big.Int).Add(me.N, big.NewInt(1)), E: me.E}
	block := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	for name, c := range map[string]struct {
		pem  []byte
		want string
	}{
		"nothing":       {nil, "no PEM block"},
		"text":          {[]byte("hello"), "no PEM block"},
		"damaged pkcs1": {block("RSA PRIVATE KEY", []byte("x")), "damaged private key"},
		"damaged pkcs8": {block("PRIVATE KEY", []byte("x")), "damaged private key"},
		"elliptic":      {block("PRIVATE KEY", ecPriv), "not RSA"},
	} {
		if _, err := ParsePrivateKey(c.pem); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("private key, %s: %v, want %q", name, err, c.want)
		}
	}
	for name, c := range map[string]struct {
		pem  []byte
		want string
	}{
		"nothing":   {nil, "no PEM block"},
		"damaged":   {block("PUBLIC KEY", []byte("x")), "damaged public key"},
		"elliptic":  {block("PUBLIC KEY", ecPub), "not RSA"},
		"1024 bits": {readFile(t, "rsa1024.pub"), "1024 bits"},
		"even":      {MarshalPublicKey(&even), "even"},
		"e = 3":     {readFile(t, "rsa-e3.pub"), "e = 3"},
		"private":   {readFile(t, "seed", "key.priv"), `it holds "RSA PRIVATE KEY", where "PUBLIC KEY" is wanted`},
	} {
		if _, err := ParsePublicKey(c.pem); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("public key, %s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := GenerateKey(1024); err == nil {
		t.Error("a key of 1024 bits was made")
	}
}

func TestFingerprint(t *testing.T) {
	_, sender := seedKeys(t)
	// openssl pkey -pubin -in test.pub -outform DER | sha256sum
	const want = "54c9 6e9a ed27 ec83 c59c 02a0 4f26 5cb0 df12 e141 e5ed 76e0 cd89 0242 12a4 2a67"
	if got := Fingerprint(sender); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
