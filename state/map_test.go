package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"graven/merkle"
)

// anyKey draws stored keys that collide, prefix each other and touch both ends
// of a byte.
func anyKey() *rapid.Generator[[]byte] {
	return rapid.Custom(func(t *rapid.T) []byte {
		space := rapid.SampledFrom([]byte{0x00, 'j', 'k', 0xFF}).Draw(t, "space")
		letter := rapid.SampledFrom([]byte{0x00, 0x01, 'a', 'b', 0xFE, 0xFF})
		key := append([]byte{space}, rapid.SliceOfN(letter, 1, 6).Draw(t, "key")...)
		if rapid.IntRange(0, 40).Draw(t, "long") == 0 {
			key = append(key, bytes.Repeat([]byte{0xFF}, MaxKey-len(key))...)
		}
		return key
	})
}

func TestMapAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m Map
		truth, naive := model{}, naiveMap{}
		seq := uint64(0)
		for range rapid.IntRange(1, 12).Draw(t, "groups") {
			before, root := m, m.Root()
			e := m.Edit()
			for range rapid.IntRange(0, 12).Draw(t, "ops") {
				seq++
				l := truth.write(anyKey().Draw(t, "stored"), seq, rapid.IntRange(0, 3).Draw(t, "kind") > 0)
				naive.put(l)
				if err := e.Put(l); err != nil {
					t.Fatalf("Put: %v", err)
				}
				for i := range l.Key {
					l.Key[i] ^= 0x55 // the Edit keeps no reference
				}
			}
			m = e.Map()
			if before.Root() != root {
				t.Fatalf("an Edit changed the Map it came from")
			}
			checkMap(t, before)
			checkMap(t, m)
			if got := m.Root(); !bytes.Equal(got[:], naive.root()) {
				t.Fatalf("root %s, naive %x", got, naive.root())
			}
		}
		compare(t, m, truth)
	})
}

// compare checks every reading method of m against the model.
func compare(t *rapid.T, m Map, truth model) {
	t.Helper()
	// The leaves that model.write handed out were spoiled on purpose; its map
	// keys were not.
	keys := truth.keys()
	want := make([]Leaf, len(keys))
	var live uint64
	for i, k := range keys {
		want[i] = truth[k]
		want[i].Key = []byte(k)
		if want[i].Live {
			live++
		}
		if got, ok := sure2(m.Get([]byte(k))); !ok || !equal(got, want[i]) {
			t.Fatalf("Get(%x) = %v, %t", k, got, ok)
		}
	}
	if m.Live() != live || m.Len() != uint64(len(keys)) {
		t.Fatalf("Live %d of %d, wanted %d of %d", m.Live(), m.Len(), live, len(keys))
	}
	for range 8 {
		from, to := anyKey().Draw(t, "from"), anyKey().Draw(t, "to")
		switch rapid.IntRange(0, 5).Draw(t, "cut") {
		case 0:
			from = nil
		case 1:
			to = nil
		case 2:
			from, to = from[:1], to[:1]
		}
		inside := func(l Leaf) bool {
			return bytes.Compare(l.Key, from) >= 0 && (len(to) == 0 || bytes.Compare(l.Key, to) < 0)
		}
		var in []Leaf
		var count, prefixed uint64
		for _, l := range want {
			if inside(l) {
				in = append(in, l)
				if l.Live {
					count++
				}
			}
			if l.Live && bytes.HasPrefix(l.Key, from) {
				prefixed++
			}
		}
		if got := sure(m.LiveRange(from, to)); got != count {
			t.Fatalf("LiveRange(%x, %x) = %d, wanted %d", from, to, got, count)
		}
		if got := sure(m.LivePrefix(from)); got != prefixed {
			t.Fatalf("LivePrefix(%x) = %d, wanted %d", from, got, prefixed)
		}
		var up, down []Leaf
		for l, err := range m.Ascend(from) {
			if err != nil {
				t.Fatalf("a list ends with %v", err)
			}
			if !inside(l) {
				break
			}
			up = append(up, l)
		}
		for l, err := range m.Descend(to) {
			if err != nil {
				t.Fatalf("a list ends with %v", err)
			}
			if !inside(l) {
				break
			}
			down = append(down, l)
		}
		slices.Reverse(down)
		if !slices.EqualFunc(up, in, equal) || !slices.EqualFunc(down, in, equal) {
			t.Fatalf("[%x, %x): %d leaves up, %d down, wanted %d", from, to, len(up), len(down), len(in))
		}
	}
}

func TestEveryOrderOfSevenKeys(t *testing.T) {
	keys := []string{"ka", "kaa", "kab", "kb\x00", "kb\x00\x00", "k\xff", "k\xff\xff"}
	roots := map[string]bool{}
	var permute func(done, rest []string)
	permute = func(done, rest []string) {
		if len(rest) > 0 {
			for i := range rest {
				permute(append(slices.Clone(done), rest[i]), slices.Delete(slices.Clone(rest), i, i+1))
			}
			return
		}
		var leaves []Leaf
		var naive *naiveTree
		for i, k := range done {
			l := model{}.write([]byte(k), 9, true)
			leaves = append(leaves, l)
			naive = naive.put(leaves[i])
		}
		m := put(t, Map{}, leaves...)
		if h := m.Spaces()[0].Hash; !bytes.Equal(h[:], naive.hash()) {
			t.Fatalf("order %q: hash differs from the naive tree's", done)
		}
		roots[m.Root().String()] = true
	}
	permute(nil, keys)
	if len(roots) < 2 {
		t.Fatalf("%d shapes: the order of inserts does not show", len(roots))
	}
}

func TestGroupsDoNotMatter(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	truth := model{}
	var ops []Leaf
	for seq := range uint64(3000) {
		key := fmt.Appendf(nil, "%c%d", "ks"[r.IntN(2)], r.IntN(900))
		ops = append(ops, truth.write(key, seq+1, r.IntN(4) > 0))
	}
	whole := put(t, Map{}, ops...)
	checkMap(t, whole)
	for range 5 {
		var m Map
		one := Map{}.Edit() // an Edit that goes on behind its Maps
		for rest := ops; len(rest) > 0; {
			n := min(1+r.IntN(40), len(rest))
			m = put(t, m, rest[:n]...)
			for _, l := range rest[:n] {
				if err := one.Put(l); err != nil {
					t.Fatal(err)
				}
			}
			if one.Map().Root() != m.Root() {
				t.Fatal("an Edit that goes on leads elsewhere")
			}
			rest = rest[n:]
		}
		if m.Root() != whole.Root() || m.Len() != whole.Len() || m.Live() != whole.Live() {
			t.Fatalf("groups changed the root: %s, wanted %s", m.Root(), whole.Root())
		}
		checkMap(t, m)
	}
}

func TestEmpty(t *testing.T) {
	var m Map
	want := sha256.Sum256([]byte("graven/state/v1\n"))
	if m.Root() != want || m.Edit().Map().Root() != want || StateRoot(nil) != want {
		t.Errorf("root of the empty map: %s, wanted %s", m.Root(), base64.StdEncoding.EncodeToString(want[:]))
	}
	if m.Len() != 0 || m.Live() != 0 || m.Spaces() != nil || sure(m.LiveRange(nil, nil)) != 0 || sure(m.LivePrefix([]byte("k"))) != 0 {
		t.Error("the empty map is not empty")
	}
	for _, key := range [][]byte{nil, {'k'}, []byte("ka")} {
		if _, ok := sure2(m.Get(key)); ok {
			t.Errorf("the empty map has %x", key)
		}
	}
	for range m.Ascend(nil) {
		t.Error("the empty map ascends")
	}
	for range m.Descend(nil) {
		t.Error("the empty map descends")
	}
	one := put(t, m, version1([]byte("ka"), 1))
	for _, key := range [][]byte{nil, {}, {'k'}, {'j'}, []byte("kb"), []byte("kaa")} {
		if _, ok := sure2(one.Get(key)); ok {
			t.Errorf("the map of ka has %x", key)
		}
	}
}

func TestEditReadsItself(t *testing.T) {
	m := put(t, Map{}, version1([]byte("ka"), 1), version1([]byte("kb"), 2))
	e := m.Edit()
	l := version1([]byte("ka"), 1)
	l.Seq, l.N, l.Live = 5, 2, false
	if err := e.Put(l); err != nil {
		t.Fatal(err)
	}
	if err := e.Put(version1([]byte("sx"), 6)); err != nil {
		t.Fatal(err)
	}
	if got, ok := sure2(e.Get([]byte("ka"))); !ok || !equal(got, l) {
		t.Errorf("Edit.Get = %v, %t", got, ok)
	}
	if _, ok := sure2(e.Get([]byte("sx"))); !ok {
		t.Error("the Edit misses its own insert")
	}
	if got, _ := sure2(m.Get([]byte("ka"))); got.Seq != 1 {
		t.Error("the Map sees the Edit")
	}
	if _, ok := sure2(m.Get([]byte("sx"))); ok {
		t.Error("the Map sees the Edit's insert")
	}
	other := m.Edit()
	if got, _ := sure2(other.Get([]byte("ka"))); got.Seq != 1 {
		t.Error("one Edit sees another")
	}
	same(t, m.Edit().Map(), m)
}

func TestEditSharesWhatItDoesNotTouch(t *testing.T) {
	keys := keysOf("sorted", 1000)
	m := fill(t, keys, 100)
	l := version1(keys[0], 1)
	l.Seq, l.N = 5000, 2
	next := put(t, m, l)
	old, now := m.roots()[0].tree.node.(*inner), next.roots()[0].tree.node.(*inner)
	if old == now {
		t.Error("the root node of a Map changed in place")
	}
	if old.right != now.right {
		t.Error("the half beside the update was copied")
	}
	if nodes := made(&next.roots()[0].tree, &m.roots()[0].tree); nodes < 2 || nodes > int(m.roots()[0].tree.height())+1 {
		t.Errorf("an update made %d nodes in a tree of height %d", nodes, m.roots()[0].tree.height())
	}
}

// made counts the nodes from c down that do not stand at the same place in old.
func made(c, old *child) int {
	if c.node == old.node {
		return 0
	}
	n, ok1 := c.node.(*inner)
	o, ok2 := old.node.(*inner)
	if !ok1 || !ok2 {
		return 1
	}
	return 1 + made(&n.left, &o.left) + made(&n.right, &o.right)
}

func TestEditGoesOnBehindItsMap(t *testing.T) {
	keys := keysOf("shuffled", 200)
	e := Map{}.Edit()
	var maps []Map
	var roots []merkle.Hash
	for i, key := range append(keys, []byte("ax"), []byte("zx")) {
		if err := e.Put(version1(key, uint64(i)+1)); err != nil {
			t.Fatal(err)
		}
		maps = append(maps, e.Map())
		roots = append(roots, maps[i].Root())
	}
	for i, m := range maps {
		checkMap(t, m)
		if m.Root() != roots[i] || m.Len() != uint64(i)+1 {
			t.Fatalf("map %d of %d changed behind its back", i, len(maps))
		}
	}
}

func TestPutRefuses(t *testing.T) {
	e := Map{}.Edit()
	for name, l := range impossibleLeaves() {
		if err := e.Put(l); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if e.Map().Len() != 0 {
		t.Error("a refused leaf was kept")
	}
}

func TestReadersBesideAnEdit(t *testing.T) {
	// The race detector sees what this test cannot: an Edit that writes a node
	// which a Map reaches.
	keys := keysOf("shuffled", 2000)
	m := fill(t, keys[:1000], 100)
	root := m.Root()
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 300 {
				key := keys[(i*7+w)%len(keys)]
				if _, err := sure(m.Prove(key)).Verify(key, root); err != nil {
					t.Error(err)
					return
				}
				sure(m.LiveRange(key, nil))
			}
		})
	}
	for w := range 2 {
		wg.Go(func() {
			next := m
			for i := 1000; i < 2000; i += 50 {
				e := next.Edit()
				for j := i; j < i+50; j++ {
					if err := e.Put(version1(keys[j], uint64(j+w+1))); err != nil {
						t.Error(err)
					}
				}
				next = e.Map()
			}
		})
	}
	wg.Wait()
	checkMap(t, m)
}
