package block

import (
	"maps"
	"slices"

	"graven/record"
)

// Mark says which artifacts the log has mentioned up to a border of two groups:
// a position in each class, since its blocks hold them in the order of their
// first mention (docs/format.md §5.1), and in the list of chunk blocks. It
// follows from the log: taken by [Store.Mark] when the group before the border
// was filed, and by [Order.Mark] in a replay, it is the same. The zero Mark
// stands at the start of the log.
type Mark struct {
	Classes []ClassMark // sorted by class; those that nothing entered are left out
	Chunks  uint64      // chunk blocks that were admitted
	spoiled error       // set by an Order that met damage: Entered returns it
}

// ClassMark is the position right behind an artifact of a class.
type ClassMark struct {
	Class  string
	Number uint64 // of the block that holds it
	Count  uint64 // artifacts of that block up to it
	Total  uint64 // artifacts of the class up to it
}

// before reports whether a position comes before another of its class.
func (m ClassMark) before(other ClassMark) bool {
	return m.Number < other.Number || m.Number == other.Number && m.Count < other.Count
}

// Since is how many artifacts entered numbered blocks since an earlier mark.
func (m Mark) Since(earlier Mark) (n uint64) {
	for _, at := range m.Classes {
		n += at.Total - min(at.Total, earlier.of(at.Class).Total)
	}
	return n
}

// of returns the position of a class.
func (m Mark) of(class string) ClassMark {
	for _, at := range m.Classes {
		if at.Class == class {
			return at
		}
	}
	return ClassMark{Class: class}
}

// Covers reports whether all artifacts of the numbered block of a record come
// before the mark. That the record does is not enough, and not needed. Of chunk
// blocks it is false: for those the record's place in the log decides.
func (m Mark) Covers(rec record.Block) bool {
	if rec.Number == nil {
		return false
	}
	at := m.of(rec.Class)
	return *rec.Number < at.Number || *rec.Number == at.Number && rec.Count <= at.Count
}

// Mark returns the present position. Call it at the border of two groups, on the
// goroutine that appends and admits; it waits for a change that is under way.
func (s *Store) Mark() Mark {
	s.write.Lock()
	defer s.write.Unlock()
	s.mu.RLock()
	defer s.mu.RUnlock()
	m := Mark{Chunks: uint64(len(s.chunks))}
	for _, name := range slices.Sorted(maps.Keys(s.classes)) {
		c := s.classes[name]
		at := ClassMark{Class: name, Total: c.total()}
		if c.floor > 0 {
			at.Number, at.Count = c.floor-1, c.last
		}
		for number, b := range c.open {
			if b.count > 0 && number >= at.Number {
				at.Number, at.Count = number, uint64(b.count)
			}
		}
		if at.Total > 0 {
			m.Classes = append(m.Classes, at)
		}
	}
	return m
}

// Mark returns the position that the mentions have reached. After damage
// it is one with which Entered returns an error.
func (o *Order) Mark() Mark {
	m := Mark{Chunks: o.chunks, spoiled: o.spoiled}
	for _, name := range slices.Sorted(maps.Keys(o.at)) {
		if at := o.at[name].ClassMark; at.Total > 0 {
			m.Classes = append(m.Classes, at)
		}
	}
	return m
}

// settled returns a position as it is now: what stood behind a seal stands in
// the next block.
func (s *Store) settled(at ClassMark) ClassMark {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c := s.lookupClass(at.Class)
	for b := c.sealed[at.Number]; b != nil && at.Count > b.count; b = c.sealed[at.Number] {
		at.Number++
		at.Count -= b.count
	}
	return at
}
