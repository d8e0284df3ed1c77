package merkle

import (
	"errors"
	"fmt"
	"math/bits"
)

var (
	// ErrRange says that an index or a size is not one of the tree's.
	ErrRange = errors.New("merkle: outside the tree")
	// ErrPathLength says that a proof has more or fewer hashes than its
	// numbers imply.
	ErrPathLength = errors.New("merkle: wrong number of hashes in a proof")
	// ErrRoot says that the hashes of a proof do not lead to the root: the
	// claim is not true of this tree.
	ErrRoot = errors.New("merkle: a proof does not lead to the root")
)

// InclusionLen returns the number of siblings that prove the leaf at index in
// a tree of the given size: at most 64, and 0 if the tree has no such leaf.
func InclusionLen(index, size uint64) int {
	if index >= size {
		return 0
	}
	// Below the level where the ways to this leaf and to the last one part,
	// each level has a sibling; above it only those to the left.
	inner := bits.Len64(index ^ (size - 1))
	return inner + bits.OnesCount64(index>>inner)
}

// ConsistencyLen returns the number of hashes that prove a tree of oldSize to
// be a prefix of one of newSize: at most 65, and 0 if oldSize is 0, equal to
// newSize, or greater.
func ConsistencyLen(oldSize, newSize uint64) int {
	if oldSize == 0 || oldSize >= newSize {
		return 0
	}
	// The old tree's last perfect subtree is a node of both trees. Its
	// siblings are counted as for a leaf, levels below it cut off.
	l := bits.TrailingZeros64(oldSize)
	n := InclusionLen((oldSize-1)>>l, (newSize-1)>>l+1)
	if oldSize&(oldSize-1) != 0 {
		n++ // that subtree's own hash; a power of two is the old root itself
	}
	return n
}

// InclusionRoot returns the root of the tree of the given size in which leaf
// stands at index, with these siblings from the leaf up (RFC 9162 section
// 2.1.3.2). Errors are [ErrRange] and [ErrPathLength].
func InclusionRoot(index, size uint64, leaf Hash, path []Hash) (Hash, error) {
	if index >= size {
		return Hash{}, fmt.Errorf("%w: index %d in a tree of size %d", ErrRange, index, size)
	}
	if want := InclusionLen(index, size); len(path) != want {
		return Hash{}, fmt.Errorf("%w: inclusion of index %d in size %d has %d, wanted %d",
			ErrPathLength, index, size, len(path), want)
	}
	h := leaf
	at, last := index, size-1
	for _, sibling := range path {
		if at&1 == 0 && at == last { // climb the right edge to the next left sibling
			l := bits.TrailingZeros64(at)
			at, last = at>>l, last>>l
		}
		if at&1 == 1 {
			h = NodeHash(sibling, h)
		} else {
			h = NodeHash(h, sibling)
		}
		at, last = at>>1, last>>1
	}
	return h, nil
}

// VerifyInclusion checks that leaf is the leaf at index of the tree with that
// size and root. path has the siblings from the leaf up (RFC 6962 section
// 2.1.1). Errors are [ErrRange], [ErrPathLength] and [ErrRoot].
func VerifyInclusion(index, size uint64, leaf, root Hash, path []Hash) error {
	got, err := InclusionRoot(index, size, leaf, path)
	if err != nil {
		return err
	}
	if got != root {
		return fmt.Errorf("%w: inclusion of index %d in size %d: got %v, wanted %v", ErrRoot, index, size, got, root)
	}
	return nil
}

// VerifyConsistency checks that the tree with oldSize and oldRoot is a prefix
// of the tree with newSize and newRoot (RFC 6962 section 2.1.2, RFC 9162
// section 2.1.4.2).
//
// Equal sizes need equal roots and an empty path. The empty tree is a prefix of
// every tree: its root must be [EmptyRoot] and the path empty, and nothing is
// learnt about newRoot. Errors are [ErrRange] if oldSize is above newSize,
// [ErrPathLength] and [ErrRoot].
func VerifyConsistency(oldSize, newSize uint64, oldRoot, newRoot Hash, path []Hash) error {
	if oldSize > newSize {
		return fmt.Errorf("%w: consistency from size %d to the smaller %d", ErrRange, oldSize, newSize)
	}
	if want := ConsistencyLen(oldSize, newSize); len(path) != want {
		return fmt.Errorf("%w: consistency of size %d with %d has %d, wanted %d",
			ErrPathLength, oldSize, newSize, len(path), want)
	}
	gotOld, gotNew := oldRoot, newRoot
	switch {
	case oldSize == newSize:
		gotNew = oldRoot
		if oldSize == 0 {
			gotOld = EmptyRoot()
		}
	case oldSize == 0:
		gotOld = EmptyRoot()
	default:
		gotOld, gotNew = consistencyRoots(oldSize, newSize, oldRoot, path)
	}
	if gotOld != oldRoot {
		return fmt.Errorf("%w: consistency of size %d with %d: got old root %v, wanted %v",
			ErrRoot, oldSize, newSize, gotOld, oldRoot)
	}
	if gotNew != newRoot {
		return fmt.Errorf("%w: consistency of size %d with %d: got new root %v, wanted %v",
			ErrRoot, oldSize, newSize, gotNew, newRoot)
	}
	return nil
}

// consistencyRoots folds a path of the right length, 0 < oldSize < newSize,
// into both roots.
func consistencyRoots(oldSize, newSize uint64, oldRoot Hash, path []Hash) (oldGot, newGot Hash) {
	l := bits.TrailingZeros64(oldSize)
	at, last := (oldSize-1)>>l, (newSize-1)>>l
	first := oldRoot
	if oldSize&(oldSize-1) != 0 {
		first, path = path[0], path[1:]
	}
	oldGot, newGot = first, first
	for _, sibling := range path {
		if at&1 == 0 && at == last {
			l := bits.TrailingZeros64(at)
			at, last = at>>l, last>>l
		}
		if at&1 == 1 { // a left sibling lies in both trees
			oldGot, newGot = NodeHash(sibling, oldGot), NodeHash(sibling, newGot)
		} else { // a right sibling only in the new one
			newGot = NodeHash(newGot, sibling)
		}
		at, last = at>>1, last>>1
	}
	return oldGot, newGot
}
