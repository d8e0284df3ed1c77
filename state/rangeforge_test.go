package state

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"graven/merkle"
)

// freely makes the proof of a range of a real tree in which another rule says what
// is closed. Everything else of it is right, and it leads to the map's root.
func freely(m Map, r Range, aim Aim, closes func(lo, hi []byte, live uint64) bool) RangeProof {
	space := r.From[0]
	root := find(m.roots(), space)
	if root == nil || closes(least(space), nil, root.live()) {
		return RangeProof{Spaces: spaceLines(m.roots(), -1)}
	}
	p := rangeProver{r: r, aim: aim}
	var part func(b branch, lo, hi []byte) (first, last []byte)
	part = func(b branch, lo, hi []byte) (first, last []byte) {
		if b.child == nil {
			return p.leaf(b.leaf)
		}
		var left, right branch
		var route []byte
		switch t := b.child.node.(type) {
		case *leaf:
			return p.leaf(t)
		case *pair:
			left, right, route = branch{leaf: &t.a}, branch{leaf: &t.b}, []byte(t.route())
		case *inner:
			left, right, route = branch{child: &t.left}, branch{child: &t.right}, t.route.appendTo(nil)
		}
		closedLeft, closedRight := closes(lo, route, left.live()), closes(route, hi, right.live())
		p.tree = append(p.tree, partKind(closedLeft, closedRight))
		var before, after []byte
		if closedLeft {
			p.closed(left.side())
		} else {
			first, before = part(left, lo, route)
		}
		if closedRight {
			p.closed(right.side())
		} else {
			after, last = part(right, route, hi)
		}
		if before == nil || after == nil {
			c := common(route, r.From)
			p.tree = binary.AppendUvarint(p.tree, uint64(c))
			p.tree = binary.AppendUvarint(p.tree, uint64(len(route)-c))
			p.tree = append(p.tree, route[c:]...)
		}
		return first, last
	}
	part(branch{child: root}, least(space), nil)
	return stripped(RangeProof{Spaces: spaceLines(m.roots(), int(space)), Leaves: p.leaves, Tree: p.tree}, r, aim)
}

// TestOneProofPerRange opens what should be closed and closes what should be open,
// one subtree or several at a time. Each such proof is honest but for that, and is
// refused.
func TestOneProofPerRange(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	other, same := map[Aim]int{}, 0
	for i := range 3000 {
		m, _ := filledMap(rng, 1+rng.IntN(40))
		r, aim := randomRange(rng, "kkkm"[rng.IntN(4)]), aims[rng.IntN(3)]
		if rng.IntN(3) == 0 {
			r = Range{From: []byte("k")}
		}
		odds := 1 + rng.IntN(30)
		p := freely(m, r, aim, func(lo, hi []byte, live uint64) bool {
			return aim.closes(r, lo, hi, live) != (rng.IntN(odds) == 0)
		})
		if reflect.DeepEqual(p, stripped(sure(m.ProveRange(r, aim)), r, aim)) {
			same++
			continue
		}
		other[aim]++
		if got, err := p.Verify(r, aim, m.Root()); err == nil {
			t.Fatalf("map %d, range %x to %x, aim %d: a second proof shows %+v", i, r.From, r.To, aim, got)
		} else if !errors.Is(err, ErrProof) && !errors.Is(err, ErrSyntax) {
			t.Fatalf("an error of no kind: %v", err)
		}
	}
	if other[All] < 200 || other[Count] < 200 || other[Live] < 200 || same < 200 {
		t.Errorf("only %d other proofs, and %d honest ones", other, same)
	}
}

// lying is a space of three keys as a log might build it that does not keep the
// rules: ka has a value, kb was deleted, and what stands on their right is hidden
// under one hash or is the live key kcd.
type lying struct {
	route     string // between kb and kcd
	rightLive uint64 // what the root says of the right side
}

func (y lying) proof(t *testing.T, aim Aim, hidden bool) (RangeProof, merkle.Hash) {
	t.Helper()
	leafOf := func(key string, seq uint64, live bool) *Leaf {
		l := version1([]byte(key), seq)
		l.Live = live
		return &l
	}
	ka, kb, kcd := leafOf("ka", 1, true), leafOf("kb", 2, false), leafOf("kcd", 3, true)
	left, err := join(side{ka.Hash(), 1, 0}, side{kb.Hash(), 0, 0}, []byte("kb"))
	if err != nil {
		t.Fatal(err)
	}
	root, err := join(left, side{kcd.Hash(), y.rightLive, 0}, []byte(y.route))
	if err != nil {
		t.Fatal(err)
	}
	line := SpaceLine{Space: 'k', Hash: root.hash, Live: root.live, Height: root.height}
	p := rangeProver{r: Range{From: []byte("k")}, aim: aim}
	route := func(key string) {
		p.tree = append(p.tree, 1, byte(len(key)-1))
		p.tree = append(p.tree, key[1:]...)
	}
	kind := byte(partOpen)
	if hidden {
		kind = partRightClosed
	}
	p.tree = append(p.tree, kind, partRightClosed, partLeaf, 1)
	p.closed(side{kb.Hash(), 0, 0})
	route("kb")
	p.leaves = []Leaf{*ka}
	if hidden {
		p.closed(side{kcd.Hash(), y.rightLive, 0})
	} else {
		p.tree = append(p.tree, partLeaf, 3)
		p.leaves = append(p.leaves, *kcd)
	}
	route(y.route)
	return RangeProof{Leaves: p.leaves, Tree: p.tree}, StateRoot([]SpaceLine{line})
}

// TestLyingTrees are proofs and roots made by one hand.
func TestLyingTrees(t *testing.T) {
	for _, c := range []struct {
		name   string
		y      lying
		hidden bool
		want   string // part of the error; empty: it verifies
	}{
		{"honest", lying{"kc", 1}, false, ""},
		{"as long as the closed side allows", lying{"kcd", 1}, false, ""},
		{"no prefix of the key on its right", lying{"kcc", 1}, false, "not a prefix"},
		{"longer than the key on its right", lying{"kcdd", 1}, false, "not a prefix"},
		{"a live key that is closed", lying{"kc", 1}, true, "are closed: true, wanted false"},
		{"a live key that is not counted", lying{"kc", 0}, false, "leads to state root"},
		// This is what a compact list takes the log's word for.
		{"a live key that is not counted, and closed", lying{"kc", 0}, true, ""},
	} {
		r := Range{From: []byte("k")}
		p, root := c.y.proof(t, Live, c.hidden)
		got, err := p.Verify(r, Live, root)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %+v, %v; wanted %q", c.name, got, err, c.want)
		}
		if got, err := p.Verify(r, All, root); err == nil {
			t.Errorf("%s: shown for all leaves: %+v", c.name, got)
		}
	}
}
