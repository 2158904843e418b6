package hybrid

import (
	"bytes"
	"crypto/aes"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
)

// passphrase is that of testdata/pkcs8, which openssl wrote:
//
//	openssl pkcs8 -topk8 -in seed/key.priv -passout pass:correct-horse ...
var passphrase = []byte("correct-horse")

func TestDecryptOpensslKeys(t *testing.T) {
	me, _ := seedKeys(t)
	for _, name := range []string{"aes128-sha1", "aes192-sha384", "aes256-sha256", "aes256-sha512"} {
		data := readFile(t, "pkcs8", name+".pem")
		if _, err := ParsePrivateKey(data); !errors.Is(err, ErrPassphraseNeeded) {
			t.Errorf("%s without a passphrase: %v, want ErrPassphraseNeeded", name, err)
		}
		if got, err := DecryptPrivateKey(data, passphrase); err != nil || !got.Equal(me) {
			t.Errorf("%s: %v", name, err)
		}
		// Enough of them that some leave what looks like padding.
		for _, wrong := range []string{"", "correct-horse\n", "Correct-horse", "correct"} {
			if _, err := DecryptPrivateKey(data, []byte(wrong)); !errors.Is(err, ErrWrongPassphrase) {
				t.Errorf("%s with %q: %v, want ErrWrongPassphrase", name, wrong, err)
			}
		}
	}
}

func TestDecryptRefuses(t *testing.T) {
	for name, want := range map[string]string{
		"scrypt":      "encrypted with scrypt, which is not supported here: convert it with `openssl pkcs8 -topk8",
		"des3":        "encrypted with triple DES, which",
		"des3-pkcs12": "encrypted with SHA-1 and triple DES, which",
		"sha224":      "encrypted with HMAC-SHA-224, which",
		"elliptic":    "not RSA",
		"rsa1024":     "1024 bits",
		"dek-info":    "(DEK-Info), which is not supported here: convert it with",
	} {
		_, err := DecryptPrivateKey(readFile(t, "pkcs8", name+".pem"), passphrase)
		if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, ErrWrongPassphrase) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	if _, err := ParsePrivateKey(readFile(t, "pkcs8", "dek-info.pem")); err == nil || !strings.Contains(err.Error(), convert) {
		t.Errorf("dek-info: %v", err)
	}
}

func TestDecryptTakesKeysWithoutPassphrase(t *testing.T) {
	me, _ := seedKeys(t)
	for _, data := range [][]byte{readFile(t, "seed", "key.priv"), readFile(t, "pkcs8", "plain.pem")} {
		if got, err := DecryptPrivateKey(data, passphrase); err != nil || !got.Equal(me) {
			t.Errorf("%.40q: %v", data, err)
		}
	}
}

func TestMarshalEncryptedPrivateKey(t *testing.T) {
	me, _ := seedKeys(t)
	data, err := MarshalEncryptedPrivateKey(me, passphrase)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := DecryptPrivateKey(data, passphrase); err != nil || !got.Equal(me) {
		t.Errorf("it comes back as %v", err)
	}
	if _, err := DecryptPrivateKey(data, []byte("another")); !errors.Is(err, ErrWrongPassphrase) {
		t.Errorf("another passphrase: %v", err)
	}
	block, _ := pem.Decode(data)
	e, _, err := parseEncryption(block.Bytes)
	if err != nil || e.iterations != 600_000 || e.keySize != 32 || len(e.salt) != 16 {
		t.Errorf("%d iterations, %d octets of key, %d of salt, %v", e.iterations, e.keySize, len(e.salt), err)
	}
	again, err := MarshalEncryptedPrivateKey(me, passphrase)
	if err != nil || bytes.Equal(again, data) {
		t.Errorf("two encryptions are the same, or %v", err)
	}
	if _, err := MarshalEncryptedPrivateKey(me, nil); err == nil {
		t.Error("an empty passphrase was taken")
	}
}

// What a file says can be wrong in each of its parts.
func TestDamagedEncryption(t *testing.T) {
	block, _ := pem.Decode(readFile(t, "pkcs8", "aes256-sha256.pem"))
	good := block.Bytes
	iterations := []byte{0x02, 0x02, 0x27, 0x10}
	for name, c := range map[string]struct {
		der  []byte
		want string
	}{
		"nothing":             {nil, "damaged"},
		"cut":                 {good[:len(good)-1], "damaged"},
		"something after it":  {append(bytes.Clone(good), 0), "something after it"},
		"0 iterations":        {change(t, good, iterations, []byte{0x02, 0x02, 0x00, 0x00}), "damaged"},
		"negative iterations": {change(t, good, iterations, []byte{0x02, 0x02, 0x80, 0x01}), "-32767 iterations"},
		"part of a block":     {resized(t, good, aes.BlockSize-1), "no whole blocks"},
		"no block":            {resized(t, good, 0), "no whole blocks"},
		"too many iterations": {withIterations(t, maxIterations+1), "10000001 iterations, and 1 to 10000000 are supported"},
		"no iterations":       {withIterations(t, 0), " 0 iterations"},
	} {
		data := pem.EncodeToMemory(&pem.Block{Type: encryptedBlock, Bytes: c.der})
		_, err := DecryptPrivateKey(data, passphrase)
		if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, ErrWrongPassphrase) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func change(t *testing.T, der, from, to []byte) []byte {
	t.Helper()
	if bytes.Count(der, from) != 1 {
		t.Fatalf("%x is not there once", from)
	}
	return bytes.Replace(der, from, to, 1)
}

func resized(t *testing.T, der []byte, size int) []byte {
	t.Helper()
	var info encryptedPrivateKeyInfo
	if err := unmarshal(der, &info); err != nil {
		t.Fatal(err)
	}
	info.Data = info.Data[:size]
	der, err := asn1.Marshal(info)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func withIterations(t *testing.T, n int) []byte {
	t.Helper()
	der, err := encryption{iterations: n, salt: make([]byte, 16), iv: make([]byte, 16)}.marshal(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestSplitPrivateKeys(t *testing.T) {
	me, _ := seedKeys(t)
	encrypted := readFile(t, "pkcs8", "aes128-sha1.pem")
	all := bytes.Join([][]byte{[]byte("some text\n"), encrypted, MarshalPublicKey(&me.PublicKey), MarshalPrivateKey(me)}, nil)
	got := SplitPrivateKeys(all)
	if len(got) != 2 || !bytes.Equal(got[0], encrypted) || !bytes.Equal(got[1], MarshalPrivateKey(me)) {
		t.Errorf("got %q", got)
	}
}

// No file makes the reader panic, or work for longer than it may.
func FuzzEncryptedPrivateKey(f *testing.F) {
	for _, name := range []string{"aes128-sha1", "aes192-sha384", "aes256-sha256", "scrypt", "des3", "des3-pkcs12"} {
		block, _ := pem.Decode(readFile(f, "pkcs8", name+".pem"))
		f.Add(block.Bytes)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		e, encrypted, err := parseEncryption(der)
		if err != nil {
			return
		}
		if e.iterations < 1 || e.iterations > maxIterations {
			t.Fatalf("%d iterations", e.iterations)
		}
		e.iterations = 1
		if _, err := e.decrypt(encrypted, passphrase); err != nil && !errors.Is(err, ErrWrongPassphrase) {
			t.Fatal(err)
		}
	})
}
