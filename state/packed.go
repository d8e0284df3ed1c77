package state

import (
	"bytes"
	"encoding/binary"

	"graven/merkle"
)

// page is a page in memory: its bytes, and where its nodes stand in them. It
// never changes. Its nodes are numbered in preorder: 0 is the root, the left
// child of node i is node i+1.
//
// A page is also a node, of those that readers see: a child with a page as its
// node, and a number beside it, stands for the node of that number ("packed"), in
// the page or below it. So a proof takes no memory for a sibling.
type page struct {
	data   []byte
	spots  []spot // one a node
	sums   []sum  // one a node that is in the page
	prefix span   // what all words begin with
	floor  uint8  // of the page's band: nodes of less height lie below the page
	size   int64  // estimate of the memory that all of it takes, in bytes
}

func (*page) isNode() {}

// spot is where a node stands.
type spot struct {
	at     uint16 // of the node's first part
	word   span   // without prefix: key of the leaf or of the pair's first leaf; or routing key
	right  uint8  // number of the right child of an inner node
	height uint8
	sum    uint8 // of a node in the page: which of sums
}

// sum is what follows from the parts of a node.
type sum struct {
	hash merkle.Hash
	live uint64
}

// span is a piece of a page.
type span struct{ at, n uint16 }

func (s span) of(data []byte) []byte { return data[s.at:][:s.n] }

// What a page takes in memory besides its bytes, and each node of it.
const (
	pageBytes = 160
	spotBytes = 10
	sumBytes  = 40
)

// child returns a child that stands for node i, which is not the root.
func (p *page) child(i uint8) child {
	s := p.sum(i)
	return child{node: p, hash: s.hash, meta: s.live<<liveShift | uint64(i)<<numberShift | uint64(p.spots[i].height)}
}

// sum returns what node i, in the page or below it, stands for.
func (p *page) sum(i uint8) sum {
	s := &p.spots[i]
	if s.height >= p.floor {
		return p.sums[s.sum]
	}
	part := p.data[s.at:]
	live, _ := binary.Uvarint(part[merkle.HashSize:])
	return sum{merkle.Hash(part[:merkle.HashSize]), live}
}

// end returns where the parts of node i end, if it is a leaf or a pair.
func (p *page) end(i uint8) int {
	if int(i)+1 < len(p.spots) {
		return int(p.spots[i+1].at)
	}
	return len(p.data)
}

// place returns where node i lies if that is below the page.
func (p *page) place(i uint8) (at Place, below bool) {
	if p.spots[i].height >= p.floor {
		return Place{}, false
	}
	rest := p.data[int(p.spots[i].at)+merkle.HashSize:]
	next := func() uint64 {
		v, n := binary.Uvarint(rest)
		rest = rest[n:]
		return v
	}
	next() // the live count
	at.File, at.Off, at.Len = uint32(next()), next(), uint32(next())
	at.Oldest, at.Bytes = at.File-uint32(next()), next()
	return at, true
}

// wordBehind returns the word behind one.
func (p *page) wordBehind(w span) span {
	at := int(w.at) + int(w.n)
	n, size := binary.Uvarint(p.data[at:])
	return span{uint16(at + size), uint16(n)}
}

// appendWord appends a word, with what all begin with.
func (p *page) appendWord(dst []byte, w span) []byte {
	return append(append(dst, p.prefix.of(p.data)...), w.of(p.data)...)
}

// search goes from node i down as far as the page goes, and returns the leaf, the
// pair, or what lies below it.
func (p *page) search(i uint8, key []byte) uint8 {
	prefix := p.prefix.of(p.data)
	order := bytes.Compare(prefix, key[:min(len(key), len(prefix))])
	rest := key[min(len(key), len(prefix)):]
	for {
		s := &p.spots[i]
		switch {
		case s.height < 2 || s.height < p.floor:
			return i
		case order > 0 || order == 0 && bytes.Compare(s.word.of(p.data), rest) > 0:
			i++
		default:
			i = s.right
		}
	}
}

// get returns the leaf of a key from the leaf or the pair that is node i.
func (p *page) get(i uint8, key []byte) (Leaf, bool) {
	rest, ok := bytes.CutPrefix(key, p.prefix.of(p.data))
	if !ok {
		return Leaf{}, false
	}
	s := &p.spots[i]
	w, at := s.word, int(s.at)
	var l leaf
	next := p.version(&l, at)
	if s.height == 1 && !bytes.Equal(w.of(p.data), rest) {
		w = p.wordBehind(w)
		p.version(&l, next)
	}
	if !bytes.Equal(w.of(p.data), rest) {
		return Leaf{}, false
	}
	return Leaf{Key: bytes.Clone(key), Digest: l.digest, Seq: l.seq, N: l.n, Created: l.created, Live: l.alive}, true
}

// room is where a packed node is unpacked for as long as somebody looks at it: the
// next one takes its place. So readers take no memory for nodes, except for
// keys.
type room struct {
	keys  *keyRoom
	leaf  leaf
	pair  pair
	inner inner
}

// node unpacks node i, which is in the page, into r: a *leaf, a *pair or an
// *inner.
func (p *page) node(i uint8, r *room) node {
	switch p.spots[i].height {
	case 0:
		r.leaf = p.leaf(i, r.keys)
		return &r.leaf
	case 1:
		r.pair = p.pair(i, r.keys)
		return &r.pair
	}
	r.inner = p.inner(i, r.keys)
	return &r.inner
}

func (p *page) leaf(i uint8, keys *keyRoom) leaf {
	s := &p.spots[i]
	l := leaf{key: p.hold(s.word, keys)}
	p.version(&l, int(s.at))
	return l
}

func (p *page) pair(i uint8, keys *keyRoom) pair {
	s := &p.spots[i]
	n := pair{a: leaf{key: p.hold(s.word, keys)}, b: leaf{key: p.hold(p.wordBehind(s.word), keys)}}
	p.version(&n.b, p.version(&n.a, int(s.at)))
	return n
}

// inner returns an inner node. Its children stay packed.
func (p *page) inner(i uint8, keys *keyRoom) inner {
	s := &p.spots[i]
	n := inner{left: p.child(i + 1), right: p.child(s.right)}
	if size := p.prefix.n + s.word.n; int(size) > len(n.route.short) {
		n.route.long = p.hold(s.word, keys)
	} else {
		p.appendWord(n.route.short[:0], s.word)
		n.route.n = uint8(size)
	}
	return n
}

// hold returns a word in memory of its own.
func (p *page) hold(w span, keys *keyRoom) string {
	return keys.hold(p.prefix.of(p.data), w.of(p.data))
}

// version reads a leaf without its key at an offset, and returns the one behind
// it.
func (p *page) version(l *leaf, at int) int {
	l.digest = merkle.Hash(p.data[at:][:merkle.HashSize])
	at += merkle.HashSize
	next := func() uint64 {
		v, n := binary.Uvarint(p.data[at:])
		at += n
		return v
	}
	l.seq = next()
	n := next()
	l.n, l.alive, l.created = n>>1, n&1 == 1, l.seq
	if l.n > 1 {
		l.created -= next()
	}
	return at
}
