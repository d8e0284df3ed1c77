package block

import (
	"errors"
	"fmt"
	"iter"
	"math"
)

// Entered lists what entered between two marks, for an index: class by class in
// order of their names the artifacts that entered it, in order of their first
// mention; then, chunk block by chunk block in order of their records, the
// artifacts of those, in order of their frames.
//
// Both marks are at most the present position; in a replay, at most the
// Order's. An error ends the list, which then must not be used: ErrForgotten; or
// what was wrong with a block when it was loaded, since what it holds is then not
// known whole. It may run beside all other calls.
func (s *Store) Entered(from, to Mark) iter.Seq2[Place, error] {
	return func(yield func(Place, error) bool) {
		if err := s.whole(from, to); err != nil {
			yield(Place{}, err)
			return
		}
		for _, end := range to.Classes {
			first, end := s.settled(from.of(end.Class)), s.settled(end)
			for number := first.Number; number <= end.Number; number++ {
				part := blockPart{class: end.Class, number: number, to: toEnd}
				if number == first.Number {
					part.from = first.Count
				}
				if number == end.Number {
					part.to = end.Count
				}
				if !s.visit(part, yield) {
					return
				}
			}
		}
		for i := from.Chunks; i < to.Chunks; i++ {
			if !s.visit(blockPart{chunk: true, number: i, to: toEnd}, yield) {
				return
			}
		}
	}
}

// whole returns why it is not known what entered between two marks, if so.
func (s *Store) whole(from, to Mark) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	errs := []error{from.spoiled, to.spoiled}
	for _, err := range s.lost {
		errs = append(errs, err)
	}
	if to.Chunks > uint64(len(s.chunks)) {
		errs = append(errs, invalid("%d chunk blocks up to the mark, %d were admitted", to.Chunks, len(s.chunks)))
	}
	return errors.Join(errs...)
}

// blockPart is a run of the artifacts of one block.
type blockPart struct {
	chunk    bool
	class    string
	number   uint64 // of the block; the index of a chunk block
	from, to uint64 // artifacts, by their number in the block
}

// toEnd lets a part reach to the end of its block.
const toEnd = math.MaxUint64

// visit passes the places of a part on. It holds no lock while it does.
func (s *Store) visit(part blockPart, yield func(Place, error) bool) bool {
	for i := part.from; ; {
		places, more, err := s.some(part, i)
		if err != nil {
			yield(Place{}, err)
			return false
		}
		for _, p := range places {
			if !yield(p, nil) {
				return false
			}
		}
		if !more {
			return true
		}
		i += uint64(len(places))
	}
}

// some returns the next places of a part from number i on, and whether there are
// more.
func (s *Store) some(part blockPart, i uint64) (places []Place, more bool, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	p := Place{Class: part.class, Number: part.number, Chunks: part.chunk}
	var frames *frameList
	count := uint64(toEnd) // of a block that is not known: it has all that anybody asks for
	if part.chunk {
		b := s.chunks[part.number]
		p.Class, p.Block, p.Number, frames = b.class.name, b.id, 0, b.frames
	} else if c := s.lookupClass(part.class); c.sealed[part.number] != nil {
		frames, count = c.sealed[part.number].frames, c.sealed[part.number].count
	} else if b := c.open[part.number]; b != nil {
		frames = b.frames
	}
	if frames != nil {
		count = uint64(frames.n)
	}
	end := part.to
	if end == toEnd {
		end = count
	}
	switch {
	case i >= end:
		return nil, false, nil
	case frames == nil:
		return nil, false, fmt.Errorf("%w: %s", ErrForgotten, part)
	case end > count:
		return nil, false, invalid("%d artifacts up to the mark in %s, which has %d", end, part, count)
	}
	stop := min(end, i+framePage)
	places = make([]Place, 0, stop-i)
	for ; i < stop; i++ {
		e := frames.entry(int(i))
		p.ID, p.Offset, p.Size = e.id, e.off, e.size
		places = append(places, p)
	}
	return places, stop < end, nil
}

func (p blockPart) String() string {
	if p.chunk {
		return fmt.Sprintf("chunk block %d", p.number)
	}
	return fmt.Sprintf("block %d of class %s", p.number, p.class)
}

// Forget says that the Finder now has all that entered before the mark: sealed
// blocks, numbered and of chunks, that lie before it whole leave memory. Those of
// which Sealed was not told yet go with a later call. It may run beside all
// other calls.
func (s *Store) Forget(before Mark) {
	for _, at := range before.Classes {
		at = s.settled(at)
		s.mu.Lock()
		c := s.class(at.Class)
		drop := c.artifacts.take(func(l *frameList) bool {
			b := c.sealed[l.number]
			gone := b != nil && b.frames == l && (l.number < at.Number || l.number == at.Number && b.count <= at.Count)
			if gone {
				b.frames = nil
			}
			return gone
		})
		if len(drop) > 0 {
			s.forgotten++
		}
		s.mu.Unlock()
		s.drop(c.artifacts, drop)
	}
	s.mu.Lock()
	drop := map[*catalog][]*frameList{}
	for _, c := range s.classes {
		drop[c.chunks] = c.chunks.take(func(l *frameList) bool {
			b := s.chunks[l.number]
			gone := b.frames == l && l.number < before.Chunks
			if gone {
				b.frames = nil
			}
			return gone
		})
	}
	s.mu.Unlock()
	for c, lists := range drop {
		s.drop(c, lists)
	}
}

// drop takes lists out of memory that their blocks have let go, in steps, so
// that nobody waits long. What it has not come to yet is found as before.
func (s *Store) drop(c *catalog, lists []*frameList) {
	const step = 1024
	for _, l := range lists {
		for done := false; !done; {
			s.mu.Lock()
			c.cut(l, max(0, l.n-step))
			if done = l.n == 0; done {
				c.drop(l)
			}
			s.mu.Unlock()
		}
	}
}
