package state

import "encoding/binary"

// A page holds what is connected of one tree within one band of heights: 0 to
// 3, 4 to 7, and so on. So where pages begin and end follows from the heights
// alone, and a rotation needs no care.
//
//	height 7 ─┐           ┌─ inner ─┐              one page: inner nodes, and at its
//	     ...  │     inner            inner         lower border places
//	height 4 ─┘    /     \          /     \
//	height 3 ─┐  ┌─────┐ ┌─────┐ ┌─────┐ ┌─────┐   a page each: inner nodes, pairs
//	     ...  │  │     │ │     │ │     │ │     │   and leaves
//	height 0 ─┘  └─────┘ └─────┘ └─────┘ └─────┘
//
// A child of a lower band than its parent, and the root of a space whatever its
// height, is the root of a page. The bytes of a page; varints are LEB128 in
// shortest form:
//
//	page  = 02 │ height of its root (1) │ lean… │ p (varint) │ p bytes │ word… │ part…
//	lean  = 00 both children are one lower  01 the left one is two lower  02 the right one is
//	word  = s (varint) │ s bytes
//	part  = of a leaf:        digest (32) │ seq (varint) │ 2n + live (varint) │ seq - created (varint, if n > 1)
//	        of a child below: hash (32) │ live (varint) │ file (varint) │ offset (varint) │ length (varint) │
//	                          file - oldest (varint) │ bytes (varint)
//
// A lean stands for each inner node of height 2 or more in the page, parents
// before their children, left before right. With the height of the root they
// say what nodes there are. The words are, in order, the stored keys of the
// leaves, or, in a page without leaves, the routing keys, each without the p
// bytes that all of them begin with; p is the greatest. The routing key between
// two leaves of a page follows from their keys.
//
// The parts are those at the lower end of the page, in order. All hashes and live
// counts of its nodes follow from them. Those of its root are known to the page
// above it, as is its height: so a page that was read is the one that was written.
const (
	pageVersion = 2
	bandHeights = 4
)

const (
	leanNone = iota
	leanRight
	leanLeft
)

// floorOf returns the least height of the band that a height belongs to.
func floorOf(height uint8) uint8 { return height / bandHeights * bandHeights }

// pageText is a page on its way to its bytes.
type pageText struct {
	floor  uint8  // of the page's band
	at     *stub  // where it will lie
	index  uint32 // among the pages of its set that were not moved as a whole
	nodes  uint8  // that it has so far, places among them: the number of the next
	head   []byte // version, height and leans
	words  []byte // all of them, one behind the other
	ends   []int  // where each of them ends
	parts  []byte
	oldest uint32 // of the pages below
	bytes  uint64 // of the pages below
}

// begin makes t the empty page of a root of that height.
func (t *pageText) begin(height uint8) {
	*t = pageText{
		floor: floorOf(height), at: new(stub), head: append(t.head[:0], pageVersion, height),
		words: t.words[:0], ends: t.ends[:0], parts: t.parts[:0], oldest: NoFile,
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

// endWord ends a word, which was appended to words.
func (t *pageText) endWord() { t.ends = append(t.ends, len(t.words)) }

// leaf adds a leaf.
func (t *pageText) leaf(l *leaf) {
	t.words = append(t.words, l.key...)
	t.endWord()
	t.parts = append(t.parts, l.digest[:]...)
	t.parts = binary.AppendUvarint(t.parts, l.seq)
	t.parts = binary.AppendUvarint(t.parts, l.n<<1|l.live())
	if l.n > 1 {
		t.parts = binary.AppendUvarint(t.parts, l.seq-l.created)
	}
}

// packed adds a leaf or a pair from another page: the same bytes but for the
// words, which may come to have more or less in common there.
func (t *pageText) packed(p *page, i uint8) {
	s := &p.spots[i]
	t.words = p.appendWord(t.words, s.word)
	t.endWord()
	if s.height == 1 {
		t.words = p.appendWord(t.words, p.wordBehind(s.word))
		t.endWord()
	}
	t.parts = append(t.parts, p.data[s.at:p.end(i)]...)
}

// below adds a child below the page, and where it lies.
func (t *pageText) below(c *child, p Place) {
	t.parts = append(t.parts, c.hash[:]...)
	t.parts = binary.AppendUvarint(t.parts, c.live())
	t.parts = binary.AppendUvarint(t.parts, uint64(p.File))
	t.parts = binary.AppendUvarint(t.parts, p.Off)
	t.parts = binary.AppendUvarint(t.parts, uint64(p.Len))
	t.parts = binary.AppendUvarint(t.parts, uint64(p.File-p.Oldest))
	t.parts = binary.AppendUvarint(t.parts, p.Bytes)
	t.oldest = min(t.oldest, p.Oldest)
	t.bytes += p.Bytes
}

// finish returns the bytes, which stay t's. There is at least one word.
func (t *pageText) finish() []byte {
	from, last := 0, len(t.ends)-1
	prefix := t.words[:t.ends[0]]
	if last > 0 {
		prefix = prefix[:common(prefix, t.words[t.ends[last-1]:])]
	}
	t.head = binary.AppendUvarint(t.head, uint64(len(prefix)))
	t.head = append(t.head, prefix...)
	for _, end := range t.ends {
		word := t.words[from+len(prefix) : end]
		t.head = binary.AppendUvarint(t.head, uint64(len(word)))
		t.head = append(t.head, word...)
		from = end
	}
	t.head = append(t.head, t.parts...)
	return t.head
}
