package merkle

import (
	"fmt"
	"math/bits"
)

// NodeID names a perfect subtree: the leaves [Index·2^Level, (Index+1)·2^Level).
type NodeID struct {
	Level uint8 // 0 for leaf hashes; at most 63
	Index uint64
}

// String returns the level and the index, as in "3/17".
func (id NodeID) String() string { return fmt.Sprintf("%d/%d", id.Level, id.Index) }

// In reports whether a tree of the given size holds the whole subtree.
func (id NodeID) In(size uint64) bool {
	return id.Level < 64 && id.Index < size>>id.Level
}

// HashReader gives the hashes of perfect subtrees.
//
// ReadHashes returns one hash for each id, in their order. An implementation
// returns an error rather than a hash that it does not hold. The caller owns
// the slice that is returned. Whether it may be called concurrently is up to
// the implementation; this package does not.
type HashReader interface {
	ReadHashes(ids []NodeID) ([]Hash, error)
}

// Tree is the right edge of a growing tree: enough to append leaves and to
// know the root, at any time, in at most 64 hashes. The zero value is the
// empty tree. An assignment copies the whole tree. A Tree is not safe for
// concurrent use.
type Tree struct {
	size uint64
	// edge[l] is the root of the perfect subtree of 2^l leaves at the right
	// edge. Invariant: it counts exactly if bit l of size is set.
	edge [64]Hash
}

// Append adds a leaf. It takes one node hash on average.
func (t *Tree) Append(leaf Hash) {
	l := bits.TrailingZeros64(^t.size)
	for i := range l {
		leaf = NodeHash(t.edge[i], leaf)
	}
	t.edge[l] = leaf
	t.size++
}

// AppendNodes is [Tree.Append], and calls fn for every perfect subtree that the
// leaf completes: first for the leaf itself, then for each level above it up to
// the highest that is now whole. fn must not use t.
func (t *Tree) AppendNodes(leaf Hash, fn func(id NodeID, h Hash)) {
	l := bits.TrailingZeros64(^t.size)
	for i := range l {
		fn(NodeID{uint8(i), t.size >> i}, leaf)
		leaf = NodeHash(t.edge[i], leaf)
	}
	fn(NodeID{uint8(l), t.size >> l}, leaf)
	t.edge[l] = leaf
	t.size++
}

// Size returns the number of leaves.
func (t *Tree) Size() uint64 { return t.size }

// Root returns the root over all leaves; [EmptyRoot] if there are none.
func (t *Tree) Root() Hash {
	if t.size == 0 {
		return EmptyRoot()
	}
	l := bits.TrailingZeros64(t.size)
	root := t.edge[l]
	for rest := t.size &^ (1 << l); rest != 0; rest &= rest - 1 {
		root = NodeHash(t.edge[bits.TrailingZeros64(rest)], root)
	}
	return root
}

// Clone returns a copy that shares nothing with t.
func (t *Tree) Clone() *Tree {
	c := *t
	return &c
}

// ReadTree returns the right edge of the first size leaves, read from r.
func ReadTree(size uint64, r HashReader) (Tree, error) {
	ids := appendRange(nil, 0, size)
	hashes, err := readHashes(r, ids)
	if err != nil {
		return Tree{}, err
	}
	t := Tree{size: size}
	for i, id := range ids {
		t.edge[id.Level] = hashes[i]
	}
	return t, nil
}

// RootFrom returns the root of the first size leaves, read from r.
func RootFrom(size uint64, r HashReader) (Hash, error) {
	t, err := ReadTree(size, r)
	if err != nil {
		return Hash{}, err
	}
	return t.Root(), nil
}

// RootOf returns the root over leaf hashes that are all at hand.
func RootOf(leaves []Hash) Hash {
	var t Tree
	for _, leaf := range leaves {
		t.Append(leaf)
	}
	return t.Root()
}

// appendRange appends the perfect subtrees that make up the leaves [lo, hi),
// from left to right: fewer than 64. lo is 0 or a split point of RFC 6962, so
// the largest power of two that fits is always aligned.
func appendRange(ids []NodeID, lo, hi uint64) []NodeID {
	for lo < hi {
		l := bits.Len64(hi-lo) - 1
		ids = append(ids, NodeID{uint8(l), lo >> l})
		lo += 1 << l
	}
	return ids
}

// foldRange hashes what appendRange named.
func foldRange(hashes []Hash) Hash {
	last := len(hashes) - 1
	h := hashes[last]
	for i := last - 1; i >= 0; i-- {
		h = NodeHash(hashes[i], h)
	}
	return h
}

// readHashes asks r once and holds it to its contract.
func readHashes(r HashReader, ids []NodeID) ([]Hash, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	hashes, err := r.ReadHashes(ids)
	if err != nil {
		return nil, fmt.Errorf("merkle: reading %d hashes from node %v on: %w", len(ids), ids[0], err)
	}
	if len(hashes) != len(ids) {
		return nil, fmt.Errorf("merkle: a reader gave %d hashes, wanted %d", len(hashes), len(ids))
	}
	return hashes, nil
}
