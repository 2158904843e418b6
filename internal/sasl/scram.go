package sasl

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// nonceSize is in octets of randomness.
const nonceSize = 18

func newNonce() string {
	b := make([]byte, nonceSize)
	rand.Read(b)
	return base64.StdEncoding.EncodeToString(b) // which has no comma
}

// isNonce wants printable ASCII without a comma. RFC 5802, section 7.
func isNonce(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < 0x21 || r > 0x7e || r == ',' })
}

// attributes splits "n=alice,r=abc,..." and returns the values of those that
// keys names, which come first and in that order. Further ones are extensions,
// which are passed over, except "m=", which stands for one that must not be.
// RFC 5802, sections 5.1 and 7.
func attributes(s, keys string) (values []string, ok bool) {
	if !isText(s) {
		return nil, false
	}
	fields := strings.Split(s, ",")
	if len(fields) < len(keys) {
		return nil, false
	}
	for i, field := range fields {
		if len(field) < 3 || !isAlpha(field[0]) || field[1] != '=' || field[0] == 'm' {
			return nil, false
		}
		if i < len(keys) {
			if field[0] != keys[i] {
				return nil, false
			}
			values = append(values, field[2:])
		}
	}
	return values, true
}

func isAlpha(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

// escapeName and unescapeName are the saslname of RFC 5802, section 7.
func escapeName(name string) string {
	return strings.NewReplacer("=", "=3D", ",", "=2C").Replace(name)
}

func unescapeName(s string) (string, bool) {
	name := strings.NewReplacer("=3D", "=", "=2C", ",").Replace(s)
	return name, name != "" && escapeName(name) == s
}

// proofSize is that of proofs, signatures and keys: they are SHA-256's.
const proofSize = sha256.Size

// signature is HMAC(key, AuthMessage). RFC 5802, section 3.
func signature(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// bindingInput is the value of "c=": the header of the first message, so that
// nobody can have changed it, and the channel's data. RFC 5802, section 5.1.
func bindingInput(header string, data []byte) string {
	return base64.StdEncoding.EncodeToString(append([]byte(header), data...))
}
