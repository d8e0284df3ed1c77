package tilestore

import (
	"errors"
	"fmt"

	"graven/internal/fsx"
	"graven/merkle"
)

// batchTiles is how many tiles are written between two syncs of their folders.
// A folder has at most 1,000, so smaller batches would sync it more often, and
// larger ones only take memory: this one 11.5 MB.
const batchTiles = 1000

// fullTile is a tile to write.
type fullTile struct {
	id   merkle.TileID
	tile *tile
}

// Flush writes the full tiles that are not on disk, those of lower levels
// first, and reads each back before its memory is let go. A file that is there
// already is fine if it is equal. If it is not, it is left alone, the others
// are written, and the error is a [*DamageError]: Rebuild mends it.
//
// Other errors are those of the disk; then some tiles may be written. Nothing
// is lost, and Flush may be called again. A crash at any moment leaves whole
// tiles or none.
func (s *Store) Flush() error {
	s.disk.Lock()
	defer s.disk.Unlock()
	missing := s.missing()
	var damaged error
	for len(missing) > 0 {
		n := min(batchTiles, len(missing))
		err := s.writeBatch(missing[:n])
		if err != nil && !errors.Is(err, ErrDamaged) {
			return err
		}
		if damaged == nil {
			damaged = err
		}
		missing = missing[n:]
	}
	s.forget()
	return damaged
}

// missing returns the full tiles without a file.
func (s *Store) missing() []fullTile {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []fullTile
	for level := range s.edge {
		s.eachFull(level, func(number uint64, t *tile) {
			if !s.onDisk[level].has(number) {
				list = append(list, fullTile{merkle.TileID{Level: uint8(level), Index: number}, t})
			}
		})
	}
	return list
}

// writeBatch writes tiles and reads them back. If only some are damaged it
// finishes with the others and returns the first damage.
func (s *Store) writeBatch(batch []fullTile) error {
	items := make([]fsx.Item, len(batch))
	for i, t := range batch {
		items[i] = fsx.Item{Name: tileName(t.id), Data: merkle.TileText(t.tile.hashes())}
	}
	taken, err := s.dir.PublishAll(items)
	if err != nil {
		return fmt.Errorf("writing %d tiles from %s on: %w", len(batch), s.file(batch[0].id), err)
	}
	var damaged error
	for i, t := range batch {
		err := s.compare(t.id, items[i].Data)
		if len(taken) > 0 && taken[0] == items[i].Name {
			taken = taken[1:]
			if err == nil { // it may be in the page cache only, left by a process that was killed
				err = s.dir.Sync(items[i].Name)
			}
		}
		if err == nil {
			s.mark(t.id)
			continue
		}
		if !errors.Is(err, ErrDamaged) {
			return fmt.Errorf("writing %s: %w", s.file(t.id), err)
		}
		if damaged == nil {
			damaged = err
		}
	}
	return damaged
}

// mark notes that a tile's file is as it must be.
func (s *Store) mark(id merkle.TileID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onDisk[id.Level].add(id.Index)
}

// forget lets go of the full tiles at the front of each level that are on disk.
// The newest are the likeliest to be read next, so the cache takes them.
func (s *Store) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for level := range s.edge {
		e, drop := &s.edge[level], 0
		s.eachFull(level, func(number uint64, t *tile) {
			if uint64(drop) == number-e.base && s.onDisk[level].has(number) {
				s.cache.Put(merkle.TileID{Level: uint8(level), Index: number}, t, 1)
				drop++
			}
		})
		if drop > 0 { // a new array: the old one would keep the tiles alive
			e.base += uint64(drop)
			e.tiles = append([]*tile(nil), e.tiles[drop:]...)
		}
	}
}

// Beyond names a tile on disk that reaches beyond the leaves appended so far,
// "" if there is none. Tiles are written of durable records only, so after the
// whole log was appended such a tile says that the log was longer.
func (s *Store) Beyond() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for level := range s.onDisk {
		have, full := s.onDisk[level], merkle.FullTiles(uint8(level), s.tree.Size())
		if n := len(have); n > 0 && have[n-1].end > full {
			return s.file(merkle.TileID{Level: uint8(level), Index: have[n-1].end - 1})
		}
	}
	return ""
}
