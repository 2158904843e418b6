package sasl

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"slices"
	"testing"
	"time"
)

func certificate(t *testing.T, key crypto.Signer, algorithm x509.SignatureAlgorithm) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		SignatureAlgorithm: algorithm, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// connect returns what both ends see of a connection, and keeps it open.
func connect(t *testing.T, cert tls.Certificate, version uint16) (server, client tls.ConnectionState) {
	t.Helper()
	a, b := net.Pipe()
	t.Cleanup(func() { a.Close(); b.Close() })
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	s := tls.Server(a, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: version, MaxVersion: version, SessionTicketsDisabled: true})
	c := tls.Client(b, &tls.Config{RootCAs: roots, ServerName: "localhost"})
	shaken := make(chan error, 1)
	go func() { shaken <- s.Handshake() }()
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	return s.ConnectionState(), c.ConnectionState()
}

func certificates(t *testing.T) map[string]tls.Certificate {
	t.Helper()
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]tls.Certificate{
		"ECDSA":   certificate(t, ec, x509.ECDSAWithSHA384),
		"RSA":     certificate(t, rs, x509.SHA256WithRSA),
		"PSS":     certificate(t, rs, x509.SHA512WithRSAPSS),
		"Ed25519": certificate(t, ed, x509.PureEd25519),
	}
}

func TestBindings(t *testing.T) {
	for name, cert := range certificates(t) {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			server, client := connect(t, cert, version)
			ours := Bindings(&server, cert.Leaf)
			theirs := Bindings(&client, client.PeerCertificates[0])
			var end []byte
			switch raw := cert.Leaf.Raw; name {
			case "ECDSA":
				sum := sha512.Sum384(raw)
				end = sum[:]
			case "RSA":
				sum := sha256.Sum256(raw)
				end = sum[:]
			case "PSS":
				sum := sha512.Sum512(raw)
				end = sum[:]
			}
			want := []string{"tls-exporter"}
			if end != nil {
				want = append(want, "tls-server-end-point")
			}
			if version == tls.VersionTLS12 {
				want = append(want, "tls-unique")
			}
			if !slices.Equal(types(ours), want) || len(ours[0].Data) != 32 || end != nil && !bytes.Equal(ours[1].Data, end) {
				t.Errorf("%s: %v, want %v and the hash %x", name, ours, want, end)
			}
			if bare := types(Bindings(&server, nil)); slices.Contains(bare, "tls-server-end-point") || len(bare) == 0 {
				t.Errorf("without a certificate: %v", bare)
			}
			logInBound(t, ours, theirs)
		}
	}
}

func types(bindings []Binding) []string {
	var all []string
	for _, b := range bindings {
		all = append(all, b.Type)
	}
	return all
}

// logInBound lets a client at one end of a connection log in at the other, with
// every mechanism and every binding.
func logInBound(t *testing.T, ours, theirs []Binding) {
	t.Helper()
	ch := Channel{Secure: true, Bindings: ours}
	for _, mechanism := range ch.Mechanisms() {
		for i := range theirs {
			bindings := theirs[i:]
			if mechanism == ScramSHA256 {
				bindings = nil
			}
			c, err := NewClient(mechanism, "user", "pencil", bindings)
			if err != nil {
				t.Fatal(err)
			}
			if user, err := exchange(newServer(t, mechanism, ch), c); user != "user" || err != nil {
				t.Errorf("%s with %v: %q, %v", mechanism, bindings, user, err)
			}
		}
	}
}

// Somebody between client and server, even with the server's own certificate,
// has two connections, and they differ.
func TestBindingsDiffer(t *testing.T) {
	cert := certificates(t)["ECDSA"]
	_, client := connect(t, cert, tls.VersionTLS13)
	server, _ := connect(t, cert, tls.VersionTLS13)
	c, err := NewClient(ScramSHA256Plus, "user", "pencil", Bindings(&client, nil))
	if err != nil {
		t.Fatal(err)
	}
	ch := Channel{Secure: true, Bindings: Bindings(&server, nil)}
	if user, err := exchange(newServer(t, ScramSHA256Plus, ch), c); user != "" || err != ErrFailed {
		t.Errorf("%q, %v", user, err)
	}
}

func TestNoBindings(t *testing.T) {
	if b := Bindings(nil, nil); b != nil {
		t.Error(b)
	}
	if b := Bindings(&tls.ConnectionState{}, nil); b != nil {
		t.Error("before the handshake:", b)
	}
}

// RFC 5929, section 4.1: weak hashes are replaced.
func TestEndPointHash(t *testing.T) {
	for a, want := range map[x509.SignatureAlgorithm]crypto.Hash{
		x509.MD5WithRSA: crypto.SHA256, x509.SHA1WithRSA: crypto.SHA256, x509.ECDSAWithSHA1: crypto.SHA256,
		x509.SHA256WithRSAPSS: crypto.SHA256, x509.ECDSAWithSHA512: crypto.SHA512, x509.PureEd25519: 0,
		x509.UnknownSignatureAlgorithm: 0,
	} {
		if got, ok := endPointHash(a); got != want || ok != (want != 0) {
			t.Errorf("%v: %v, %v", a, got, ok)
		}
	}
}
