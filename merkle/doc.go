// Package merkle is the tree under the log: RFC 6962 hashes, proofs of
// inclusion and of consistency, and the tiles of C2SP tlog-tiles.
//
// # Model
//
// The leaves of a log are hashed with a 0x00 byte in front, two neighbours
// with 0x01 in front, and a tree of n leaves is split at the largest power of
// two below n:
//
//	size 7          root
//	              /      \
//	            /          \
//	          2/0           .          level 2: subtrees of 4 leaves
//	        /     \       /    \
//	      1/0     1/1   1/2     \      level 1: subtrees of 2 leaves
//	     /  \    /  \   /  \     \
//	    0    1  2    3 4    5     6    level 0: leaf hashes
//
// A perfect subtree over the leaves [i·2^l, (i+1)·2^l) is a [NodeID] l/i. Its
// hash never changes once the tree has that many leaves; everything in this
// package is folded from such hashes. The nodes without a number above, at the
// right edge, change with every size and are never stored.
//
// A tile holds 256 neighbouring hashes of every eighth level: those of level
// 8·L with the indexes [256·N, 256·(N+1)) are tile L/N. The seven levels
// between are recomputed by the reader.
//
// # Invariants
//
//   - Verifiers take exactly the number of hashes that index and sizes imply,
//     allocate nothing by numbers they are given, and do not panic.
//   - Every parser accepts one form only: what parses encodes to the same bytes.
//   - All types are values. Nothing here keeps a reference to an argument,
//     except [TileHashReader], which keeps its function.
//
// # Example
//
//	var t merkle.Tree
//	for _, line := range lines {
//		t.Append(merkle.LeafHash(line))
//	}
//	path, err := merkle.InclusionProof(3, t.Size(), reader)
//	if err != nil {
//		return err
//	}
//	err = merkle.VerifyInclusion(3, t.Size(), merkle.LeafHash(lines[3]), t.Root(), path)
package merkle
