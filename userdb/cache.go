package userdb

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"
)

// loginCache remembers which passwords were right, so that a client that polls
// does not cost a key derivation each time. It holds no password and nothing
// that helps to guess one outside this process: an entry is an HMAC, under a
// random key that never leaves memory, of the whole record and the password. A
// changed record matches no entry. Failures are not remembered.
type loginCache struct {
	mu      sync.Mutex
	key     []byte
	expires map[[sha256.Size]byte]time.Time
}

const (
	cacheSize     = 10_000
	cacheLifetime = time.Hour
)

func (c *loginCache) init() {
	c.key = make([]byte, sha256.Size)
	rand.Read(c.key)
	c.expires = map[[sha256.Size]byte]time.Time{}
}

func (c *loginCache) entry(r Record, password string) [sha256.Size]byte {
	m := hmac.New(sha256.New, c.key)
	line := r.String()
	m.Write(binary.BigEndian.AppendUint64(nil, uint64(len(line))))
	m.Write([]byte(line))
	m.Write([]byte(password))
	return [sha256.Size]byte(m.Sum(nil))
}

func (c *loginCache) has(r Record, password string) bool {
	entry := c.entry(r, password)
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Before(c.expires[entry])
}

func (c *loginCache) add(r Record, password string) {
	entry := c.entry(r, password)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.expires) >= cacheSize {
		for old := range c.expires { // any one: map order is random
			delete(c.expires, old)
			break
		}
	}
	c.expires[entry] = time.Now().Add(cacheLifetime)
}
