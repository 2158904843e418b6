package regd

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"sync"
	"time"
)

const (
	challengeLife = 5 * time.Minute
	maxUsed       = 100_000
	nonceSize     = 16
	expirySize    = 8
)

var (
	errChallenge = errors.New("the challenge is not this server's, has expired or was used: try again")
	errBusy      = errors.New("too many registrations, try again later")
)

// challenges makes challenges that can be used once each:
//
//	expiry (Unix seconds, 8 octets) || nonce (16) || HMAC-SHA-256 of both (32)
//
// in base64url, under a key that this process alone has. So one that nobody uses
// costs no memory, and none is good after a restart, which forgets those used.
type challenges struct {
	key [sha256.Size]byte

	mu   sync.Mutex
	used map[[nonceSize]byte]time.Time // and when they expire
}

func newChallenges() *challenges {
	c := &challenges{used: map[[nonceSize]byte]time.Time{}}
	rand.Read(c.key[:])
	return c
}

func (c *challenges) mac(body []byte) []byte {
	m := hmac.New(sha256.New, c.key[:])
	m.Write(body)
	return m.Sum(nil)
}

// issue makes a challenge.
func (c *challenges) issue() string {
	body := binary.BigEndian.AppendUint64(nil, uint64(time.Now().Add(challengeLife).Unix()))
	var nonce [nonceSize]byte
	rand.Read(nonce[:])
	body = append(body, nonce[:]...)
	return base64.RawURLEncoding.EncodeToString(append(body, c.mac(body)...))
}

// open checks that a challenge is ours and has not expired.
func (c *challenges) open(challenge string) (nonce [nonceSize]byte, expires time.Time, err error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(challenge)
	// The decoder passes over line ends.
	if err != nil || len(raw) != expirySize+nonceSize+sha256.Size || base64.RawURLEncoding.EncodedLen(len(raw)) != len(challenge) {
		return nonce, expires, errChallenge
	}
	body := raw[:expirySize+nonceSize]
	if subtle.ConstantTimeCompare(raw[len(body):], c.mac(body)) != 1 {
		return nonce, expires, errChallenge
	}
	expires = time.Unix(int64(binary.BigEndian.Uint64(body)), 0)
	if !time.Now().Before(expires) {
		return nonce, expires, errChallenge
	}
	return [nonceSize]byte(body[expirySize:]), expires, nil
}

// use takes a challenge, which nobody can use again.
func (c *challenges) use(challenge string) error {
	nonce, expires, err := c.open(challenge)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, used := c.used[nonce]; used {
		return errChallenge
	}
	if len(c.used) >= maxUsed {
		c.forget()
	}
	if len(c.used) >= maxUsed {
		return errBusy
	}
	c.used[nonce] = expires
	return nil
}

// forget drops what has expired.
func (c *challenges) forget() {
	for nonce, expires := range c.used {
		if !time.Now().Before(expires) {
			delete(c.used, nonce)
		}
	}
}
