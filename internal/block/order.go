package block

import (
	"errors"
	"fmt"
	"math"

	"graven/record"
)

// Order follows the mentions of a log while it is replayed, and so finds how
// many artifacts of each open block the log accounts for. What a block holds
// behind those belongs to groups that the log does not have.
//
// Load every open block whole before the replay ([Store.LoadFound]), call
// Mention for each artifact in log order, then Finish.
type Order struct {
	store *Store
	seen  map[openArtifact]struct{}
	count map[openKey]int
	last  map[openKey]int64 // offset of the newest mention
}

type openKey struct {
	class  string
	number uint64
}

type openArtifact struct {
	class string
	id    record.ID
}

// NewOrder begins at the start of the log.
func NewOrder(s *Store) *Order {
	return &Order{store: s, seen: map[openArtifact]struct{}{}, count: map[openKey]int{}, last: map[openKey]int64{}}
}

// Mention notes that a record of the class names an artifact. The error
// matches ErrMissing if no block of the class holds it, and ErrDamaged besides
// if an open block of the class could not be read whole; ErrDamaged alone if it
// stands in an open block before one that was mentioned earlier.
func (o *Order) Mention(class string, id record.ID) error {
	key := openArtifact{class, id}
	if _, ok := o.seen[key]; ok {
		return nil
	}
	number, off, open, ok := o.store.holder(class, id)
	if !ok {
		return errors.Join(fmt.Errorf("%w: artifact %v is in no block of class %s", ErrMissing, id, class), o.store.brokenOf(class))
	}
	if !open {
		return nil
	}
	o.seen[key] = struct{}{}
	in := openKey{class, number}
	o.count[in]++
	if off <= o.last[in] {
		return fmt.Errorf("%w: artifact %v of class %s does not stand in open block %d where its first mention puts it", ErrDamaged, id, class, number)
	}
	o.last[in] = off
	return nil
}

// Finish loads each open block again with as many artifacts as were mentioned,
// and checks that those are the ones.
func (o *Order) Finish() error {
	for _, b := range o.store.OpenBlocks() {
		want := o.count[openKey{b.Class, b.Number}]
		if want == b.Count {
			continue
		}
		if _, err := o.store.LoadOpen(b.Class, b.Number, want); err != nil {
			return err
		}
	}
	for key := range o.seen {
		if !o.store.Mentioned(key.class, key.id) {
			return fmt.Errorf("%w: artifact %v of class %s stands behind artifacts that the log does not mention", ErrDamaged, key.id, key.class)
		}
	}
	return nil
}

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
	s.mu.Lock()
	c := s.class(class)
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
	if err != nil || size <= sealed.end {
		return err
	}
	walk := frames{w: newWindow(h, size), next: sealed.end}
	for {
		e, ok, err := walk.read()
		if err != nil && !isSyntax(err) {
			return err
		}
		if err != nil || !ok || e.Size > maxArtifact {
			return nil // the end, or a tear
		}
		s.mu.Lock()
		if !c.artifacts.has(e.ID) {
			c.artifacts.put(e.ID, Ref{file: at, size: uint32(e.Size), off: e.Offset})
		}
		s.mu.Unlock()
	}
}

// holder says which numbered block of a class holds an artifact if it is open,
// and where; ok is false if none does.
func (s *Store) holder(class string, id record.ID) (number uint64, off int64, open, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c := s.lookupClass(class)
	ref, ok := c.artifacts.get(id)
	if !ok {
		return 0, 0, false, false
	}
	for n, b := range c.open {
		if b.source == ref.file {
			return n, ref.off, true, true
		}
	}
	return 0, 0, false, true
}

// brokenOf joins what LoadOpen found wrong with the open blocks of a class.
func (s *Store) brokenOf(class string) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var errs []error
	for _, b := range s.lookupClass(class).open {
		errs = append(errs, b.broken)
	}
	return errors.Join(errs...)
}
