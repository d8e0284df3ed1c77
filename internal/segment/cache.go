package segment

import (
	"sync"
	"sync/atomic"
)

// Cache holds checked pages of any number of files up to a bound in bytes. It is
// safe for concurrent use. A hit takes a shared lock and writes nothing but a
// flag that is not set yet.
//
// Pages go in the order of CLOCK (Corbató 1968): a hand goes round, passes the
// pages that were used since it last came by, and takes the first that was not.
type Cache struct {
	files  atomic.Uint64 // files that were opened: each is a number of its own
	shards [cacheShards]cacheShard
}

const (
	cacheShards = 16
	// entryCost is about what an entry takes besides its page's bytes.
	entryCost = 200
)

// cacheKey names a page: the file's number in this cache, and the offset. A file
// that is opened again has another number, so old pages are never found.
type cacheKey struct {
	file uint64
	off  int64
}

// cacheShard is a part of the pages.
//
// Invariant: pages and ring hold the same entries, and used is what they cost.
type cacheShard struct {
	mu    sync.RWMutex
	pages map[cacheKey]*cacheEntry
	ring  []*cacheEntry
	hand  int
	used  int
	limit int
}

type cacheEntry struct {
	key     cacheKey
	page    *page
	touched atomic.Bool // since the hand last came by
}

func (e *cacheEntry) cost() int { return len(e.page.data) + 2*len(e.page.marks) + entryCost }

// NewCache returns an empty cache for about so many bytes.
func NewCache(bytes int) *Cache {
	c := &Cache{}
	for i := range c.shards {
		c.shards[i].pages = map[cacheKey]*cacheEntry{}
		c.shards[i].limit = bytes / cacheShards
	}
	return c
}

func (c *Cache) shard(k cacheKey) *cacheShard {
	const golden = 0x9e3779b97f4a7c15 // Fibonacci hashing
	return &c.shards[(k.file*golden^uint64(k.off))*golden>>60]
}

// get returns a page or nil.
func (c *Cache) get(k cacheKey) *page {
	s := c.shard(k)
	s.mu.RLock()
	e := s.pages[k]
	s.mu.RUnlock()
	if e == nil {
		return nil
	}
	if !e.touched.Load() {
		e.touched.Store(true)
	}
	return e.page
}

// put adds a page and lets others go.
func (c *Cache) put(k cacheKey, p *page) {
	s := c.shard(k)
	e := &cacheEntry{key: k, page: p}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pages[k] != nil {
		return // another reader was faster
	}
	for len(s.ring) > 0 && s.used+e.cost() > s.limit {
		s.evict()
	}
	s.pages[k] = e
	s.ring = append(s.ring, e)
	s.used += e.cost()
}

// evict lets one page go. Callers hold mu; there is a page.
func (s *cacheShard) evict() {
	for {
		s.hand %= len(s.ring)
		e := s.ring[s.hand]
		if !e.touched.Swap(false) {
			break
		}
		s.hand++
	}
	e := s.ring[s.hand]
	last := len(s.ring) - 1
	s.ring[s.hand] = s.ring[last]
	s.ring[last] = nil
	s.ring = s.ring[:last]
	s.used -= e.cost()
	delete(s.pages, e.key)
}
