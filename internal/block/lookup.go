package block

import (
	"maps"
	"slices"

	"graven/record"
)

// Mentioned reports whether a numbered block of the class, open or sealed,
// holds the artifact: whether it has entered its class (docs/format.md §5.1).
// Chunk blocks do not count. The error is that of Lookup.
func (s *Store) Mentioned(class string, id record.ID) (bool, error) {
	return s.MentionedSince(0, class, id)
}

// Forgotten counts, from 1, the times when Forget let artifacts go out of memory.
func (s *Store) Forgotten() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.forgotten
}

// MentionedSince is Mentioned for an artifact that Lookup did not find after Forgotten
// said forgotten: as long as it still says so, memory knows. 0: nobody has looked.
func (s *Store) MentionedSince(forgotten uint64, class string, id record.ID) (bool, error) {
	s.mu.RLock()
	_, ok := s.lookupClass(class).artifacts.ref(id)
	same := s.forgotten == forgotten
	s.mu.RUnlock()
	if ok || same {
		return ok, nil
	}
	_, ok, err := s.find(id, inClass(class))
	return ok, err
}

// Lookup finds an artifact in the numbered blocks of a class: in memory, or else
// through the Finder. The error is the Finder's, or ErrWrongPlace.
func (s *Store) Lookup(class string, id record.ID) (Ref, bool, error) {
	if ref, ok := s.inMemory(class, id); ok {
		return ref, true, nil
	}
	return s.find(id, inClass(class))
}

// inMemory is Lookup without the Finder.
func (s *Store) inMemory(class string, id record.ID) (Ref, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.lookupClass(class).artifacts.ref(id)
}

// LookupAny finds an artifact in any block of any class. The error is that of
// Lookup.
func (s *Store) LookupAny(id record.ID) (Ref, bool, error) {
	if ref, ok := s.anyInMemory(id, true, true); ok {
		return ref, true, nil
	}
	return s.find(id, inNumbered, inChunks)
}

// lookupChunk finds an artifact in the chunk blocks.
func (s *Store) lookupChunk(id record.ID) (Ref, bool, error) {
	if ref, ok := s.anyInMemory(id, false, true); ok {
		return ref, true, nil
	}
	return s.find(id, inChunks)
}

// lookupPart finds a part of a chunked value: in the chunk blocks if they have it.
func (s *Store) lookupPart(id record.ID) (Ref, bool, error) {
	for _, numbered := range []bool{false, true} {
		if ref, ok := s.anyInMemory(id, numbered, !numbered); ok {
			return ref, true, nil
		}
	}
	return s.find(id, inChunks, inNumbered)
}

// anyInMemory finds an artifact of any class in numbered or chunk blocks.
func (s *Store) anyInMemory(id record.ID, numbered, chunks bool) (Ref, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, c := range s.classes {
		if ref, ok := c.artifacts.ref(id); ok && numbered {
			return ref, true
		}
	}
	for _, c := range s.classes {
		if ref, ok := c.chunks.ref(id); ok && chunks {
			return ref, true
		}
	}
	return Ref{}, false
}

// Admitted reports whether a chunk block, named by the SHA-256 of its file, is
// known. It needs no Finder.
func (s *Store) Admitted(id record.ID) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.chunkAt[id]
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

// OpenSize returns how many bytes of a file in the folder of open blocks hold what
// is loaded of it; 0 if nothing is.
func (s *Store) OpenSize(name string) int64 {
	class, number, ok := parseOpenName(name)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if b := s.lookupClass(class).open[number]; ok && b != nil && b.count > 0 {
		return b.size
	}
	return 0
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
// of all known blocks: open, sealed and of chunks.
func (s *Store) Stats() (artifacts uint64, bytes int64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, c := range s.classes {
		artifacts += c.total()
		for _, b := range c.open {
			bytes += b.size
		}
		for _, b := range c.sealed {
			bytes += int64(b.size)
		}
	}
	for _, b := range s.chunks {
		bytes += int64(b.size)
	}
	return artifacts, bytes
}

// EndedCount returns how many artifacts a numbered block holds that takes no more:
// one that is sealed, or an open one behind which the class goes on; false if it may
// still grow.
func (s *Store) EndedCount(class string, number uint64) (count uint64, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c := s.lookupClass(class)
	if b := c.sealed[number]; b != nil {
		return b.count, true
	}
	b := c.open[number]
	switch {
	case b == nil || number >= c.tail:
		return 0, false
	case b.twin != nil: // of which not all need be mentioned yet
		return b.twin.count, true
	}
	return uint64(b.count), true
}
