package state

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"graven/merkle"
)

// A forger makes both the proof and the root that it leads to, so no hash will
// ever disagree. What is left are the rules that make presence and absence
// unique under a root. Each case breaks one of them.

// forge returns the root that a proof leads to, whatever it says.
func forge(p Proof, key []byte) merkle.Hash {
	hash := sha256.Sum256(naiveLeafBytes(p.Leaf))
	h, live, height := hash[:], uint64(0), 0
	if p.Leaf.Live {
		live = 1
	}
	for i := len(p.Steps) - 1; i >= 0; i-- {
		s := p.Steps[i]
		var b []byte
		if bytes.Compare(key, s.Route) < 0 {
			b = naiveInnerBytes(h, live, height, s.Hash[:], s.Live, int(s.Height), s.Route)
		} else {
			b = naiveInnerBytes(s.Hash[:], s.Live, int(s.Height), h, live, height, s.Route)
		}
		hash = sha256.Sum256(b)
		h, live, height = hash[:], live+s.Live, 1+max(height, int(s.Height))
	}
	own := SpaceLine{Space: key[0], Hash: merkle.Hash(h), Live: live, Height: uint8(height)}
	var lines []SpaceLine
	placed := false
	for _, s := range p.Spaces {
		if !placed && s.Space > own.Space {
			lines, placed = append(lines, own), true
		}
		lines = append(lines, s)
	}
	if !placed {
		lines = append(lines, own)
	}
	return StateRoot(lines)
}

func step(route string, live uint64, height uint8) Step {
	return Step{Hash: merkle.LeafHash([]byte(route)), Live: live, Height: height, Route: []byte(route)}
}

func at(key string) *Leaf {
	l := version1([]byte(key), 3)
	return &l
}

func TestForgeries(t *testing.T) {
	long := strings.Repeat("k", MaxKey)
	// tower is a path of n steps whose siblings are as high as the path itself.
	tower := func(n int, live func(i int) uint64) []Step {
		steps := make([]Step, n)
		for i := range steps { // from the root; routes fall towards "kaa…"
			steps[i] = step("ka"+strings.Repeat("b", n-i), live(n-1-i), uint8(n-1-i))
		}
		steps[n-1].Route = []byte("kab")
		return steps
	}
	none := func(int) uint64 { return 0 }
	// full is the greatest live count that height allows, as far as it fits.
	full := func(i int) uint64 {
		if i < 64 {
			return 1 << i
		}
		return 1<<64 - 1
	}
	for _, c := range []struct {
		name string
		key  string
		p    Proof
		want string // part of the error; empty: it is a sound proof
	}{
		{"sound, one leaf", "kaa", Proof{Leaf: at("kaa")}, ""},
		{"sound, absent by one leaf", "kaa", Proof{Leaf: at("kzz")}, ""},
		{"sound, left", "kaa", Proof{Leaf: at("kaa"), Steps: []Step{step("kb", 1, 0)}}, ""},
		{"sound, right", "kbb", Proof{Leaf: at("kbb"), Steps: []Step{step("kb", 1, 0)}}, ""},
		{"sound, zigzag", "kbc", Proof{Leaf: at("kbc"), Steps: []Step{step("kd", 2, 2), step("kb", 1, 0), step("kbd", 0, 0)}}, ""},
		{"sound, absent", "kcb", Proof{Leaf: at("kc"), Steps: []Step{step("kd", 2, 1), step("kc", 1, 0)}}, ""},
		{"sound, highest", "kaa", Proof{Leaf: at("kaa"), Steps: tower(MaxHeight, none)}, ""},
		{"sound, least key", "k\x00", Proof{Leaf: at("k\x00"), Steps: []Step{step("k\x00\x00", 1, 0)}}, ""},
		{"sound, spaces", "kaa", Proof{Leaf: at("kaa"), Spaces: []SpaceLine{{Space: 1}, {Space: 's'}}}, ""},
		{"sound, most live", "kaa", Proof{Leaf: at("kaa"), Steps: tower(64, full)[1:]}, ""},

		{"route of the node above", "kaa", Proof{Leaf: at("kaa"), Steps: []Step{step("kb", 1, 1), step("kb", 1, 0)}}, "not between"},
		{"route above the interval", "kaa", Proof{Leaf: at("kaa"), Steps: []Step{step("kb", 1, 1), step("kc", 1, 0)}}, "not between"},
		{"route below the interval", "kcc", Proof{Leaf: at("kcc"), Steps: []Step{step("kb", 1, 1), step("ka", 1, 0)}}, "not between"},
		{"route of two above", "kc", Proof{Leaf: at("kc"), Steps: []Step{step("kd", 2, 2), step("kb", 1, 1), step("kd", 0, 0)}}, "not between"},
		{"route without room on its left", "k\x00", Proof{Leaf: at("k\x00"), Steps: []Step{step("k\x00", 1, 0)}}, "not between"},
		{"route of another space", "kaa", Proof{Leaf: at("kaa"), Steps: []Step{step("laa", 1, 0)}}, "is not of space"},
		{"route of the space before", "kaa", Proof{Leaf: at("kaa"), Steps: []Step{step("jaa", 1, 0)}}, "is not of space"},
		{"empty route", "kaa", Proof{Leaf: at("kaa"), Steps: []Step{step("", 1, 0)}}, "is not of space"},
		{"route of one byte", "kaa", Proof{Leaf: at("kaa"), Steps: []Step{step("k", 1, 0)}}, "is not of space"},
		{"route too long", long, Proof{Leaf: at(long), Steps: []Step{step(long+"k", 1, 0)}}, "is not of space"},
		{"leaf right of the way", "kaa", Proof{Leaf: at("kbb"), Steps: []Step{step("kb", 1, 0)}}, "not in the interval"},
		{"leaf is the route", "kaa", Proof{Leaf: at("kb"), Steps: []Step{step("kb", 1, 0)}}, "not in the interval"},
		{"leaf left of the way", "kbb", Proof{Leaf: at("kaa"), Steps: []Step{step("kb", 1, 0)}}, "not in the interval"},
		{"leaf of a far node", "kc", Proof{Leaf: at("kaa"), Steps: []Step{step("kb", 1, 1), step("kd", 1, 0)}}, "not in the interval"},
		{"leaf of another space", "kaa", Proof{Leaf: at("saa")}, "not in the interval"},
		{"leaf of the space before", "kaa", Proof{Leaf: at("jaa")}, "not in the interval"},
		{"route no prefix of the right", "kbc", Proof{Leaf: at("kbc"), Steps: []Step{step("kba", 1, 0)}}, "not a prefix"},
		{"route no prefix, far", "kbc", Proof{Leaf: at("kbc"), Steps: []Step{step("kba", 1, 1), step("kc", 1, 0)}}, "not a prefix"},
		{"route longer than needed", "kaa", Proof{Leaf: at("kaa"), Steps: []Step{step("kbb", 1, 0)}}, "longer than"},
		{"route longer, far", "kab", Proof{Leaf: at("kab"), Steps: []Step{step("kbb", 1, 1), step("kab", 1, 0)}}, "longer than"},
		{"sibling too high", "kaa", Proof{Leaf: at("kaa"), Steps: []Step{step("kb", 1, 2)}}, "differ by more than 1"},
		{"sibling of height 255", "kaa", Proof{Leaf: at("kaa"), Steps: []Step{step("kb", 1, 255)}}, "differ by more than 1"},
		{"sibling too low", "kaa", Proof{Leaf: at("kaa"), Steps: []Step{step("kc", 1, 0), step("kb", 1, 1)}}, "differ by more than 1"},
		{"leaf with two keys", "kaa", Proof{Leaf: at("kaa"), Steps: []Step{step("kb", 2, 0)}}, "live keys below"},
		{"height 3 with nine keys", "kaa", Proof{Leaf: at("kaa"), Steps: append([]Step{step("kac", 9, 3)}, tower(3, none)...)}, "live keys below"},
		{"live counts overflow", "kaa", Proof{Leaf: at("kaa"), Steps: tower(65, full)}, "overflow"},
		{"too high", "kaa", Proof{Leaf: at("kaa"), Steps: append([]Step{step("kac", 0, 91)}, tower(90, none)...)}, "height 92"},
		{"too many steps", "kaa", Proof{Leaf: at("kaa"), Steps: tower(MaxHeight+1, none)}, "a path of 92 steps"},
		{"impossible leaf", "kaa", Proof{Leaf: &Leaf{Key: []byte("kaa"), Seq: 5, N: 9, Created: 4}}, "impossible leaf"},
		{"line of the own space", "kaa", Proof{Leaf: at("kaa"), Spaces: []SpaceLine{{Space: 'k'}}}, "own space"},
		{"lines out of order", "kaa", Proof{Leaf: at("kaa"), Spaces: []SpaceLine{{Space: 's'}, {Space: 1}}}, "after that of"},
		{"line twice", "kaa", Proof{Leaf: at("kaa"), Spaces: []SpaceLine{{Space: 's'}, {Space: 's'}}}, "after that of"},
		{"line too high", "kaa", Proof{Leaf: at("kaa"), Spaces: []SpaceLine{{Space: 's', Height: 92}}}, "height 92"},
		{"line with too many keys", "kaa", Proof{Leaf: at("kaa"), Spaces: []SpaceLine{{Space: 's', Height: 2, Live: 5}}}, "live keys in a tree"},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			key := []byte(c.key)
			res, err := c.p.Verify(key, forge(c.p, key))
			if c.want == "" {
				if err != nil {
					t.Fatalf("a sound proof is refused: %v", err)
				}
				if own := string(c.p.Leaf.Key) == c.key; res.Present != own || (res.Leaf != nil) != own || (res.Neighbour != nil) == own {
					t.Fatalf("result %+v", res)
				}
				w := encode(c.p, key)
				if _, ok := w.accepts(forge(c.p, key)); !ok {
					t.Fatal("its encoding does not verify")
				}
				return
			}
			if err == nil {
				t.Fatalf("verifies: %+v", res)
			}
			if !errors.Is(err, ErrProof) && !errors.Is(err, ErrSyntax) && !errors.Is(err, ErrLeaf) {
				t.Errorf("an error of no kind: %v", err)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("refused for another reason: %v, wanted %q", err, c.want)
			}
		})
	}
}

func TestNoLeafNoSteps(t *testing.T) {
	p := Proof{Steps: []Step{step("kb", 1, 0)}}
	if _, err := p.Verify([]byte("kaa"), StateRoot(nil)); !errors.Is(err, ErrProof) {
		t.Errorf("steps to no leaf: %v", err)
	}
	// A space with keys is not proven empty by leaving its line out.
	m := put(t, Map{}, version1([]byte("kb"), 1), version1([]byte("s1"), 2))
	p = sure(m.Prove([]byte("ka")))
	p.Leaf, p.Steps = nil, nil
	if _, err := p.Verify([]byte("ka"), m.Root()); !errors.Is(err, ErrProof) {
		t.Errorf("a space with keys shown to be empty: %v", err)
	}
}

func TestTamperedSteps(t *testing.T) {
	m, asked := provenKeys(t)
	for name, key := range asked {
		sound := sure(m.Prove(key))
		refuse := func(what string, change func(p *Proof)) {
			t.Helper()
			p := sound
			p.Steps = append([]Step(nil), sound.Steps...)
			p.Spaces = append([]SpaceLine(nil), sound.Spaces...)
			if sound.Leaf != nil {
				l := *sound.Leaf
				p.Leaf = &l
			}
			change(&p)
			if res, err := p.Verify(key, m.Root()); err == nil {
				t.Errorf("%s: %s: verifies: %+v", name, what, res)
			}
		}
		for i := range sound.Steps {
			for j := range i {
				refuse("siblings swapped", func(p *Proof) { p.Steps[i].Hash, p.Steps[j].Hash = p.Steps[j].Hash, p.Steps[i].Hash })
				refuse("steps swapped", func(p *Proof) { p.Steps[i], p.Steps[j] = p.Steps[j], p.Steps[i] })
			}
			refuse("step left out", func(p *Proof) { p.Steps = append(p.Steps[:i:i], p.Steps[i+1:]...) })
			refuse("step twice", func(p *Proof) {
				p.Steps = append(p.Steps[:i:i], sound.Steps[i:]...)
				p.Steps = append(p.Steps, sound.Steps[i])
			})
			refuse("one more live", func(p *Proof) { p.Steps[i].Live++ })
			refuse("higher", func(p *Proof) { p.Steps[i].Height++ })
			refuse("longer route", func(p *Proof) { p.Steps[i].Route = append(bytes.Clone(p.Steps[i].Route), 0) })
			refuse("shorter route", func(p *Proof) { p.Steps[i].Route = p.Steps[i].Route[:len(p.Steps[i].Route)-1] })
			refuse("sibling is the leaf", func(p *Proof) { p.Steps[i].Hash = p.Leaf.Hash() })
		}
		for i := range sound.Spaces {
			refuse("space left out", func(p *Proof) { p.Spaces = append(p.Spaces[:i:i], p.Spaces[i+1:]...) })
			refuse("space twice", func(p *Proof) { p.Spaces = append(p.Spaces[:i+1:i+1], p.Spaces[i:]...) })
		}
		refuse("surplus space", func(p *Proof) { p.Spaces = append(p.Spaces, SpaceLine{Space: 0xFE}) })
		if sound.Leaf == nil {
			refuse("a leaf in an empty space", func(p *Proof) { p.Leaf = at(string(key)) })
			continue
		}
		refuse("no leaf", func(p *Proof) { p.Leaf = nil; p.Steps = nil })
		refuse("flag", func(p *Proof) { p.Leaf.Live = !p.Leaf.Live })
		refuse("seq", func(p *Proof) { p.Leaf.Seq++ })
		refuse("n", func(p *Proof) { p.Leaf.N++ })
		refuse("created", func(p *Proof) { p.Leaf.Created-- })
		refuse("key", func(p *Proof) { p.Leaf.Key = append(bytes.Clone(p.Leaf.Key), 0) })
	}
}
