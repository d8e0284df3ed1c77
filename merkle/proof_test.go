package merkle

import (
	"errors"
	"slices"
	"testing"
)

const exhaustive = 70

func TestInclusionAgainstDefinition(t *testing.T) {
	leaves := testLeaves(exhaustive)
	for size := 1; size <= exhaustive; size++ {
		root := naiveMTH(leaves[:size])
		for index := range size {
			r := &naiveReader{t: t, leaves: leaves[:size]}
			i, n := uint64(index), uint64(size)
			path, err := InclusionProof(i, n, r)
			if err != nil {
				t.Fatal(err)
			}
			if want := naivePath(index, leaves[:size]); !slices.Equal(path, want) {
				t.Fatalf("index %d, size %d: path %v, want %v", i, n, path, want)
			}
			if r.calls > 1 {
				t.Fatalf("index %d, size %d: %d calls to the reader", i, n, r.calls)
			}
			if got := InclusionLen(i, n); got != len(path) {
				t.Fatalf("InclusionLen(%d, %d) = %d, want %d", i, n, got, len(path))
			}
			if err := VerifyInclusion(i, n, leaves[index], root, path); err != nil {
				t.Fatal(err)
			}
			// The same path must hold for no other index, size or leaf.
			for other := range uint64(2 * exhaustive) {
				if other != i && VerifyInclusion(other, n, leaves[index], root, path) == nil {
					t.Fatalf("index %d, size %d: also verifies at index %d", i, n, other)
				}
			}
			if VerifyInclusion(i, n, leaves[(index+1)%exhaustive], root, path) == nil {
				t.Fatalf("index %d, size %d: verifies for another leaf", i, n)
			}
		}
	}
}

func TestConsistencyAgainstDefinition(t *testing.T) {
	leaves := testLeaves(exhaustive)
	roots := make([]Hash, exhaustive+1)
	for size := range roots {
		roots[size] = naiveMTH(leaves[:size])
	}
	for newSize := range roots {
		for oldSize := range newSize + 1 {
			r := &naiveReader{t: t, leaves: leaves[:newSize]}
			m, n := uint64(oldSize), uint64(newSize)
			path, err := ConsistencyProof(m, n, r)
			if err != nil {
				t.Fatal(err)
			}
			var want []Hash
			if m > 0 {
				want = naiveSubproof(oldSize, leaves[:newSize], true)
			}
			if !slices.Equal(path, want) {
				t.Fatalf("%d to %d: path %v, want %v", m, n, path, want)
			}
			if got := ConsistencyLen(m, n); got != len(path) {
				t.Fatalf("ConsistencyLen(%d, %d) = %d, want %d", m, n, got, len(path))
			}
			if err := VerifyConsistency(m, n, roots[m], roots[n], path); err != nil {
				t.Fatal(err)
			}
			for other := range roots {
				o := uint64(other)
				if other != oldSize && VerifyConsistency(o, n, roots[m], roots[n], path) == nil ||
					other != oldSize && VerifyConsistency(m, n, roots[o], roots[n], path) == nil {
					t.Fatalf("%d to %d: also verifies from %d", m, n, o)
				}
				if other != newSize && m != 0 && VerifyConsistency(m, n, roots[m], roots[o], path) == nil {
					t.Fatalf("%d to %d: also verifies to the root of %d", m, n, o)
				}
			}
		}
	}
}

func TestFlippedBitsNeverVerify(t *testing.T) {
	leaves := testLeaves(23)
	root := naiveMTH(leaves)
	for _, index := range []uint64{0, 7, 15, 16, 19, 20, 22} {
		leaf, path := leaves[index], naivePath(int(index), leaves)
		refuse := func(bit int) {
			if err := VerifyInclusion(index, 23, leaf, root, path); !errors.Is(err, ErrRoot) {
				t.Errorf("index %d, bit %d: got %v, want ErrRoot", index, bit, err)
			}
		}
		flipBits(&leaf, refuse)
		flipBits(&root, refuse)
		for i := range path {
			flipBits(&path[i], refuse)
		}
	}
	for _, oldSize := range []uint64{1, 2, 3, 8, 15, 16, 17, 22} {
		oldRoot, path := naiveMTH(leaves[:oldSize]), naiveSubproof(int(oldSize), leaves, true)
		refuse := func(bit int) {
			if err := VerifyConsistency(oldSize, 23, oldRoot, root, path); !errors.Is(err, ErrRoot) {
				t.Errorf("old size %d, bit %d: got %v, want ErrRoot", oldSize, bit, err)
			}
		}
		flipBits(&oldRoot, refuse)
		flipBits(&root, refuse)
		for i := range path {
			flipBits(&path[i], refuse)
		}
	}
}

func TestSurplusAndMissingSiblings(t *testing.T) {
	leaves := testLeaves(40)
	flood := make([]Hash, 1<<16)
	check := func(what string, path []Hash, verify func([]Hash) error) {
		t.Helper()
		if err := verify(path); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		for i := range len(path) + 1 {
			longer := slices.Insert(slices.Clone(path), i, leaves[0])
			if err := verify(longer); !errors.Is(err, ErrPathLength) {
				t.Errorf("%s: with a surplus sibling at %d: %v", what, i, err)
			}
		}
		for i := range path {
			shorter := slices.Delete(slices.Clone(path), i, i+1)
			if err := verify(shorter); !errors.Is(err, ErrPathLength) {
				t.Errorf("%s: without sibling %d: %v", what, i, err)
			}
		}
		if err := verify(flood); !errors.Is(err, ErrPathLength) {
			t.Errorf("%s: with 65536 siblings: %v", what, err)
		}
	}
	for size := 1; size <= len(leaves); size++ {
		root := naiveMTH(leaves[:size])
		for m := range size {
			check("inclusion", naivePath(m, leaves[:size]), func(p []Hash) error {
				return VerifyInclusion(uint64(m), uint64(size), leaves[m], root, p)
			})
		}
		for m := 1; m <= size; m++ {
			check("consistency", naiveSubproof(m, leaves[:size], true), func(p []Hash) error {
				return VerifyConsistency(uint64(m), uint64(size), naiveMTH(leaves[:m]), root, p)
			})
		}
	}
}

func TestProofsOutsideTheTree(t *testing.T) {
	r := uniform{}
	for _, tt := range []struct{ index, size uint64 }{{0, 0}, {1, 0}, {1, 1}, {7, 7}, {8, 7}, {1<<64 - 1, 1}, {1<<64 - 1, 1<<64 - 1}} {
		if _, err := InclusionProof(tt.index, tt.size, r); !errors.Is(err, ErrRange) {
			t.Errorf("proof of index %d in size %d: %v", tt.index, tt.size, err)
		}
		if err := VerifyInclusion(tt.index, tt.size, Hash{}, Hash{}, nil); !errors.Is(err, ErrRange) {
			t.Errorf("index %d in size %d: %v", tt.index, tt.size, err)
		}
		if n := InclusionLen(tt.index, tt.size); n != 0 {
			t.Errorf("InclusionLen(%d, %d) = %d", tt.index, tt.size, n)
		}
	}
	for _, tt := range []struct{ old, new uint64 }{{1, 0}, {8, 7}, {1<<64 - 1, 1}, {1<<64 - 1, 1<<64 - 2}} {
		if _, err := ConsistencyProof(tt.old, tt.new, r); !errors.Is(err, ErrRange) {
			t.Errorf("proof from size %d to %d: %v", tt.old, tt.new, err)
		}
		if err := VerifyConsistency(tt.old, tt.new, Hash{}, Hash{}, nil); !errors.Is(err, ErrRange) {
			t.Errorf("size %d to %d: %v", tt.old, tt.new, err)
		}
		if n := ConsistencyLen(tt.old, tt.new); n != 0 {
			t.Errorf("ConsistencyLen(%d, %d) = %d", tt.old, tt.new, n)
		}
	}
}

func TestConsistencyOfEmptyAndEqualTrees(t *testing.T) {
	empty, a, b := EmptyRoot(), LeafHash([]byte("a")), LeafHash([]byte("b"))
	for _, tt := range []struct {
		name             string
		oldSize, newSize uint64
		oldRoot, newRoot Hash
		path             []Hash
		want             error
	}{
		{"empty and empty", 0, 0, empty, empty, nil, nil},
		{"empty with a wrong root", 0, 0, a, a, nil, ErrRoot},
		{"empty with a wrong new root", 0, 0, empty, a, nil, ErrRoot},
		{"empty and anything", 0, 5, empty, a, nil, nil},
		{"wrong empty root", 0, 5, a, a, nil, ErrRoot},
		{"empty with a path", 0, 5, empty, a, []Hash{a}, ErrPathLength},
		{"equal", 5, 5, a, a, nil, nil},
		{"equal sizes, other roots", 5, 5, a, b, nil, ErrRoot},
		{"equal with a path", 5, 5, a, a, []Hash{a}, ErrPathLength},
		{"equal at the end of numbers", 1<<64 - 1, 1<<64 - 1, a, a, nil, nil},
	} {
		err := VerifyConsistency(tt.oldSize, tt.newSize, tt.oldRoot, tt.newRoot, tt.path)
		if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestProofsInSizesNobodyCanBuild(t *testing.T) {
	for _, size := range edgeSizes() {
		for _, index := range edgeIndexes(size) {
			u := uniform{special: index, leaf: LeafHash(nil)}
			root, path := u.mustProve(t, index, size)
			if err := VerifyInclusion(index, size, u.leaf, root, path); err != nil {
				t.Errorf("index %d, size %d: %v", index, size, err)
			}
			if err := VerifyInclusion(index, size, Hash{}, root, path); !errors.Is(err, ErrRoot) {
				t.Errorf("index %d, size %d with another leaf: %v", index, size, err)
			}
			oldSize := index + 1
			oldRoot, err := RootFrom(oldSize, u)
			if err != nil {
				t.Fatal(err)
			}
			proof, err := ConsistencyProof(oldSize, size, u)
			if err != nil {
				t.Fatal(err)
			}
			if err := VerifyConsistency(oldSize, size, oldRoot, root, proof); err != nil {
				t.Errorf("size %d to %d: %v", oldSize, size, err)
			}
			oldRoot[0] ^= 1
			if err := VerifyConsistency(oldSize, size, oldRoot, root, proof); !errors.Is(err, ErrRoot) {
				t.Errorf("size %d to %d with another root: %v", oldSize, size, err)
			}
		}
	}
}

func TestVerifiersAllocateNothing(t *testing.T) {
	u := uniform{special: 5}
	root, path := u.mustProve(t, 5, 1<<53+1)
	oldRoot, err := RootFrom(5, u)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := ConsistencyProof(5, 1<<53+1, u)
	if err != nil {
		t.Fatal(err)
	}
	n := testing.AllocsPerRun(50, func() {
		if VerifyInclusion(5, 1<<53+1, Hash{}, root, path) != nil ||
			VerifyConsistency(5, 1<<53+1, oldRoot, root, proof) != nil {
			t.Error("an honest proof does not verify")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}
