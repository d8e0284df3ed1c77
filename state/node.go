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

// node is a *leaf or an *inner.
type node interface{ isNode() }

func (*leaf) isNode()  {}
func (*inner) isNode() {}

// child is a node and what its parent's hash says of it. The hash stands
// here, and not in the node, so that an update reads the nodes on its way and
// none beside it: a node far down is a cache miss.
type child struct {
	node node
	hash merkle.Hash // of node; valid unless dirty
	meta uint64      // live count (56 bits), dirty (1), height (7)
}

// dirtyBit marks a child whose node the Edit now under way has made: only that
// Edit can reach it, so an inner node may change in place, and its hash is not
// yet computed.
// Invariant: no Map can reach a dirty child; all above a dirty child are dirty.
const dirtyBit = 1 << 7

func (c *child) height() uint8 { return uint8(c.meta) &^ dirtyBit }
func (c *child) live() uint64  { return c.meta >> 8 }
func (c *child) dirty() bool   { return c.meta&dirtyBit != 0 }
func (c *child) side() side    { return side{c.hash, c.live(), c.height()} }

// leaf is a [Leaf] in the tree. It never changes.
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

// export returns the leaf with a key of its own.
func (l *leaf) export() Leaf {
	return Leaf{Key: []byte(l.key), Digest: l.digest, Seq: l.seq, N: l.n, Created: l.created, Live: l.alive}
}

// inner is a node with two children: 128 bytes.
type inner struct {
	left, right child

	// route is the shortest prefix of the right subtree's first key that is
	// greater than the left subtree's last key. It shares a key's memory. No
	// later update can falsify it: a key that comes to stand between those two
	// either is less than route, or has it as a prefix.
	route string
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

// search returns the leaf at which the search for key ends.
func search(n node, key []byte) *leaf {
	for {
		switch t := n.(type) {
		case *leaf:
			return t
		case *inner:
			if string(key) < t.route {
				n = t.left.node
			} else {
				n = t.right.node
			}
		}
	}
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
