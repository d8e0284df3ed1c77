package state

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"graven/merkle"
)

// shortKey is one of few keys, so that ranges meet them often. Some end in 0x00
// or 0xff, where intervals go wrong.
func shortKey(rng *rand.Rand, space byte) []byte {
	key := []byte{space}
	for range 1 + rng.IntN(3) {
		key = append(key, "\x00\x01abc\xfe\xff"[rng.IntN(7)])
	}
	return key
}

// filledMap has up to n keys in spaces 'k' and 'm', some deleted, some with
// several versions, and its leaves in order.
func filledMap(rng *rand.Rand, n int) (Map, []Leaf) {
	e := Map{}.Edit()
	leaves := map[string]Leaf{}
	for seq := uint64(1); seq <= uint64(n); seq++ {
		key := shortKey(rng, "kkkm"[rng.IntN(4)])
		l := Leaf{Key: key, Digest: merkle.LeafHash(fmt.Append(key, seq)), Seq: seq, N: 1, Created: seq, Live: rng.IntN(3) > 0}
		if old, ok := leaves[string(key)]; ok {
			l.N, l.Created = old.N+1, old.Created
		}
		leaves[string(key)] = l
		if err := e.Put(l); err != nil {
			panic(err)
		}
	}
	var all []Leaf
	for _, l := range leaves {
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b Leaf) int { return bytes.Compare(a.Key, b.Key) })
	return e.Map(), all
}

var aims = []Aim{All, Count, Live}

// within is what a range proof must show.
func within(all []Leaf, r Range, aim Aim) (want RangeResult) {
	for _, l := range all {
		if l.Key[0] != r.From[0] || bytes.Compare(l.Key, r.From) < 0 || r.To != nil && bytes.Compare(l.Key, r.To) >= 0 {
			continue
		}
		if l.Live {
			want.Live++
		}
		if aim == All || aim == Live && l.Live {
			want.Leaves = append(want.Leaves, l)
		}
	}
	return want
}

func randomRange(rng *rand.Rand, space byte) Range {
	r := Range{From: []byte{space}}
	if rng.IntN(5) > 0 {
		r.From = shortKey(rng, space)
	}
	if rng.IntN(4) > 0 {
		r.To = shortKey(rng, space)
	}
	return r
}

// stripped is a proof as a file gives it back: of live leaves in the range seq
// and created stand in the tree.
func stripped(p RangeProof, r Range, aim Aim) RangeProof {
	if aim == Count {
		return p
	}
	p.Leaves = slices.Clone(p.Leaves)
	for i := range p.Leaves {
		if l := &p.Leaves[i]; l.Live && r.Holds(l.Key) {
			l.Seq, l.Created = 0, 0
		}
	}
	return p
}

// TestRanges holds proofs of many ranges of many maps against a naive reading.
func TestRanges(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	opened := map[Aim]int{}
	for i := range 3000 {
		m, all := filledMap(rng, rng.IntN(60))
		for range 10 {
			r := randomRange(rng, "kkmz"[rng.IntN(4)])
			for _, aim := range aims {
				p := stripped(sure(m.ProveRange(r, aim)), r, aim)
				opened[aim] += len(p.Leaves)
				got, err := p.Verify(r, aim, m.Root())
				if want := within(all, r, aim); err != nil || !reflect.DeepEqual(got, want) {
					t.Fatalf("map %d, range %x to %x, aim %d: got %+v, %v; want %+v", i, r.From, r.To, aim, got, err, want)
				}
			}
		}
	}
	if opened[All] < 100_000 || opened[Live] > opened[All]*9/10 || opened[Live] < opened[Count]*2 {
		t.Errorf("leaves that were shown with each aim: %d", opened)
	}
}

// TestRangeEdges are ranges that one does not meet by chance.
func TestRangeEdges(t *testing.T) {
	m, all := filledMap(rand.New(rand.NewPCG(2, 2)), 300)
	for name, r := range map[string]Range{
		"a whole space":        {From: []byte("k")},
		"its least key on":     {From: []byte("k\x00")},
		"another space":        {From: []byte("m")},
		"a space without keys": {From: []byte("\x00")},
		"the last space":       {From: []byte("\xff")},
		"from the last key":    {From: []byte("k\xff\xff\xff")},
		"behind the last key":  {From: []byte("k\xff\xff\xff\x00")},
		"before the first key": {From: []byte("k"), To: []byte("k\x00")},
		"upside down":          {From: []byte("kc"), To: []byte("ka")},
		"nothing between":      {From: []byte("kb"), To: []byte("kb")},
		"one key":              {From: []byte("kb"), To: []byte("kb\x00")},
		"prefix 0xff":          {From: []byte("k\xff")},
	} {
		for _, aim := range aims {
			got, err := stripped(sure(m.ProveRange(r, aim)), r, aim).Verify(r, aim, m.Root())
			if want := within(all, r, aim); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got %+v, %v; want %+v", name, got, err, want)
			}
		}
		empty, err := sure(Map{}.ProveRange(r, All)).Verify(r, All, Map{}.Root())
		if err != nil || len(empty.Leaves) != 0 {
			t.Errorf("%s of an empty map: %+v, %v", name, empty, err)
		}
	}
	for _, r := range []Range{{}, {From: []byte("k"), To: []byte("m")}, {From: []byte("k"), To: []byte{}}} {
		if _, err := sure(m.ProveRange(r, All)).Verify(r, All, m.Root()); !errors.Is(err, ErrProof) {
			t.Errorf("range from %x to %x: %v", r.From, r.To, err)
		}
	}
}

// TestRangeAttacks changes proofs in every small way, and shows them for other
// questions. None that verifies may show anything else than the truth.
func TestRangeAttacks(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	maps, tried, accepted := 300, 0, 0
	if testing.Short() {
		maps = 30
	}
	for range maps {
		m, all := filledMap(rng, 2+rng.IntN(40))
		r, aim := randomRange(rng, 'k'), aims[rng.IntN(3)]
		good := stripped(sure(m.ProveRange(r, aim)), r, aim)
		try := func(what string, p RangeProof, r Range, aim Aim) {
			tried++
			got, err := p.Verify(r, aim, m.Root())
			if err != nil {
				return
			}
			accepted++
			if want := within(all, r, aim); !reflect.DeepEqual(got, want) {
				t.Fatalf("%s: range %x to %x, aim %d: accepted as %+v; the truth is %+v", what, r.From, r.To, aim, got, want)
			}
		}
		for i := range good.Tree {
			for bit := range 8 {
				p := good
				p.Tree = slices.Clone(good.Tree)
				p.Tree[i] ^= 1 << bit
				try("a bit", p, r, aim)
			}
			p := good
			p.Tree = slices.Delete(slices.Clone(good.Tree), i, i+1)
			try("a byte less", p, r, aim)
			p.Tree = slices.Insert(slices.Clone(good.Tree), i, good.Tree[rng.IntN(len(good.Tree))])
			try("a byte more", p, r, aim)
		}
		for i := range good.Leaves {
			p := good
			p.Leaves = slices.Delete(slices.Clone(good.Leaves), i, i+1)
			try("a leaf less", p, r, aim)
			p.Leaves = slices.Insert(slices.Clone(good.Leaves), i, good.Leaves[rng.IntN(len(good.Leaves))])
			try("a leaf more", p, r, aim)
			p.Leaves = slices.Clone(good.Leaves)
			j := rng.IntN(len(p.Leaves))
			p.Leaves[i], p.Leaves[j] = p.Leaves[j], p.Leaves[i]
			try("leaves swapped", p, r, aim)
			for field := range 6 {
				p.Leaves = slices.Clone(good.Leaves)
				switch l := &p.Leaves[i]; field {
				case 0:
					l.Key = append(slices.Clone(l.Key), 0)
				case 1:
					l.Digest[3] ^= 1
				case 2:
					l.Seq++
				case 3:
					l.N++
				case 4:
					l.Created++
				case 5:
					l.Live = !l.Live
				}
				try("a field", p, r, aim)
			}
		}
		for range 50 {
			try("another question", good, randomRange(rng, 'k'), aims[rng.IntN(3)])
		}
		for i := range good.Spaces {
			p := good
			p.Spaces = slices.Delete(slices.Clone(good.Spaces), i, i+1)
			try("a space less", p, r, aim)
		}
		other, _ := filledMap(rng, 2+rng.IntN(40))
		try("another map's", stripped(sure(other.ProveRange(r, aim)), r, aim), r, aim)
	}
	t.Logf("%d changed proofs, %d verify and tell the truth", tried, accepted)
	if tried < 500*maps {
		t.Errorf("only %d attacks", tried)
	}
}

func FuzzRangeProof(f *testing.F) {
	m, all := filledMap(rand.New(rand.NewPCG(4, 4)), 60)
	for _, r := range []Range{{From: []byte("k")}, {From: []byte("ka"), To: []byte("kc")}, {From: []byte("kb"), To: []byte("kb\x00")}} {
		for _, aim := range aims {
			f.Add(sure(m.ProveRange(r, aim)).Tree, r.From, r.To, uint8(aim))
		}
	}
	f.Fuzz(func(t *testing.T, tree, from, to []byte, a uint8) {
		r, aim := Range{From: from, To: to}, aims[a%3]
		if len(to) == 0 {
			r.To = nil
		}
		honest := sure(m.ProveRange(r, aim))
		p := RangeProof{Spaces: honest.Spaces, Leaves: honest.Leaves, Tree: tree}
		got, err := p.Verify(r, aim, m.Root())
		if err != nil {
			return
		}
		if !bytes.Equal(tree, honest.Tree) {
			t.Fatalf("two trees for one range: %x and %x", tree, honest.Tree)
		}
		if want := within(all, r, aim); !reflect.DeepEqual(got, want) {
			t.Fatalf("shows %+v, the truth is %+v", got, want)
		}
	})
}
