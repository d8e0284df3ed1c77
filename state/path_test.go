package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

// rawStep is a step's bytes with its varints as given.
func rawStep(live string, height byte, c, s, rest string) string {
	return strings.Repeat("h", 32) + live + string(height) + c + s + rest
}

func TestPathBytes(t *testing.T) {
	p := Proof{
		Leaf: &Leaf{Key: []byte("kabc"), Seq: 300, N: 2, Created: 5, Live: true},
		Steps: []Step{
			{Live: 200, Height: 3, Route: []byte("kb")},
			{Live: 0, Height: 1, Route: []byte("kabc")},
			{Live: 1, Height: 0, Route: []byte("kabcd")},
		},
	}
	for i := range p.Steps {
		copy(p.Steps[i].Hash[:], strings.Repeat("h", 32))
	}
	steps := rawStep("\xc8\x01", 3, "\x01", "\x01", "b") + rawStep("\x00", 1, "\x04", "\x00", "") + rawStep("\x01", 0, "\x04", "\x01", "d")
	if got, want := string(p.AppendPath([]byte("x"), []byte("kabc"))), "x"+"\xac\x02\x05"+steps; got != want {
		t.Errorf("own leaf: %x, wanted %x", got, want)
	}
	// For another subject the leaf stands elsewhere, and prefixes are those
	// with the subject.
	steps = rawStep("\xc8\x01", 3, "\x01", "\x01", "b") + rawStep("\x00", 1, "\x03", "\x01", "c") + rawStep("\x01", 0, "\x03", "\x02", "cd")
	if got := string(p.AppendPath(nil, []byte("kab"))); got != steps {
		t.Errorf("other leaf: %x, wanted %x", got, steps)
	}
	if got := (Proof{}).AppendPath([]byte("x"), []byte("kab")); string(got) != "x" {
		t.Errorf("no leaf: %x", got)
	}
}

// pathKey is the subject of the paths below.
const pathKey = "kabc"

// goodStep is a step that parses.
func goodStep() string { return rawStep("\x01", 0, "\x01", "\x01", "b") }

// rest is a routing key's n bytes behind the common prefix, and before them
// their number.
func rest(n int) string {
	return string(binary.AppendUvarint(nil, uint64(n))) + strings.Repeat("z", n)
}

// pathCase is a path whose leaf has the subject's key, or another.
type pathCase struct {
	name string
	own  bool
	path string
	want string // part of the error; empty: it parses
}

func goodPaths() []pathCase {
	good := goodStep()
	return []pathCase{
		{"one step", false, good, ""},
		{"no steps", false, "", ""},
		{"own leaf", true, "\x07\x07" + good, ""},
		{"as many as there can be", false, strings.Repeat(good, MaxHeight), ""},
		{"the longest route", false, rawStep("\x01", 0, "\x01", rest(MaxKey-1), ""), ""},
		{"the greatest seq", true, "\xff\xff\xff\xff\xff\xff\xff\x0f\x01", ""},
		{"the greatest live", false, rawStep("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 0, "\x01", "\x01", "b"), ""},
	}
}

func badPaths() []pathCase {
	good := goodStep()
	return []pathCase{
		{"own leaf, nothing", true, "", "varint of 64 bits for seq"},
		{"own leaf, no created", true, "\x07", "varint of 64 bits for created"},
		{"seq of 2^53", true, "\x80\x80\x80\x80\x80\x80\x80\x10\x01", "wanted at most"},
		{"long seq", true, "\x87\x00\x01", "not the shortest"},
		{"long created", true, "\x07\x81\x80\x00", "not the shortest"},
		{"seq without end", true, strings.Repeat("\xff", 11), "no varint"},
		{"half a hash", false, good[:20], "wanted 32"},
		{"hash alone", false, good[:32], "no varint of 64 bits for live"},
		{"no height", false, good[:33], "wanted 1"},
		{"no c", false, good[:34], "no varint of 64 bits for common"},
		{"no s", false, good[:35], "no varint of 64 bits for rest"},
		{"no rest", false, good[:36], "wanted 1 for a routing key"},
		{"surplus byte", false, good + "x", "wanted 32"},
		{"long live", false, rawStep("\x81\x00", 0, "\x01", "\x01", "b"), "not the shortest"},
		{"live of 65 bits", false, rawStep("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 0, "\x01", "\x01", "b"), "no varint"},
		{"long c", false, rawStep("\x01", 0, "\x81\x00", "\x01", "b"), "not the shortest"},
		{"long s", false, rawStep("\x01", 0, "\x01", "\x81\x00", "b"), "not the shortest"},
		{"c beyond the key", false, rawStep("\x01", 0, "\x05", "\x00", ""), "common length 5"},
		{"huge c", false, rawStep("\x01", 0, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x00", ""), "wanted at most 4"},
		{"huge s", false, rawStep("\x01", 0, "\x01", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "b"), "wanted at most 1024"},
		{"route of 1026", false, rawStep("\x01", 0, "\x01", rest(MaxKey), ""), "wanted at most 1024"},
		{"c too small", false, rawStep("\x01", 0, "\x01", "\x02", "ab"), "not the longest"},
		{"c of 0 with the space", false, rawStep("\x01", 0, "\x00", "\x02", "kb"), "not the longest"},
		{"empty route", false, rawStep("\x01", 0, "\x00", "\x00", ""), "routing key of 0 bytes"},
		{"route of one byte", false, rawStep("\x01", 0, "\x01", "\x00", ""), "routing key of 1 bytes"},
		{"too many", false, strings.Repeat(good, MaxHeight+1), "more than 91 steps"},
	}
}

func TestParsePath(t *testing.T) {
	key := []byte(pathKey)
	for _, c := range append(goodPaths(), badPaths()...) {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			leaf := version1([]byte("kzz"), 1)
			if c.own {
				leaf = Leaf{Key: key, N: 1, Live: true}
			}
			p, err := ParsePath([]byte(c.path), key, leaf)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if got := string(p.AppendPath(nil, key)); got != c.path {
					t.Fatalf("encodes to %x, was %x", got, c.path)
				}
				return
			}
			if !errors.Is(err, ErrSyntax) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, wanted %q", err, c.want)
			}
			if p.Leaf != nil || p.Steps != nil {
				t.Error("a proof beside the error")
			}
		})
	}
	for _, key := range [][]byte{nil, {'k'}, make([]byte, MaxKey+1)} {
		if _, err := ParsePath([]byte(goodStep()), key, version1([]byte("kzz"), 1)); !errors.Is(err, ErrSyntax) {
			t.Errorf("key of %d bytes: %v", len(key), err)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	m, asked := provenKeys(f)
	for _, key := range asked {
		p := sure(m.Prove(key))
		f.Add(p.AppendPath(nil, key), key, p.Leaf != nil && bytes.Equal(p.Leaf.Key, key))
	}
	f.Add([]byte(rawStep("\x01", 0, "\x01", "\x02", "ab")), []byte("kabc"), false)
	f.Add([]byte(strings.Repeat(rawStep("\x01", 0, "\x01", "\x01", "b"), 92)), []byte("kabc"), false)
	f.Fuzz(func(t *testing.T, path, key []byte, own bool) {
		leaf := version1([]byte("k\xffother"), 1)
		if own {
			leaf = Leaf{Key: key, N: 1, Live: true}
		}
		p, err := ParsePath(path, key, leaf)
		if err != nil {
			if !errors.Is(err, ErrSyntax) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		if got := p.AppendPath(nil, key); !bytes.Equal(got, path) {
			t.Fatalf("%x parses and encodes to %x", path, got)
		}
		for _, s := range p.Steps {
			if len(s.Route) < MinKey || len(s.Route) > MaxKey {
				t.Fatalf("routing key of %d bytes", len(s.Route))
			}
		}
		if len(p.Steps) > MaxHeight {
			t.Fatalf("%d steps", len(p.Steps))
		}
		p.Verify(key, m.Root()) // must not panic
	})
}
