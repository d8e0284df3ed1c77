package block

import (
	"errors"
	"fmt"

	"graven/record"
)

// Order follows the mentions of a log while it is replayed, and so finds how
// many artifacts of each open block the log accounts for. What a block holds
// behind those belongs to groups that the log does not have.
//
// The blocks of a class hold its artifacts in the order of their first mention.
// So how far the log has come is one position in each class: what stands before
// it is a repeat, what stands at it is mentioned for the first time.
//
// Load every open block whole before the replay ([Store.LoadFound]), call
// Mention for each artifact and Admit for each chunk block in log order, then
// Finish. An Order belongs to one goroutine.
type Order struct {
	store   *Store
	at      map[string]*progress
	chunks  uint64
	spoiled error // why a Mark would not be that of the live path; the first reason
}

// progress is how far the mentions of a class have come.
type progress struct {
	ClassMark
	gap      error     // the first mention that stands behind artifacts that were not mentioned
	from, to ClassMark // what it passed over
}

// NewOrder begins at a border of the log, whose Mark it is; the zero Mark is the
// start. Blocks are loaded, or known, before.
func NewOrder(s *Store, start Mark) *Order {
	o := &Order{store: s, at: map[string]*progress{}, chunks: start.Chunks}
	for _, m := range start.Classes {
		o.at[m.Class] = &progress{ClassMark: s.settled(m)}
	}
	return o
}

func (o *Order) progressOf(class string) *progress {
	p := o.at[class]
	if p == nil {
		p = &progress{ClassMark: ClassMark{Class: class}}
		o.at[class] = p
	}
	return p
}

func (o *Order) spoil(err error) {
	if o.spoiled == nil {
		o.spoiled = err
	}
}

// Mention notes that a record of the class names an artifact. The error
// matches ErrMissing if no block of the class holds it, and ErrDamaged besides
// if an open block of the class could not be read whole; ErrDamaged alone if it
// stands in a block before one that was mentioned earlier. It may be the
// Finder's.
func (o *Order) Mention(class string, id record.ID) error {
	at, in := o.store.positionOf(class, id)
	switch in {
	case nowhere:
		_, known, err := o.store.find(id, inClass(class))
		if known || err != nil {
			return err
		}
		err = errors.Join(fmt.Errorf("%w: artifact %v is in no block of class %s", ErrMissing, id, class), o.store.brokenOf(class))
		o.spoil(err)
		return err
	case astray: // in a store that is not settled, and so takes nothing
		o.spoil(invalid("the rest of a sealed block of class %s was not moved: Settle", class))
		return nil
	}
	return o.reach(o.progressOf(class), at, id)
}

// reach notes a mention of the artifact at a position.
func (o *Order) reach(p *progress, at ClassMark, id record.ID) error {
	if at.before(p.ClassMark) {
		if p.gap != nil && !at.before(p.from) && at.before(p.to) {
			return fmt.Errorf("%w: artifact %v of class %s does not stand in block %d where its first mention puts it", ErrDamaged, id, p.Class, at.Number)
		}
		return nil // again
	}
	if p.gap == nil && o.store.unmentioned(p.ClassMark, at) {
		p.gap = fmt.Errorf("%w: artifact %v of class %s stands behind artifacts that the log does not mention", ErrDamaged, id, p.Class)
		p.from, p.to = p.ClassMark, at
		o.spoil(p.gap)
	}
	p.Number, p.Count = at.Number, at.Count+1
	p.Total++
	return nil
}

// Admit notes that a record admits a chunk block.
func (o *Order) Admit(block record.ID) {
	s := o.store
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch i, ok := s.chunkAt[block]; {
	case ok && uint64(i) == o.chunks:
		o.chunks++
	case ok && uint64(i) < o.chunks: // again
	case ok:
		o.spoil(invalid("chunk block %v is admitted before others that were loaded before it", block))
	default:
		o.spoil(fmt.Errorf("%w: chunk block %v is not loaded", ErrMissing, block))
	}
}

// Finish loads each open block again with as many artifacts as were mentioned,
// and checks that those are the ones.
func (o *Order) Finish() error {
	for _, b := range o.store.OpenBlocks() {
		want := b.Count
		switch p := o.progressOf(b.Class); {
		case b.Number == p.Number:
			want = int(min(p.Count, uint64(b.Count)))
		case b.Number > p.Number:
			want = 0
		}
		if want == b.Count {
			continue
		}
		if _, err := o.store.LoadOpen(b.Class, b.Number, want); err != nil {
			return err
		}
	}
	for _, p := range o.at {
		if p.gap != nil {
			return p.gap
		}
		if err := o.store.agrees(p.ClassMark); err != nil {
			return err
		}
	}
	return nil
}

// whereabouts says what is known of an artifact's position in its class.
type whereabouts int

const (
	nowhere    whereabouts = iota // not in memory
	astray                        // in the open file of a block that is sealed
	inPosition                    // in a block
)

// positionOf returns the position of an artifact that is in memory: the number
// of its block, and how many artifacts of that stand before it.
func (s *Store) positionOf(class string, id record.ID) (ClassMark, whereabouts) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	l, i, ok := s.lookupClass(class).artifacts.get(id)
	switch {
	case !ok:
		return ClassMark{}, nowhere
	case l.stray:
		return ClassMark{}, astray
	}
	return ClassMark{Class: class, Number: l.number, Count: uint64(i)}, inPosition
}

// unmentioned reports whether artifacts in memory stand between two positions
// of a class. A block that could not be loaded has none.
func (s *Store) unmentioned(from, to ClassMark) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c := s.lookupClass(from.Class)
	if from.Number == to.Number {
		return from.Count < to.Count
	}
	if to.Count > 0 || from.Count < c.loaded(from.Number) {
		return true
	}
	for number := from.Number + 1; number < to.Number; number++ {
		if c.loaded(number) > 0 {
			return true
		}
	}
	return false
}

// framesOf returns what is in memory of a block; nil if nothing is. Callers hold mu.
func (c *class) framesOf(number uint64) *frameList {
	if b := c.open[number]; b != nil {
		return b.frames
	}
	if b := c.sealed[number]; b != nil {
		return b.frames
	}
	return nil
}

// loaded counts the artifacts of a block that are in memory. Callers hold mu.
func (c *class) loaded(number uint64) uint64 {
	if l := c.framesOf(number); l != nil {
		return uint64(l.n)
	}
	return 0
}

// agrees holds the artifacts that the log mentions against those of the blocks:
// where an index said that a replay may begin, an open block that it did not
// come by must have kept all of its artifacts too.
func (s *Store) agrees(p ClassMark) error {
	s.mu.RLock()
	c := s.lookupClass(p.Class)
	before, here := uint64(0), uint64(0)
	count := func(number, n uint64) {
		if number < p.Number {
			before += n
		} else if number == p.Number {
			here = n
		}
	}
	for number, b := range c.sealed {
		count(number, b.count)
	}
	for number, b := range c.open {
		count(number, uint64(b.count))
	}
	skip := c.stray || len(s.lost) > 0
	s.mu.RUnlock()
	if skip || here >= p.Count && before+p.Count == p.Total {
		return nil
	}
	return errors.Join(fmt.Errorf("%w: the log mentions %d artifacts of class %s, the last %d of them in block %d; the blocks before hold %d, and that one %d",
		ErrMissing, p.Total, p.Class, p.Count, p.Number, before, here), s.brokenOf(p.Class))
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
