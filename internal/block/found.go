package block

import (
	"errors"
	"math"
)

// LoadFound loads every open block that Open met, whole; see [Order]. Of an open
// file whose block is sealed already (a crash in Sealed that Settle has not
// finished, as when nothing may be changed) it registers what only that file
// holds.
func (s *Store) LoadFound() error {
	todo := s.Found()
	s.mu.RLock()
	for _, c := range s.classes {
		for number, b := range c.open {
			if b.loose { // Settle wrote to its beginning
				todo = append(todo, OpenBlock{Class: c.name, Number: number})
			}
		}
	}
	s.mu.RUnlock()
	var sealed []OpenBlock
	for _, b := range todo {
		if _, ok := s.sealedOf(b.Class, b.Number); ok {
			sealed = append(sealed, b)
			continue
		}
		if _, err := s.LoadOpen(b.Class, b.Number, math.MaxInt); err != nil {
			return err
		}
	}
	for _, b := range sealed {
		if err := s.loadRest(b.Class, b.Number); err != nil {
			return err
		}
	}
	return nil
}

// loadRest registers the artifacts that stand in an open file behind what its
// sealed form holds and that no other block of the class has.
func (s *Store) loadRest(class string, number uint64) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.write.Unlock()
	sealed, _ := s.sealedOf(class, number)
	end, err := s.endOf(sealed)
	if err != nil {
		return err
	}
	s.mu.Lock()
	at := s.addSource(openName(class, number))
	src := s.sources[at]
	s.mu.Unlock()
	h, err := s.files.open(src)
	if errors.Is(err, ErrMissing) {
		return nil
	}
	if err != nil {
		return err
	}
	defer s.files.release(h)
	size, err := h.Size()
	if err != nil || size <= end {
		return err
	}
	var rest *frameList
	walk := frames{w: newWindow(h, size), next: end}
	for {
		e, ok, err := walk.read()
		if err != nil && !isSyntax(err) {
			return err
		}
		if err != nil || !ok || e.Size > maxArtifact {
			return nil // the end, or a tear
		}
		there, err := s.Mentioned(class, e.ID)
		if err != nil {
			return err
		}
		if there {
			continue
		}
		s.mu.Lock()
		c := s.class(class)
		if rest == nil {
			rest = c.artifacts.newList(at, number)
			rest.stray, c.stray = true, true
		}
		c.artifacts.put(rest, e.ID, e.Offset, uint32(e.Size))
		s.mu.Unlock()
	}
}
