package linetest

import (
	"crypto/tls"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Counts is a line.Observer that remembers how often what was counted.
type Counts struct {
	mu sync.Mutex
	of map[string]int
}

// Count adds n to what the words name.
func (c *Counts) Count(n int, words ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[string]int{}
	}
	c.of[strings.TrimSuffix(fmt.Sprintln(words...), "\n")] += n
}

// Opened is line.Observer's.
func (c *Counts) Opened() { c.Count(1, "opened") }

// Closed is line.Observer's.
func (c *Counts) Closed() { c.Count(1, "closed") }

// Refused is line.Observer's.
func (c *Counts) Refused(reason string) { c.Count(1, "refused", reason) }

// AcceptFailed is line.Observer's.
func (c *Counts) AcceptFailed(err error) { c.Count(1, "accept", err) }

// Handshake is line.Observer's.
func (c *Counts) Handshake(version uint16, err error) {
	if err != nil {
		c.Count(1, "handshake failed")
		return
	}
	c.Count(1, "handshake", tls.VersionName(version))
}

// Received is line.Observer's.
func (c *Counts) Received(octets int) { c.Count(octets, "received") }

// Sent is line.Observer's.
func (c *Counts) Sent(octets int) { c.Count(octets, "sent") }

// Want compares what was counted: "WORDS: N" for each thing, in any order.
func (c *Counts) Want(t *testing.T, want ...string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var got []string
	for _, what := range slices.Sorted(maps.Keys(c.of)) {
		got = append(got, fmt.Sprintf("%s: %d", what, c.of[what]))
	}
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("counted\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
