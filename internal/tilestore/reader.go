package tilestore

import (
	"fmt"

	"graven/merkle"
)

// Reader reads the tree of one size. It is immutable and safe for concurrent
// use, also while the store grows and while its tiles are written. It keeps in
// memory the tiles that were not on disk when it was made: let go of old ones.
type Reader struct {
	store *Store
	size  uint64
	root  merkle.Hash
	edge  [levels]edge // shares its tiles with the store
}

// Size returns the number of leaves.
func (r *Reader) Size() uint64 { return r.size }

// Root returns the root over all leaves. It was computed in memory, from leaf
// hashes or, after [Store.Resume], on from the root that its caller compared.
func (r *Reader) Root() merkle.Hash { return r.root }

// ReadHashes implements [merkle.HashReader] for all perfect subtrees inside the
// size; others are merkle.ErrRange. Every hash is verified. Damage is a
// [*DamageError]; other errors are those of the disk.
func (r *Reader) ReadHashes(ids []merkle.NodeID) ([]merkle.Hash, error) {
	hashes := make([]merkle.Hash, len(ids))
	var last merkle.TileID
	var t *tile
	for i, id := range ids {
		if !id.In(r.size) {
			return nil, fmt.Errorf("%w: node %v in a tree of size %d", merkle.ErrRange, id, r.size)
		}
		in, _, _ := merkle.TileOf(id)
		if t == nil || in != last {
			var err error
			if t, err = r.tile(in); err != nil {
				return nil, err
			}
			last = in
		}
		hashes[i] = *t.node(place(id))
	}
	return hashes, nil
}

// Tile returns the first width hashes of a tile, 1 to 256. A width that the
// tile does not have at this size is merkle.ErrRange. Errors are as for
// ReadHashes. The slice is shared and must not be changed.
func (r *Reader) Tile(id merkle.TileID, width int) ([]merkle.Hash, error) {
	if have := id.Width(r.size); width < 1 || width > have {
		return nil, fmt.Errorf("%w: %d hashes of %s, which has %d at size %d",
			merkle.ErrRange, width, id.Path(), have, r.size)
	}
	t, err := r.tile(id)
	if err != nil {
		return nil, err
	}
	return t.nodes[:width:width], nil
}

// tile returns a tile that has hashes at this size.
func (r *Reader) tile(id merkle.TileID) (*tile, error) {
	if t := r.inMemory(id); t != nil {
		return t, nil
	}
	return r.onDisk(id)
}

// inMemory returns a tile of the right edge, partial ones too, or nil.
func (r *Reader) inMemory(id merkle.TileID) *tile {
	e := &r.edge[id.Level]
	if id.Index < e.base || id.Index-e.base >= uint64(len(e.tiles)) {
		return nil
	}
	return e.tiles[id.Index-e.base]
}

// onDisk returns a full tile from the cache or from its file, verified.
func (r *Reader) onDisk(id merkle.TileID) (*tile, error) {
	if t, ok := r.store.cache.Get(id); ok {
		return t, nil
	}
	want, err := r.parent(id)
	if err != nil {
		return nil, err
	}
	t, got, err := r.store.load(id)
	if err != nil {
		return nil, err
	}
	if got != want {
		return nil, r.store.damage(id, 0, fmt.Sprintf("hashes that fold to %v", want), got.String())
	}
	r.store.cache.Put(id, t, 1)
	return t, nil
}

// parent returns the hash that a full tile folds to, from the tile above.
func (r *Reader) parent(id merkle.TileID) (merkle.Hash, error) {
	above := merkle.TileID{Level: id.Level + 1, Index: id.Index / merkle.TileWidth}
	t, err := r.tile(above)
	if err != nil {
		return merkle.Hash{}, fmt.Errorf("verifying %s: %w", r.store.file(id), err)
	}
	return t.nodes[id.Index%merkle.TileWidth], nil
}
