// Package tilestore keeps the Merkle tree of a log: its full tiles as files,
// its right edge in memory.
//
// # Model
//
//	tile/0/000 … tile/0/x001/233     full tiles of leaf hashes    on disk
//	tile/0/x001/234                  the last, partial tile       in memory
//	tile/1/000 … tile/1/003          each hash folds a tile of level 0
//	tile/1/004                       partial                      in memory
//	tile/2/000                       partial                      in memory
//
// A full tile never changes and is a function of the log, so it is written once
// and can be made again from leaf hashes. A partial tile is a prefix of the
// full one to come, so none is ever written. A tile that is full and not yet on
// disk stays in memory until [Store.Flush].
//
// The hall opens a store and appends the leaf hashes of the whole log, or
// resumes the tree at a size for which it knows the root and appends the rest.
// It asks [Store.Beyond] whether the log was longer, and from then on appends what
// became durable. Losing tiles, or all of them, costs the time to write them
// again and nothing else.
//
// # Invariants
//
//   - A tile that is read from disk is used only after its 256 hashes fold to
//     the hash that the tile above holds for it. The chain ends in memory.
//     Damage is a [*DamageError].
//   - Every hash in memory was computed from leaves, or from tiles that
//     [Store.Resume] read. For these the caller's comparison of the root stands
//     in: every hash at the right edge goes into it, so if it is right they are
//     all right. Until then nothing that was read is in the cache.
//   - A file is written whole, never over another, and read back and compared
//     before its tile leaves memory.
//   - A [Reader] answers for one size, for ever, whatever is appended later.
//
// # Example
//
//	s, err := tilestore.Open(vault.Sub("tile"))
//	if err != nil {
//		return err
//	}
//	s.Append(leaves)                  // the whole log, in any portions
//	if err := s.Flush(); err != nil { // what was missing
//		return err
//	}
//	r := s.Snapshot()
//	path, err := merkle.InclusionProof(seq, r.Size(), r)
//
// Without the whole log:
//
//	err := s.Resume(size, leaves)     // those of the last, partial tile
//	tree := s.Tree()
//	if err != nil || tree.Root() != root {
//		// Open another store and append from the start.
//	}
package tilestore
