package merkle

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

// naiveMulti is the text of the format, taken literally.
func naiveMulti(wanted []bool, d []Hash) []Hash {
	if len(d) == 1 {
		return nil
	}
	k := naiveSplit(len(d))
	var path []Hash
	for _, half := range []struct{ from, to int }{{0, k}, {k, len(d)}} {
		if slices.Contains(wanted[half.from:half.to], true) {
			path = append(path, naiveMulti(wanted[half.from:half.to], d[half.from:half.to])...)
		}
	}
	for _, half := range []struct{ from, to int }{{0, k}, {k, len(d)}} {
		if !slices.Contains(wanted[half.from:half.to], true) {
			path = append(path, naiveMTH(d[half.from:half.to]))
		}
	}
	return path
}

// TestMulti proves random sets of leaves of every small tree, and sets in large
// ones, and changes each proof.
func TestMulti(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	leaves := testLeaves(300)
	for range 4000 {
		size := 1 + rng.IntN(40)
		if rng.IntN(10) == 0 {
			size = 1 + rng.IntN(len(leaves))
		}
		d := leaves[:size]
		wanted := make([]bool, size)
		for range 1 + rng.IntN(min(size, 6)) {
			wanted[rng.IntN(size)] = true
		}
		if rng.IntN(3) == 0 {
			wanted[size-1] = true
		}
		var indices []uint64
		var shown []Hash
		for i, w := range wanted {
			if w {
				indices, shown = append(indices, uint64(i)), append(shown, d[i])
			}
		}
		path, err := MultiProof(indices, uint64(size), &naiveReader{t: t, leaves: d})
		if err != nil || !slices.Equal(path, naiveMulti(wanted, d)) {
			t.Fatalf("size %d, indices %v: got %v, %v", size, indices, path, err)
		}
		if len(indices) == 1 {
			if single, err := InclusionProof(indices[0], uint64(size), &naiveReader{t: t, leaves: d}); err != nil || !slices.Equal(path, single) {
				t.Fatalf("size %d, index %v: %v is not the inclusion proof %v, %v", size, indices, path, single, err)
			}
		}
		root, before, err := MultiRoot(indices, uint64(size), shown, path)
		if err != nil || root != naiveMTH(d) || wanted[size-1] && before != naiveMTH(d[:size-1]) {
			t.Fatalf("size %d, indices %v: roots %v and %v, %v", size, indices, root, before, err)
		}
		reject := func(what string, indices []uint64, size uint64, shown, path []Hash) {
			if got, _, err := MultiRoot(indices, size, shown, path); err == nil && got == root {
				t.Fatalf("%s: size %d, indices %v: accepted", what, size, indices)
			}
		}
		for i := range path {
			changed := slices.Clone(path)
			changed[i][i%HashSize] ^= 1
			reject("a bit", indices, uint64(size), shown, changed)
			reject("one less", indices, uint64(size), shown, slices.Delete(slices.Clone(path), i, i+1))
			reject("one more", indices, uint64(size), shown, slices.Insert(slices.Clone(path), i, path[i]))
		}
		for i := range shown {
			changed := slices.Clone(shown)
			changed[i][0] ^= 1
			reject("a leaf", indices, uint64(size), changed, path)
			reject("an index less", slices.Delete(slices.Clone(indices), i, i+1), uint64(size), slices.Delete(slices.Clone(shown), i, i+1), path)
		}
	}
	for _, indices := range [][]uint64{nil, {3}, {1, 1}, {2, 1}} {
		if _, err := MultiProof(indices, 3, &naiveReader{t: t, leaves: leaves}); !errors.Is(err, ErrRange) {
			t.Errorf("%v in a tree of 3: %v", indices, err)
		}
		if _, _, err := MultiRoot(indices, 3, make([]Hash, len(indices)), nil); !errors.Is(err, ErrRange) {
			t.Errorf("%v in a tree of 3: %v", indices, err)
		}
	}
	// Numbers alone cost nothing.
	if _, _, err := MultiRoot([]uint64{0, 1<<63 - 1}, 1<<63, make([]Hash, 2), nil); !errors.Is(err, ErrPathLength) {
		t.Errorf("got %v", err)
	}
}
