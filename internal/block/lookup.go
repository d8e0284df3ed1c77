package block

import (
	"maps"
	"slices"

	"graven/record"
)

// Mentioned reports whether a numbered block of the class, open or sealed,
// holds the artifact: whether it has entered its class (docs/format.md §5.1).
// Chunk blocks do not count.
func (s *Store) Mentioned(class string, id record.ID) bool {
	_, ok := s.Lookup(class, id)
	return ok
}

// Lookup finds an artifact in the numbered blocks of a class.
func (s *Store) Lookup(class string, id record.ID) (Ref, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if c := s.classes[class]; c != nil {
		return c.artifacts.get(id)
	}
	return Ref{}, false
}

// LookupAny finds an artifact in any block of any class.
func (s *Store) LookupAny(id record.ID) (Ref, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, c := range s.classes {
		if ref, ok := c.artifacts.get(id); ok {
			return ref, true
		}
	}
	return s.lookupChunk(id)
}

// lookupChunk finds an artifact in the chunk blocks. Callers hold mu.
func (s *Store) lookupChunk(id record.ID) (Ref, bool) {
	for _, c := range s.classes {
		if ref, ok := c.chunks.get(id); ok {
			return ref, true
		}
	}
	return Ref{}, false
}

// Admitted reports whether a chunk block, named by the SHA-256 of its file, is
// loaded.
func (s *Store) Admitted(id record.ID) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.chunked[id]
	return ok
}

// OpenBlock is an open block and how many artifacts it holds.
type OpenBlock struct {
	Class  string
	Number uint64
	Count  int
}

// FullBlocks lists the open blocks that take no more artifacts and wait to be
// sealed, by class and number.
func (s *Store) FullBlocks() []OpenBlock {
	return s.openBlocks(func(c *class, number uint64) bool { return number < c.tail })
}

// OpenBlocks lists all loaded open blocks, by class and number.
func (s *Store) OpenBlocks() []OpenBlock {
	return s.openBlocks(func(*class, uint64) bool { return true })
}

func (s *Store) openBlocks(keep func(c *class, number uint64) bool) []OpenBlock {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var list []OpenBlock
	for _, name := range slices.Sorted(maps.Keys(s.classes)) {
		c := s.classes[name]
		for _, number := range slices.Sorted(maps.Keys(c.open)) {
			if b := c.open[number]; b.count > 0 && keep(c, number) {
				list = append(list, OpenBlock{Class: name, Number: number, Count: b.count})
			}
		}
	}
	return list
}

// Found lists the files of open blocks that Open met and that have not been
// loaded, sealed or cut since, by class and number. Count is 0.
func (s *Store) Found() []OpenBlock {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var list []OpenBlock
	for _, name := range slices.Sorted(maps.Keys(s.classes)) {
		for _, number := range slices.Sorted(maps.Keys(s.classes[name].found)) {
			list = append(list, OpenBlock{Class: name, Number: number})
		}
	}
	return list
}

// Classes lists the classes of which there is any block, sorted.
func (s *Store) Classes() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Sorted(maps.Keys(s.classes))
}

// Stats counts the artifacts in numbered blocks of all classes, and the bytes
// of all loaded blocks: open, sealed and of chunks.
func (s *Store) Stats() (artifacts uint64, bytes int64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, c := range s.classes {
		artifacts += uint64(c.artifacts.size())
		for _, b := range c.open {
			bytes += b.size
		}
		for _, b := range c.sealed {
			bytes += int64(b.rec.Size)
		}
	}
	for _, rec := range s.chunked {
		bytes += int64(rec.Size)
	}
	return artifacts, bytes
}
