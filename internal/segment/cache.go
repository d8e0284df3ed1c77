package segment

import (
	"sync/atomic"

	"graven/internal/cache"
)

// Cache holds checked pages of any number of files up to a bound in bytes. It is
// safe for concurrent use.
//
// A quarter of the bound is for pages of filters, which Readers keep themselves until they
// are released: every look-up asks most filters and finds its way to a page of each
// without a search. When that quarter is full, others go by the common way.
type Cache struct {
	files   atomic.Uint64 // files that were opened: each is a number of its own
	pages   *cache.Cache[cacheKey, *page]
	filters atomic.Int64 // bytes of the pages that Readers keep
	most    int64        // of filters
}

// cacheKey names a page: the file's number in this cache, and the offset. A file
// that is opened again has another number, so old pages are never found.
type cacheKey struct {
	file uint64
	off  int64
}

// NewCache returns an empty cache for about so many bytes.
func NewCache(bytes int64) *Cache {
	most := bytes / 4
	return &Cache{most: most, pages: cache.New[cacheKey, *page](bytes-most, func(k cacheKey) uint64 {
		return cache.Spread(cache.Spread(k.file) ^ uint64(k.off))
	})}
}

// keep reports whether a Reader may keep a page of a filter that costs so much.
func (c *Cache) keep(cost int64) bool {
	if c.filters.Load()+cost > c.most { // nearly always, once it is full: nothing is written
		return false
	}
	if c.filters.Add(cost) <= c.most {
		return true
	}
	c.filters.Add(-cost)
	return false
}

// get returns a page or nil.
func (c *Cache) get(k cacheKey) *page {
	p, _ := c.pages.Get(k)
	return p
}

// put adds a page and lets others go.
func (c *Cache) put(k cacheKey, p *page) {
	c.pages.Put(k, p, p.cost())
}

// cost is about what a page takes in memory, in bytes.
func (p *page) cost() int64 { return int64(len(p.data) + 2*len(p.marks) + entryCost) }

// entryCost is about what a page takes besides its bytes.
const entryCost = 200
