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
		e.roots[i].node = e.put(e.roots[i].node, &l)
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
	for _, r := range e.roots {
		clean(r.node)
	}
	lines := spaceLines(e.roots, -1)
	return Map{&version{roots: slices.Clone(e.roots), size: e.size, root: StateRoot(lines)}}
}

// clean hashes the dirty nodes from n down, children first.
func clean(n node) {
	t, ok := n.(*inner)
	if !ok || !t.dirty {
		return
	}
	clean(t.left)
	clean(t.right)
	left, right := sideOf(t.left), sideOf(t.right)
	t.sum = hashInner(&left, &right, t.route)
	t.dirty = false
}

func newLeaf(key string, l *Leaf) *leaf {
	return &leaf{key: key, digest: l.Digest, seq: l.Seq, n: l.N, created: l.Created, alive: l.Live}
}

// put returns n with l in it.
func (e *Edit) put(n node, l *Leaf) node {
	switch t := n.(type) {
	case *inner:
		t = own(t)
		if string(l.Key) < t.route {
			t.left = e.put(t.left, l)
		} else {
			t.right = e.put(t.right, l)
		}
		return balance(t)
	case *leaf:
		if t.key == string(l.Key) {
			return newLeaf(t.key, l) // the key's old memory, so that routes and leaf share it
		}
		e.size++
		return split(t, newLeaf(e.keys.hold(l.Key), l))
	}
	panic("state: a node that is neither leaf nor inner")
}

// split returns the node over two leaves of different keys.
func split(a, b *leaf) *inner {
	if b.key < a.key {
		a, b = b, a
	}
	n := &inner{left: a, right: b, route: separator(a.key, b.key), dirty: true}
	n.update()
	return n
}

// own returns a node that this Edit may change: n itself if it is dirty, which
// only nodes of this Edit are, otherwise a copy.
func own(n *inner) *inner {
	if n.dirty {
		return n
	}
	c := *n
	c.dirty = true
	return &c
}

// balance restores the invariants of a dirty node of which one child changed.
// One insert makes heights differ by 2 at most. A heavy child is then higher
// than a leaf, and so an inner node.
func balance(n *inner) *inner {
	l, r := n.left.height(), n.right.height()
	switch {
	case l > r+1:
		heavy := own(n.left.(*inner))
		if heavy.right.height() > heavy.left.height() {
			heavy = rotateLeft(heavy)
		}
		n.left = heavy
		return rotateRight(n)
	case r > l+1:
		heavy := own(n.right.(*inner))
		if heavy.left.height() > heavy.right.height() {
			heavy = rotateRight(heavy)
		}
		n.right = heavy
		return rotateLeft(n)
	}
	n.update()
	return n
}

// rotateRight lifts the left child of a dirty node. Each routing key stays with
// the gap it describes:
//
//	      n │r                x │q
//	     /    \              /    \
//	  x │q     C    ──▶     A    n │r
//	 /    \                     /    \
//	A      B                   B      C
func rotateRight(n *inner) *inner {
	x := own(n.left.(*inner))
	n.left = x.right
	n.update()
	x.right = n
	x.update()
	return x
}

// rotateLeft is the mirror image of [rotateRight].
func rotateLeft(n *inner) *inner {
	x := own(n.right.(*inner))
	n.right = x.left
	n.update()
	x.left = n
	x.update()
	return x
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
