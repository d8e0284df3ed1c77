package index

import (
	"context"
	"fmt"
	"iter"

	"graven/internal/segment"
)

// Merge writes the segments that take the place of 16 others, as long as there
// are any to write, and returns what it made. Memory stays bounded. It may run
// beside Seal. The same segments give the same bytes.
//
// After an error, or when ctx is done, what was made counts and Merge may be
// called again. A crash leaves some of the new files, or all of them and some of
// the old: the next open begins with whole segments, the widest if there is a
// choice, and Sweep removes the others.
func (x *Index) Merge(ctx context.Context) ([]Made, error) { return x.merge(ctx, maxLevel) }

// merge is Merge up to segments of a level.
func (x *Index) merge(ctx context.Context, level uint64) ([]Made, error) {
	x.merging.Lock()
	defer x.merging.Unlock()
	var all []Made
	for {
		made, ok, err := x.mergeOne(ctx, level)
		if ok {
			all = append(all, made)
		}
		if !ok || err != nil {
			return all, err
		}
	}
}

// mergeOne makes one segment, if there is one to make; ok says that it counts.
func (x *Index) mergeOne(ctx context.Context, level uint64) (made Made, ok bool, err error) {
	now, err := x.acquire()
	if err != nil {
		return Made{}, false, err
	}
	defer now.release()
	children := siblings(now.segs, level)
	if children == nil {
		return Made{}, false, nil
	}
	first, last := children[0], children[fanout-1]
	tables := map[string]rows{}
	for _, table := range x.tables() {
		var files []*segment.Reader
		keys := uint64(0)
		for _, c := range children {
			if table == tableIDs && !c.idsCount(last.sum.Txs) {
				continue // see idsNeeded
			}
			f := *c.file(table)
			files = append(files, f.Reader)
			keys += f.Keys()
		}
		tables[table] = rows{keys: keys, each: until(ctx, segment.Merge(files))}
	}
	s, made, err := x.make(first.parent(), first.from, last.to, last.sum, tables)
	if err != nil {
		return Made{}, false, err
	}
	x.mu.Lock()
	err = x.replace(s)
	for _, c := range children {
		if x.found[c.address] == c {
			c.release()
			delete(x.found, c.address)
		}
	}
	x.mu.Unlock()
	if err != nil {
		return Made{}, false, err
	}
	// The new segment is durable, so the old ones may go.
	for _, c := range children {
		if err := x.discardSegment(c.address); err != nil {
			return made, true, err
		}
	}
	return made, true, nil
}

// siblings returns 16 segments that one of the next level is to replace, those of
// the lowest level first, up to one of a level; nil: there are none.
func siblings(segs []*seg, level uint64) []*seg {
	for i := len(segs) - fanout; i >= 0; i-- {
		// Between these two are no others than the 14, since segments leave no gap.
		s, last := segs[i], segs[i+fanout-1]
		if s.number%fanout == 0 && last.address == (address{s.level, s.number + fanout - 1}) && s.level < level {
			return segs[i : i+fanout]
		}
	}
	return nil
}

// until ends rows with an error when ctx is done.
func until(ctx context.Context, rows segment.Rows) segment.Rows {
	const every = 1024
	return func() iter.Seq2[segment.Row, error] {
		return func(yield func(segment.Row, error) bool) {
			n := 0
			for row, err := range rows() {
				if n++; n%every == 0 && ctx.Err() != nil {
					yield(segment.Row{}, context.Cause(ctx))
					return
				}
				if !yield(row, err) {
					return
				}
			}
		}
	}
}

// discardSegment removes the files of a segment that is not in play any more.
func (x *Index) discardSegment(a address) error {
	for _, table := range x.tables() {
		name := fileName(table, a)
		if err := x.discard(name); err != nil {
			return fmt.Errorf("discarding %s: %w", x.path(name), err)
		}
	}
	return nil
}
