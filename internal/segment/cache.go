package segment

import (
	"sync/atomic"

	"graven/internal/cache"
)

// Cache holds checked pages of any number of files up to a bound in bytes. It is
// safe for concurrent use.
type Cache struct {
	files atomic.Uint64 // files that were opened: each is a number of its own
	pages *cache.Cache[cacheKey, *page]
}

// cacheKey names a page: the file's number in this cache, and the offset. A file
// that is opened again has another number, so old pages are never found.
type cacheKey struct {
	file uint64
	off  int64
}

// NewCache returns an empty cache for about so many bytes.
func NewCache(bytes int) *Cache {
	return &Cache{pages: cache.New[cacheKey, *page](int64(bytes), func(k cacheKey) uint64 {
		return cache.Spread(cache.Spread(k.file) ^ uint64(k.off))
	})}
}

// get returns a page or nil.
func (c *Cache) get(k cacheKey) *page {
	p, _ := c.pages.Get(k)
	return p
}

// put adds a page and lets others go.
func (c *Cache) put(k cacheKey, p *page) {
	c.pages.Put(k, p, int64(len(p.data)+2*len(p.marks)+entryCost))
}

// entryCost is about what an entry takes besides its page's bytes.
const entryCost = 200
