package state

import "sync"

// DefaultCache is the size of a [Cache] in bytes if none is given.
const DefaultCache = 64 << 20

// Cache holds parsed pages for all Maps of one set of files. A reference must
// mean the same bytes for as long as the Cache is in use. It is safe for
// concurrent use.
type Cache struct {
	shards [cacheShards]cacheShard
}

const cacheShards = 16

// NewCache returns a Cache for about so many bytes of memory; 0:
// [DefaultCache].
func NewCache(bytes int64) *Cache {
	if bytes <= 0 {
		bytes = DefaultCache
	}
	c := new(Cache)
	for i := range c.shards {
		c.shards[i].limit = bytes / cacheShards
	}
	return c
}

// cacheShard is a clock (Corbató 1968): a page that was used since the hand
// came by last is passed over once. A page that was only put in is not "used",
// so who walks over everything does not drive out what others need.
type cacheShard struct {
	mu    sync.Mutex // guards what follows
	limit int64      // never changes
	bytes int64      // of all pages held; at most limit, or that of one page
	hand  int        // where to look next for a page to drop
	slots []cacheSlot
	place map[Ref]int // of slots
}

type cacheSlot struct {
	ref  Ref
	page *page
	used bool
}

// shard returns where a page belongs.
func (c *Cache) shard(ref Ref) *cacheShard {
	const golden = 0x9E3779B97F4A7C15 // Fibonacci hashing
	return &c.shards[(ref.Off^uint64(ref.File)<<40)*golden>>60]
}

// get returns a page, or nil.
func (c *Cache) get(ref Ref) *page {
	s := c.shard(ref)
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.place[ref]
	if !ok {
		return nil
	}
	s.slots[i].used = true
	return s.slots[i].page
}

// put keeps a page, and drops others for it.
func (c *Cache) put(ref Ref, p *page) {
	s := c.shard(ref)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.place[ref]; ok {
		return // somebody else was faster
	}
	if s.place == nil {
		s.place = make(map[Ref]int)
	}
	for len(s.slots) > 0 && s.bytes+p.size > s.limit {
		s.tick()
	}
	s.place[ref] = len(s.slots)
	s.slots = append(s.slots, cacheSlot{ref: ref, page: p})
	s.bytes += p.size
}

// tick moves the hand on by one page or drops one.
func (s *cacheShard) tick() {
	if s.hand >= len(s.slots) {
		s.hand = 0
	}
	at := &s.slots[s.hand]
	if at.used {
		at.used = false
		s.hand++
		return
	}
	s.bytes -= at.page.size
	delete(s.place, at.ref)
	last := len(s.slots) - 1
	if s.hand != last {
		*at = s.slots[last]
		s.place[at.ref] = s.hand
	}
	s.slots[last] = cacheSlot{}
	s.slots = s.slots[:last]
}
