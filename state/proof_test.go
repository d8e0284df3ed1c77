package state

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"graven/merkle"
)

// wire is what a proof file carries of a state proof: the leaf in its two
// guises, the path, and the other spaces' lines.
type wire struct {
	key    []byte
	leaf   []byte // of another key; nil: the key's own, or none
	digest merkle.Hash
	n      uint64
	live   bool
	empty  bool // the space has no keys
	path   []byte
	spaces [][]byte
}

func encode(p Proof, key []byte) wire {
	w := wire{key: key, path: p.AppendPath(nil, key), empty: p.Leaf == nil}
	if p.Leaf != nil && bytes.Equal(p.Leaf.Key, key) {
		w.digest, w.n, w.live = p.Leaf.Digest, p.Leaf.N, p.Leaf.Live
	} else if p.Leaf != nil {
		w.leaf = p.Leaf.Bytes()
	}
	for _, s := range p.Spaces {
		w.spaces = append(w.spaces, s.Append(nil))
	}
	return w
}

func (w wire) decode() (p Proof, err error) {
	if !w.empty {
		l := Leaf{Key: w.key, Digest: w.digest, N: w.n, Live: w.live}
		if w.leaf != nil {
			if l, err = ParseLeaf(w.leaf); err != nil {
				return p, err
			}
			if bytes.Equal(l.Key, w.key) {
				return p, errors.New("a leaf line for the subject's own key")
			}
		}
		if p, err = ParsePath(w.path, w.key, l); err != nil {
			return p, err
		}
	}
	for _, text := range w.spaces {
		s, err := ParseSpaceLine(text)
		if err != nil {
			return p, err
		}
		p.Spaces = append(p.Spaces, s)
	}
	return p, nil
}

// accepts says whether w verifies.
func (w wire) accepts(root merkle.Hash) (Result, bool) {
	p, err := w.decode()
	if err != nil {
		return Result{}, false
	}
	res, err := p.Verify(w.key, root)
	return res, err == nil
}

// expect checks that the proof of key, over the wire, shows what m holds.
func expect(t fatal, m Map, key []byte) wire {
	t.Helper()
	w := encode(sure(m.Prove(key)), key)
	res, ok := w.accepts(m.Root())
	if !ok {
		p, err := w.decode()
		if err == nil {
			_, err = p.Verify(key, m.Root())
		}
		t.Fatalf("%x: the proof does not verify: %v", key, err)
	}
	l, there := sure2(m.Get(key))
	if there != (res.Leaf != nil) || res.Present != (there && l.Live) {
		t.Fatalf("%x: result %+v, the map has %v, %t", key, res, l, there)
	}
	if there && !equal(l, *res.Leaf) {
		t.Fatalf("%x: proven leaf %v, wanted %v", key, *res.Leaf, l)
	}
	if empty := find(m.roots(), key[0]) == nil; !there && empty != (res.Neighbour == nil) {
		t.Fatalf("%x: neighbour %v in a space that is empty: %t", key, res.Neighbour, empty)
	}
	if res.Neighbour != nil {
		if got, ok := sure2(m.Get(res.Neighbour.Key)); !ok || !equal(got, *res.Neighbour) {
			t.Fatalf("%x: neighbour %v is not in the map", key, res.Neighbour)
		}
	}
	line, err := sure(m.Prove(key)).SpaceLine(key)
	if err != nil {
		t.Fatalf("%x: SpaceLine: %v", key, err)
	}
	for _, s := range m.Spaces() {
		if s.Space == key[0] && (line == nil || *line != s) {
			t.Fatalf("%x: reconstructed line %v, wanted %v", key, line, s)
		}
	}
	return w
}

// flips yields every w with one bit changed, and says where. The key of an
// absence is left alone: the same path may show that another key is absent too,
// and rightly so.
func (w wire) flips(yield func(what string, x wire) bool) {
	flip := func(what string, b []byte, with func([]byte) wire) bool {
		for i := range 8 * len(b) {
			c := bytes.Clone(b)
			c[i/8] ^= 1 << (i % 8)
			if !yield(fmt.Sprintf("%s, bit %d", what, i), with(c)) {
				return false
			}
		}
		return true
	}
	ok := flip("path", w.path, func(b []byte) wire { x := w; x.path = b; return x }) &&
		flip("leaf", w.leaf, func(b []byte) wire { x := w; x.leaf = b; return x })
	for i := range w.spaces {
		ok = ok && flip("space", w.spaces[i], func(b []byte) wire {
			x := w
			x.spaces = append([][]byte(nil), w.spaces...)
			x.spaces[i] = b
			return x
		})
	}
	if !ok || w.leaf != nil || w.empty {
		return
	}
	ok = flip("key", w.key, func(b []byte) wire { x := w; x.key = b; return x }) &&
		flip("digest", w.digest[:], func(b []byte) wire { x := w; x.digest = merkle.Hash(b); return x })
	for i := range 64 {
		x := w
		x.n ^= 1 << i
		ok = ok && yield("n", x)
	}
	x := w
	x.live = !x.live
	_ = ok && yield("live", x)
}

func refuseFlips(t fatal, w wire, root merkle.Hash) {
	t.Helper()
	for what, x := range w.flips {
		if _, ok := x.accepts(root); ok {
			t.Fatalf("%x: verifies with a changed bit: %s", w.key, what)
		}
	}
	for i := range w.path {
		x := w
		x.path = w.path[:i]
		if _, ok := x.accepts(root); ok {
			t.Fatalf("%x: verifies with %d of %d bytes of path", w.key, i, len(w.path))
		}
	}
	for b := range 256 {
		if w.empty {
			break // has no path
		}
		x := w
		x.path = append(bytes.Clone(w.path), byte(b))
		if _, ok := x.accepts(root); ok {
			t.Fatalf("%x: verifies with a surplus byte", w.key)
		}
	}
}

func TestProofs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		truth := model{}
		var m Map
		for seq := range rapid.Uint64Range(1, 40).Draw(t, "ops") {
			m = put(t, m, truth.write(anyKey().Draw(t, "stored"), seq+1, rapid.Bool().Draw(t, "live")))
		}
		for _, k := range truth.keys() {
			expect(t, m, []byte(k))
		}
		for range 10 {
			expect(t, m, anyKey().Draw(t, "asked"))
		}
	})
}

// provenKeys is a map of three spaces, and keys to ask it for: present, deleted
// and absent ones, of every kind.
func provenKeys(t fatal) (Map, map[string][]byte) {
	t.Helper()
	truth := model{}
	var ops []Leaf
	seq := uint64(0)
	write := func(key string, live bool) {
		seq += 200 // so that seq and created take two bytes
		ops = append(ops, truth.write([]byte(key), seq, live))
	}
	for i := range 40 {
		write(fmt.Sprintf("k%03d", i*7%40), true)
	}
	for _, k := range []string{"k005", "k011"} {
		write(k, false)
	}
	write("k005", true)
	for _, k := range []string{"ka", "kaa", "kaaa", "ka\x00", "ka\x00\x00", "k\xff", "k\xff\xff", "k\xff\x00", "k\xff\xff\xff", "k\x00", "k\x00\x00"} {
		write(k, true)
	}
	write("s1", true)
	write("\x00sys", true)
	write("\x00sys2", true)
	return put(t, Map{}, ops...), map[string][]byte{
		"present":                []byte("k020"),
		"first":                  []byte("k\x00"),
		"last":                   []byte("k\xff\xff\xff"),
		"written again":          []byte("k005"),
		"deleted":                []byte("k011"),
		"prefix of others":       []byte("ka"),
		"with others as prefix":  []byte("kaaa"),
		"alone in its space":     []byte("s1"),
		"other space":            []byte("\x00sys"),
		"absent between":         []byte("k0205"),
		"absent first":           []byte("s0"),
		"absent last":            []byte("k\xff\xff\xff\x00"),
		"absent after 0xff":      []byte("k\xff\xfe"),
		"absent prefix":          []byte("k0"),
		"absent by the only key": []byte("s2"),
		"empty space":            []byte("zz"),
		"empty last space":       []byte("\xff\xff"),
		"absent longest":         append([]byte("k"), bytes.Repeat([]byte{0xFF}, MaxKey-1)...),
	}
}

func TestEveryBitCounts(t *testing.T) {
	m, asked := provenKeys(t)
	checkMap(t, m)
	for name, key := range asked {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			w := expect(t, m, key)
			if len(key) < MaxKey {
				refuseFlips(t, w, m.Root())
			}
			for i := range 256 { // every bit of the root
				root := m.Root()
				root[i/8] ^= 1 << (i % 8)
				if _, ok := w.accepts(root); ok {
					t.Fatal("verifies under another root")
				}
			}
			for other, k := range asked {
				x := w
				x.key = k
				res, ok := x.accepts(m.Root())
				if !ok || other == name {
					continue
				}
				// One proof may show that several keys have no version. It may
				// not say of any of them what is untrue.
				if _, there := sure2(m.Get(k)); there || res.Leaf != nil || res.Present {
					t.Errorf("shows of %q: %+v", k, res)
				}
			}
		})
	}
}

func TestEveryKeyLength(t *testing.T) {
	truth := model{}
	e := Map{}.Edit()
	key := func(n int) []byte { return append([]byte{'k'}, bytes.Repeat([]byte("ab"), n)[:n]...) }
	for n := 1; n < MaxKey; n++ {
		if err := e.Put(truth.write(key(n), uint64(n), n%5 > 0)); err != nil {
			t.Fatal(err)
		}
	}
	m := e.Map()
	checkMap(t, m)
	for n := 1; n < MaxKey; n++ {
		expect(t, m, key(n))
		absent := key(n)
		absent[n] ^= 0xFF
		expect(t, m, absent)
	}
	w := expect(t, m, key(MaxKey-1))
	r := rand.New(rand.NewPCG(9, 9))
	for range 2000 { // all bits would be 300,000 long hashes
		x := w
		x.path = bytes.Clone(w.path)
		x.path[r.IntN(len(x.path))] ^= 1 << r.IntN(8)
		if _, ok := x.accepts(m.Root()); ok {
			t.Fatal("verifies with a changed bit")
		}
	}
}

func TestVerifyRefusesOddKeys(t *testing.T) {
	m, _ := provenKeys(t)
	for _, key := range [][]byte{nil, {}, {'k'}, make([]byte, MaxKey+1)} {
		if res, err := sure(m.Prove(key)).Verify(key, m.Root()); !errors.Is(err, ErrProof) {
			t.Errorf("key of %d bytes: %+v, %v", len(key), res, err)
		}
		if res, err := sure((Map{}).Prove(key)).Verify(key, Map{}.Root()); !errors.Is(err, ErrProof) {
			t.Errorf("key of %d bytes, empty map: %+v, %v", len(key), res, err)
		}
	}
	if _, err := sure((Map{}).Prove([]byte("ka"))).Verify([]byte("ka"), Map{}.Root()); err != nil {
		t.Errorf("absence from the empty map: %v", err)
	}
}

func TestProofOwnsItsMemory(t *testing.T) {
	m, asked := provenKeys(t)
	key := bytes.Clone(asked["present"])
	p := sure(m.Prove(key))
	res, err := p.Verify(key, m.Root())
	if err != nil {
		t.Fatal(err)
	}
	if res.Leaf != p.Leaf {
		t.Error("the result's leaf is not the proof's")
	}
	for i := range p.Leaf.Key {
		p.Leaf.Key[i] = 'x'
	}
	for i := range p.Steps {
		p.Steps[i].Route[0] = 'x'
	}
	p.Spaces[0].Live = 99
	checkMap(t, m)
	expect(t, m, asked["present"])

	w := encode(sure(m.Prove(asked["deleted"])), asked["deleted"])
	q, err := w.decode()
	if err != nil {
		t.Fatal(err)
	}
	spaces := q.Spaces
	for i := range w.path {
		w.path[i] = 0xEE
	}
	if _, err := q.Verify(asked["deleted"], m.Root()); err != nil {
		t.Errorf("a parsed proof keeps the path's memory: %v", err)
	}
	q.Spaces = append(make([]SpaceLine, 0, 9), spaces...)
	if _, err := q.Verify(asked["deleted"], m.Root()); err != nil {
		t.Fatal(err)
	}
	if q.Spaces[1] != spaces[1] || q.Spaces[:3][2] != (SpaceLine{}) {
		t.Error("Verify wrote into the proof's slice")
	}
}

func FuzzVerify(f *testing.F) {
	m, asked := provenKeys(f)
	for _, key := range asked {
		w := encode(sure(m.Prove(key)), key)
		f.Add(key, w.path, w.leaf, bytes.Join(w.spaces, []byte("\n")), w.empty)
	}
	truth := map[string]bool{}
	for l, err := range m.Ascend(nil) {
		if err != nil {
			f.Fatal(err)
		}
		truth[string(l.Key)] = l.Live
	}
	f.Fuzz(func(t *testing.T, key, path, leaf, spaces []byte, empty bool) {
		w := wire{key: key, path: path, empty: empty}
		if len(leaf) > 0 {
			w.leaf = leaf
		}
		if len(spaces) > 0 {
			w.spaces = bytes.Split(spaces, []byte("\n"))
		}
		if own, ok := sure2(m.Get(key)); ok {
			w.digest, w.n, w.live = own.Digest, own.N, own.Live
		}
		res, ok := w.accepts(m.Root())
		if !ok {
			return
		}
		live, there := truth[string(key)]
		if there != (res.Leaf != nil) || res.Present != live {
			t.Fatalf("%x: proves %+v; in the map: %t, live: %t", key, res, there, live)
		}
		p, err := w.decode()
		if err != nil {
			t.Fatal(err)
		}
		if got := encode(p, key); !bytes.Equal(got.path, path) && !empty {
			t.Fatalf("a second encoding verifies: %x, honest %x", path, got.path)
		}
	})
}
