// Package state is the authenticated map from stored key to its newest
// version: what the state root of every commit stands for.
//
// # Model
//
// A stored key is a space byte followed by the user's key. Each of the 256
// spaces that has keys is one AVL+ tree in byte order: data in the leaves,
// routing keys in the inner nodes. The state root is a hash over one line of
// text per space.
//
//	state root = SHA-256("graven/state/v1\n", line of 00, …, line of ff)
//	                                 │
//	    6b <hash> <live> <height>  ──┘         a SpaceLine
//	           │
//	         inner "kb"                        search: key < "kb" goes left
//	        /          \
//	    inner "kab"    leaf kbc
//	    /       \
//	 leaf kaa  leaf kab
//
// A [Leaf] says which version of a key is the newest: the digest of its op
// line, its seq, its number, the seq of version 1, and whether it is live or a
// deletion. Leaves are never removed, so the log alone fixes the shape.
//
// A [Map] is one version of all trees. An [Edit] makes the next version out of
// a group of updates: it copies the nodes on the way to a change, and nothing
// else. A [Proof] is the path from a space's root to the leaf that the search
// for a key ends at. It shows that the leaf is the key's newest version, or, if
// the leaf has another key, that the key has none.
//
// # Pages
//
// A Map may stand on pages in files instead of in memory: the trees are cut into
// bands of heights, and a page holds what is connected of one band, 5 to 8
// leaves or up to 16 pages below. [Map.Write] writes the pages that are not in a
// file yet, [Open] opens a Map on what was written, and reads nothing. What is
// asked of such a Map reads the pages on its way, through a [Cache]. In memory a
// page stays as compact as in its file, with a table of where its nodes stand.
// An Edit unpacks those nodes alone that are on the way to a change: of what is
// beside the way the Map knows where it lies. What an Edit makes stays in memory
// until the next Write. [Map.Weight] says how much it is. Pages change nothing
// about roots, shapes and proofs.
//
//	      inner (made by the Edit)
//	     /                 \
//	page at offset 4711,    inner (made by the Edit)
//	number 1               /                  \
//	                   the same page,       pair (made by the Edit)
//	                   number 9
//
//	root, moves, err := m.Write(file, state.Again{From: state.NoFile})   // file: a PageWriter
//	m2, err := state.Open(root, files, cache)      // files: a Source
//	newer = moves.Rebase(newer, m2)                // newer: made from m meanwhile
//
// # Invariants
//
//   - A node that a Map can reach never changes. Any number of goroutines may
//     read a Map while Edits of it are under way.
//   - Only the parent of a node knows its hash, live count and height, so a node
//     may be replaced by a stub that says on which page it lies, and a number.
//   - Heights of siblings differ by at most 1; a node's live count is the sum
//     of its children's.
//   - A routing key is the shortest prefix of the first key on its right that
//     is greater than the last key on its left.
//   - Root and shape depend on the order of updates, not on how they are cut
//     into Edits.
//   - Every parser accepts one form only: what parses encodes to the same bytes.
//   - A verifier computes every direction itself, takes at most [MaxHeight]
//     steps, and allocates nothing by numbers it is given.
//
// # Cost
//
// A million keys of 32 bytes take just under 200 bytes each, keys included. An
// update or insert hashes the nodes on its way, of which a group shares the
// upper ones. The path of a proof among them takes at most 925 bytes as
// measured, and less than 1,150 as tested. On pages a key takes about 78 bytes,
// in the cache about 130. An update of a random key of a million on pages takes
// about 1,200 bytes of memory until the next Write.
//
// # Example
//
//	var m state.Map
//	e := m.Edit()
//	if err := e.Put(state.Leaf{Key: key, Digest: digest, Seq: 7, N: 1, Created: 7, Live: true}); err != nil {
//		return err
//	}
//	m = e.Map()
//	p, err := m.Prove(key)
//	res, err := p.Verify(key, m.Root())
//	// res.Present, res.Leaf.Seq == 7
//
// The tree is the one of Reyzin, Meshkov, Chepurnoy and Ivanov, "Improving
// authenticated dynamic dictionaries" (2017), with counts and without removal.
package state
