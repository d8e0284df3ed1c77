package merkle

import (
	"crypto/sha256"
	"fmt"
	"math/bits"
	"testing"
)

// The definitions of RFC 6962 section 2.1, word for word, over leaf hashes
// instead of leaves. Slow, and the measure of everything else.

func naiveNode(l, r Hash) Hash {
	return sha256.Sum256(append(append([]byte{1}, l[:]...), r[:]...))
}

// naiveSplit is the largest power of two smaller than n.
func naiveSplit(n int) int {
	k := 1
	for 2*k < n {
		k *= 2
	}
	return k
}

func naiveMTH(d []Hash) Hash {
	switch len(d) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return d[0]
	}
	k := naiveSplit(len(d))
	return naiveNode(naiveMTH(d[:k]), naiveMTH(d[k:]))
}

func naivePath(m int, d []Hash) []Hash {
	if len(d) == 1 {
		return nil
	}
	k := naiveSplit(len(d))
	if m < k {
		return append(naivePath(m, d[:k]), naiveMTH(d[k:]))
	}
	return append(naivePath(m-k, d[k:]), naiveMTH(d[:k]))
}

func naiveSubproof(m int, d []Hash, complete bool) []Hash {
	if m == len(d) {
		if complete {
			return nil
		}
		return []Hash{naiveMTH(d)}
	}
	k := naiveSplit(len(d))
	if m <= k {
		return append(naiveSubproof(m, d[:k], complete), naiveMTH(d[k:]))
	}
	return append(naiveSubproof(m-k, d[k:], false), naiveMTH(d[:k]))
}

// testLeaves returns n different leaf hashes.
func testLeaves(n int) []Hash {
	leaves := make([]Hash, n)
	for i := range leaves {
		leaves[i] = LeafHash(fmt.Appendf(nil, "leaf %d", i))
	}
	return leaves
}

// naiveReader reads any perfect subtree of its leaves, and fails the test if it
// is asked for another.
type naiveReader struct {
	t      testing.TB
	leaves []Hash
	calls  int
}

func (r *naiveReader) ReadHashes(ids []NodeID) ([]Hash, error) {
	r.calls++
	hashes := make([]Hash, len(ids))
	for i, id := range ids {
		lo, hi := id.Index<<id.Level, (id.Index+1)<<id.Level
		if hi > uint64(len(r.leaves)) {
			r.t.Errorf("asked for node %v in a tree of size %d", id, len(r.leaves))
			return nil, ErrRange
		}
		hashes[i] = naiveMTH(r.leaves[lo:hi])
	}
	return hashes, nil
}

// uniform reads a tree of any size up to 2^64-1 in which all leaves are zero
// but one. So trees can be walked that nobody could build.
type uniform struct {
	special uint64
	leaf    Hash
}

func (u uniform) ReadHashes(ids []NodeID) ([]Hash, error) {
	hashes := make([]Hash, len(ids))
	for i, id := range ids {
		h, isZero := u.leaf, false
		if id.Level > 63 || id.Index > (1<<64-1)>>id.Level {
			return nil, fmt.Errorf("node %v is in no tree", id)
		}
		if u.special>>id.Level != id.Index {
			h, isZero = Hash{}, true
		}
		zero := Hash{}
		for l := range id.Level {
			switch {
			case isZero:
				h = NodeHash(zero, zero)
			case u.special>>l&1 == 1:
				h = NodeHash(zero, h)
			default:
				h = NodeHash(h, zero)
			}
			zero = NodeHash(zero, zero)
		}
		hashes[i] = h
	}
	return hashes, nil
}

func (u uniform) mustProve(t testing.TB, index, size uint64) (root Hash, path []Hash) {
	t.Helper()
	root, err := RootFrom(size, u)
	if err != nil {
		t.Fatal(err)
	}
	path, err = InclusionProof(index, size, u)
	if err != nil {
		t.Fatal(err)
	}
	return root, path
}

// flipBits calls fn once for every bit of h, with that bit flipped.
func flipBits(h *Hash, fn func(bit int)) {
	for bit := range 8 * HashSize {
		h[bit/8] ^= 1 << (bit % 8)
		fn(bit)
		h[bit/8] ^= 1 << (bit % 8)
	}
}

// edgeSizes are sizes around which numbers go wrong.
func edgeSizes() []uint64 {
	sizes := []uint64{1, 2, 3}
	for _, k := range []int{2, 7, 8, 9, 16, 31, 32, 33, 52, 53, 62, 63} {
		sizes = append(sizes, 1<<k-1, 1<<k, 1<<k+1)
	}
	return append(sizes, 1<<64-2, 1<<64-1)
}

// edgeIndexes are indexes in a tree of the given size, its ends among them.
func edgeIndexes(size uint64) []uint64 {
	indexes := []uint64{0, size - 1, size / 2, (size - 1) / 3}
	if size > 1 {
		split := uint64(1) << (bits.Len64(size-1) - 1)
		indexes = append(indexes, 1, size-2, split-1, split)
	}
	return indexes
}
