package block

import (
	"hash/maphash"
	"iter"

	"graven/record"
)

// catalog maps ids to places. It is a map[record.ID]Ref that takes about 56
// bytes an artifact where Go's takes up to 112: entries of 48 bytes stand in
// pages in the order they came, and an open-addressing table of 4-byte indexes
// finds them (linear probing, at most three quarters full).
//
// The hash of the table is another in each process, as with Go's maps: ids are
// chosen by whoever writes, and equal beginnings of SHA-256 are cheap to make. A nil catalog is empty.
type catalog struct {
	key   maphash.Seed
	slots []uint32 // index of the entry plus 1; 0 is a free slot. The length is a power of two
	pages [][]catalogEntry
	n     int
}

type catalogEntry struct {
	id  record.ID
	ref Ref
}

// catalogPage is the number of entries of a page.
const catalogPage = 1024

func newCatalog() *catalog { return &catalog{key: maphash.MakeSeed()} }

func (c *catalog) size() int {
	if c == nil {
		return 0
	}
	return c.n
}

func (c *catalog) entry(i int) *catalogEntry { return &c.pages[i/catalogPage][i%catalogPage] }

// find returns the index of an id's entry, or -1, and the slot where the search ended.
func (c *catalog) find(id *record.ID) (index, slot int) {
	mask := len(c.slots) - 1
	slot = int(maphash.Bytes(c.key, id[:])) & mask
	for ; c.slots[slot] != 0; slot = (slot + 1) & mask {
		if i := int(c.slots[slot]) - 1; c.entry(i).id == *id {
			return i, slot
		}
	}
	return -1, slot
}

func (c *catalog) get(id record.ID) (Ref, bool) {
	if c.size() == 0 {
		return Ref{}, false
	}
	if i, _ := c.find(&id); i >= 0 {
		return c.entry(i).ref, true
	}
	return Ref{}, false
}

func (c *catalog) has(id record.ID) bool {
	_, ok := c.get(id)
	return ok
}

// put sets the place of an id, new or not.
func (c *catalog) put(id record.ID, ref Ref) {
	if 4*(c.n+1) > 3*len(c.slots) {
		c.grow(max(16, 2*len(c.slots)))
	}
	i, slot := c.find(&id)
	if i >= 0 {
		c.entry(i).ref = ref
		return
	}
	last := len(c.pages) - 1
	if last < 0 || len(c.pages[last]) == catalogPage {
		var page []catalogEntry // the first one grows: many classes are small
		if last >= 0 {
			page = make([]catalogEntry, 0, catalogPage)
		}
		c.pages = append(c.pages, page)
		last++
	}
	c.pages[last] = append(c.pages[last], catalogEntry{id, ref})
	c.n++
	c.slots[slot] = uint32(c.n)
}

// grow gives the table a new length.
func (c *catalog) grow(length int) {
	c.slots = make([]uint32, length)
	for i := range c.n {
		_, slot := c.find(&c.entry(i).id)
		c.slots[slot] = uint32(i + 1)
	}
}

// all visits every entry in the order they came. The catalog must not change meanwhile.
func (c *catalog) all() iter.Seq2[record.ID, Ref] {
	return func(yield func(record.ID, Ref) bool) {
		for i := range c.size() {
			if e := c.entry(i); !yield(e.id, e.ref) {
				return
			}
		}
	}
}

// keep drops the entries that keep does not want. It visits all: for recovery.
func (c *catalog) keep(want func(record.ID, Ref) bool) {
	old := *c
	c.slots, c.pages, c.n = nil, nil, 0
	for id, ref := range old.all() {
		if want(id, ref) {
			c.put(id, ref)
		}
	}
}
