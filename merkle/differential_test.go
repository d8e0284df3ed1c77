package merkle

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"
)

// Two other implementations of the same RFC, as second opinions.

func toTlog(path []Hash) []tlog.Hash {
	hashes := make([]tlog.Hash, len(path))
	for i, h := range path {
		hashes[i] = tlog.Hash(h)
	}
	return hashes
}

func toBytes(path []Hash) [][]byte {
	hashes := make([][]byte, len(path))
	for i := range path {
		hashes[i] = path[i][:]
	}
	return hashes
}

// tlogReader lets tlog read perfect subtrees from one of our readers.
func tlogReader(r HashReader) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		ids := make([]NodeID, len(indexes))
		for i, index := range indexes {
			level, n := tlog.SplitStoredHashIndex(index)
			ids[i] = NodeID{uint8(level), uint64(n)}
		}
		hashes, err := r.ReadHashes(ids)
		return toTlog(hashes), err
	})
}

// treesForDifference calls fn for trees of many sizes, small and great.
func treesForDifference(t *testing.T, fn func(size, index uint64, r HashReader, leaf, root Hash)) {
	leaves := testLeaves(1100)
	for _, size := range []uint64{1, 2, 3, 7, 8, 9, 255, 256, 257, 511, 512, 513, 1023, 1024, 1025, 1100} {
		// Any perfect subtree inside the first size leaves, from memory.
		r := TileHashReader(size, memoryTiles(leaves[:size]))
		root := RootOf(leaves[:size])
		for index := uint64(0); index < size; index += 1 + size/50 {
			fn(size, index, r, leaves[index], root)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		size := rng.Uint64()>>(2+rng.IntN(60)) + 1 // tlog's numbers are int64
		u := uniform{special: rng.Uint64N(size), leaf: LeafHash(nil)}
		root, err := RootFrom(size, u)
		if err != nil {
			t.Fatal(err)
		}
		fn(size, u.special, u, u.leaf, root)
	}
}

func TestInclusionAgainstOthers(t *testing.T) {
	treesForDifference(t, func(size, index uint64, r HashReader, leaf, root Hash) {
		path, err := InclusionProof(index, size, r)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := tlog.ProveRecord(int64(size), int64(index), tlogReader(r))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(toTlog(path), theirs) {
			t.Fatalf("index %d, size %d: our path %v, tlog's %v", index, size, path, theirs)
		}
		if err := tlog.CheckRecord(toTlog(path), int64(size), tlog.Hash(root), int64(index), tlog.Hash(leaf)); err != nil {
			t.Fatalf("index %d, size %d: tlog refuses our path: %v", index, size, err)
		}
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, index, size, leaf[:], toBytes(path), root[:]); err != nil {
			t.Fatalf("index %d, size %d: transparency-dev refuses our path: %v", index, size, err)
		}
		if err := VerifyInclusion(index, size, leaf, root, path); err != nil {
			t.Fatal(err)
		}
	})
}

func TestConsistencyAgainstOthers(t *testing.T) {
	treesForDifference(t, func(size, index uint64, r HashReader, _, root Hash) {
		oldSize := index + 1
		oldRoot, err := RootFrom(oldSize, r)
		if err != nil {
			t.Fatal(err)
		}
		path, err := ConsistencyProof(oldSize, size, r)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := tlog.ProveTree(int64(size), int64(oldSize), tlogReader(r))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(toTlog(path), theirs) {
			t.Fatalf("%d to %d: our path %v, tlog's %v", oldSize, size, path, theirs)
		}
		if err := tlog.CheckTree(toTlog(path), int64(size), tlog.Hash(root), int64(oldSize), tlog.Hash(oldRoot)); err != nil {
			t.Fatalf("%d to %d: tlog refuses our path: %v", oldSize, size, err)
		}
		if err := proof.VerifyConsistency(rfc6962.DefaultHasher, oldSize, size, toBytes(path), oldRoot[:], root[:]); err != nil {
			t.Fatalf("%d to %d: transparency-dev refuses our path: %v", oldSize, size, err)
		}
		if err := VerifyConsistency(oldSize, size, oldRoot, root, path); err != nil {
			t.Fatal(err)
		}
	})
}

func TestProofLengthsAgainstOthers(t *testing.T) {
	for _, size := range edgeSizes() {
		for _, index := range edgeIndexes(size) {
			nodes, err := proof.Inclusion(index, size)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := InclusionLen(index, size), lengthOf(nodes); got != want {
				t.Errorf("InclusionLen(%d, %d) = %d, want %d", index, size, got, want)
			}
			nodes, err = proof.Consistency(index+1, size)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := ConsistencyLen(index+1, size), lengthOf(nodes); got != want {
				t.Errorf("ConsistencyLen(%d, %d) = %d, want %d", index+1, size, got, want)
			}
		}
	}
}

// lengthOf counts the hashes of a proof, some of which are folded of several.
func lengthOf(n proof.Nodes) int {
	_, begin, end := n.Ephem()
	if end > begin {
		return len(n.IDs) - (end - begin) + 1
	}
	return len(n.IDs)
}

// For every index, true size and claimed size the verdict is that of others. A
// proof of inclusion alone does not fix the size: that comes from a signature.
func TestVerdictsAgainstOthers(t *testing.T) {
	const limit = 20
	leaves := testLeaves(limit)
	for size := 1; size <= limit; size++ {
		root := naiveMTH(leaves[:size])
		for m := range size {
			path := naivePath(m, leaves[:size])
			for index := range uint64(limit) {
				for claimed := range uint64(2 * limit) {
					ours := VerifyInclusion(index, claimed, leaves[m], root, path)
					theirs := proof.VerifyInclusion(rfc6962.DefaultHasher, index, claimed, leaves[m][:], toBytes(path), root[:])
					if (ours == nil) != (theirs == nil) {
						t.Fatalf("leaf %d of %d, claimed %d of %d: ours %v, theirs %v", m, size, index, claimed, ours, theirs)
					}
				}
			}
		}
	}
}

func TestTilePathsAgainstTlog(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		tile := tlog.Tile{H: TileHeight, L: rng.IntN(64), N: int64(rng.Uint64() >> (1 + rng.IntN(63))), W: 1 + rng.IntN(TileWidth)}
		want := "tile/" + tile.Path()[len("tile/8/"):]
		id := TileID{uint8(tile.L), uint64(tile.N)}
		if got := id.PartialPath(tile.W); got != want {
			t.Fatalf("path of %+v is %s, want %s", tile, got, want)
		}
	}
}

func TestTilesAgainstTlog(t *testing.T) {
	leaves := testLeaves(66_000)
	for _, size := range []uint64{1, 255, 256, 257, 65_535, 65_536, 66_000} {
		read := memoryTiles(leaves[:size])
		r := tlogReader(TileHashReader(size, read))
		for _, tile := range tlog.NewTiles(TileHeight, 0, int64(size)) {
			want, err := tlog.ReadTileData(tile, r)
			if err != nil {
				t.Fatal(err)
			}
			id := TileID{uint8(tile.L), uint64(tile.N)}
			if got := id.Width(size); got != tile.W {
				t.Fatalf("size %d: %s has width %d, want %d", size, id.Path(), got, tile.W)
			}
			hashes, err := read(id, tile.W)
			if err != nil {
				t.Fatal(err)
			}
			if got := TileBytes(hashes); string(got) != string(want) {
				t.Fatalf("size %d: %s differs from tlog's", size, id.Path())
			}
		}
	}
}
