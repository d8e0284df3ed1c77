package state

import (
	"slices"
	"strings"
	"sync"
)

// Edit is a group of updates on its way from one Map to the next. It is not
// safe for concurrent use. An Edit that is dropped leaves no trace.
type Edit struct {
	roots []spaceRoot // owned
	size  uint64
	keys  keyRoom
	pages *pages // as of the Map that it comes from
	load         // what it has beside its pages
}

// load is what a Map has that is on no page yet.
type load struct {
	weight int64 // see Map.Weight
	puts   int   // see Map.Puts
}

// Edit begins a group of updates. The Map stays as it is. Several Edits of one
// Map do not see each other.
func (m Map) Edit() *Edit {
	return &Edit{roots: slices.Clone(m.roots()), size: m.Len(), pages: m.pages(), load: m.load()}
}

// Weight is that of the Map which the Edit would give now.
func (e *Edit) Weight() int64 { return e.weight }

// Puts is that of the Map which the Edit would give now.
func (e *Edit) Puts() int { return e.puts }

// Put makes l the newest version of its key: an update replaces the key's
// leaf, an insert splits the leaf at which the search ends and rebalances
// upwards. It keeps no reference to l.Key. After an error, from [Leaf.Check] or
// because a page could not be read, all is as if Put had not been called. That
// the version follows the one before it is the caller's to know.
func (e *Edit) Put(l Leaf) error {
	if err := l.Check(); err != nil {
		return err
	}
	i, found := slices.BinarySearchFunc(e.roots, l.Key[0], func(r spaceRoot, s byte) int { return int(r.space) - int(s) })
	if found {
		if err := e.put(&e.roots[i].tree, &l); err != nil {
			return err
		}
	} else {
		e.roots = slices.Insert(e.roots, i, spaceRoot{l.Key[0], overLeaf(e.fresh(&l))})
	}
	e.puts++
	return nil
}

// Get returns the newest version of a stored key as the Edit has it; false if
// it never had one. The caller owns the leaf. An error says that a page could
// not be read.
func (e *Edit) Get(key []byte) (Leaf, bool, error) { return e.pages.find(e.roots, key) }

// Fetch brings the pages on the way to some keys into the cache, several at a time, for
// the puts that follow, unless they are few. A page that cannot be read is left to them.
// Nothing else may use the Edit meanwhile.
func (e *Edit) Fetch(keys [][]byte) {
	const least = 32 // keys that are worth a goroutine
	if len(keys) < 2*least {
		return
	}
	var readers sync.WaitGroup
	for part := range slices.Chunk(keys, max(least, (len(keys)+fetchers-1)/fetchers)) {
		readers.Go(func() {
			for _, key := range part {
				_, _, _ = e.Get(key)
			}
		})
	}
	readers.Wait()
}

// fetchers is how many pages are read at a time: some wait for the disk.
const fetchers = 8

// Map ends the group: it hashes every node made since the Edit began, or since
// the last Map, once, and returns the new version. It reads no page. The Edit
// may go on from there.
func (e *Edit) Map() Map {
	if len(e.roots) == 0 && e.pages == nil {
		return Map{}
	}
	for i := range e.roots {
		clean(&e.roots[i].tree)
	}
	lines := spaceLines(e.roots, -1)
	return Map{&version{slices.Clone(e.roots), e.size, StateRoot(lines), e.pages, e.load}}
}

// clean hashes what is dirty from c down, children first.
func clean(c *child) {
	if !c.dirty() {
		return
	}
	switch t := c.node.(type) {
	case *inner:
		clean(&t.left)
		clean(&t.right)
		c.hash = t.hash()
	case *pair:
		c.hash = t.hash()
	case *leaf:
		c.hash = t.hash()
	}
	c.meta &^= dirtyBit
}

// newLeaf returns l as the tree keeps it, with key in place of l.Key.
func newLeaf(key string, l *Leaf) leaf {
	return leaf{key: key, digest: l.Digest, seq: l.Seq, n: l.N, created: l.Created, alive: l.Live}
}

// dirty returns a child of which the Edit owns the node.
func dirty(n node, live uint64, height uint8) child {
	return child{node: n, meta: live<<liveShift | dirtyBit | uint64(height)}
}

func overLeaf(l leaf) child { return dirty(&l, l.live(), 0) }

func overPair(a, b leaf) child {
	if b.key < a.key {
		a, b = b, a
	}
	return dirty(&pair{a: a, b: b}, a.live()+b.live(), 1)
}

// over returns a dirty child over n, or over a pair if n has come to hold two
// leaves.
func over(n *inner) child {
	l, r := n.left.height(), n.right.height()
	if l == 0 && r == 0 {
		return overPair(*n.left.node.(*leaf), *n.right.node.(*leaf)) // no leaf beside a way is left on its page
	}
	return dirty(n, n.left.live()+n.right.live(), 1+max(l, r))
}

// own returns the node of c, which is no leaf, as an inner node that this Edit
// may change: itself if c is dirty, which only children of this Edit are;
// otherwise a copy, put into c.
func own(c *child) *inner {
	switch t := c.node.(type) {
	case *pair:
		n := &inner{left: overLeaf(t.a), right: overLeaf(t.b), route: newRoute(t.route())}
		*c = dirty(n, c.live(), 1)
		return n
	case *inner:
		if c.dirty() {
			return t
		}
		n := &inner{left: t.left, right: t.right, route: t.route}
		*c = dirty(n, c.live(), c.height())
		return n
	}
	panic("state: a leaf where an inner node was wanted")
}

// put puts l into the tree at c, which the Edit owns. After an error the tree
// holds the same as before.
func (e *Edit) put(c *child, l *Leaf) error {
	switch t := c.node.(type) {
	case *inner:
		n := own(c)
		if err := e.put(n.side(l.Key), l); err != nil {
			return err
		}
		balance(c, n)
	case *pair:
		*c = e.putPair(t, l)
	case *leaf:
		*c = e.putLeaf(t, l)
	case *stub:
		return e.putPacked(c, t, l)
	}
	return nil
}

// putPacked is put for a node on a page.
func (e *Edit) putPacked(c *child, on *stub, l *Leaf) error {
	p, i, err := e.pages.load(c)
	if err != nil {
		return err
	}
	return e.putOn(p, i, c, on, l)
}

// putOn is put for node i of the page p. It unpacks that one, and of its children the
// one on the way.
func (e *Edit) putOn(p *page, i uint8, c *child, on *stub, l *Leaf) error {
	switch c.height() {
	case 0:
		t := p.leaf(i, &e.keys)
		e.weight += leafBytes + int64(len(t.key))
		*c = e.putLeaf(&t, l)
	case 1:
		t := p.pair(i, &e.keys)
		e.weight += pairBytes + int64(len(t.a.key)+len(t.b.key))
		*c = e.putPair(&t, l)
	default:
		t := p.inner(i, &e.keys)
		e.weight += innerBytes + int64(len(t.route.long))
		e.apart(&t.left, p, on)
		e.apart(&t.right, p, on)
		*c = dirty(&t, c.live(), c.height())
		side := t.side(l.Key)
		var err error
		if side.node == node(on) {
			err = e.putOn(p, side.number(), side, on, l)
		} else {
			err = e.put(side, l)
		}
		if err != nil {
			return err
		}
		balance(c, &t)
	}
	return nil
}

// apart lets a child not hold the page p on which it stands: what is beside the way
// of a put is not kept in memory, but read again when somebody asks. A leaf is, so
// that it can become part of a pair.
func (e *Edit) apart(c *child, p *page, on *stub) {
	i := c.number()
	if at, below := p.place(i); below {
		e.weight += stubBytes
		*c = c.over(&stub{at}, 0)
	} else if c.height() == 0 {
		l := p.leaf(i, &e.keys)
		e.weight += leafBytes + int64(len(l.key))
		*c = c.over(&l, 0)
	} else {
		c.node = on
	}
}

// putLeaf returns a leaf with l in its place, or the pair of both.
func (e *Edit) putLeaf(t *leaf, l *Leaf) child {
	if t.key == string(l.Key) {
		return overLeaf(newLeaf(t.key, l))
	}
	return overPair(*t, e.fresh(l))
}

// putPair returns a pair with l in place of one of its leaves, or the node over
// its three leaves.
func (e *Edit) putPair(p *pair, l *Leaf) child {
	route := p.route()
	if string(l.Key) < route {
		if p.a.key == string(l.Key) {
			return overPair(newLeaf(p.a.key, l), p.b)
		}
		return over(&inner{left: overPair(p.a, e.fresh(l)), right: overLeaf(p.b), route: newRoute(route)})
	}
	if p.b.key == string(l.Key) {
		return overPair(p.a, newLeaf(p.b.key, l))
	}
	return over(&inner{left: overLeaf(p.a), right: overPair(p.b, e.fresh(l)), route: newRoute(route)})
}

// freshBytes is about what a new key adds to a tree, besides its own bytes: a
// leaf, and an inner node for most.
const freshBytes = leafBytes + innerBytes

// fresh returns the leaf of a key that is new to the map.
func (e *Edit) fresh(l *Leaf) leaf {
	e.size++
	e.weight += freshBytes + int64(len(l.Key))
	return newLeaf(e.keys.hold(l.Key, nil), l)
}

// balance restores the invariants of c, whose node n is this Edit's, after a
// change of one of n's children. One insert makes heights differ by 2 at most.
// The nodes that it turns are those that the insert made grow, so none is packed.
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

// hold returns a copy of a key in two pieces.
func (k *keyRoom) hold(key, rest []byte) string {
	size := len(key) + len(rest)
	if k.chunk.Cap()-k.chunk.Len() < size {
		k.chunk = strings.Builder{}
		k.chunk.Grow(max(size, min(k.held, maxChunk)))
	}
	k.held += size
	at := k.chunk.Len()
	k.chunk.Write(key) // never grows here, so earlier strings stay valid
	k.chunk.Write(rest)
	return k.chunk.String()[at:]
}
