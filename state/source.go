package state

import (
	"errors"
	"fmt"
)

// ErrPage says that a page is not what the tree above it says of it, or no
// page at all. The error names the page, what was wanted and what was found.
var ErrPage = errors.New("state: bad page")

// MaxPage is more than the longest page has, in bytes.
const MaxPage = 1 << 16

// Ref says where a page lies.
type Ref struct {
	File uint32 // number of its file
	Len  uint32 // its length in bytes, 1 to MaxPage
	Off  uint64 // of its first byte in the file
}

// String returns the reference for people.
func (r Ref) String() string {
	return fmt.Sprintf("page of %d bytes at offset %d of file %d", r.Len, r.Off, r.File)
}

// Source reads pages. It is declared here, by its consumer. A Source can be
// compared with ==, and is safe for concurrent use.
type Source interface {
	// ReadPage returns the bytes that [PageWriter.WritePage] was given, verified
	// against a checksum. They stand in buf, whatever its length, if it has room, or in
	// new memory. Both are the caller's.
	ReadPage(ref Ref, buf []byte) ([]byte, error)
}

// Place is where the root page of a subtree lies, and what all its pages are
// together.
type Place struct {
	Ref
	Oldest uint32 // the least number of a file that a page of the subtree lies in
	Bytes  uint64 // of all pages of the subtree
}

// stub is a page that is not held: a child with a stub as its node, and a number
// beside it, stands for the node of that number on the page, 0 for its root. What
// its hash, live count and height are is known to its parent, as of every node.
// Invariant: of every Place, Ref.File is the greatest number of a file in the subtree, since a
// page is written after those below it.
type stub struct{ Place }

// stubBytes is what one takes in memory.
const stubBytes = 32

func (*stub) isNode() {}

// pages is what the pages of a Map are read through.
type pages struct {
	src   Source
	cache *Cache
}

// load returns the page on which the node of c lies, by way of the cache, and the
// node's number there.
func (p *pages) load(c *child) (*page, uint8, error) {
	at, i, _ := c.place()
	got := p.cache.get(at.Ref)
	if got == nil {
		var err error
		got = new(page)
		if err = p.read(got, at.Ref, true); err != nil {
			return nil, 0, err
		}
		p.cache.put(at.Ref, got)
	}
	return got, i, got.fits(c, i, at.Ref)
}

// peek returns a page without a trace in the cache and without hashes, for who passes by once
// and copies what is there. One that is not in the cache is read into spare.
func (p *pages) peek(at Ref, spare *page) (*page, error) {
	if got := p.cache.get(at); got != nil {
		return got, nil
	}
	return spare, p.read(spare, at, false)
}

// open returns the node of c, wherever it lies: a *leaf, a *pair or an *inner. One
// that is not in memory as such is unpacked into r, in which c may stand.
func (p *pages) open(c *child, r *room) (node, error) {
	if _, _, away := c.place(); !away {
		return c.opened(r), nil
	}
	page, i, err := p.load(c)
	if err != nil {
		return nil, err
	}
	return page.node(i, r), nil
}

// read reads and parses a page, with hashes or without, into the memory of one that
// nobody uses any more, or an empty one.
func (p *pages) read(into *page, ref Ref, hashes bool) error {
	data, err := p.src.ReadPage(ref, into.data[:0])
	if err != nil {
		return fmt.Errorf("state: %v: %w", ref, err)
	}
	if err := into.parse(data, hashes); err != nil {
		return fmt.Errorf("%w: %v: %w", ErrPage, ref, err)
	}
	return nil
}

// has refuses a page whose node i is not of the height of the one that its parent knows.
func (p *page) has(c *child, i uint8, at Ref) error {
	if int(i) >= len(p.spots) || p.spots[i].height != c.height() {
		return fmt.Errorf("%w: %v: it has no node %d of height %d", ErrPage, at, i, c.height())
	}
	return nil
}

// fits refuses a page whose node i is not the one that its parent knows.
func (p *page) fits(c *child, i uint8, at Ref) error {
	if int(i) >= len(p.spots) {
		return fmt.Errorf("%w: %v: %d nodes, wanted number %d", ErrPage, at, len(p.spots), i)
	}
	height, sum := p.spots[i].height, p.sum(i)
	if height != c.height() || sum.live != c.live() || sum.hash != c.hash {
		return fmt.Errorf("%w: %v: height %d, %d live keys and hash %v at number %d, wanted %d, %d and %v",
			ErrPage, at, height, sum.live, sum.hash, i, c.height(), c.live(), c.hash)
	}
	return nil
}
