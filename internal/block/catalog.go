package block

import (
	"hash/maphash"
	"iter"
	"sort"

	"graven/record"
)

// catalog finds the artifacts of one class that are in memory. Each block has a
// list of its frames, in their order; an open-addressing table (linear probing,
// at most three quarters full) leads from an id to its list and its place there.
// That takes about 65 bytes an artifact, and a block can leave at a cost that
// depends on its own length.
//
// The hash of the table is another in each process, as with Go's maps: ids are
// chosen by whoever writes, and equal beginnings of SHA-256 are cheap to make. A nil catalog is empty.
//
// Invariant: every used slot names an entry of a list in lists. An id that
// stands in several lists is found in the one it was put into last.
type catalog struct {
	key   maphash.Seed
	slots []slot // the length is a power of two
	used  int
	lists []*frameList // by frameList.at; nil is free
	free  []uint32     // free places of lists
}

// slot leads to an entry of a list. The zero slot is free.
type slot struct {
	list  uint32 // index in catalog.lists plus 1
	entry uint32
}

// frameList is what is in memory of one block, in the order of its frames.
type frameList struct {
	source uint32
	number uint64 // of the block; of a chunk block its index in Store.chunks
	stray  bool   // lies in the open file of a block before: see loadRest
	at     uint32 // in catalog.lists
	pages  [][]frameEntry
	n      int
}

type frameEntry struct {
	id   record.ID
	off  int64
	size uint32
	hash uint32
}

// framePage is the number of entries of a page.
const framePage = 1024

// minSlots is the least length of a table.
const minSlots = 16

func newCatalog() *catalog { return &catalog{key: maphash.MakeSeed()} }

// size is the number of ids that can be found.
func (c *catalog) size() int {
	if c == nil {
		return 0
	}
	return c.used
}

func (l *frameList) entry(i int) *frameEntry { return &l.pages[i/framePage][i%framePage] }

func (l *frameList) ref(i int) Ref {
	e := l.entry(i)
	return Ref{file: l.source, size: e.size, off: e.off}
}

// is reports whether entry i is there and the artifact of a frame.
func (l *frameList) is(i int, e Entry) bool {
	return i < l.n && l.entry(i).id == e.ID && l.ref(i) == Ref{file: l.source, size: uint32(e.Size), off: e.Offset}
}

// index returns the number of the entry at a place, or -1.
func (l *frameList) index(ref Ref) int {
	i := sort.Search(l.n, func(i int) bool { return l.entry(i).off >= ref.off })
	if i < l.n && l.ref(i) == ref {
		return i
	}
	return -1
}

// all visits every entry in order. The list must not change meanwhile.
func (l *frameList) all() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for i := range l.n {
			if e := l.entry(i); !yield(Entry{ID: e.id, Offset: e.off, Size: int64(e.size)}) {
				return
			}
		}
	}
}

// newList makes the empty list of a block.
func (c *catalog) newList(source uint32, number uint64) *frameList {
	l := &frameList{source: source, number: number}
	if last := len(c.free) - 1; last >= 0 {
		l.at = c.free[last]
		c.free = c.free[:last]
		c.lists[l.at] = l
		return l
	}
	l.at = uint32(len(c.lists))
	c.lists = append(c.lists, l)
	return l
}

func (c *catalog) named(s slot) *frameEntry { return c.lists[s.list-1].entry(int(s.entry)) }

// find returns the slot of an id, or the free one where the search ended.
func (c *catalog) find(id *record.ID, hash uint32) (at int, ok bool) {
	mask := len(c.slots) - 1
	for at = int(hash) & mask; c.slots[at].list != 0; at = (at + 1) & mask {
		if e := c.named(c.slots[at]); e.hash == hash && e.id == *id {
			return at, true
		}
	}
	return at, false
}

func (c *catalog) hash(id *record.ID) uint32 { return uint32(maphash.Bytes(c.key, id[:])) }

// get returns the list of an id and its place there.
func (c *catalog) get(id record.ID) (l *frameList, i int, ok bool) {
	if c.size() == 0 {
		return nil, 0, false
	}
	at, ok := c.find(&id, c.hash(&id))
	if !ok {
		return nil, 0, false
	}
	s := c.slots[at]
	return c.lists[s.list-1], int(s.entry), true
}

func (c *catalog) ref(id record.ID) (Ref, bool) {
	l, i, ok := c.get(id)
	if !ok {
		return Ref{}, false
	}
	return l.ref(i), true
}

func (c *catalog) has(id record.ID) bool {
	_, _, ok := c.get(id)
	return ok
}

// put appends a frame to a list. Its id is found there from now on.
func (c *catalog) put(l *frameList, id record.ID, off int64, size uint32) {
	if 4*(c.used+1) > 3*len(c.slots) {
		c.resize(max(minSlots, 2*len(c.slots)))
	}
	last := len(l.pages) - 1
	if last < 0 || len(l.pages[last]) == framePage {
		var page []frameEntry // the first one grows: many blocks are small
		if last >= 0 {
			page = make([]frameEntry, 0, framePage)
		}
		l.pages = append(l.pages, page)
		last++
	}
	hash := c.hash(&id)
	l.pages[last] = append(l.pages[last], frameEntry{id: id, off: off, size: size, hash: hash})
	l.n++
	c.lead(&id, hash, l, l.n-1)
}

// lead lets an id be found at an entry.
func (c *catalog) lead(id *record.ID, hash uint32, l *frameList, i int) {
	at, ok := c.find(id, hash)
	if !ok {
		c.used++
	}
	c.slots[at] = slot{list: l.at + 1, entry: uint32(i)}
}

// rename gives entry i of a list another id, which is in no list.
func (c *catalog) rename(l *frameList, i int, id record.ID) {
	c.lose(l, i)
	e := l.entry(i)
	e.id, e.hash = id, c.hash(&id)
	c.lead(&id, e.hash, l, i)
}

// cut takes the entries of a list from n on out of memory.
func (c *catalog) cut(l *frameList, n int) {
	for i := n; i < l.n; i++ {
		c.lose(l, i)
	}
	if n < l.n {
		l.n = n
		l.pages = l.pages[:(n+framePage-1)/framePage]
		if last := len(l.pages) - 1; last >= 0 {
			l.pages[last] = l.pages[last][:n-last*framePage]
		}
	}
	if len(c.slots) > minSlots && 8*c.used < len(c.slots) {
		length := minSlots
		for 2*c.used > length {
			length *= 2
		}
		c.resize(length)
	}
}

// drop takes a whole list out of memory.
func (c *catalog) drop(l *frameList) {
	c.cut(l, 0)
	c.lists[l.at] = nil
	c.free = append(c.free, l.at)
}

// take lists the lists that are wanted.
func (c *catalog) take(want func(*frameList) bool) (lists []*frameList) {
	for _, l := range c.lists {
		if l != nil && want(l) {
			lists = append(lists, l)
		}
	}
	return lists
}

// lose frees the slot of an entry, if it leads there. The slots behind it close
// up, so that no search ends too early (Knuth, TAOCP 3, 6.4, algorithm R).
func (c *catalog) lose(l *frameList, i int) {
	e := l.entry(i)
	hole, ok := c.find(&e.id, e.hash)
	if !ok || c.slots[hole] != (slot{list: l.at + 1, entry: uint32(i)}) {
		return // it is found in another list
	}
	mask := len(c.slots) - 1
	for at := (hole + 1) & mask; c.slots[at].list != 0; at = (at + 1) & mask {
		home := int(c.named(c.slots[at]).hash) & mask
		if (at-home)&mask >= (at-hole)&mask {
			c.slots[hole] = c.slots[at]
			hole = at
		}
	}
	c.slots[hole] = slot{}
	c.used--
}

// resize gives the table a new length.
func (c *catalog) resize(length int) {
	old := c.slots
	c.slots = make([]slot, length)
	mask := length - 1
	for _, s := range old {
		if s.list == 0 {
			continue
		}
		at := int(c.named(s).hash) & mask
		for c.slots[at].list != 0 {
			at = (at + 1) & mask
		}
		c.slots[at] = s
	}
}
