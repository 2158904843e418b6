package hybrid

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
)

// MaxMessage is the longest message in octets: AES-GCM's limit
// (NIST SP 800-38D, section 5.2.1.1).
const MaxMessage = 1<<36 - 32

// Seal makes a Signed payload of message: to is the recipient's key, from the
// sender's.
func Seal(message []byte, to *rsa.PublicKey, from *rsa.PrivateKey) ([]byte, error) {
	e, err := encrypt(message, to)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(e.signedPart())
	e.sig, err = rsa.SignPSS(rand.Reader, from, crypto.SHA256, digest[:], pssOptions(&from.PublicKey))
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return e.marshal(Signed), nil
}

// Open verifies and decrypts a Signed payload. Nothing of the message is
// returned unless the signature is from's and the tag is right; otherwise the
// error matches ErrNotAuthentic.
func Open(payload []byte, to *rsa.PrivateKey, from *rsa.PublicKey) ([]byte, error) {
	e, err := parse(payload, Signed, from.Size(), to.Size())
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(e.signedPart())
	if rsa.VerifyPSS(from, crypto.SHA256, digest[:], e.sig, pssOptions(from)) != nil {
		return nil, refuse("the signature is not this sender's, or the payload was changed")
	}
	return e.decrypt(to)
}

// SealUnsigned makes an Unsigned payload for the owner of to.
func SealUnsigned(message []byte, to *rsa.PublicKey) ([]byte, error) {
	e, err := encrypt(message, to)
	if err != nil {
		return nil, err
	}
	return e.marshal(Unsigned), nil
}

// OpenUnsigned decrypts an Unsigned payload. What comes out is whole, but
// anybody may have made it. The error matches ErrNotAuthentic if it is not a
// payload for to.
func OpenUnsigned(payload []byte, to *rsa.PrivateKey) ([]byte, error) {
	e, err := parse(payload, Unsigned, 0, to.Size())
	if err != nil {
		return nil, err
	}
	return e.decrypt(to)
}

// pssOptions asks for the longest salt: the key's size less the hash and two
// octets (RFC 8017, section 9.1.1, step 3). It is given both ways, because Go's
// automatic length accepts any when verifying and signs shorter in FIPS mode.
func pssOptions(key *rsa.PublicKey) *rsa.PSSOptions {
	return &rsa.PSSOptions{SaltLength: key.Size() - sha256.Size - 2, Hash: crypto.SHA256}
}

func encrypt(message []byte, to *rsa.PublicKey) (envelope, error) {
	if int64(len(message)) > MaxMessage {
		return envelope{}, fmt.Errorf("the message has %d octets; the format holds %d at most", len(message), int64(MaxMessage))
	}
	var key [aesKeySize]byte
	e := envelope{iv: make([]byte, ivSize)}
	rand.Read(key[:]) // never fails: it ends the process rather than return bad randomness
	rand.Read(e.iv)

	var err error
	e.ek, err = rsa.EncryptOAEP(sha1.New(), rand.Reader, to, key[:], nil)
	if err != nil {
		return envelope{}, fmt.Errorf("encrypt the message key: %w", err)
	}
	gcm, err := newGCM(key[:])
	if err != nil {
		return envelope{}, err
	}
	sealed := gcm.Seal(nil, e.iv, message, nil)
	e.ct, e.tag = sealed[:len(message)], sealed[len(message):]
	return e, nil
}

func (e envelope) decrypt(to *rsa.PrivateKey) ([]byte, error) {
	key, err := rsa.DecryptOAEP(sha1.New(), nil, to, e.ek, nil)
	if err != nil || len(key) != aesKeySize {
		return nil, refuse("it is encrypted for another key, or was changed")
	}
	gcm, err := newGCM(key)
	if err != nil {
		return nil, err
	}
	message, err := gcm.Open(nil, e.iv, append(e.ct, e.tag...), nil)
	if err != nil {
		return nil, refuse("the ciphertext was changed")
	}
	return message, nil
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
