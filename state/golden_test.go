package state

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"graven/merkle"
)

// The vectors in testdata/format/state are for readers in any language: bytes
// are hex (paths and leaves base64, as in a proof file), hashes base64, spaces'
// lines as in the state root.
var update = flag.Bool("update", false, "write the golden vectors anew")

const goldenDir = "../testdata/format/state"

type goldenLeaf struct {
	Key     string `json:"key"`
	Digest  string `json:"digest"`
	Seq     uint64 `json:"seq"`
	N       uint64 `json:"n"`
	Created uint64 `json:"created"`
	Live    bool   `json:"live"`
	Bytes   string `json:"bytes,omitempty"`
	Hash    string `json:"hash,omitempty"`
}

type goldenMap struct {
	Name   string        `json:"name"`
	Ops    []goldenLeaf  `json:"ops"`
	Roots  []string      `json:"roots"`  // the state root before the first op and after each
	Spaces []string      `json:"spaces"` // in the end
	Proofs []goldenProof `json:"proofs"` // in the end
}

type goldenProof struct {
	Key   string   `json:"key"`
	Claim string   `json:"claim"`          // present, deleted, absent or empty
	Leaf  []byte   `json:"leaf,omitempty"` // of another key
	Path  []byte   `json:"path"`           // null: there is none
	Other []string `json:"other"`          // other spaces' lines
}

type goldenRefusal struct {
	What string `json:"what"`
	Kind string `json:"kind"`           // leaf, path or space
	Data []byte `json:"data,omitempty"` // a leaf's or a path's bytes
	Text string `json:"text,omitempty"` // a space's line
	Key  string `json:"key,omitempty"`  // the path's subject; its own leaf if Own
	Own  bool   `json:"own,omitempty"`
}

func toGolden(l Leaf) goldenLeaf {
	return goldenLeaf{Key: hex.EncodeToString(l.Key), Digest: l.Digest.String(), Seq: l.Seq, N: l.N, Created: l.Created, Live: l.Live}
}

func (g goldenLeaf) leaf(t *testing.T) Leaf {
	t.Helper()
	key, err := hex.DecodeString(g.Key)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := merkle.ParseHash(g.Digest)
	if err != nil {
		t.Fatal(err)
	}
	return Leaf{Key: key, Digest: digest, Seq: g.Seq, N: g.N, Created: g.Created, Live: g.Live}
}

// golden reads the vectors of a file; there is at least one. With -update it
// first writes what generate returns.
func golden[T any](t *testing.T, name string, generate func() []T) []T {
	t.Helper()
	name = filepath.Join(goldenDir, name)
	if *update {
		var buf bytes.Buffer
		enc := json.NewEncoder(&buf)
		enc.SetIndent("", " ")
		if err := enc.Encode(generate()); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(goldenDir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, buf.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var v []T
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if len(v) == 0 {
		t.Fatalf("%s: no vectors", name)
	}
	return v
}

func TestGoldenLeaves(t *testing.T) {
	vectors := golden(t, "leaf.json", func() (v []goldenLeaf) {
		for _, l := range possibleLeaves() {
			g := toGolden(l)
			g.Bytes, g.Hash = hex.EncodeToString(l.Bytes()), l.Hash().String()
			v = append(v, g)
		}
		return v
	})
	for _, g := range vectors {
		l := g.leaf(t)
		if got := hex.EncodeToString(l.Bytes()); got != g.Bytes || l.Hash().String() != g.Hash {
			t.Errorf("%s: bytes %s, hash %s", g.Key, got, l.Hash())
		}
		raw, _ := hex.DecodeString(g.Bytes)
		if back, err := ParseLeaf(raw); err != nil || !equal(back, l) {
			t.Errorf("%s: parsed to %v, %v", g.Key, back, err)
		}
	}
}

// goldenScripts are the histories behind map.json: keys in order of their
// writes; a `-` before a key deletes it.
func goldenScripts() map[string][]string {
	var up, down, zigzag []string
	for i := range 20 {
		up = append(up, fmt.Sprintf("k%02d", i))
		down = append(down, fmt.Sprintf("k%02d", 20-i))
		zigzag = append(zigzag, fmt.Sprintf("k%02d", (10+i*7)%20))
	}
	return map[string][]string{
		"01 empty":              nil,
		"02 one key":            {"ka"},
		"03 two keys":           {"kb", "ka"},
		"04 one deleted":        {"ka", "-ka"},
		"05 rotate left":        {"ka", "kb", "kc", "kd"},
		"06 rotate right":       {"kd", "kc", "kb", "ka"},
		"07 right, then left":   {"ka", "kd", "ke", "kb", "kc", "kbb"},
		"08 left, then right":   {"kd", "ka", "k0", "kb", "kc", "kbb"},
		"09 ascending":          up,
		"10 descending":         down,
		"11 zigzag":             zigzag,
		"12 updates, deletions": {"ka", "kb", "kc", "ka", "-kb", "kd", "-ka", "kb", "-kd", "-kd"},
		"13 prefixes":           {"kaaa", "ka", "kaa", "ka\x00", "ka\x00\x00", "kab", "kaaaa"},
		"14 ends of a byte":     {"k\xff", "k\x00", "k\xff\xff", "k\x00\x00", "k\xff\x00", "k\x00\xff", "k\xff\xff\xff"},
		"15 spaces":             {"ka", "\x00a", "\xffa", "kb", "\x00b", "sx", "-\xffa", "kc"},
		"16 words":              {"kgröße", "kключ", "k鍵", "kkey", "k🔑"},
		"17 long keys":          {"k" + string(bytes.Repeat([]byte{'x'}, 1024)), "k" + string(bytes.Repeat([]byte{'x'}, 1023)), "k" + string(bytes.Repeat([]byte{'x'}, 1023)) + "y"},
	}
}

func makeGoldenMaps() (v []goldenMap) {
	scripts := goldenScripts()
	names := model{}
	for name := range scripts {
		names[name] = Leaf{}
	}
	for _, name := range names.keys() {
		g := goldenMap{Name: name[3:], Ops: []goldenLeaf{}, Spaces: []string{}, Roots: []string{Map{}.Root().String()}}
		var m Map
		truth := model{}
		for i, word := range scripts[name] {
			live := word[0] != '-'
			if !live {
				word = word[1:]
			}
			l := truth.write([]byte(word), uint64(3*i+1), live)
			e := m.Edit()
			if err := e.Put(l); err != nil {
				panic(err)
			}
			m = e.Map()
			g.Ops = append(g.Ops, toGolden(l))
			g.Roots = append(g.Roots, m.Root().String())
		}
		for _, s := range m.Spaces() {
			g.Spaces = append(g.Spaces, s.String())
		}
		asked := [][]byte{[]byte("k\x00\x00\x00"), []byte("kaab"), []byte("k~"), []byte("z?"), []byte("\xffz")}
		for _, k := range truth.keys() {
			asked = append(asked, []byte(k))
		}
		for _, key := range asked {
			p := sure(m.Prove(key))
			w := encode(p, key)
			q := goldenProof{Key: hex.EncodeToString(key), Claim: claimOf(p, key), Leaf: w.leaf, Path: w.path, Other: []string{}}
			if q.Path == nil && p.Leaf != nil {
				q.Path = []byte{} // a path of no steps is there, and empty
			}
			for _, s := range w.spaces {
				q.Other = append(q.Other, string(s))
			}
			g.Proofs = append(g.Proofs, q)
		}
		v = append(v, g)
	}
	return v
}

func claimOf(p Proof, key []byte) string {
	switch {
	case p.Leaf == nil:
		return "empty"
	case !bytes.Equal(p.Leaf.Key, key):
		return "absent"
	case p.Leaf.Live:
		return "present"
	}
	return "deleted"
}

func TestGoldenMaps(t *testing.T) {
	vectors := golden(t, "map.json", makeGoldenMaps)
	for _, g := range vectors {
		t.Run(g.Name, func(t *testing.T) {
			if len(g.Roots) != len(g.Ops)+1 || len(g.Proofs) == 0 {
				t.Fatalf("%d roots for %d ops, %d proofs", len(g.Roots), len(g.Ops), len(g.Proofs))
			}
			var m Map
			naive := naiveMap{}
			one := Map{}.Edit()
			for i, op := range g.Ops {
				if m.Root().String() != g.Roots[i] {
					t.Fatalf("before op %d: root %s, wanted %s", i, m.Root(), g.Roots[i])
				}
				l := op.leaf(t)
				m = put(t, m, l)
				naive.put(l)
				if err := one.Put(l); err != nil {
					t.Fatal(err)
				}
			}
			last := g.Roots[len(g.Ops)]
			if m.Root().String() != last || one.Map().Root().String() != last || merkle.Hash(naive.root()).String() != last {
				t.Fatalf("root %s, as one group %s, naive %s, wanted %s", m.Root(), one.Map().Root(), merkle.Hash(naive.root()), last)
			}
			checkMap(t, m)
			spaces := m.Spaces()
			if len(spaces) != len(g.Spaces) {
				t.Fatalf("%d spaces, wanted %d", len(spaces), len(g.Spaces))
			}
			for i, s := range spaces {
				if s.String() != g.Spaces[i] {
					t.Errorf("space line %q, wanted %q", s, g.Spaces[i])
				}
			}
			for _, q := range g.Proofs {
				checkGoldenProof(t, m, q)
			}
		})
	}
}

func checkGoldenProof(t *testing.T, m Map, q goldenProof) {
	t.Helper()
	key, err := hex.DecodeString(q.Key)
	if err != nil {
		t.Fatal(err)
	}
	w := expect(t, m, key)
	if !bytes.Equal(w.path, q.Path) || !bytes.Equal(w.leaf, q.Leaf) || len(w.spaces) != len(q.Other) {
		t.Errorf("%s: path %x, leaf %x, wanted %x, %x", q.Key, w.path, w.leaf, q.Path, q.Leaf)
	}
	for i, s := range w.spaces {
		if string(s) != q.Other[i] {
			t.Errorf("%s: line %q, wanted %q", q.Key, s, q.Other[i])
		}
	}
	w.path, w.leaf = q.Path, q.Leaf
	p, err := w.decode()
	if err != nil {
		t.Fatal(err)
	}
	if got := claimOf(p, key); got != q.Claim {
		t.Errorf("%s: claim %s, wanted %s", q.Key, got, q.Claim)
	}
	if _, err := p.Verify(key, m.Root()); err != nil {
		t.Errorf("%s: %v", q.Key, err)
	}
}

func TestGoldenRefusals(t *testing.T) {
	vectors := golden(t, "refused.json", func() (v []goldenRefusal) {
		names := model{}
		for name := range impossibleLeaves() {
			names[name] = Leaf{}
		}
		for _, name := range names.keys() {
			v = append(v, goldenRefusal{What: name, Kind: "leaf", Data: impossibleLeaves()[name].Bytes()})
		}
		good := possibleLeaves()[0].Bytes()
		v = append(v,
			goldenRefusal{What: "an inner node's tag", Kind: "leaf", Data: append([]byte{0x11}, good[1:]...)},
			goldenRefusal{What: "live 2", Kind: "leaf", Data: append(bytes.Clone(good[:len(good)-1]), 2)},
			goldenRefusal{What: "surplus byte", Kind: "leaf", Data: append(bytes.Clone(good), 0)},
			goldenRefusal{What: "missing byte", Kind: "leaf", Data: good[:len(good)-1]},
		)
		for _, c := range badPaths() {
			v = append(v, goldenRefusal{What: c.name, Kind: "path", Data: []byte(c.path), Key: hex.EncodeToString([]byte(pathKey)), Own: c.own})
		}
		for _, text := range badSpaceLines() {
			v = append(v, goldenRefusal{What: "not canonical or impossible", Kind: "space", Text: text})
		}
		return v
	})
	kinds := map[string]int{}
	for _, g := range vectors {
		kinds[g.Kind]++
		var err error
		switch g.Kind {
		case "leaf":
			_, err = ParseLeaf(g.Data)
		case "space":
			_, err = ParseSpaceLine([]byte(g.Text))
		case "path":
			key, _ := hex.DecodeString(g.Key)
			leaf := version1([]byte("kzz"), 1)
			if g.Own {
				leaf = Leaf{Key: key, N: 1, Live: true}
			}
			_, err = ParsePath(g.Data, key, leaf)
		default:
			t.Fatalf("%s: kind %q", g.What, g.Kind)
		}
		if !errors.Is(err, ErrSyntax) && !errors.Is(err, ErrLeaf) {
			t.Errorf("%s %q: %v", g.Kind, g.What, err)
		}
	}
	for _, k := range []string{"leaf", "path", "space"} {
		if kinds[k] == 0 {
			t.Errorf("no vectors of kind %s", k)
		}
	}
}
