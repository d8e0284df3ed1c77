package state

import "graven/merkle"

// page is what the bytes of a page hold. It never changes.
type page struct {
	top  child // without its hash
	size int64 // estimate of the memory that it takes, in bytes
}

// What nodes take in memory, in bytes, keys not counted.
const (
	leafBytes  = 80
	innerBytes = 144
	stubBytes  = 32
	pageBytes  = 160 // what a page takes besides
)

// The most that a page holds: all nodes of a full tree of the height of a band.
const (
	pageInners = 1<<bandHeights - 1
	pageLeaves = 1 << (bandHeights - 1)
)

// parsePage reads a page, all of data and nothing behind it. It keeps no
// reference to data, and computes no hash. The error wraps [ErrSyntax] or
// [ErrLeaf].
func parsePage(data []byte) (*page, error) {
	r := pageReader{pathReader: pathReader{what: "page", rest: data, size: len(data)}}
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
	r.readWords(words)
	if r.err != nil {
		return nil, r.err
	}
	r.leaves, r.pairs = make([]leaf, n.leaves), make([]pair, n.pairs)
	r.inners, r.stubs = make([]inner, n.inners), make([]stub, n.stubs)
	p := &page{
		size: pageBytes + int64(len(r.text)+leafBytes*(n.leaves+2*n.pairs)+innerBytes*n.inners+stubBytes*n.stubs),
	}
	p.top = r.part(height)
	if len(r.rest) > 0 {
		r.fail("%d bytes are left behind the page", len(r.rest))
	}
	if r.err != nil {
		return nil, r.err
	}
	return p, nil
}

// pageReader makes the nodes of a page. It takes each from the front of the
// slice of its kind: a page is a few pieces of memory.
type pageReader struct {
	pathReader
	floor  uint8
	leans  []byte
	text   string           // all words
	words  [pageInners]word // their places in text
	next   int              // word
	leaves []leaf
	pairs  []pair
	inners []inner
	stubs  []stub
}

// word is where a word stands, and how much of it is that of the one before.
type word struct{ from, to, common int }

// counts says how many nodes of each kind a page has.
type counts struct{ leaves, pairs, inners, stubs int }

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
		n.stubs++
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

// readWords reads n words.
func (r *pageReader) readWords(n int) {
	var room [1024]byte
	text := room[:0]
	var last []byte
	for i := range n {
		c := int(r.varint("common length", uint64(len(last))))
		more := r.take("a key", int(r.varint("rest length", uint64(MaxKey-c))))
		switch {
		case r.err != nil:
			return
		case c+len(more) < MinKey:
			r.fail("a key of %d bytes, wanted %d to %d", c+len(more), MinKey, MaxKey)
			return
		case i > 0 && (c == 0 || len(more) == 0 || c < len(last) && more[0] <= last[c]):
			r.fail("key %x%x after %x: wanted a greater one of the same space, behind all that is common", last[:c], more, last)
			return
		}
		from := len(text)
		text = append(append(text, last[:c]...), more...)
		last = text[from:]
		r.words[i] = word{from, len(text), c}
	}
	r.text = string(text)
}

// part makes the node of that height, in preorder.
func (r *pageReader) part(height uint8) child {
	switch height {
	case 0:
		l := first(&r.leaves)
		r.leaf(l)
		return child{node: l, meta: l.live() << 8}
	case 1:
		p := first(&r.pairs)
		r.leaf(&p.a)
		r.leaf(&p.b)
		return child{node: p, meta: (p.a.live()+p.b.live())<<8 | 1}
	}
	n := first(&r.inners)
	left, right := children(height, *first(&r.leans))
	n.left = r.child(left)
	n.route = r.route()
	n.right = r.child(right)
	live := n.left.live() + n.right.live()
	if live > maxLive {
		r.fail("%d live keys below a node, wanted at most %d", live, uint64(maxLive))
	}
	return child{node: n, meta: live<<8 | uint64(height)}
}

// route returns the routing key of the gap that the reader has come to.
func (r *pageReader) route() route {
	w := r.words[r.next]
	if r.floor > 0 {
		r.next++
		return newRoute(r.text[w.from:w.to])
	}
	return newRoute(r.text[w.from : w.from+w.common+1])
}

// child makes a child of that height.
func (r *pageReader) child(height uint8) child {
	hash := r.take("a hash", merkle.HashSize)
	var c child
	if height < r.floor {
		c = r.below(height)
	} else {
		c = r.part(height)
	}
	copy(c.hash[:], hash)
	return c
}

// below makes a stub.
func (r *pageReader) below(height uint8) child {
	s := first(&r.stubs)
	live := r.varint("live count", min(maxLive, uint64(1)<<min(height, 63)))
	s.File = uint32(r.varint("file", NoFile-1))
	s.Off = r.varint("offset", 1<<63-1)
	s.Len = uint32(r.varint("length", MaxPage))
	s.Oldest = s.File - uint32(r.varint("age of the oldest page", uint64(s.File)))
	s.Bytes = r.varint("bytes of pages", 1<<63-1)
	return child{node: s, meta: live<<8 | uint64(height)}
}

// leaf reads a leaf.
func (r *pageReader) leaf(l *leaf) {
	w := r.words[r.next]
	r.next++
	l.key = r.text[w.from:w.to]
	copy(l.digest[:], r.take("a digest", merkle.HashSize))
	l.seq = r.varint("seq", MaxInt)
	n := r.varint("version number", MaxInt<<1|1)
	l.n, l.alive = n>>1, n&1 == 1
	l.created = l.seq
	if l.n > 1 {
		l.created -= r.varint("age of version 1", l.seq)
	}
	if err := checkVersion(l.seq, l.n, l.created); err != nil && r.err == nil {
		r.err = err
	}
}
