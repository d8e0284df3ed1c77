package tilestore

import (
	"errors"
	"fmt"

	"graven/merkle"
)

// Leaves gives the leaf hashes [from, to) of the log, exactly so many. The
// slice is not changed or kept. It is called with at most [MaxLeaves] at a time.
type Leaves func(from, to uint64) ([]merkle.Hash, error)

// MaxLeaves is how many leaf hashes are asked for at once: 128 KiB of them.
const MaxLeaves = 4096

// ErrLeaves says that the leaf hashes given to Rebuild or Check are not those
// that were appended: the log has changed under the store.
var ErrLeaves = errors.New("leaf hashes do not lead to the root of the tree")

// read calls the function and holds it to its contract.
func (l Leaves) read(from, to uint64) ([]merkle.Hash, error) {
	hashes, err := l(from, to)
	if err != nil {
		return nil, fmt.Errorf("leaf hashes %d to %d: %w", from, to, err)
	}
	if uint64(len(hashes)) != to-from {
		return nil, fmt.Errorf("leaf hashes %d to %d: got %d, wanted %d", from, to, len(hashes), to-from)
	}
	return hashes, nil
}

// Rebuild makes sure that the file of a full tile is right: what else stands
// there is discarded. The hashes come from memory, or else from the leaves below the tile and the tiles
// between, and are written only if they fold to what the tile above says; if
// that one is damaged it is rebuilt first. A tile that is not full is
// merkle.ErrRange. [ErrLeaves] says that the leaves are wrong; nothing was
// written then.
//
// A crash leaves the tile whole, or missing, or the damaged one again.
func (s *Store) Rebuild(id merkle.TileID, leaves Leaves) error {
	s.disk.Lock()
	defer s.disk.Unlock()
	r := s.Snapshot()
	if have := id.Width(r.size); have != merkle.TileWidth {
		return fmt.Errorf("%w: rebuilding %s, which has %d hashes at size %d", merkle.ErrRange, id.Path(), have, r.size)
	}
	return s.rebuild(r, id, leaves)
}

// rebuild is Rebuild of a full tile; the caller holds disk.
func (s *Store) rebuild(r *Reader, id merkle.TileID, leaves Leaves) error {
	if t := r.inMemory(id); t != nil {
		return s.mend(id, t)
	}
	want, err := r.parent(id)
	for err != nil {
		var damage *DamageError
		if !errors.As(err, &damage) || damage.Tile.Level <= id.Level {
			return err
		}
		if err := s.rebuild(r, damage.Tile, leaves); err != nil {
			return err
		}
		want, err = r.parent(id) // damage, if any, is one level further down
	}
	t, err := s.remake(id, want, leaves)
	if err != nil {
		return err
	}
	return s.mend(id, t)
}

// mend puts a tile in the place of what stands under its name, unless it is
// the tile itself.
func (s *Store) mend(id merkle.TileID, t *tile) error {
	text := merkle.TileText(t.hashes())
	err := s.compare(id, text)
	switch {
	case err == nil:
		err = s.dir.Sync(tileName(id))
	case errors.Is(err, ErrDamaged):
		if err = s.discard(id); err == nil {
			err = s.write(id, text)
		}
	}
	if err != nil {
		return err
	}
	s.mark(id)
	s.cache.Put(id, t, 1)
	return nil
}

// remake computes a full tile that folds to want. It takes the tiles below from
// disk where they can be read, which is fast; if one of them deceives, the
// result is wrong, and the leaves alone decide.
func (s *Store) remake(id merkle.TileID, want merkle.Hash, leaves Leaves) (*tile, error) {
	var got merkle.Hash
	for _, useDisk := range []bool{true, false} {
		var t *tile
		var err error
		if t, got, err = s.compute(id, leaves, useDisk); err != nil {
			return nil, err
		}
		if got == want {
			return t, nil
		}
	}
	return nil, fmt.Errorf("%w: %s folds to %v, wanted %v", ErrLeaves, s.file(id), got, want)
}

// compute makes a full tile from the tiles or leaves below it, unverified, and
// returns what it folds to.
func (s *Store) compute(id merkle.TileID, leaves Leaves, useDisk bool) (*tile, merkle.Hash, error) {
	first := id.Index * merkle.TileWidth
	if id.Level == 0 {
		hashes, err := leaves.read(first, first+merkle.TileWidth)
		if err != nil {
			return nil, merkle.Hash{}, err
		}
		t, root := newTile(hashes)
		return t, root, nil
	}
	var hashes [merkle.TileWidth]merkle.Hash
	for i := range hashes {
		below := merkle.TileID{Level: id.Level - 1, Index: first + uint64(i)}
		var err error
		if useDisk {
			_, hashes[i], err = s.load(below)
		}
		if !useDisk || errors.Is(err, ErrDamaged) {
			_, hashes[i], err = s.compute(below, leaves, useDisk)
		}
		if err != nil {
			return nil, merkle.Hash{}, err
		}
	}
	t, root := newTile(hashes[:])
	return t, root, nil
}
