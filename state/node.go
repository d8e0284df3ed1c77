package state

import (
	"crypto/sha256"
	"encoding/binary"

	"graven/merkle"
)

// MaxHeight is the greatest height of a tree. A balanced tree of height h has
// at least Fibonacci(h+2) leaves, where Fibonacci(1) = Fibonacci(2) = 1. With
// h = 92 that is more than 2^64, and counts have 64 bits.
const MaxHeight = 91

// node is a *leaf, a *pair or an *inner, or stands for one of these: a *stub for
// one that lies on a page, or, while a reader looks at it, the *page itself. Two
// leaves with one parent are always a pair.
type node interface{ isNode() }

func (*leaf) isNode()  {}
func (*pair) isNode()  {}
func (*inner) isNode() {}

// child is a node and what its parent's hash says of it. The hash stands
// here, and not in the node, so that an update reads the nodes on its way and
// none beside it: a node far down is a cache miss.
type child struct {
	node node
	hash merkle.Hash // of node; valid unless dirty
	meta uint64      // live count (50 bits), number of a packed node (6), dirty (1), height (7)
}

const (
	numberShift = 8
	numberMask  = 1<<6 - 1
	liveShift   = 14
	maxLive     = 1<<50 - 1 // the greatest live count
)

// dirtyBit marks a child whose node the Edit now under way has made: only that
// Edit can reach it, so the node may change in place, and its hash is not yet
// computed.
// Invariant: no Map can reach a dirty child; all above a dirty child are dirty.
const dirtyBit = 1 << 7

func (c *child) height() uint8 { return uint8(c.meta) &^ dirtyBit }
func (c *child) live() uint64  { return c.meta >> liveShift }
func (c *child) number() uint8 { return uint8(c.meta>>numberShift) & numberMask }
func (c *child) dirty() bool   { return c.meta&dirtyBit != 0 }
func (c *child) side() side    { return side{c.hash, c.live(), c.height()} }

// place returns where the page of c's node lies if that is not in memory, and the
// node's number on it.
func (c *child) place() (at Place, number uint8, away bool) {
	switch t := c.node.(type) {
	case *stub:
		return t.Place, c.number(), true
	case *page:
		at, away = t.place(c.number())
	}
	return at, 0, away
}

// over returns c, which is not dirty, with another node in place of its own.
func (c *child) over(n node, number uint8) child {
	return child{node: n, hash: c.hash, meta: c.meta&^(numberMask<<numberShift) | uint64(number)<<numberShift}
}

// opened returns the node of c, which is in memory: a *leaf, a *pair or an
// *inner. One that is packed is unpacked into r, in which c may stand.
func (c *child) opened(r *room) node {
	if p, ok := c.node.(*page); ok {
		return p.node(c.number(), r)
	}
	return c.node
}

// leaf is a [Leaf] in the tree: 80 bytes and the key's. Its hash is kept by its
// parent, if at all.
type leaf struct {
	key     string
	digest  merkle.Hash
	seq     uint64
	n       uint64
	created uint64
	alive   bool
}

func (l *leaf) hash() merkle.Hash {
	return hashLeaf(l.key, &l.digest, l.seq, l.n, l.created, l.alive)
}

func (l *leaf) live() uint64 {
	if l.alive {
		return 1
	}
	return 0
}

func (l *leaf) side() side { return side{l.hash(), l.live(), 0} }

// export returns the leaf with a key of its own.
func (l *leaf) export() Leaf {
	return Leaf{Key: []byte(l.key), Digest: l.digest, Seq: l.seq, N: l.n, Created: l.created, Live: l.alive}
}

// pair is a node of height 1: two leaves in order, in one piece of memory. With
// keys in random order six of seven leaves stand in pairs. Against leaves of
// their own that saves a quarter of all memory, and the collector four of ten
// objects. The leaves' hashes are not kept.
type pair struct {
	written uint64 // see Moves
	a, b    leaf
}

// route returns the routing key.
func (p *pair) route() string { return separator(p.a.key, p.b.key) }

func (p *pair) hash() merkle.Hash {
	left, right := p.a.side(), p.b.side()
	return hashInner(&left, &right, p.route())
}

// What nodes take in memory, in bytes, keys not counted.
const (
	leafBytes  = 80
	pairBytes  = 176
	innerBytes = 160
)

// inner is a node of height 2 or more.
type inner struct {
	written     uint64 // see Moves
	left, right child
	route       route
}

// side returns the child on the way to a key.
func (n *inner) side(key []byte) *child {
	if n.route.above(key) {
		return &n.left
	}
	return &n.right
}

func (n *inner) hash() merkle.Hash {
	left, right := n.left.side(), n.right.side()
	if n.route.long == "" {
		return hashInner(&left, &right, n.route.short[:n.route.n])
	}
	return hashInner(&left, &right, n.route.long)
}

// route is a routing key: the shortest prefix of the right subtree's first key
// that is greater than the left subtree's last key. No later update can falsify
// it: a key that comes to stand between those two either is less than the
// routing key, or has it as a prefix.
//
// A short one stands in the node itself, which spares the search a cache miss a
// level. A long one shares its key's memory.
type route struct {
	long  string // empty if short is in use
	short [15]byte
	n     uint8 // length of short
}

func newRoute(s string) (r route) {
	if len(s) > len(r.short) {
		r.long = s
		return r
	}
	r.n = uint8(copy(r.short[:], s))
	return r
}

// above says whether the routing key is greater than key: then the search for
// key goes left.
func (r *route) above(key []byte) bool {
	if r.long == "" {
		return string(key) < string(r.short[:r.n])
	}
	return string(key) < r.long
}

// size returns the length of the routing key.
func (r *route) size() int { return int(r.n) + len(r.long) }

// appendTo appends the routing key to dst.
func (r *route) appendTo(dst []byte) []byte {
	return append(append(dst, r.short[:r.n]...), r.long...)
}

// side is one child as its parent's hash sees it.
type side struct {
	hash   merkle.Hash
	live   uint64
	height uint8
}

// An inner node's bytes, integers big-endian:
//
//	0      1       33       41       42      74       82       83         85
//	┌──────┬───────┬────────┬────────┬───────┬────────┬────────┬──────────┬───────┐
//	│ 0x11 │ left  │ left   │ left   │ right │ right  │ right  │ r: length│ route │
//	│  (1) │ hash  │ live   │ height │ hash  │ live   │ height │ of route │ (r)   │
//	│      │ (32)  │ (8)    │ (1)    │ (32)  │ (8)    │ (1)    │ (2)      │       │
//	└──────┴───────┴────────┴────────┴───────┴────────┴────────┴──────────┴───────┘
const innerTag = 0x11

func hashInner[K string | []byte](left, right *side, route K) merkle.Hash {
	var buf [hashBuffer]byte
	b := append(buf[:0], innerTag)
	b = left.append(b)
	b = right.append(b)
	b = binary.BigEndian.AppendUint16(b, uint16(len(route)))
	return sha256.Sum256(append(b, route...))
}

func (s *side) append(b []byte) []byte {
	b = append(b, s.hash[:]...)
	b = binary.BigEndian.AppendUint64(b, s.live)
	return append(b, s.height)
}

// get returns the newest version of a key from c down.
func (p *pages) get(c *child, key []byte) (Leaf, bool, error) {
	var below child
	for {
		switch t := c.node.(type) {
		case *inner:
			if t.route.above(key) {
				c = &t.left
			} else {
				c = &t.right
			}
		case *pair:
			l := &t.a
			if l.key != string(key) {
				l = &t.b
			}
			return l.get(key)
		case *leaf:
			return t.get(key)
		case *page:
			i := t.search(c.number(), key)
			if t.spots[i].height >= t.floor {
				l, ok := t.get(i, key)
				return l, ok, nil
			}
			below = t.child(i)
			page, i, err := p.load(&below)
			if err != nil {
				return Leaf{}, false, err
			}
			below = below.over(page, i)
			c = &below
		case *stub:
			page, i, err := p.load(c)
			if err != nil {
				return Leaf{}, false, err
			}
			below = c.over(page, i)
			c = &below
		}
	}
}

// get returns the leaf if it is the key's.
func (l *leaf) get(key []byte) (Leaf, bool, error) {
	if l.key != string(key) {
		return Leaf{}, false, nil
	}
	return l.export(), true, nil
}

// separator returns the shortest prefix of hi that is greater than lo, for
// lo < hi.
func separator(lo, hi string) string {
	i := 0
	for i < len(lo) && lo[i] == hi[i] {
		i++
	}
	return hi[:i+1]
}
