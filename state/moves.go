package state

import "sync/atomic"

// Moves says where the nodes of a Map lie since it was written to pages, so that
// maps which were made from it meanwhile can go over to those pages. It is not safe
// for concurrent use.
//
// Nodes in memory say it themselves: in written stand, from the highest bit, which Moves
// (32 bits), on which of its pages (27) and which number there (5). A node that
// another Write has reached since then does not say it any more; then it counts as one that
// is on no page, which is never wrong. Maps share nodes: written is atomic, and the rest
// of a node is not changed.
type Moves struct {
	number uint32  // differs from that of any other
	puts   int     // of the map that was written
	pages  []*stub // that nodes were written to
	newer  map[*inner]newerNode

	// Pages that were written again in part: the head of each one's list in moved. The
	// nodes of a subtree have consecutive numbers there and here.
	packed map[Ref]int32
	moved  []packedMove
	// Pages that were written again as they are, to file: the offset of each. And the stubs
	// that were asked for.
	wholes map[Ref]uint64
	file   uint32
	stubs  map[Ref]*stub
}

const (
	numberBits = 5 // pageNodes have room in it
	maxPages   = 1 << (32 - numberBits)
)

// newerNode is what has taken the place of a node, and the weight of it and all below
// it that is on no page.
type newerNode struct {
	node   *inner
	weight int64
}

// packedMove is a subtree of a page, with the places at its lower end: so many
// numbers from first on have become those from number on of another page.
type packedMove struct {
	to                   uint32 // of Moves.pages
	next                 int32  // of Moves.moved: another one of the same page; -1: none
	first, count, number uint8
}

var lastMoves atomic.Uint32 // only that numbers differ counts

func newMoves(m Map) *Moves {
	return &Moves{
		number: lastMoves.Add(1), puts: m.Puts(),
		newer: map[*inner]newerNode{}, packed: map[Ref]int32{}, wholes: map[Ref]uint64{}, stubs: map[Ref]*stub{},
	}
}

// page notes that a page was begun.
func (v *Moves) page(t *pageText) {
	t.index = uint32(len(v.pages))
	v.pages = append(v.pages, t.at)
}

// node notes, in what a node has for that, that it becomes the next node of the page t.
func (v *Moves) node(written *uint64, t *pageText) {
	if t.index < maxPages {
		atomic.StoreUint64(written, uint64(v.number)<<32|uint64(t.index)<<numberBits|uint64(t.nodes))
	}
}

// subtree notes that the one of node i of a page became the nodes of t from first on.
func (v *Moves) subtree(old Ref, i uint8, t *pageText, first uint8) {
	next, ok := v.packed[old]
	if !ok {
		next = -1
	}
	v.packed[old] = int32(len(v.moved))
	v.moved = append(v.moved, packedMove{t.index, next, i, t.nodes - first, first})
}

// whole notes that all of a page lies elsewhere.
func (v *Moves) whole(old Ref, now Place) { v.wholes[old], v.file = now.Off, now.File }

// now returns where a node lies, by what it says; false if it does not.
func (v *Moves) now(written *uint64) (on *stub, number uint8, ok bool) {
	w := atomic.LoadUint64(written)
	if uint32(w>>32) != v.number {
		return nil, 0, false
	}
	return v.pages[uint32(w)>>numberBits], uint8(w & (1<<numberBits - 1)), true
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
		if same := find(ground.roots(), old.space); same != nil && same.hash == old.tree.hash {
			r.roots[i] = spaceRoot{old.space, *same}
			continue
		}
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
	switch t := c.node.(type) {
	case *stub:
		return v.onPage(c, t)
	case *pair:
		if on, number, ok := v.now(&t.written); ok {
			return c.over(on, number), 0
		}
		return *c, pairBytes + int64(len(t.a.key)+len(t.b.key))
	case *inner:
		if on, number, ok := v.now(&t.written); ok {
			return c.over(on, number), 0
		}
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
		now.node = &inner{left: left, right: right, route: t.route}
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
	if off, ok := v.wholes[s.Ref]; ok {
		return c.over(v.stubOf(s.Ref, off), i), weight
	}
	head, ok := v.packed[s.Ref]
	for at := head; ok && at >= 0; at = v.moved[at].next {
		if m := v.moved[at]; i >= m.first && i-m.first < m.count {
			return c.over(v.pages[m.to], m.number+i-m.first), weight
		}
	}
	return *c, weight
}

// stubOf returns the stub of a page that lies elsewhere as it is.
func (v *Moves) stubOf(old Ref, off uint64) *stub {
	now := v.stubs[old]
	if now == nil {
		now = &stub{Place{Ref{File: v.file, Len: old.Len, Off: off}, v.file, uint64(old.Len)}}
		v.stubs[old] = now
	}
	return now
}
