package hybrid

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
)

// encryptedBlock is the PEM type of a PKCS#8 key with a passphrase (RFC 7468,
// section 11).
const encryptedBlock = "ENCRYPTED PRIVATE KEY"

const (
	// kdfIterations is what a guess at a passphrase costs, where we encrypt.
	kdfIterations = 600_000
	// maxIterations bounds how long a file can keep its reader busy.
	maxIterations = 10_000_000
	saltSize      = 16
)

var (
	// ErrPassphraseNeeded is matched by the error for a private key that is
	// encrypted: DecryptPrivateKey reads it.
	ErrPassphraseNeeded = errors.New("the private key has a passphrase")
	// ErrWrongPassphrase is matched by the error for a passphrase that does not
	// open the key.
	ErrWrongPassphrase = errors.New("the passphrase is wrong")
)

// convert is the way out for keys that are encrypted in another way.
const convert = "convert it with `openssl pkcs8 -topk8 -v2 aes-256-cbc -in OLD -out NEW`"

// RFC 5958, section 3.
type encryptedPrivateKeyInfo struct {
	Algorithm pkix.AlgorithmIdentifier
	Data      []byte
}

// RFC 8018, appendix A.4.
type pbes2Params struct {
	KDF, Scheme pkix.AlgorithmIdentifier
}

// RFC 8018, appendix A.2. Where PRF is missing, it is HMAC-SHA-1.
type pbkdf2Params struct {
	Salt       []byte
	Iterations int
	KeyLength  int                      `asn1:"optional"`
	PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
}

// RFC 8018, appendix B and C.
var (
	oidPBES2      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidHMACSHA1   = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 7}
	oidHMACSHA256 = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}
	oidHMACSHA384 = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 10}
	oidHMACSHA512 = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 11}
	oidAES128CBC  = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 2}
	oidAES192CBC  = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 22}
	oidAES256CBC  = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}
)

var hashes = map[string]func() hash.Hash{
	oidHMACSHA1.String():   sha1.New,
	oidHMACSHA256.String(): sha256.New,
	oidHMACSHA384.String(): sha512.New384,
	oidHMACSHA512.String(): sha512.New,
}

var keySizes = map[string]int{
	oidAES128CBC.String(): 16,
	oidAES192CBC.String(): 24,
	oidAES256CBC.String(): 32,
}

// unsupported names what other programs write and this one does not read.
var unsupported = map[string]string{
	"1.2.840.113549.1.5.3":    "MD5 and DES",
	"1.2.840.113549.1.5.10":   "SHA-1 and DES",
	"1.2.840.113549.1.12.1.1": "SHA-1 and RC4",
	"1.2.840.113549.1.12.1.3": "SHA-1 and triple DES",
	"1.2.840.113549.1.12.1.6": "SHA-1 and RC2",
	"1.3.6.1.4.1.11591.4.11":  "scrypt",
	"1.2.840.113549.2.8":      "HMAC-SHA-224",
	"1.2.840.113549.3.2":      "RC2",
	"1.2.840.113549.3.7":      "triple DES",
	"1.3.14.3.2.7":            "DES",
}

func unsupportedError(what asn1.ObjectIdentifier) error {
	name, ok := unsupported[what.String()]
	if !ok {
		name = "the algorithm " + what.String()
	}
	return fmt.Errorf("the private key is encrypted with %s, which is not supported here: %s", name, convert)
}

// encryption is how a private key is encrypted: PBES2 with PBKDF2 and AES-CBC.
type encryption struct {
	hash       func() hash.Hash
	salt       []byte
	iterations int
	keySize    int
	iv         []byte
}

// block derives the key from the passphrase. RFC 8018, section 6.2.
func (e encryption) block(passphrase []byte) (cipher.Block, error) {
	key, err := pbkdf2.Key(e.hash, string(passphrase), e.salt, e.iterations, e.keySize)
	if err != nil {
		return nil, err
	}
	return aes.NewCipher(key)
}

// MarshalEncryptedPrivateKey returns the content of a key.priv that needs a
// passphrase: PEM, PKCS#8, PBES2 with PBKDF2-HMAC-SHA-256 and AES-256-CBC.
func MarshalEncryptedPrivateKey(key *rsa.PrivateKey, passphrase []byte) ([]byte, error) {
	if len(passphrase) == 0 {
		return nil, errors.New("the passphrase is empty")
	}
	plain, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	random := make([]byte, saltSize+aes.BlockSize)
	rand.Read(random) // never fails
	e := encryption{sha256.New, random[:saltSize], kdfIterations, 32, random[saltSize:]}
	block, err := e.block(passphrase)
	if err != nil {
		return nil, err
	}
	// RFC 8018, appendix B.2.5: padded to whole blocks, one at least.
	padding := aes.BlockSize - len(plain)%aes.BlockSize
	data := append(plain, bytes.Repeat([]byte{byte(padding)}, padding)...)
	cipher.NewCBCEncrypter(block, e.iv).CryptBlocks(data, data)
	der, err := e.marshal(data)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: encryptedBlock, Bytes: der}), nil
}

// marshal is for what MarshalEncryptedPrivateKey writes alone.
func (e encryption) marshal(data []byte) ([]byte, error) {
	kdf, err := algorithm(oidPBKDF2, pbkdf2Params{
		Salt: e.salt, Iterations: e.iterations,
		PRF: pkix.AlgorithmIdentifier{Algorithm: oidHMACSHA256, Parameters: asn1.NullRawValue},
	})
	if err != nil {
		return nil, err
	}
	scheme, err := algorithm(oidAES256CBC, e.iv)
	if err != nil {
		return nil, err
	}
	pbes2, err := algorithm(oidPBES2, pbes2Params{kdf, scheme})
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(encryptedPrivateKeyInfo{pbes2, data})
}

func algorithm(id asn1.ObjectIdentifier, params any) (pkix.AlgorithmIdentifier, error) {
	der, err := asn1.Marshal(params)
	return pkix.AlgorithmIdentifier{Algorithm: id, Parameters: asn1.RawValue{FullBytes: der}}, err
}

// DecryptPrivateKey reads the first private key in PEM data, with the passphrase
// if it has one.
func DecryptPrivateKey(data, passphrase []byte) (*rsa.PrivateKey, error) {
	block, err := findBlock(data, privateBlocks...)
	if err != nil {
		return nil, err
	}
	if block.Type != encryptedBlock {
		return ParsePrivateKey(data)
	}
	e, encrypted, err := parseEncryption(block.Bytes)
	if err != nil {
		return nil, err
	}
	plain, err := e.decrypt(encrypted, passphrase)
	if err != nil {
		return nil, err
	}
	any, err := x509.ParsePKCS8PrivateKey(plain)
	if err != nil { // one wrong passphrase in 256 leaves what looks like padding
		return nil, fmt.Errorf("%w, or the key is damaged", ErrWrongPassphrase)
	}
	return wantRSA(any)
}

// parseEncryption reads an EncryptedPrivateKeyInfo.
func parseEncryption(der []byte) (e encryption, encrypted []byte, err error) {
	var info encryptedPrivateKeyInfo
	if err := unmarshal(der, &info); err != nil {
		return e, nil, err
	}
	if !info.Algorithm.Algorithm.Equal(oidPBES2) {
		return e, nil, unsupportedError(info.Algorithm.Algorithm)
	}
	var params pbes2Params
	if err := unmarshal(info.Algorithm.Parameters.FullBytes, &params); err != nil {
		return e, nil, err
	}
	if err := e.parseScheme(params.Scheme); err != nil {
		return e, nil, err
	}
	if err := e.parseKDF(params.KDF); err != nil {
		return e, nil, err
	}
	if n := len(info.Data); n == 0 || n%aes.BlockSize != 0 {
		return e, nil, fmt.Errorf("damaged private key: %d encrypted octets are no whole blocks", n)
	}
	return e, info.Data, nil
}

// parseScheme reads the cipher. RFC 8018, appendix B.2.5.
func (e *encryption) parseScheme(a pkix.AlgorithmIdentifier) error {
	size, ok := keySizes[a.Algorithm.String()]
	if !ok {
		return unsupportedError(a.Algorithm)
	}
	e.keySize = size
	if err := unmarshal(a.Parameters.FullBytes, &e.iv); err != nil {
		return err
	}
	if len(e.iv) != aes.BlockSize {
		return fmt.Errorf("damaged private key: an IV of %d octets", len(e.iv))
	}
	return nil
}

// parseKDF reads how the key comes from the passphrase, once the cipher is known.
func (e *encryption) parseKDF(a pkix.AlgorithmIdentifier) error {
	if !a.Algorithm.Equal(oidPBKDF2) {
		return unsupportedError(a.Algorithm)
	}
	var params pbkdf2Params
	if err := unmarshal(a.Parameters.FullBytes, &params); err != nil {
		return err
	}
	prf := params.PRF.Algorithm
	if prf == nil {
		prf = oidHMACSHA1
	}
	e.hash = hashes[prf.String()]
	if e.hash == nil {
		return unsupportedError(prf)
	}
	if params.Iterations < 1 || params.Iterations > maxIterations {
		return fmt.Errorf("the private key is encrypted with %d iterations, and 1 to %d are supported: %s", params.Iterations, maxIterations, convert)
	}
	if params.KeyLength != 0 && params.KeyLength != e.keySize {
		return fmt.Errorf("damaged private key: a derived key of %d octets for a cipher that wants %d", params.KeyLength, e.keySize)
	}
	e.salt, e.iterations = params.Salt, params.Iterations
	return nil
}

// decrypt opens whole blocks, and takes the padding off.
func (e encryption) decrypt(encrypted, passphrase []byte) ([]byte, error) {
	block, err := e.block(passphrase)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, len(encrypted))
	cipher.NewCBCDecrypter(block, e.iv).CryptBlocks(plain, encrypted)
	n := int(plain[len(plain)-1])
	if n < 1 || n > aes.BlockSize || !bytes.HasSuffix(plain, bytes.Repeat([]byte{byte(n)}, n)) {
		return nil, fmt.Errorf("%w, or the key is damaged", ErrWrongPassphrase)
	}
	return plain[:len(plain)-n], nil
}

// unmarshal wants DER and nothing after it.
func unmarshal(der []byte, v any) error {
	rest, err := asn1.Unmarshal(der, v)
	if err == nil && len(rest) > 0 {
		err = errors.New("there is something after it")
	}
	if err != nil {
		return fmt.Errorf("damaged private key: %w", err)
	}
	return nil
}
