package block

import (
	"fmt"
	"path"

	"graven/record"
)

// Pin is a sealed block.
type Pin struct {
	Name string // of the file, relative to the vault's folder
	ID   record.ID
	Size uint64 // of the file in bytes
}

// Pins returns the sealed blocks that hold all artifacts up to a mark: of each
// class those up to the block that the mark stands in, and the chunk blocks that
// were admitted before it. The mark stands where [Store.Advance] began new blocks.
// The error matches ErrMissing if one of them is not sealed, or that is not
// recorded yet.
func (s *Store) Pins(m Mark) ([]Pin, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var pins []Pin
	add := func(id record.ID, size uint64) {
		pins = append(pins, Pin{Name: path.Join(s.dir.Path(), sealedName(id)), ID: id, Size: size})
	}
	for _, at := range m.Classes {
		c := s.lookupClass(at.Class)
		for number := range at.Number + 1 {
			b := c.sealed[number]
			if b == nil || number == at.Number && b.count < at.Count {
				return nil, fmt.Errorf("%w: block %d of class %s is not sealed with all of its artifacts", ErrMissing, number, at.Class)
			}
			add(b.id, b.size)
		}
	}
	if m.Chunks > uint64(len(s.chunks)) {
		return nil, fmt.Errorf("%w: %d chunk blocks, wanted %d", ErrMissing, len(s.chunks), m.Chunks)
	}
	for _, b := range s.chunks[:m.Chunks] {
		add(b.id, b.size)
	}
	return pins, nil
}
