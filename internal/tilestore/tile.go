package tilestore

import "graven/merkle"

// tile is a tile in memory, with the seven levels of the tree between it and
// the one above: they come for free while the tree grows, or while a file is
// verified, and make a proof a matter of looking up.
//
//	row 0    nodes[0:256]      the tile's hashes, as in its file
//	row 1    nodes[256:384]    their parents
//	…
//	row 7    nodes[508:510]    the two below the hash in the tile above
//
// Nodes are added, never changed: readers share a tile without a lock, and each
// looks only at nodes inside its size.
type tile struct {
	nodes [2*merkle.TileWidth - 2]merkle.Hash
}

// node returns the place of a subtree's root: number i of its row.
func (t *tile) node(row uint8, i uint64) *merkle.Hash {
	return &t.nodes[2*merkle.TileWidth-2*merkle.TileWidth>>row+int(i)]
}

// place returns the row of a subtree in its tile, and its number in the row.
func place(id merkle.NodeID) (row uint8, i uint64) {
	row = id.Level % merkle.TileHeight
	return row, id.Index % (merkle.TileWidth >> row)
}

// hashes returns the hashes of row 0, shared.
func (t *tile) hashes() []merkle.Hash { return t.nodes[:merkle.TileWidth:merkle.TileWidth] }

// newTile makes a full tile from its 256 hashes and returns what they fold to.
func newTile(hashes []merkle.Hash) (*tile, merkle.Hash) {
	t := new(tile)
	copy(t.hashes(), hashes)
	for i := merkle.TileWidth; i < len(t.nodes); i++ {
		child := 2 * (i - merkle.TileWidth) // the rows lie one after the other
		t.nodes[i] = merkle.NodeHash(t.nodes[child], t.nodes[child+1])
	}
	return t, merkle.NodeHash(*t.node(merkle.TileHeight-1, 0), *t.node(merkle.TileHeight-1, 1))
}
