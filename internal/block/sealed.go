package block

import (
	"errors"
	"fmt"
	"strconv"

	"graven/record"
)

// Sealed is told that the record of a block that Seal published is durable. The
// references of its artifacts move to the sealed file. Artifacts behind the
// first Count become the first of the next block: they are written there and
// synced. Then the open file is discarded.
//
// The error matches ErrMissing or ErrDamaged if the sealed file is not what the
// record says; then nothing has changed. Sealed may be called again, also after
// a crash.
func (s *Store) Sealed(rec record.Block) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.write.Unlock()
	if rec.Number == nil || !validClass(rec.Class) {
		return invalid("Sealed is for blocks with a number and a class")
	}
	s.mu.Lock()
	c := s.class(rec.Class)
	b := c.open[*rec.Number]
	known, isSealed := c.sealed[*rec.Number]
	s.mu.Unlock()
	switch {
	case isSealed && known.id != rec.ID:
		return fmt.Errorf("%w: block %d of class %s is sealed as %v, not as %v", ErrConflict, *rec.Number, rec.Class, known.id, rec.ID)
	case isSealed:
		return s.settle(c, *rec.Number, known)
	case b == nil:
		if err := s.loadSealed(rec); err != nil {
			return err
		}
		known, _ = s.sealedOf(rec.Class, *rec.Number)
		return s.settle(c, *rec.Number, known)
	}
	return s.sealed(c, b, rec)
}

// sealedOf returns what is known of a sealed block, and whether it is loaded.
func (s *Store) sealedOf(class string, number uint64) (*sealedBlock, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	sealed, ok := s.lookupClass(class).sealed[number]
	return sealed, ok
}

// SealedOf returns the id of a numbered block of a class that is known as sealed, and how
// many artifacts it has.
func (s *Store) SealedOf(class string, number uint64) (id record.ID, count uint64, ok bool) {
	b, ok := s.sealedOf(class, number)
	if !ok {
		return id, 0, false
	}
	return b.id, b.count, true
}

// sealed is Sealed for a block that is open in memory.
func (s *Store) sealed(c *class, b *openBlock, rec record.Block) error {
	name := sealedName(rec.ID)
	f, err := s.files.openFile(name)
	if err != nil {
		return err
	}
	defer f.Close()
	entries, end, err := s.readTOC(name, f, rec)
	if err != nil {
		return err
	}
	for i, e := range entries {
		s.mu.RLock()
		is := b.frames.is(i, e)
		s.mu.RUnlock()
		if !is {
			return fmt.Errorf("%s: %w: artifact %v at offset %d is not where the open block has it", s.files.path(name), ErrConflict, e.ID, e.Offset)
		}
	}
	if _, size, _ := s.openAt(c.name, b.number); size > end {
		if err := s.moveRest(c, b.number, end, b.source, s.source(b.source), size); err != nil {
			return err
		}
	}
	s.mu.Lock()
	delete(c.open, b.number)
	c.artifacts.cut(b.frames, len(entries)) // the rest is found in the next block
	c.seal(b.number, &sealedBlock{id: rec.ID, size: rec.Size, count: rec.Count, source: b.source, end: end, frames: b.frames})
	s.mu.Unlock()
	s.files.rename(s.source(b.source), name)
	b.reserved = 0 // in place it was given back, and a copied block's open file goes
	if err := b.close(); err != nil {
		return err
	}
	// All that the open file held is durable elsewhere; a crash before this line
	// leaves it behind, and Settle comes here again.
	return s.dir.Discard(openName(c.name, b.number))
}

// Settle finishes what a crash interrupted in Sealed: for each sealed block that
// was loaded and whose open file is still there, artifacts behind the seal move
// to the next block and the open file is discarded.
func (s *Store) Settle() error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.write.Unlock()
	for _, f := range s.Found() {
		sealed, ok := s.sealedOf(f.Class, f.Number)
		if !ok {
			continue
		}
		if err := s.settle(s.classes[f.Class], f.Number, sealed); err != nil {
			return err
		}
	}
	return nil
}

// settle finishes one block whose sealed form is loaded.
func (s *Store) settle(c *class, number uint64, sealed *sealedBlock) error {
	name := openName(c.name, number)
	left := &source{name: name}
	h, err := s.files.open(left)
	if errors.Is(err, ErrMissing) {
		return nil
	}
	if err != nil {
		return err
	}
	size, err := h.Size()
	if err == nil {
		// The header may be torn: the sealed file was written from memory. One
		// that can be read must be ours.
		if _, _, headerErr := readHeader(h, size); !isSyntax(headerErr) && size > 0 {
			err = s.checkHeader(h, name, s.header(c.name, number))
		}
	}
	end := int64(0)
	if err == nil {
		end, err = s.endOf(sealed)
	}
	if err == nil && size > end {
		err = s.moveRest(c, number, end, noSource, left, size)
	}
	s.files.release(h)
	s.files.rename(left, name) // closes it
	if err != nil {
		return err
	}
	if err := s.dir.Discard(name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(c.found, number)
	return nil
}

// moveRest writes the frames of an open block behind its seal to the start of
// the next block and syncs that. Frames whose bytes are not whole are left to
// the write-ahead log: they were not synced.
func (s *Store) moveRest(c *class, number uint64, from int64, movedFrom uint32, src *source, size int64) error {
	h, err := s.files.open(src)
	if err != nil {
		return err
	}
	defer s.files.release(h)
	file := s.files.path(openName(c.name, number))
	rest := AppendHeader(nil, s.header(c.name, number+1))
	first := len(rest)
	live := movedFrom != noSource
	end, _, err := hashFrames(newWindow(h, size), from, maxCount, nil, func(e Entry, got record.ID) error {
		if got != e.ID || e.Size > maxArtifact {
			return &Damage{File: file, Offset: e.Offset, What: "artifact", ID: e.ID, Wanted: e.ID.String(), Got: got.String()}
		}
		frame := make([]byte, e.end()-e.start())
		if err := readFull(h, frame, e.start()); err != nil {
			return err
		}
		rest = append(rest, frame...)
		return nil
	})
	if err == nil && live && end != size {
		err = &Damage{File: file, Offset: end, What: "frame", Wanted: "frames up to offset " + strconv.FormatInt(size, 10), Got: "the end"}
	}
	if err != nil && (live || !isSyntax(err) && !errors.Is(err, ErrDamaged)) {
		return damageOf(file, 0, "frame", err)
	}
	if len(rest) == first {
		return nil
	}
	next, err := s.parse(c.name, number+1, 0, rest)
	if err != nil || len(next.entries) == 0 {
		return err // nothing left: the next block is sealed as well and has it
	}
	b, err := s.restore(next, movedFrom)
	if err != nil {
		return err
	}
	if err := b.sync(); err != nil {
		return s.fail(fmt.Errorf("sync %s: %w", s.files.path(openName(b.class, b.number)), err))
	}
	return nil
}
