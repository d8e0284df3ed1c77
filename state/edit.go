package state

import (
	"slices"
	"strings"
)

// Edit is a group of updates on its way from one Map to the next. It is not
// safe for concurrent use. An Edit that is dropped leaves no trace.
type Edit struct {
	roots []spaceRoot // owned
	size  uint64
	keys  keyRoom
}

// Edit begins a group of updates. The Map stays as it is. Several Edits of one
// Map do not see each other.
func (m Map) Edit() *Edit {
	return &Edit{roots: slices.Clone(m.roots()), size: m.Len()}
}

// Put makes l the newest version of its key: an update replaces the key's
// leaf, an insert splits the leaf at which the search ends and rebalances
// upwards. It keeps no reference to l.Key. The error, from [Leaf.Check], leaves
// the Edit unchanged. That the version follows the one before it is the
// caller's to know.
func (e *Edit) Put(l Leaf) error {
	if err := l.Check(); err != nil {
		return err
	}
	i, found := slices.BinarySearchFunc(e.roots, l.Key[0], func(r spaceRoot, s byte) int { return int(r.space) - int(s) })
	if found {
		e.put(&e.roots[i].tree, &l)
		return nil
	}
	e.size++
	e.roots = slices.Insert(e.roots, i, spaceRoot{l.Key[0], newLeaf(e.keys.hold(l.Key), &l)})
	return nil
}

// Get returns the newest version of a stored key as the Edit has it; false if
// it never had one. The caller owns the leaf.
func (e *Edit) Get(key []byte) (Leaf, bool) { return get(e.roots, key) }

// Map ends the group: it hashes every node made since the Edit began, or since
// the last Map, once, and returns the new version. The Edit may go on from
// there.
func (e *Edit) Map() Map {
	if len(e.roots) == 0 {
		return Map{}
	}
	for i := range e.roots {
		clean(&e.roots[i].tree)
	}
	lines := spaceLines(e.roots, -1)
	return Map{&version{roots: slices.Clone(e.roots), size: e.size, root: StateRoot(lines)}}
}

// clean hashes what is dirty from c down, children first.
func clean(c *child) {
	if !c.dirty() {
		return
	}
	switch t := c.node.(type) {
	case *leaf:
		c.hash = t.hash()
	case *inner:
		clean(&t.left)
		clean(&t.right)
		left, right := t.left.side(), t.right.side()
		c.hash = hashInner(&left, &right, t.route)
	}
	c.meta &^= dirtyBit
}

// newLeaf returns a dirty child over a new leaf.
func newLeaf(key string, l *Leaf) child {
	t := &leaf{key: key, digest: l.Digest, seq: l.Seq, n: l.N, created: l.Created, alive: l.Live}
	c := child{node: t, meta: dirtyBit}
	if l.Live {
		c.meta |= 1 << 8
	}
	return c
}

// over returns a dirty child over n. Height and live count follow from n's
// children.
func over(n *inner) child {
	height := 1 + max(n.left.height(), n.right.height())
	return child{node: n, meta: (n.left.live()+n.right.live())<<8 | dirtyBit | uint64(height)}
}

// own returns the inner node of c as one that this Edit may change: itself if c
// is dirty, which only children of this Edit are, otherwise a copy, put into c.
func own(c *child) *inner {
	t := c.node.(*inner)
	if c.dirty() {
		return t
	}
	n := *t
	c.node = &n
	c.meta |= dirtyBit
	return &n
}

// put puts l into the tree at c, which the Edit owns.
func (e *Edit) put(c *child, l *Leaf) {
	if t, ok := c.node.(*leaf); ok {
		if t.key == string(l.Key) {
			*c = newLeaf(t.key, l) // the key's old memory, so that routes and leaf share it
			return
		}
		e.size++
		*c = split(*c, newLeaf(e.keys.hold(l.Key), l))
		return
	}
	n := own(c)
	if string(l.Key) < n.route {
		e.put(&n.left, l)
	} else {
		e.put(&n.right, l)
	}
	balance(c, n)
}

// split returns the node over two leaves of different keys.
func split(a, b child) child {
	lo, hi := a.node.(*leaf).key, b.node.(*leaf).key
	if hi < lo {
		a, b, lo, hi = b, a, hi, lo
	}
	return over(&inner{left: a, right: b, route: separator(lo, hi)})
}

// balance restores the invariants of c, whose node n is this Edit's, after a
// change of one of n's children. One insert makes heights differ by 2 at most.
// The heavy child is then higher than a leaf, and so an inner node.
func balance(c *child, n *inner) {
	switch l, r := n.left.height(), n.right.height(); {
	case l > r+1:
		if heavy := own(&n.left); heavy.right.height() > heavy.left.height() {
			n.left = rotateLeft(heavy)
		}
		*c = rotateRight(n)
	case r > l+1:
		if heavy := own(&n.right); heavy.left.height() > heavy.right.height() {
			n.right = rotateRight(heavy)
		}
		*c = rotateLeft(n)
	default:
		*c = over(n)
	}
}

// rotateRight lifts the left child of a node of this Edit. Each routing key
// stays with the gap it describes:
//
//	      n │r                x │q
//	     /    \              /    \
//	  x │q     C    ──▶     A    n │r
//	 /    \                     /    \
//	A      B                   B      C
func rotateRight(n *inner) child {
	x := own(&n.left)
	n.left = x.right
	x.right = over(n)
	return over(x)
}

// rotateLeft is the mirror image of [rotateRight].
func rotateLeft(n *inner) child {
	x := own(&n.right)
	n.right = x.left
	x.left = over(n)
	return over(x)
}

// keyRoom packs the keys of an Edit into chunks: a key of 33 bytes alone takes
// 48 of memory. Keys are never removed, so sharing a chunk pins nothing that
// would otherwise be freed. Chunks grow with the Edit, so that one of a single
// key wastes nothing.
type keyRoom struct {
	chunk strings.Builder
	held  int // bytes held so far
}

const maxChunk = 8192

// hold returns a copy of key.
func (k *keyRoom) hold(key []byte) string {
	if k.chunk.Cap()-k.chunk.Len() < len(key) {
		k.chunk = strings.Builder{}
		k.chunk.Grow(max(len(key), min(k.held, maxChunk)))
	}
	k.held += len(key)
	at := k.chunk.Len()
	k.chunk.Write(key) // never grows here, so earlier strings stay valid
	return k.chunk.String()[at:]
}
