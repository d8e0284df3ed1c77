package state

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// fatal is what *testing.T and *rapid.T have in common.
type fatal interface {
	Helper()
	Fatalf(format string, args ...any)
}

// checkMap recomputes every invariant of every node of m, those on pages too.
func checkMap(t fatal, m Map) {
	t.Helper()
	roots := slices.Clone(m.roots())
	for i := range roots {
		drawIn(t, m.pages(), &roots[i].tree)
	}
	var leaves uint64
	var lines []SpaceLine
	for i, r := range roots {
		if i > 0 && roots[i-1].space >= r.space {
			t.Fatalf("space %02x stands after space %02x", r.space, roots[i-1].space)
		}
		seen := checkChild(t, &r.tree)
		leaves += uint64(len(seen))
		for j, l := range seen {
			if l.key[0] != r.space {
				t.Fatalf("key %x stands in space %02x", l.key, r.space)
			}
			if j > 0 && seen[j-1].key >= l.key {
				t.Fatalf("key %x stands after key %x", l.key, seen[j-1].key)
			}
		}
		lines = append(lines, SpaceLine{r.space, r.tree.hash, r.tree.live(), r.tree.height()})
	}
	if leaves != m.Len() {
		t.Fatalf("Len is %d, the trees have %d leaves", m.Len(), leaves)
	}
	if got := StateRoot(lines); got != m.Root() {
		t.Fatalf("Root is %s, the lines give %s", m.Root(), got)
	}
}

// drawIn puts in place of c what it is without stubs and packed nodes.
func drawIn(t fatal, p *pages, c *child) {
	t.Helper()
	got, err := p.open(c, &room{keys: new(keyRoom)})
	if err != nil {
		t.Fatalf("%v", err)
	}
	c.node, c.meta = got, c.meta&^(numberMask<<numberShift)
	if n, ok := c.node.(*inner); ok {
		n := *n
		drawIn(t, p, &n.left)
		drawIn(t, p, &n.right)
		c.node = &n
	}
}

// checkChild checks all from c down and returns its leaves.
func checkChild(t fatal, c *child) []*leaf {
	t.Helper()
	if c.dirty() {
		t.Fatalf("a Map reaches a dirty node")
	}
	if l, ok := c.node.(*leaf); ok {
		want := uint64(0)
		if l.alive {
			want = 1
		}
		if c.height() != 0 || c.live() != want || c.hash != l.hash() {
			t.Fatalf("leaf %x: height %d, live %d (wanted %d) or hash is wrong", l.key, c.height(), c.live(), want)
		}
		if err := l.export().Check(); err != nil {
			t.Fatalf("leaf %x: %v", l.key, err)
		}
		return []*leaf{l}
	}
	if p, ok := c.node.(*pair); ok {
		left, right := p.a.side(), p.b.side()
		if c.height() != 1 || c.live() != left.live+right.live {
			t.Fatalf("pair of %x: height %d, live %d", p.a.key, c.height(), c.live())
		}
		checkRoute(t, p.a.key, p.b.key, p.route())
		if c.hash != hashInner(&left, &right, p.route()) {
			t.Fatalf("pair of %x: wrong hash", p.a.key)
		}
		return []*leaf{&p.a, &p.b}
	}
	n := c.node.(*inner)
	left, right := checkChild(t, &n.left), checkChild(t, &n.right)
	lh, rh, route := int(n.left.height()), int(n.right.height()), n.route.appendTo(nil)
	if d := lh - rh; d < -1 || d > 1 || lh+rh == 0 {
		t.Fatalf("node %x: children of heights %d and %d", route, lh, rh)
	}
	if int(c.height()) != 1+max(lh, rh) {
		t.Fatalf("node %x: height %d over %d and %d", route, c.height(), lh, rh)
	}
	if c.live() != n.left.live()+n.right.live() {
		t.Fatalf("node %x: live count %d over %d and %d", route, c.live(), n.left.live(), n.right.live())
	}
	checkRoute(t, left[len(left)-1].key, right[0].key, string(route))
	if r := n.route; r.size() != len(route) || r.n > 0 && r.long != "" || (r.long == "") != (len(route) <= len(r.short)) {
		t.Fatalf("node %x: the routing key is kept as %+v", route, n.route)
	}
	l, r := n.left.side(), n.right.side()
	if c.hash != hashInner(&l, &r, route) || c.hash != n.hash() {
		t.Fatalf("node %x: wrong hash", route)
	}
	return append(left, right...)
}

// checkRoute checks the routing key between two neighbouring keys.
func checkRoute(t fatal, last, first, route string) {
	t.Helper()
	if !strings.HasPrefix(first, route) || route <= last {
		t.Fatalf("routing key %x does not separate %x from %x", route, last, first)
	}
	if short := route[:len(route)-1]; short > last {
		t.Fatalf("routing key %x is not the shortest between %x and %x", route, last, first)
	}
}

// same fails unless both maps hold the same nodes, not merely equal ones.
func same(t fatal, a, b Map) {
	t.Helper()
	if len(a.roots()) != len(b.roots()) || a.Len() != b.Len() || a.Root() != b.Root() {
		t.Fatalf("maps differ")
	}
	for i := range a.roots() {
		if a.roots()[i] != b.roots()[i] {
			t.Fatalf("trees of space %02x differ", a.roots()[i].space)
		}
	}
}

// put is one Edit of some leaves.
func put(t fatal, m Map, leaves ...Leaf) Map {
	t.Helper()
	e := m.Edit()
	for _, l := range leaves {
		if err := e.Put(l); err != nil {
			t.Fatalf("Put(%x): %v", l.Key, err)
		}
	}
	return e.Map()
}

// equal says whether two leaves are the same.
func equal(a, b Leaf) bool { return bytes.Equal(a.Bytes(), b.Bytes()) }

func TestCheckerSeesDamage(t *testing.T) {
	// A checker that never complains checks nothing.
	m := fill(t, keysOf("sorted", 50), 7)
	checkMap(t, m)
	root := &m.v.roots[0].tree
	damage := map[string]func(n *inner){
		"height": func(n *inner) { n.left.meta++ },
		"live":   func(n *inner) { n.left.meta += 1 << liveShift },
		"dirty":  func(n *inner) { n.right.meta |= dirtyBit },
		"hash":   func(n *inner) { n.left.hash[5] ^= 1 },
		"long":   func(n *inner) { n.route.long += "\x00" },
		"short":  func(n *inner) { n.route.long = n.route.long[:len(n.route.long)-1] },
		"kept": func(n *inner) {
			n.route.n, n.route.long = 15, n.route.long[15:]
			copy(n.route.short[:], "k00000000000000")
		},
		"children": func(n *inner) { n.left, n.right = n.right, n.left },
	}
	for name, hurt := range damage {
		hurtNode := *root.node.(*inner)
		hurt(&hurtNode)
		c := *root
		c.node = &hurtNode
		l, r := hurtNode.left.side(), hurtNode.right.side()
		c.hash = hashInner(&l, &r, hurtNode.route.appendTo(nil))
		if !complains(func(f fatal) { checkChild(f, &c) }) {
			t.Errorf("%s: not seen", name)
		}
	}
}

// complains says whether fn calls Fatalf.
func complains(fn func(fatal)) (yes bool) {
	defer func() {
		if r := recover(); r != nil && r != any(stop{}) {
			panic(r)
		} else if r != nil {
			yes = true
		}
	}()
	fn(stop{})
	return false
}

type stop struct{}

func (stop) Helper()               {}
func (stop) Fatalf(string, ...any) { panic(stop{}) }
