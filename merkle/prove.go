package merkle

import (
	"fmt"
	"math/bits"
)

// span is a run of leaves [lo, hi) whose root is one hash of a proof.
type span struct{ lo, hi uint64 }

// split returns the point at which RFC 6962 divides the leaves [lo, hi), of
// which there are at least two: lo plus the largest power of two below hi-lo.
func split(lo, hi uint64) uint64 {
	return lo + 1<<(bits.Len64(hi-lo-1)-1)
}

// InclusionProof returns the siblings of the leaf at index in the tree of the
// first size leaves, from the leaf up (RFC 6962 section 2.1.1, PATH). It asks r
// once, for perfect subtrees inside size only. The result is as true as what r
// returned: a caller that does not trust its reader checks with
// [VerifyInclusion]. The error is [ErrRange] if there is no such leaf, or r's.
func InclusionProof(index, size uint64, r HashReader) ([]Hash, error) {
	if index >= size {
		return nil, fmt.Errorf("%w: no proof for index %d in a tree of size %d", ErrRange, index, size)
	}
	var buf [64]span
	spans := buf[:0]
	for lo, hi := uint64(0), size; hi-lo > 1; {
		if mid := split(lo, hi); index < mid {
			spans = append(spans, span{mid, hi})
			hi = mid
		} else {
			spans = append(spans, span{lo, mid})
			lo = mid
		}
	}
	return readSpans(spans, r)
}

// ConsistencyProof returns the hashes that prove the first oldSize leaves to be
// a prefix of the first newSize (RFC 6962 section 2.1.2, SUBPROOF). It is empty
// if oldSize is 0 or equals newSize. It asks r once, for perfect subtrees
// inside newSize only. The error is [ErrRange] if oldSize is above newSize, or
// r's.
func ConsistencyProof(oldSize, newSize uint64, r HashReader) ([]Hash, error) {
	if oldSize > newSize {
		return nil, fmt.Errorf("%w: no proof from size %d to the smaller %d", ErrRange, oldSize, newSize)
	}
	if oldSize == 0 || oldSize == newSize {
		return nil, nil
	}
	var buf [65]span
	spans := buf[:0]
	lo, hi := uint64(0), newSize
	for hi != oldSize {
		if mid := split(lo, hi); oldSize <= mid {
			spans = append(spans, span{mid, hi})
			hi = mid
		} else {
			spans = append(spans, span{lo, mid})
			lo = mid
		}
	}
	if lo > 0 { // otherwise the old tree is this whole subtree, and its root is known
		spans = append(spans, span{lo, hi})
	}
	return readSpans(spans, r)
}

// readSpans reads the hashes of spans given from the root down, and returns
// them from the leaf up. At most one span is not a perfect subtree.
func readSpans(spans []span, r HashReader) ([]Hash, error) {
	ids := make([]NodeID, 0, 128)
	var buf [65]int
	ends := buf[:0]
	for _, s := range spans {
		ids = appendRange(ids, s.lo, s.hi)
		ends = append(ends, len(ids))
	}
	hashes, err := readHashes(r, ids)
	if err != nil {
		return nil, err
	}
	path := make([]Hash, len(spans))
	start := 0
	for i, end := range ends {
		path[len(path)-1-i] = foldRange(hashes[start:end])
		start = end
	}
	return path, nil
}
