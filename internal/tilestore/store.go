package tilestore

import (
	"sync"

	"graven/internal/fsx"
	"graven/merkle"
)

// levels is how many levels of tiles a tree of less than 2^64 leaves has.
const levels = 64 / merkle.TileHeight

// Store is the tree of one log. Its methods may be called concurrently, but
// leaves are appended by one goroutine at a time, in order.
type Store struct {
	dir   fsx.Dir    // the vault's folder tile/
	cache *tileCache // tiles that were on disk and verified

	// disk is held by whoever changes files: Flush, Rebuild, Check.
	// It is taken before mu.
	disk sync.Mutex

	mu   sync.Mutex // guards what follows; never held during I/O
	tree merkle.Tree
	// edge is what is in memory of each level.
	edge [levels]edge
	// onDisk holds the numbers of the full tiles of each level that have a file:
	// found by Open, or written and read back since. A found file counts unread;
	// it is verified like any other when a reader needs it.
	onDisk [levels]runs
}

// edge is the end of a level: all its tiles from number base on.
//
// Invariant: tile number base+i is tiles[i]; all but the last are full, and the
// last has at least one hash. Elements are added, never changed, so that readers
// share them without a lock.
type edge struct {
	base  uint64
	tiles []*tile
}

// Open lists the tiles in dir, which need not exist. It changes nothing and
// reads no tile. The store holds no leaves yet: see [Store.Append] and [Store.Resume].
func Open(dir fsx.Dir) (*Store, error) {
	s := &Store{dir: dir, cache: newCache()}
	err := walk(dir, func(f found) {
		if f.isTile && f.regular {
			s.onDisk[f.id.Level].add(f.id.Index)
		}
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Append adds leaf hashes. It does no I/O and computes about one node hash for
// each. Tiles that become full are on disk already, or wait for Flush.
func (s *Store) Append(leaves []merkle.Hash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	add := s.addNode
	for _, leaf := range leaves {
		s.tree.AppendNodes(leaf, add)
	}
}

// addNode puts a hash where a tile holds it.
func (s *Store) addNode(id merkle.NodeID, h merkle.Hash) {
	level := id.Level / merkle.TileHeight
	row, at := place(id)
	if row == 0 && level > 0 {
		s.completed(level - 1)
	}
	e := &s.edge[level]
	if row == 0 && at == 0 {
		e.tiles = append(e.tiles, new(tile))
	}
	*e.tiles[len(e.tiles)-1].node(row, at) = h
}

// completed is called when the last tile of a level has become full. While a
// log is read at open nearly every tile is on disk, and memory must not grow
// with the log. A tile behind a missing one stays until Flush.
func (s *Store) completed(level uint8) {
	e := &s.edge[level]
	if len(e.tiles) == 1 && s.onDisk[level].has(e.base) {
		e.base++
		e.tiles = nil // not truncated: readers may share the array
	}
}

// Size returns the number of leaves.
func (s *Store) Size() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tree.Size()
}

// Pending returns how many full tiles are not on disk yet. Each takes 16 KiB of
// memory until Flush.
func (s *Store) Pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for level := range s.edge {
		s.eachFull(level, func(number uint64, _ *tile) {
			if !s.onDisk[level].has(number) {
				n++
			}
		})
	}
	return n
}

// eachFull calls fn for the full tiles of a level that are in memory. The
// caller holds mu.
func (s *Store) eachFull(level int, fn func(number uint64, t *tile)) {
	e := &s.edge[level]
	full := merkle.FullTiles(uint8(level), s.tree.Size())
	for i, t := range e.tiles {
		if number := e.base + uint64(i); number < full {
			fn(number, t)
		}
	}
}

// Snapshot returns a reader of the tree at its present size.
func (s *Store) Snapshot() *Reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Reader{store: s, size: s.tree.Size(), root: s.tree.Root(), edge: s.edge}
}
