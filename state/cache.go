package state

import "graven/internal/cache"

// DefaultCache is the size of a [Cache] in bytes if none is given.
const DefaultCache = 64 << 20

// Cache holds parsed pages for all Maps of one set of files. A reference must
// mean the same bytes for as long as the Cache is in use. It is safe for
// concurrent use.
type Cache struct{ pages *cache.Cache[Ref, *page] }

// NewCache returns a Cache for about so many bytes of memory; 0:
// [DefaultCache].
func NewCache(bytes int64) *Cache {
	if bytes <= 0 {
		bytes = DefaultCache
	}
	return &Cache{cache.New[Ref, *page](bytes, func(ref Ref) uint64 { return cache.Spread(ref.Off ^ uint64(ref.File)<<40) })}
}

// get returns a page, or nil.
func (c *Cache) get(ref Ref) *page {
	p, _ := c.pages.Get(ref)
	return p
}

// put keeps a page, and drops others for it.
func (c *Cache) put(ref Ref, p *page) { c.pages.Put(ref, p, p.size+entryBytes) }

// entryBytes is about what an entry takes besides its page.
const entryBytes = 200
