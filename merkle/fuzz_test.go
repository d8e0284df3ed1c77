package merkle

import (
	"errors"
	"slices"
	"testing"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

// encode is the inverse of what the fuzz targets below cut their input into.
func encode(hashes ...Hash) []byte { return TileBytes(hashes) }

func cutHashes(data []byte) []Hash {
	hashes := make([]Hash, len(data)/HashSize)
	for i := range hashes {
		hashes[i] = Hash(data[i*HashSize:])
	}
	return hashes
}

// Whatever the input: no panic, and the verdict of another implementation.
func FuzzVerifyInclusion(f *testing.F) {
	leaves := testLeaves(300)
	for _, size := range []int{1, 2, 3, 7, 8, 9, 255, 256, 257, 300} {
		root := RootOf(leaves[:size])
		for _, m := range []int{0, size / 2, size - 1} {
			path := naivePath(m, leaves[:size])
			f.Add(uint64(m), uint64(size), encode(append([]Hash{leaves[m], root}, path...)...))
			f.Add(uint64(m+1), uint64(size), encode(append([]Hash{leaves[m], root}, path...)...))
			f.Add(uint64(m), uint64(size)<<53, encode(append([]Hash{leaves[m], root}, path...)...))
		}
	}
	f.Add(uint64(1<<64-1), uint64(1<<64-1), encode(Hash{}, Hash{}))
	f.Add(uint64(0), uint64(0), encode(Hash{}, EmptyRoot()))
	f.Fuzz(func(t *testing.T, index, size uint64, data []byte) {
		hashes := cutHashes(data)
		if len(hashes) < 2 {
			return
		}
		leaf, root, path := hashes[0], hashes[1], hashes[2:]
		got, err := InclusionRoot(index, size, leaf, path)
		if err == nil { // give the claim a chance to be true
			if err := VerifyInclusion(index, size, leaf, got, path); err != nil {
				t.Fatalf("index %d, size %d: the root of a proof does not verify: %v", index, size, err)
			}
		} else if !errors.Is(err, ErrRange) && !errors.Is(err, ErrPathLength) {
			t.Fatal(err)
		}
		for _, root := range []Hash{root, got} {
			ours := VerifyInclusion(index, size, leaf, root, path)
			theirs := proof.VerifyInclusion(rfc6962.DefaultHasher, index, size, leaf[:], toBytes(path), root[:])
			if (ours == nil) != (theirs == nil) {
				t.Fatalf("index %d, size %d, %d siblings: ours %v, theirs %v", index, size, len(path), ours, theirs)
			}
			if (ours == nil) != (len(path) == InclusionLen(index, size) && index < size && root == got) {
				t.Fatalf("index %d, size %d, %d siblings: %v", index, size, len(path), ours)
			}
		}
	})
}

// As above. An old size of 0 is the only case in which others differ: they
// refuse it as meaningless, C2SP witnesses need it with an empty path.
func FuzzVerifyConsistency(f *testing.F) {
	leaves := testLeaves(300)
	for _, size := range []int{1, 2, 3, 7, 8, 9, 255, 256, 257, 300} {
		root := RootOf(leaves[:size])
		for _, m := range []int{1, (size + 1) / 2, max(size-1, 1), size} {
			hashes := append([]Hash{RootOf(leaves[:m]), root}, naiveSubproof(m, leaves[:size], true)...)
			f.Add(uint64(m), uint64(size), encode(hashes...))
			f.Add(uint64(m-1), uint64(size), encode(hashes...))
			f.Add(uint64(m), uint64(size)<<53, encode(hashes...))
		}
	}
	f.Add(uint64(0), uint64(5), encode(EmptyRoot(), Hash{}))
	f.Add(uint64(1<<64-2), uint64(1<<64-1), encode(Hash{}, Hash{}))
	f.Fuzz(func(t *testing.T, oldSize, newSize uint64, data []byte) {
		hashes := cutHashes(data)
		if len(hashes) < 2 {
			return
		}
		oldRoot, newRoot, path := hashes[0], hashes[1], slices.Clip(hashes[2:])
		ours := VerifyConsistency(oldSize, newSize, oldRoot, newRoot, path)
		if oldSize == 0 {
			want := len(path) == 0 && oldRoot == EmptyRoot() && (newSize > 0 || newRoot == oldRoot)
			if (ours == nil) != want {
				t.Fatalf("0 to %d, %d hashes: %v", newSize, len(path), ours)
			}
			return
		}
		theirs := proof.VerifyConsistency(rfc6962.DefaultHasher, oldSize, newSize, toBytes(path), oldRoot[:], newRoot[:])
		if (ours == nil) != (theirs == nil) {
			t.Fatalf("%d to %d, %d hashes: ours %v, theirs %v", oldSize, newSize, len(path), ours, theirs)
		}
	})
}
