package tilestore

import (
	"errors"
	"fmt"

	"graven/merkle"
)

// ErrResume says that a store cannot go on at a size: it holds leaves already,
// or was given more or fewer leaf hashes than the last, partial tile has.
var ErrResume = errors.New("the tree cannot be resumed")

// Resume makes a store that holds no leaves yet hold the tree of the first size
// leaves without seeing them all: full tiles are those on disk, and leaves are
// the hashes of the last, partial tile, size modulo 256 of them.
//
// What the tiles say is believed. The caller compares [Store.Tree] with a root
// that it knows to be right before it uses the store for anything else, and if
// they differ lets the store go and opens another; see [ResumeTiles] for what
// may be damaged then.
//
// A tile that is needed and missing or not in the form of a tile is a
// [*DamageError]; other errors are ErrResume and those of the disk. After an
// error the store is as before and may be appended to from the start.
//
// A partial tile needs what each full tile below it folds to, and that stands
// nowhere but in these tiles: at most 255 files of each level are read.
func (s *Store) Resume(size uint64, leaves []merkle.Hash) error {
	if have := s.Size(); have != 0 {
		return fmt.Errorf("%w: at size %d in a store that holds %d leaves", ErrResume, size, have)
	}
	if want := merkle.PartialWidth(0, size); len(leaves) != want {
		return fmt.Errorf("%w: size %d leaves %d hashes for the last tile, got %d", ErrResume, size, want, len(leaves))
	}
	edges := [levels]edge{0: newEdge(0, size, leaves)}
	for level := range uint8(levels - 1) {
		hashes, err := s.edgeRoots(level, size)
		if err != nil {
			return fmt.Errorf("resuming at size %d: %w", size, err)
		}
		edges[level+1] = newEdge(level+1, size, hashes)
	}
	// The frontier lies in the partial tiles, so nothing more is read.
	tree, err := merkle.ReadTree(size, &Reader{store: s, size: size, edge: edges})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tree, s.edge = tree, edges
	return nil
}

// edgeRoots reads the full tiles of a level that stand under the partial tile
// above, and returns what they fold to. They do not go to the cache, which
// holds verified tiles only.
func (s *Store) edgeRoots(level uint8, size uint64) ([]merkle.Hash, error) {
	var hashes []merkle.Hash
	for _, id := range edgeTiles(level, size) {
		_, root, err := s.load(id)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, root)
	}
	return hashes, nil
}

// edgeTiles names the full tiles of a level that stand under the partial tile
// above, in order.
func edgeTiles(level uint8, size uint64) []merkle.TileID {
	full := merkle.FullTiles(level, size)
	var ids []merkle.TileID
	for n := full - full%merkle.TileWidth; n < full; n++ {
		ids = append(ids, merkle.TileID{Level: level, Index: n})
	}
	return ids
}

// newEdge makes the end of a level from the hashes of its partial tile.
func newEdge(level uint8, size uint64, hashes []merkle.Hash) edge {
	e := edge{base: merkle.FullTiles(level, size)}
	if len(hashes) == 0 {
		return e
	}
	t := new(tile)
	var tree merkle.Tree // over the tile's hashes: its nodes are those of the tile
	for _, h := range hashes {
		tree.AppendNodes(h, func(id merkle.NodeID, h merkle.Hash) {
			*t.node(id.Level, id.Index) = h
		})
	}
	e.tiles = []*tile{t}
	return e
}

// ResumeTiles names the tiles that [Store.Resume] reads for a size, those of
// lower levels first. If it failed or led to a wrong root, one of them is
// damaged: after the leaves were appended from the start, [Reader.Tile] finds
// out which, and [Store.Rebuild] mends it.
func ResumeTiles(size uint64) []merkle.TileID {
	var ids []merkle.TileID
	for level := range uint8(levels - 1) {
		ids = append(ids, edgeTiles(level, size)...)
	}
	return ids
}

// Tree returns the right edge of the tree, to be continued elsewhere.
func (s *Store) Tree() merkle.Tree {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tree
}

// Missing names a full tile that is neither on disk nor in memory; false if
// there is none. Only a resumed store can lack one, to the left of what it
// read: Flush does not write it, Rebuild does, and another may follow.
func (s *Store) Missing() (merkle.TileID, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for level := range s.edge {
		// What is before the edge was on disk once, or Resume took it to be.
		if n := s.onDisk[level].firstGap(); n < s.edge[level].base {
			return merkle.TileID{Level: uint8(level), Index: n}, true
		}
	}
	return merkle.TileID{}, false
}
