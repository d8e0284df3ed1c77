package merkle

import (
	"fmt"
	"sort"
)

// A multiproof is of several leaves at once. Its hashes are the roots of the
// greatest runs of leaves that hold none of them, in the order in which one who
// folds needs them: at each node first what lies below its children that hold
// some of the leaves, the left one before the right one, then the hash of the
// child that holds none. Of one leaf that is the inclusion proof.

// MultiProof returns the hashes that prove the leaves at the indices, which
// ascend, to be in the tree of the first size leaves. It asks r once, for
// perfect subtrees inside size only. The error is [ErrRange] if there is no such
// leaf, or no leaf at all, or r's.
func MultiProof(indices []uint64, size uint64, r HashReader) ([]Hash, error) {
	if err := checkIndices(indices, size); err != nil {
		return nil, err
	}
	var spans []span
	multiSpans(indices, 0, size, &spans)
	ids := make([]NodeID, 0, 2*len(spans))
	ends := make([]int, len(spans))
	for i, s := range spans {
		ids = appendRange(ids, s.lo, s.hi)
		ends[i] = len(ids)
	}
	hashes, err := readHashes(r, ids)
	if err != nil {
		return nil, err
	}
	path := make([]Hash, len(spans))
	start := 0
	for i, end := range ends {
		path[i] = foldRange(hashes[start:end])
		start = end
	}
	return path, nil
}

// multiSpans appends the runs of [lo, hi), which holds all of the indices.
func multiSpans(indices []uint64, lo, hi uint64, spans *[]span) {
	if hi-lo == 1 {
		return
	}
	mid := split(lo, hi)
	left, right := divide(indices, mid)
	if len(left) > 0 {
		multiSpans(left, lo, mid, spans)
	}
	if len(right) > 0 {
		multiSpans(right, mid, hi, spans)
	}
	if len(left) == 0 {
		*spans = append(*spans, span{lo, mid})
	}
	if len(right) == 0 {
		*spans = append(*spans, span{mid, hi})
	}
}

// divide cuts ascending indices at mid.
func divide(indices []uint64, mid uint64) (left, right []uint64) {
	n := sort.Search(len(indices), func(i int) bool { return indices[i] >= mid })
	return indices[:n], indices[n:]
}

// checkIndices refuses indices that do not ascend within a tree.
func checkIndices(indices []uint64, size uint64) error {
	if len(indices) == 0 {
		return fmt.Errorf("%w: no leaf of a tree of size %d", ErrRange, size)
	}
	for i, index := range indices {
		if index >= size {
			return fmt.Errorf("%w: index %d in a tree of size %d", ErrRange, index, size)
		}
		if i > 0 && index <= indices[i-1] {
			return fmt.Errorf("%w: index %d behind index %d", ErrRange, index, indices[i-1])
		}
	}
	return nil
}

// MultiRoot returns the root of the tree of the given size in which the leaves
// stand at the indices, one for each, with the hashes of a [MultiProof]. If the
// last index is the tree's last leaf, before is the root of the tree without
// it. Time and memory are bounded by the number of leaves. Errors are [ErrRange]
// and [ErrPathLength].
func MultiRoot(indices []uint64, size uint64, leaves, path []Hash) (root, before Hash, err error) {
	if err := checkIndices(indices, size); err != nil {
		return Hash{}, Hash{}, err
	}
	if len(leaves) != len(indices) {
		return Hash{}, Hash{}, fmt.Errorf("%w: %d leaves for %d indices", ErrRange, len(leaves), len(indices))
	}
	f := multiFold{leaves: leaves, path: path}
	root, before, some := f.fold(indices, 0, size)
	if f.short || len(f.path) > 0 {
		return Hash{}, Hash{}, fmt.Errorf("%w: %d leaves in size %d: got %d hashes, %d are left over, too few: %v", ErrPathLength, len(indices), size, len(path), len(f.path), f.short)
	}
	if !some {
		before = EmptyRoot()
	}
	return root, before, nil
}

// multiFold folds a multiproof.
type multiFold struct {
	leaves []Hash // not used yet
	path   []Hash // not used yet
	short  bool   // it had too few
}

// fold returns the root of [lo, hi), and that of all of it but its last leaf:
// some is false if nothing is left then.
func (f *multiFold) fold(indices []uint64, lo, hi uint64) (root, before Hash, some bool) {
	if f.short {
		return Hash{}, Hash{}, false
	}
	if hi-lo == 1 {
		root, f.leaves = f.leaves[0], f.leaves[1:]
		return root, Hash{}, false
	}
	mid := split(lo, hi)
	inLeft, inRight := divide(indices, mid)
	var left, right, rest Hash // rest: of right without its last leaf
	if len(inLeft) > 0 {
		left, _, _ = f.fold(inLeft, lo, mid)
	}
	if len(inRight) > 0 {
		right, rest, some = f.fold(inRight, mid, hi)
	}
	if len(inLeft) == 0 {
		left = f.next()
	}
	if len(inRight) == 0 {
		right = f.next()
	}
	before = left
	if some {
		before = NodeHash(left, rest)
	}
	return NodeHash(left, right), before, true
}

func (f *multiFold) next() (h Hash) {
	if len(f.path) == 0 {
		f.short = true
		return h
	}
	h, f.path = f.path[0], f.path[1:]
	return h
}
