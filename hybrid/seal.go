package hybrid

import (
	"bytes"
	"crypto/rsa"
)

// Seal makes a Signed payload of a message in memory: to is the recipient's key,
// from the sender's.
func Seal(message []byte, to *rsa.PublicKey, from *rsa.PrivateKey) ([]byte, error) {
	return seal(message, Sealer{Format: Signed, To: to, From: from})
}

// SealUnsigned makes an Unsigned payload for the owner of to.
func SealUnsigned(message []byte, to *rsa.PublicKey) ([]byte, error) {
	return seal(message, Sealer{Format: Unsigned, To: to})
}

func seal(message []byte, s Sealer) ([]byte, error) {
	var payload bytes.Buffer
	if err := s.Seal(&payload, bytes.NewReader(message)); err != nil {
		return nil, err
	}
	return payload.Bytes(), nil
}

// Open verifies and decrypts a Signed payload in memory. The error matches
// ErrNotAuthentic unless it is one from the owner of from, for to.
func Open(payload []byte, to *rsa.PrivateKey, from *rsa.PublicKey) ([]byte, error) {
	return open(payload, Opener{Format: Signed, To: []*rsa.PrivateKey{to}, From: []*rsa.PublicKey{from}})
}

// OpenUnsigned decrypts an Unsigned payload. What comes out is whole, but
// anybody may have made it. The error matches ErrNotAuthentic if it is not a
// payload for to.
func OpenUnsigned(payload []byte, to *rsa.PrivateKey) ([]byte, error) {
	return open(payload, Opener{Format: Unsigned, To: []*rsa.PrivateKey{to}})
}

func open(payload []byte, o Opener) ([]byte, error) {
	var message bytes.Buffer
	if _, err := o.Open(&message, bytes.NewReader(payload)); err != nil {
		return nil, err
	}
	return message.Bytes(), nil
}
