package merkle

import "fmt"

// TileHashReader returns a reader of the tree of the given size over its tiles.
// read is called at most once for a tile in each call of ReadHashes, with the
// tile's whole width in that tree, and returns exactly that many hashes, which
// are not changed. Concurrent calls are safe if read is.
//
// Nothing is verified here: hashes are checked with a root, by verifying the
// proof that is made from them.
func TileHashReader(size uint64, read func(t TileID, width int) ([]Hash, error)) HashReader {
	return &tileHashReader{size, read}
}

type tileHashReader struct {
	size uint64
	read func(TileID, int) ([]Hash, error)
}

// ReadHashes implements [HashReader]. An id outside the tree is [ErrRange].
func (r *tileHashReader) ReadHashes(ids []NodeID) ([]Hash, error) {
	tiles := make(map[TileID][]Hash)
	hashes := make([]Hash, len(ids))
	for i, id := range ids {
		if !id.In(r.size) {
			return nil, fmt.Errorf("%w: node %v in a tree of size %d", ErrRange, id, r.size)
		}
		t, start, end := TileOf(id)
		tile, ok := tiles[t]
		if !ok {
			width := t.Width(r.size)
			var err error
			if tile, err = r.read(t, width); err != nil {
				return nil, err
			}
			if len(tile) != width {
				return nil, fmt.Errorf("merkle: %s has %d hashes, wanted %d", t.Path(), len(tile), width)
			}
			tiles[t] = tile
		}
		hashes[i] = RootOf(tile[start:end])
	}
	return hashes, nil
}
