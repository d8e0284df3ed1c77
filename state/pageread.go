package state

import (
	"bytes"

	"graven/merkle"
)

// The most that a page holds: all nodes of a full tree of the height of a band,
// and as many places as it has at its lower border.
const (
	pageInners = 1<<bandHeights - 1
	pageNodes  = pageInners + 1<<bandHeights
)

// parsePage reads a page, all of data and nothing behind it, and computes no
// hash. The page keeps data, which must not change any more. The error wraps
// [ErrSyntax] or [ErrLeaf].
func parsePage(data []byte) (*page, error) {
	r := pageReader{pathReader: pathReader{what: "page", rest: data, size: len(data)}, data: data}
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
		return nil, r.err
	}
	r.spots = make([]spot, 0, n.leaves+n.pairs+n.inners+n.places)
	live := r.node(height, r.offset())
	if len(r.rest) > 0 {
		r.fail("%d bytes are left behind the page", len(r.rest))
	}
	if r.err != nil {
		return nil, r.err
	}
	size := pageBytes + int64(len(data)+spotBytes*len(r.spots))
	return &page{data: data, spots: r.spots, prefix: prefix, floor: r.floor, live: live, size: size}, nil
}

// pageReader finds the nodes of a page.
type pageReader struct {
	pathReader
	data  []byte // the page
	floor uint8
	leans []byte
	words [pageInners]span
	next  int // word
	spots []spot
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
// its live count. The child that it is of stands at offset at, or, if it is the
// page's root, its part.
func (r *pageReader) node(height uint8, at uint16) (live uint64) {
	i := len(r.spots)
	r.spots = append(r.spots, spot{at: at, height: height})
	switch height {
	case 0:
		r.spots[i].word = r.words[r.next]
		r.next++
		return r.version()
	case 1:
		r.spots[i].word = r.words[r.next]
		r.next += 2
		return r.version() + r.version()
	}
	left, right := children(height, *first(&r.leans))
	live = r.child(left)
	r.spots[i].word = r.route()
	r.spots[i].right = uint8(len(r.spots))
	live += r.child(right)
	if live > maxLive {
		r.fail("%d live keys below a node, wanted at most %d", live, uint64(maxLive))
	}
	return live
}

// route returns where the routing key stands of the gap that the reader has come to.
func (r *pageReader) route() span {
	w := r.words[r.next]
	if r.floor > 0 {
		r.next++
		return w
	}
	before := r.words[r.next-1]
	w.n = 1 + uint16(common(before.of(r.data), w.of(r.data)))
	return w
}

// child reads a child of that height and returns its live count.
func (r *pageReader) child(height uint8) uint64 {
	at := r.offset()
	r.take("a hash", merkle.HashSize)
	live := r.varint("live count", min(maxLive, uint64(1)<<min(height, 63)))
	if height < r.floor {
		r.spots = append(r.spots, spot{at: at, height: height})
		r.place()
		return live
	}
	if got := r.node(height, at); got != live {
		r.fail("live count %d, wanted %d", live, got)
	}
	return live
}

// place reads where a child below the page lies.
func (r *pageReader) place() {
	file := r.varint("file", NoFile-1)
	r.varint("offset", 1<<63-1)
	r.varint("length", MaxPage)
	r.varint("age of the oldest page", file)
	r.varint("bytes of pages", 1<<63-1)
}

// version reads a leaf without its key and returns its live count.
func (r *pageReader) version() uint64 {
	r.take("a digest", merkle.HashSize)
	seq := r.varint("seq", MaxInt)
	n := r.varint("version number", MaxInt<<1|1)
	created := seq
	if n>>1 > 1 {
		created -= r.varint("age of version 1", seq)
	}
	if err := checkVersion(seq, n>>1, created); err != nil && r.err == nil {
		r.err = err
	}
	return n & 1
}
