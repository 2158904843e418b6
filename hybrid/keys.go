package hybrid

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// DefaultBits is the size of a new key.
const DefaultBits = 2048

// exponent is the public exponent of all keys.
const exponent = 65537

// PEM block types of the keys (RFC 7468, sections 10 and 13; PKCS#1 is the
// OpenSSL form that hybrid.py wrote).
const (
	pkcs1Block = "RSA PRIVATE KEY"
	pkcs8Block = "PRIVATE KEY"
	spkiBlock  = "PUBLIC KEY"
)

var privateBlocks = []string{pkcs1Block, pkcs8Block, encryptedBlock}

// GenerateKey makes an RSA key pair of 2048, 3072 or 4096 bits, e = 65537.
func GenerateKey(bits int) (*rsa.PrivateKey, error) {
	if err := checkBits(bits); err != nil {
		return nil, err
	}
	return rsa.GenerateKey(rand.Reader, bits)
}

func checkBits(bits int) error {
	switch bits {
	case 2048, 3072, 4096:
		return nil
	}
	return fmt.Errorf("an RSA key of %d bits: 2048, 3072 and 4096 are supported", bits)
}

// MarshalPrivateKey returns the content of key.priv: PEM, PKCS#1.
func MarshalPrivateKey(key *rsa.PrivateKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pkcs1Block, Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

// MarshalPublicKey returns the content of key.pub: PEM, SubjectPublicKeyInfo.
func MarshalPublicKey(key *rsa.PublicKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: spkiBlock, Bytes: marshalSPKI(key)})
}

func marshalSPKI(key *rsa.PublicKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		panic("hybrid: an RSA key has no SubjectPublicKeyInfo: " + err.Error()) // the only type that reaches this is one x509 knows
	}
	return der
}

// ParsePrivateKey reads the first private key in PEM data, PKCS#1 or PKCS#8. For
// one that is encrypted PKCS#8, the error matches ErrPassphraseNeeded.
func ParsePrivateKey(data []byte) (*rsa.PrivateKey, error) {
	block, err := findBlock(data, privateBlocks...)
	if err != nil {
		return nil, err
	}
	if block.Type == encryptedBlock {
		return nil, ErrPassphraseNeeded
	}
	if block.Headers["DEK-Info"] != "" {
		return nil, fmt.Errorf("the private key has a passphrase in openssl's old form (DEK-Info), which is not supported here: %s", convert)
	}
	any, err := parsePrivateDER(block)
	if err != nil {
		return nil, fmt.Errorf("damaged private key: %w", err)
	}
	return wantRSA(any)
}

func parsePrivateDER(block *pem.Block) (any, error) {
	if block.Type == pkcs1Block {
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	return x509.ParsePKCS8PrivateKey(block.Bytes)
}

// wantRSA takes what x509 read, if it is a key as GenerateKey makes them.
func wantRSA(any any) (*rsa.PrivateKey, error) {
	key, ok := any.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the private key is %T, not RSA", any)
	}
	if err := checkKey(&key.PublicKey); err != nil {
		return nil, err
	}
	return key, nil
}

// SplitPrivateKeys returns each private key in PEM data as PEM of its own.
func SplitPrivateKeys(data []byte) [][]byte {
	var keys [][]byte
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if slices.Contains(privateBlocks, block.Type) {
			keys = append(keys, pem.EncodeToMemory(block))
		}
	}
	return keys
}

// ParsePublicKey reads the first public key in PEM data. Blocks of other types
// may stand beside it: they are for other programs.
func ParsePublicKey(data []byte) (*rsa.PublicKey, error) {
	block, err := findBlock(data, spkiBlock)
	if err != nil {
		return nil, err
	}
	any, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("damaged public key: %w", err)
	}
	key, ok := any.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("the public key is %T, not RSA", any)
	}
	if err := checkKey(key); err != nil {
		return nil, err
	}
	return key, nil
}

// checkKey wants what GenerateKey makes.
func checkKey(key *rsa.PublicKey) error {
	if key.E != exponent {
		return fmt.Errorf("an RSA key with e = %d: it must be %d", key.E, exponent)
	}
	if key.N.Bit(0) == 0 { // crypto/rsa would refuse it at each use
		return errors.New("a damaged RSA key: its modulus is even")
	}
	return checkBits(key.N.BitLen())
}

// findBlock returns the first PEM block of one of the types.
func findBlock(data []byte, types ...string) (*pem.Block, error) {
	var others []string
	for {
		var block *pem.Block
		block, data = pem.Decode(data)
		switch {
		case block == nil && others == nil:
			return nil, fmt.Errorf("it holds no PEM block, where %q is wanted", types[0])
		case block == nil:
			return nil, fmt.Errorf("it holds %q, where %q is wanted", strings.Join(others, ", "), types[0])
		case slices.Contains(types, block.Type):
			return block, nil
		}
		others = append(others, block.Type)
	}
}

// Fingerprint is the SHA-256 of the key's SubjectPublicKeyInfo, in 16 groups of
// four hex digits that people can read to each other.
func Fingerprint(key *rsa.PublicKey) string {
	sum := sha256.Sum256(marshalSPKI(key))
	digits := hex.EncodeToString(sum[:])
	groups := make([]string, 0, len(digits)/4)
	for ; digits != ""; digits = digits[4:] {
		groups = append(groups, digits[:4])
	}
	return strings.Join(groups, " ")
}
