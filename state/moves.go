package state

// Moves says where the nodes of a Map lie since it was written to pages, so that
// maps which were made from it meanwhile can go over to those pages. It is not safe
// for concurrent use.
type Moves struct {
	puts    int // of the map that was written
	written map[node]writtenNode
	newer   map[*inner]newerNode // those that were met in a map made from it
	// packed is of pages that were written again, as a whole or in part: where the
	// nodes are now. Those of a subtree have consecutive numbers there and here.
	packed map[Ref][]packedMove
}

// writtenNode is where a node lies now.
type writtenNode struct {
	on     *stub
	number uint8
}

// newerNode is what has taken the place of a node, and the weight of it and all below
// it that is on no page.
type newerNode struct {
	node   *inner
	weight int64
}

// packedMove is a subtree of a page, with the places at its lower end: so many
// numbers from first on have become those from number on of another page.
type packedMove struct {
	to                   *stub
	first, count, number uint8
}

func newMoves(m Map) *Moves {
	return &Moves{puts: m.Puts(), written: map[node]writtenNode{}, newer: map[*inner]newerNode{}, packed: map[Ref][]packedMove{}}
}

// node notes that n becomes the next node of the page t.
func (v *Moves) node(n node, t *pageText) { v.written[n] = writtenNode{t.at, t.nodes} }

// subtree notes that the one of node i of a page became the nodes of t from first on.
func (v *Moves) subtree(old Ref, i uint8, t *pageText, first uint8) {
	v.packed[old] = append(v.packed[old], packedMove{t.at, i, t.nodes - first, first})
}

// page notes that all of a page lies elsewhere.
func (v *Moves) page(old Ref, now Place) {
	v.packed[old] = append(v.packed[old], packedMove{&stub{now}, 0, pageNodes, 0})
}

// Rebase returns the map m, which was made from the one that was written, standing on
// the written pages as ground does, which was opened on them. Of the nodes in memory
// it has only those that were made since then. It reads no page and hashes nothing.
//
// What it has rebased once is found again: a second call, for a map that was made
// from m, costs as much as what was put between the two.
func (v *Moves) Rebase(m, ground Map) Map {
	if m.v == nil {
		return ground
	}
	r := *m.v
	r.pages, r.load = ground.pages(), load{puts: m.Puts() - v.puts}
	r.roots = make([]spaceRoot, len(m.v.roots))
	for i := range m.v.roots {
		old := &m.v.roots[i]
		tree, weight := v.child(&old.tree)
		r.roots[i] = spaceRoot{old.space, tree}
		if _, away := tree.node.(*stub); !away { // one of its own, as Open makes it
			r.weight += weight
		}
	}
	return Map{&r}
}

// child returns what stands for c on the written pages, and its weight.
func (v *Moves) child(c *child) (child, int64) {
	if s, ok := c.node.(*stub); ok {
		return v.onPage(c, s)
	}
	if now, ok := v.written[c.node]; ok {
		return c.over(now.on, now.number), 0
	}
	switch t := c.node.(type) {
	case *pair:
		return *c, 2*leafBytes + int64(len(t.a.key)+len(t.b.key))
	case *inner:
		now := v.inner(t)
		return c.over(now.node, 0), now.weight
	}
	return v.beside(c)
}

// inner returns what stands for a newer node.
func (v *Moves) inner(t *inner) newerNode {
	now, ok := v.newer[t]
	if ok {
		return now
	}
	left, below := v.beside(&t.left)
	right, weight := v.beside(&t.right)
	now = newerNode{t, innerBytes + int64(len(t.route.long)) + below + weight}
	if left != t.left || right != t.right {
		now.node = &inner{left, right, t.route}
	}
	v.newer[t] = now
	return now
}

// beside is child for the child of a node in memory: a leaf stays there too.
func (v *Moves) beside(c *child) (child, int64) {
	if l, ok := c.node.(*leaf); ok {
		return *c, leafBytes + int64(len(l.key))
	}
	return v.child(c)
}

// onPage is child for a node on a page, which may have been written again.
func (v *Moves) onPage(c *child, s *stub) (child, int64) {
	i, weight := c.number(), int64(0)
	if i == 0 {
		weight = stubBytes
	}
	for _, m := range v.packed[s.Ref] {
		if i >= m.first && i-m.first < m.count {
			return c.over(m.to, m.number+i-m.first), weight
		}
	}
	return *c, weight
}
