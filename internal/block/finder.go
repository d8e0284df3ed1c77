package block

import (
	"errors"
	"fmt"
	"iter"

	"graven/record"
)

// Finder knows where artifacts lie that are not in memory: an index on disk of
// all that entered its class, or whose chunk block was admitted, before a border
// in the log. It may not know of anything later. Reading goroutines share it.
type Finder interface {
	// Find yields every place of an artifact that it knows; none is no error. An error
	// is the last. A place may come twice.
	Find(id record.ID) iter.Seq2[Place, error]
}

// Place says where an artifact lies in words that outlast a process: those of
// the ledger.
//
// An artifact that moves to the next block when its own is sealed in part keeps
// its old place, which leads to the new one.
type Place struct {
	Class  string
	ID     record.ID
	Number uint64    // of the numbered block
	Chunks bool      // it lies in a chunk block instead
	Block  record.ID // of the chunk block: the SHA-256 of its file
	Offset int64     // of the artifact's first byte in the block's file
	Size   uint32    // in bytes
}

// SetFinder lets f know of what is not in memory; nil, as at first, of nothing.
func (s *Store) SetFinder(f Finder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finder = f
}

// find asks the Finder for an artifact. Places that the first of the wishes, of which
// there is one, fits come first, then those of the second.
func (s *Store) find(id record.ID, wishes ...func(Place) bool) (Ref, bool, error) {
	s.mu.RLock()
	finder := s.finder
	s.mu.RUnlock()
	if finder == nil {
		return Ref{}, false, nil
	}
	var errs []error
	try := func(p Place) (Ref, bool) {
		ref, err := s.resolve(p)
		if err == nil && p.ID != id {
			err = wrongPlace(p, "artifact "+id.String())
		}
		if err != nil {
			errs = append(errs, err)
		}
		return ref, err == nil
	}
	var others []Place
	for p, err := range finder.Find(id) {
		if err != nil {
			return Ref{}, false, fmt.Errorf("find artifact %v: %w", id, err)
		}
		if !wishes[0](p) {
			others = append(others, p)
		} else if ref, ok := try(p); ok {
			return ref, true, nil
		}
	}
	for _, wish := range wishes[1:] {
		for _, p := range others {
			if !wish(p) {
				continue
			}
			if ref, ok := try(p); ok {
				return ref, true, nil
			}
		}
	}
	return Ref{}, false, errors.Join(errs...)
}

func inClass(class string) func(Place) bool {
	return func(p Place) bool { return !p.Chunks && p.Class == class }
}

func inNumbered(p Place) bool { return !p.Chunks }
func inChunks(p Place) bool   { return p.Chunks }

func wrongPlace(p Place, wanted string) error {
	where := fmt.Sprintf("block %d of class %s", p.Number, p.Class)
	if p.Chunks {
		where = fmt.Sprintf("chunk block %v", p.Block)
	}
	return fmt.Errorf("%w: %w: %s, offset %d, artifact %v of %d bytes; wanted %s", ErrDamaged, ErrWrongPlace, where, p.Offset, p.ID, p.Size, wanted)
}

// resolve finds the file of a place. What it can tell of the place without
// looking into the file it checks; the rest shows when the artifact is hashed.
func (s *Store) resolve(p Place) (Ref, error) {
	if p.Offset < 0 || p.Offset > record.MaxInt {
		return Ref{}, wrongPlace(p, "an offset")
	}
	if p.Chunks {
		return s.resolveChunk(p)
	}
	for at := p; ; {
		s.mu.RLock()
		c := s.lookupClass(at.Class)
		b, sealed := c.open[at.Number], c.sealed[at.Number]
		ref, fits := Ref{size: at.Size, off: at.Offset}, int64(0)
		switch {
		case b != nil:
			ref.file, fits = b.source, b.size
		case sealed != nil:
			fits = framesEnd(sealed.size, sealed.count)
		}
		s.mu.RUnlock()
		switch {
		case b == nil && sealed == nil:
			return Ref{}, wrongPlace(p, "a block that the ledger has")
		case at.Offset+int64(at.Size) < fits && b != nil:
			return ref, nil
		case at.Offset+int64(at.Size) < fits:
			ref.file = s.sourceOf(&sealed.source, sealed.id)
			return ref, nil
		case b != nil:
			return Ref{}, wrongPlace(p, fmt.Sprintf("an end before offset %d", fits))
		}
		next, moved, err := s.movedFrom(sealed, at)
		if err != nil {
			return Ref{}, err
		}
		if !moved {
			return Ref{}, wrongPlace(p, fmt.Sprintf("an end before offset %d", fits))
		}
		at = next
	}
}

// framesEnd is an offset that the frames of a sealed block of so many bytes
// cannot reach behind, whatever its table says.
func framesEnd(size, count uint64) int64 {
	return int64(size) - TrailerSize - int64(min(count, size/minTOCLine))*minTOCLine
}

func (s *Store) resolveChunk(p Place) (Ref, error) {
	s.mu.RLock()
	var b *chunkBlock
	if i, ok := s.chunkAt[p.Block]; ok {
		b = s.chunks[i]
	}
	s.mu.RUnlock()
	if b == nil {
		return Ref{}, wrongPlace(p, "a block that the ledger has")
	}
	if end := int64(b.size) - TrailerSize; p.Offset+int64(p.Size) >= end {
		return Ref{}, wrongPlace(p, fmt.Sprintf("an end before offset %d", end))
	}
	return Ref{file: s.sourceOf(&b.source, b.id), size: p.Size, off: p.Offset}, nil
}

// sourceOf returns the source of a sealed block, making it at the first time.
func (s *Store) sourceOf(source *uint32, id record.ID) uint32 {
	s.mu.RLock()
	at := *source
	s.mu.RUnlock()
	if at != noSource {
		return at
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if *source == noSource {
		*source = s.addSource(sealedName(id))
	}
	return *source
}

// endOf returns the offset behind the last frame of a sealed block, from its
// trailer if it is not in memory yet.
func (s *Store) endOf(b *sealedBlock) (int64, error) {
	s.mu.RLock()
	end := b.end
	s.mu.RUnlock()
	if end != 0 {
		return end, nil
	}
	name := sealedName(b.id)
	f, err := s.files.openFile(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	end, err = readTrailer(s.files.path(name), f, int64(b.size), 1, b.count)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b.end = end
	return end, nil
}

// movedFrom returns the place in the next block of an artifact that stood behind
// what a seal covers. It has the same place there as in the order of all
// artifacts: right behind the header (docs/format.md §5.2).
func (s *Store) movedFrom(b *sealedBlock, p Place) (now Place, moved bool, err error) {
	end, err := s.endOf(b)
	if err != nil || p.Offset < end {
		return p, false, err
	}
	p.Offset += s.headerLen(p.Class, p.Number+1) - end
	p.Number++
	return p, true, nil
}
