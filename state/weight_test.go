package state

import (
	"math/rand/v2"
	"testing"
)

// heldBy sums what a tree holds from c down, each stub once.
func heldBy(c *child, seen map[*stub]bool) int64 {
	switch t := c.node.(type) {
	case *inner:
		return innerBytes + heldBy(&t.left, seen) + heldBy(&t.right, seen)
	case *pair:
		return pairBytes + int64(len(t.a.key)+len(t.b.key))
	case *leaf:
		return leafBytes + int64(len(t.key))
	case *stub:
		if !seen[t] {
			seen[t] = true
			return stubBytes
		}
	case *page:
		panic("a map holds a page")
	}
	return 0
}

// heldInAll is heldBy of all spaces.
func heldInAll(m Map) (held int64) {
	seen := map[*stub]bool{}
	for i := range m.roots() {
		held += heldBy(&m.v.roots[i].tree, seen)
	}
	return held
}

// stubsIn are the stubs that a map has in memory.
func stubsIn(m Map) map[*stub]bool {
	seen := map[*stub]bool{}
	for i := range m.roots() {
		heldBy(&m.v.roots[i].tree, seen)
	}
	return seen
}

// TestWeight holds Weight against a sum over all nodes, after updates and
// inserts on pages: not less, and little more.
func TestWeight(t *testing.T) {
	for _, kind := range []string{"sorted", "random"} {
		keys := keysOf(kind, 20_000)
		files := &shelf{}
		m := files.write(t, fill(t, keys[:15_000], 1000), 0, NewCache(1<<16))
		r := rand.New(rand.NewPCG(1, 1))
		for group := range 20 {
			e := m.Edit()
			for range 100 {
				if err := e.Put(version1(keys[r.IntN(15_000+group*250)], 30_000)); err != nil {
					t.Fatal(err)
				}
			}
			m = e.Map()
			held := heldInAll(m)
			if got := m.Weight(); got < held || got > held*5/4 {
				t.Fatalf("%s, group %d: weight %d, the map holds %d bytes", kind, group, got, held)
			}
		}
		t.Logf("%s: weight %d after 2000 puts", kind, m.Weight())
	}
}

// TestPackedBesideTheWay: a change leaves all on its page that it does not go through,
// but for a leaf beside its end.
func TestPackedBesideTheWay(t *testing.T) {
	keys := keysOf("random", 5000)
	files := &shelf{}
	m := put(t, files.write(t, fill(t, keys, 1000), 0, NewCache(0)), version1(keys[7], 9000))
	c, unpacked := &m.v.roots[0].tree, 0
	for c != nil {
		n, ok := c.node.(*inner)
		if !ok {
			break
		}
		unpacked++
		_, left := n.left.node.(*stub)
		_, right := n.right.node.(*stub)
		if left && right || !left && !right && n.left.height() > 0 && n.right.height() > 0 {
			t.Fatalf("%d nodes down: left packed is %v, right is %v", unpacked, left, right)
		}
		if c = &n.left; left {
			c = &n.right
		}
	}
	if height := int(m.Spaces()[0].Height); unpacked < height/2 || unpacked > height {
		t.Errorf("%d inner nodes in memory in a tree of height %d", unpacked, height)
	}
}
