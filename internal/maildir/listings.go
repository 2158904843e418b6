package maildir

import (
	"strings"
	"sync"
)

// listings remembers what maildrops hold, so that a client that polls does not
// cost the reading of its directories each time, nor of files without W. A
// listing is good as long as the stamps of its directories are those from before
// it was made, if those were settled by then. It is bounded: a random one goes
// when there are too many. The zero value is ready for use.
type listings struct {
	mu     sync.Mutex
	byName map[string]rememberedListing
	octets int
}

type rememberedListing struct {
	*listing
	seen string // the stamps of its directories
}

// maxListings is how many octets of memory listings take.
const maxListings = 64 << 20

// listed is list, from memory where that is good.
func (s *Store) listed(maildrops []string) (*listing, error) {
	seen, settled, err := s.stampsOf(newListing(maildrops).dirs)
	if err != nil {
		return nil, err
	}
	key := strings.Join(maildrops, "/")
	before := s.listings.get(key)
	if before.listing != nil && before.seen == seen {
		return before.listing, nil
	}
	now := &lister{listing: newListing(maildrops), store: s, before: before.listing}
	if err := now.list(); err != nil {
		return nil, err
	}
	if settled && !now.young {
		s.listings.put(key, rememberedListing{now.listing, seen})
	}
	return now.listing, nil
}

// stampsOf makes one string of the directories' stamps. settled reports whether
// any change from now on gives another one.
func (s *Store) stampsOf(dirs []string) (seen string, settled bool, err error) {
	settled = true
	var all []byte
	for _, dir := range dirs {
		st, err := s.stamp(dir)
		if err != nil {
			return "", false, err
		}
		all = st.append(all)
		settled = settled && st.settled()
	}
	return string(all), settled, nil
}

// get returns what is remembered, which may be out of date, or nothing.
func (c *listings) get(key string) rememberedListing {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byName[key]
}

func (c *listings) put(key string, r rememberedListing) {
	if r.octets() > maxListings/2 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byName == nil {
		c.byName = map[string]rememberedListing{}
	}
	c.drop(key)
	for other := range c.byName { // any one: map order is random
		if c.octets+r.octets() <= maxListings {
			break
		}
		c.drop(other)
	}
	c.byName[key] = r
	c.octets += r.octets()
}

func (c *listings) drop(key string) {
	if r, ok := c.byName[key]; ok {
		c.octets -= r.octets()
		delete(c.byName, key)
	}
}
