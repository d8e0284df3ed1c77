package state

import (
	"bytes"
	"encoding/binary"
)

// Range is an interval of stored keys of one space: from From up to, and not
// including, To.
type Range struct {
	From []byte // at least the space byte
	To   []byte // of the same space; nil: to the end of the space
}

// Holds reports whether a stored key lies in the range.
func (r Range) Holds(key []byte) bool {
	return len(r.From) > 0 && len(key) > 0 && key[0] == r.From[0] &&
		bytes.Compare(key, r.From) >= 0 && (r.To == nil || bytes.Compare(key, r.To) < 0)
}

// outside reports whether no key of the interval [lo, hi) lies in the range.
func (r Range) outside(lo, hi []byte) bool {
	return r.To != nil && (bytes.Compare(r.From, r.To) >= 0 || bytes.Compare(lo, r.To) >= 0) ||
		hi != nil && bytes.Compare(hi, r.From) <= 0
}

// Under is the range of the stored keys that begin with prefix, which holds at
// least the space byte.
func Under(prefix []byte) Range {
	r := Range{From: prefix}
	for i := len(prefix) - 1; i > 0; i-- {
		if prefix[i] != 0xFF {
			r.To = append(bytes.Clone(prefix[:i]), prefix[i]+1)
			break
		}
	}
	return r
}

// And is the range of the keys that lie in both.
func (r Range) And(o Range) Range {
	if bytes.Compare(o.From, r.From) > 0 {
		r.From = o.From
	}
	if r.To == nil || o.To != nil && bytes.Compare(o.To, r.To) < 0 {
		r.To = o.To
	}
	return r
}

// covers reports whether every key of the interval [lo, hi) lies in the range.
func (r Range) covers(lo, hi []byte) bool {
	return bytes.Compare(lo, r.From) >= 0 && (r.To == nil || hi != nil && bytes.Compare(hi, r.To) <= 0)
}

// least is the least stored key of a space.
func least(space byte) []byte { return []byte{space, 0} }

// Aim says what a RangeProof is to show.
type Aim uint8

const (
	// All: every leaf of the range. Under one root there is one answer, whoever
	// built the tree.
	All Aim = iota
	// Count: how many keys of the range are live. Subtrees inside the range stay
	// closed, and their live counts are what the log says of them: as true as a
	// replay of the log finds them.
	Count
	// Live: every live leaf of the range. Subtrees inside the range without a live
	// key stay closed; that they have none is what the log says of them, as in Count.
	Live
)

// closes reports whether a subtree with so many live keys, all of whose keys lie
// in [lo, hi), stays closed in a proof. Prover and verifier agree on it, so a range
// has one proof.
func (a Aim) closes(r Range, lo, hi []byte, live uint64) bool {
	return r.outside(lo, hi) || (a == Count || a == Live && live == 0) && r.covers(lo, hi)
}

// lists reports whether a proof shows which keys are live, and not only how many.
func (a Aim) lists() bool { return a != Count }

// RangeProof shows the leaves of a [Range], or how many of them are live, under
// a state root. It is the part of one space's tree that the range touches, in
// one piece: what [Aim] closes is given by its hash. A RangeProof is a plain
// value, and worth nothing before [RangeProof.Verify].
type RangeProof struct {
	// Spaces are the other spaces that have keys, in order; also the range's own
	// if Tree is empty and it has keys: for a range that holds none, counts all, or
	// lists the live ones of a space that has none.
	Spaces []SpaceLine
	// Leaves are those that are open, in key order: all of the range that Aim does
	// not close, and at its ends those whose place says that nothing stands between.
	Leaves []Leaf
	// Tree says how they hang together:
	//
	//	part  = leaf | inner
	//	leaf  = 00                            the next of Leaves; if counting is not the aim, there follow of
	//	        seq (varint) │ created (varint, not of version 1)       a live one in the range
	//	inner = 01 part part route?           both children open
	//	        02 closed part route?         the left one closed
	//	        03 part closed route?         the right one closed
	//	        04 closed closed route        both closed
	//	closed = hash (32) │ live (varint) │ height (1)
	//	route = c (varint) │ s (varint) │ s bytes
	//
	// The routing key is the first c bytes of From and the s bytes; c is the
	// length of their longest common prefix. It is missing where the last leaf on
	// its left and the first on its right are both open: then it follows from them.
	Tree []byte
}

const (
	partLeaf = iota
	partOpen
	partLeftClosed
	partRightClosed
	partClosed
)

// ProveRange returns the proof for a range. The caller owns it. An error says
// that a page could not be read.
func (m Map) ProveRange(r Range, aim Aim) (RangeProof, error) {
	if len(r.From) == 0 {
		return RangeProof{}, nil
	}
	space := r.From[0]
	root := find(m.roots(), space)
	if root == nil || aim.closes(r, least(space), nil, root.live()) {
		return RangeProof{Spaces: spaceLines(m.roots(), -1)}, nil
	}
	p := rangeProver{r: r, aim: aim, pages: m.pages()}
	p.part(branch{child: root}, least(space), nil)
	if p.err != nil {
		return RangeProof{}, p.err
	}
	return RangeProof{Spaces: spaceLines(m.roots(), int(space)), Leaves: p.leaves, Tree: p.tree}, nil
}

// rangeProver walks down the part of a tree that a proof shows.
type rangeProver struct {
	r      Range
	aim    Aim
	pages  *pages
	keys   keyRoom
	leaves []Leaf
	tree   []byte
	err    error // the first one; the proof is worth nothing then
}

// branch is a child of an inner node, or a leaf of a pair.
type branch struct {
	child *child // nil: it is leaf
	leaf  *leaf
}

func (b branch) live() uint64 {
	if b.child == nil {
		return b.leaf.live()
	}
	return b.child.live()
}

// side may cost a hash: ask only where a branch is closed.
func (b branch) side() side {
	if b.child == nil {
		return b.leaf.side()
	}
	return b.child.side()
}

// part appends the part at b, whose keys lie in [lo, hi), and returns its first
// and its last key, nil where that is closed.
func (p *rangeProver) part(b branch, lo, hi []byte) (first, last []byte) {
	if b.child == nil {
		return p.leaf(b.leaf)
	}
	if p.err != nil {
		return nil, nil
	}
	var n node
	r := room{keys: &p.keys}
	if n, p.err = p.pages.open(b.child, &r); p.err != nil {
		return nil, nil
	}
	switch t := n.(type) {
	case *inner:
		return p.inner(branch{child: &t.left}, branch{child: &t.right}, t.route.appendTo(nil), lo, hi)
	case *pair:
		return p.inner(branch{leaf: &t.a}, branch{leaf: &t.b}, []byte(t.route()), lo, hi)
	case *leaf:
		return p.leaf(t)
	}
	panic("state: a node of no known kind")
}

// leaf appends a leaf's part.
func (p *rangeProver) leaf(t *leaf) (first, last []byte) {
	l := t.export()
	p.leaves = append(p.leaves, l)
	p.tree = append(p.tree, partLeaf)
	if p.aim.lists() && l.Live && p.r.Holds(l.Key) {
		p.tree = binary.AppendUvarint(p.tree, l.Seq)
		if l.N > 1 {
			p.tree = binary.AppendUvarint(p.tree, l.Created)
		}
	}
	return l.Key, l.Key
}

// inner appends an inner node's part.
func (p *rangeProver) inner(left, right branch, route, lo, hi []byte) (first, last []byte) {
	closedLeft, closedRight := p.aim.closes(p.r, lo, route, left.live()), p.aim.closes(p.r, route, hi, right.live())
	p.tree = append(p.tree, partKind(closedLeft, closedRight))
	var before, after []byte // the keys on both sides of the gap
	if closedLeft {
		p.closed(left.side())
	} else {
		first, before = p.part(left, lo, route)
	}
	if closedRight {
		p.closed(right.side())
	} else {
		after, last = p.part(right, route, hi)
	}
	if before == nil || after == nil {
		c := common(route, p.r.From)
		p.tree = binary.AppendUvarint(p.tree, uint64(c))
		p.tree = binary.AppendUvarint(p.tree, uint64(len(route)-c))
		p.tree = append(p.tree, route[c:]...)
	}
	return first, last
}

func (p *rangeProver) closed(s side) {
	p.tree = append(p.tree, s.hash[:]...)
	p.tree = binary.AppendUvarint(p.tree, s.live)
	p.tree = append(p.tree, s.height)
}

// partKind is the first byte of an inner part.
func partKind(closedLeft, closedRight bool) byte {
	switch {
	case closedLeft && closedRight:
		return partClosed
	case closedLeft:
		return partLeftClosed
	case closedRight:
		return partRightClosed
	}
	return partOpen
}
