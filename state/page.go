package state

import "encoding/binary"

// A page holds what is connected of one tree within one band of heights: 0 to
// 4, 5 to 9, and so on. So where pages begin and end follows from the heights
// alone, and a rotation needs no care.
//
//	height 9 ─┐           ┌─ inner ─┐              one page: inner nodes, and at its
//	     ...  │     inner            inner         lower border stubs
//	height 5 ─┘    /     \          /     \
//	height 4 ─┐  ┌─────┐ ┌─────┐ ┌─────┐ ┌─────┐   a page each: inner nodes, pairs
//	     ...  │  │     │ │     │ │     │ │     │   and leaves
//	height 0 ─┘  └─────┘ └─────┘ └─────┘ └─────┘
//
// A child of a lower band than its parent, and the root of a space whatever its
// height, is the root of a page. The bytes of a page; varints are LEB128 in
// shortest form:
//
//	page  = 01 │ height of its root (1) │ lean… │ word… │ part
//	lean  = 00 both children are one lower  01 the left one is two lower  02 the right one is
//	word  = c (varint) │ s (varint) │ s bytes
//	part  = of a leaf:   digest (32) │ seq (varint) │ 2n + live (varint) │ seq - created (varint, if n > 1)
//	        of a pair:   both leaves
//	        of an inner node: child child
//	child = hash (32) │ part                                   in the page
//	        hash (32) │ live (varint) │ file (varint) │ offset (varint) │ length (varint) │
//	                    file - oldest (varint) │ bytes (varint)  below the page
//
// A lean stands for each inner node of height 2 or more in the page, parents
// before their children, left before right. With the height of the root they
// say what nodes there are. The words are, in order, the stored keys of the
// leaves, or, in a page without leaves, the routing keys: the first c bytes of
// the word before and s more; c is the longest. The routing key between two
// leaves of a page is the first c+1 bytes of the second one, with its c.
//
// Hashes of nodes stand in the page, so that reading one computes none; that of
// its root is known to the page above it, as are its live count and height.
const (
	pageVersion = 1
	bandHeights = 5
)

const (
	leanNone = iota
	leanRight
	leanLeft
)

// floorOf returns the least height of the band that a height belongs to.
func floorOf(height uint8) uint8 { return height / bandHeights * bandHeights }

// maxLive is the greatest live count that a child can hold.
const maxLive = 1<<56 - 1

// pageText is a page on its way to its bytes.
type pageText struct {
	floor  uint8  // of the page's band
	head   []byte // version, height and leans
	words  []byte
	parts  []byte
	last   []byte // the word before; empty: none yet
	oldest uint32 // of the pages below
	bytes  uint64 // of the pages below
}

// begin makes t the empty page of a root of that height.
func (t *pageText) begin(height uint8) {
	*t = pageText{
		floor: floorOf(height), head: append(t.head[:0], pageVersion, height),
		words: t.words[:0], parts: t.parts[:0], last: t.last[:0], oldest: NoFile,
	}
}

// lean adds the lean of an inner node.
func (t *pageText) lean(left, right uint8) {
	switch {
	case left < right:
		t.head = append(t.head, leanRight)
	case left > right:
		t.head = append(t.head, leanLeft)
	default:
		t.head = append(t.head, leanNone)
	}
}

// word adds a word.
func (t *pageText) word(b []byte) {
	c := common(t.last, b)
	t.words = binary.AppendUvarint(t.words, uint64(c))
	t.words = binary.AppendUvarint(t.words, uint64(len(b)-c))
	t.words = append(t.words, b[c:]...)
	t.last = append(t.last[:0], b...)
}

// leaf adds a leaf.
func (t *pageText) leaf(l *leaf) {
	var key [hashBuffer]byte
	t.word(append(key[:0], l.key...))
	t.parts = append(t.parts, l.digest[:]...)
	t.parts = binary.AppendUvarint(t.parts, l.seq)
	t.parts = binary.AppendUvarint(t.parts, l.n<<1|l.live())
	if l.n > 1 {
		t.parts = binary.AppendUvarint(t.parts, l.seq-l.created)
	}
}

// below adds a child below the page, behind its hash.
func (t *pageText) below(live uint64, p Place) {
	t.parts = binary.AppendUvarint(t.parts, live)
	t.parts = binary.AppendUvarint(t.parts, uint64(p.File))
	t.parts = binary.AppendUvarint(t.parts, p.Off)
	t.parts = binary.AppendUvarint(t.parts, uint64(p.Len))
	t.parts = binary.AppendUvarint(t.parts, uint64(p.File-p.Oldest))
	t.parts = binary.AppendUvarint(t.parts, p.Bytes)
	t.oldest = min(t.oldest, p.Oldest)
	t.bytes += p.Bytes
}

// finish returns the bytes, which stay t's.
func (t *pageText) finish() []byte {
	t.head = append(append(t.head, t.words...), t.parts...)
	return t.head
}
