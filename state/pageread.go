package state

import (
	"bytes"
	"slices"

	"graven/merkle"
)

// The most that a page holds: all nodes of a full tree of the height of a band,
// and as many places as it has at its lower border.
const (
	pageInners = 1<<bandHeights - 1
	pageNodes  = pageInners + 1<<bandHeights
)

// parse reads a page, all of data and nothing behind it, into p, and if it is asked to
// computes the hashes of its nodes. The page keeps data, which must not change any
// more, and what memory it had. After an error, which wraps [ErrSyntax] or [ErrLeaf], it
// is worth nothing.
func (p *page) parse(data []byte, hashes bool) error {
	r := pageReader{pathReader: pathReader{what: "page", rest: data, size: len(data)}, data: data, hashes: hashes}
	if len(data) > MaxPage {
		r.fail("a page of %d bytes, wanted at most %d", len(data), MaxPage)
	}
	if v := r.byte("the version", 255); r.err == nil && v != pageVersion {
		r.fail("version %d is unknown, wanted %d", v, pageVersion)
	}
	height := r.byte("the height", MaxHeight)
	r.floor = floorOf(height)
	leans := r.rest
	var n counts
	r.count(height, &n)
	r.leans = leans[:n.inners]
	words := n.leaves + 2*n.pairs
	if r.floor > 0 {
		words = n.inners
	}
	prefix := r.readWords(words)
	if r.err != nil {
		return r.err
	}
	r.prefix = prefix.of(data)
	r.spots = slices.Grow(p.spots[:0], n.leaves+n.pairs+n.inners+n.places)
	r.sums = slices.Grow(p.sums[:0], n.leaves+n.pairs+n.inners)
	r.node(height)
	if len(r.rest) > 0 {
		r.fail("%d bytes are left behind the page", len(r.rest))
	}
	if r.err != nil {
		return r.err
	}
	size := pageBytes + int64(len(data)+spotBytes*len(r.spots)+sumBytes*len(r.sums))
	*p = page{data: data, spots: r.spots, sums: r.sums, prefix: prefix, floor: r.floor, size: size}
	return nil
}

// pageReader finds the nodes of a page.
type pageReader struct {
	pathReader
	data   []byte // the page
	hashes bool   // are computed
	floor  uint8
	leans  []byte
	prefix []byte
	words  [pageInners]span
	next   int // word
	spots  []spot
	sums   []sum
	key    [hashBuffer]byte
}

// counts says how many nodes of each kind a page has.
type counts struct{ leaves, pairs, inners, places int }

// offset is where the reader is. A page has at most MaxPage bytes.
func (r *pageReader) offset() uint16 { return uint16(r.size - len(r.rest)) }

// span takes the next n bytes and returns where they stand.
func (r *pageReader) span(what string, n uint64) (span, []byte) {
	from := r.offset()
	b := r.take(what, int(n))
	return span{from, uint16(len(b))}, b
}

// first takes the first element of a slice away from it.
func first[T any](s *[]T) *T {
	t := &(*s)[0]
	*s = (*s)[1:]
	return t
}

// byte returns the next byte, of at most limit.
func (r *pageReader) byte(what string, limit uint8) uint8 {
	b := r.take(what, 1)
	if b == nil {
		return 0
	}
	if b[0] > limit {
		r.fail("%s is %d, wanted at most %d", what, b[0], limit)
	}
	return b[0]
}

// children returns the heights of the children of a node.
func children(height, lean uint8) (left, right uint8) {
	switch lean {
	case leanRight:
		return height - 2, height - 1
	case leanLeft:
		return height - 1, height - 2
	}
	return height - 1, height - 1
}

// count reads the leans from a node of that height down, at most pageInners,
// since each is one lower than the one above it.
func (r *pageReader) count(height uint8, n *counts) {
	switch {
	case height < r.floor:
		n.places++
	case height == 0:
		n.leaves++
	case height == 1:
		n.pairs++
	default:
		lean := r.byte("a lean", leanLeft)
		if r.err != nil {
			return
		}
		n.inners++
		left, right := children(height, lean)
		r.count(left, n)
		r.count(right, n)
	}
}

// readWords reads n words, at least one, and returns what all begin with.
func (r *pageReader) readWords(n int) span {
	prefix, _ := r.span("what all keys begin with", r.varint("common length", MaxKey))
	if r.err == nil && prefix.n == 0 {
		r.fail("keys of several spaces")
	}
	var first, last []byte
	for i := range n {
		at, word := r.span("a key", r.varint("rest length", MaxKey-uint64(prefix.n)))
		switch size := prefix.n + at.n; {
		case r.err != nil:
			return prefix
		case size < MinKey:
			r.fail("a key of %d bytes, wanted %d to %d", size, MinKey, MaxKey)
		case i == 0:
			first = word
		case bytes.Compare(last, word) >= 0:
			r.fail("key …%x after …%x, wanted a greater one", word, last)
		}
		r.words[i], last = at, word
	}
	if n == 1 && len(first) > 0 || n > 1 && common(first, last) > 0 {
		r.fail("common length %d is not the longest", prefix.n)
	}
	return prefix
}

// node reads the node of that height, with all below it in the page, and returns
// what its parent's hash says of it.
func (r *pageReader) node(height uint8) side {
	i := len(r.spots)
	r.spots = append(r.spots, spot{at: r.offset(), height: height, sum: uint8(len(r.sums))})
	r.sums = append(r.sums, sum{})
	var left, right side
	switch height {
	case 0:
		left, r.spots[i].word = r.leaf()
		r.sums[r.spots[i].sum] = sum{left.hash, left.live}
		return left
	case 1:
		left, r.spots[i].word = r.leaf()
		route := r.route()
		right, _ = r.leaf()
		return r.over(&left, &right, route, &r.spots[i])
	}
	one, other := children(height, *first(&r.leans))
	left = r.child(one)
	r.spots[i].word = r.route()
	if r.floor > 0 {
		r.next++
	}
	r.spots[i].right = uint8(len(r.spots))
	right = r.child(other)
	return r.over(&left, &right, r.spots[i].word, &r.spots[i])
}

// over computes what follows for the node over two others, which stands at s.
func (r *pageReader) over(left, right *side, route span, s *spot) side {
	n := side{live: left.live + right.live, height: s.height}
	if n.live > maxLive {
		r.fail("%d live keys below a node, wanted at most %d", n.live, uint64(maxLive))
	}
	if r.hashes && r.err == nil {
		n.hash = hashInner(left, right, r.whole(route))
	}
	r.sums[s.sum] = sum{n.hash, n.live}
	return n
}

// whole returns a word with what all begin with, until it is called again.
func (r *pageReader) whole(w span) []byte {
	return append(append(r.key[:0], r.prefix...), w.of(r.data)...)
}

// route returns where the routing key stands of the gap that the reader has come to.
func (r *pageReader) route() span {
	w := r.words[r.next]
	if r.floor == 0 {
		before := r.words[r.next-1]
		w.n = 1 + uint16(common(before.of(r.data), w.of(r.data)))
	}
	return w
}

// child reads a child of that height.
func (r *pageReader) child(height uint8) side {
	if height >= r.floor {
		return r.node(height)
	}
	r.spots = append(r.spots, spot{at: r.offset(), height: height})
	s := side{height: height}
	copy(s.hash[:], r.take("a hash", merkle.HashSize))
	s.live = r.varint("live count", min(maxLive, uint64(1)<<min(height, 63)))
	file := r.varint("file", NoFile-1)
	r.varint("offset", 1<<63-1)
	r.varint("length", MaxPage)
	r.varint("age of the oldest page", file)
	r.varint("bytes of pages", 1<<63-1)
	return s
}

// leaf reads a leaf, whose key is the next word.
func (r *pageReader) leaf() (side, span) {
	w := r.words[r.next]
	r.next++
	var digest merkle.Hash
	copy(digest[:], r.take("a digest", merkle.HashSize))
	seq := r.varint("seq", MaxInt)
	n := r.varint("version number", MaxInt<<1|1)
	created := seq
	if n>>1 > 1 {
		created -= r.varint("age of version 1", seq)
	}
	if err := checkVersion(seq, n>>1, created); err != nil && r.err == nil {
		r.err = err
	}
	s := side{live: n & 1}
	if r.hashes && r.err == nil {
		s.hash = hashLeaf(r.whole(w), &digest, seq, n>>1, created, n&1 == 1)
	}
	return s, w
}
