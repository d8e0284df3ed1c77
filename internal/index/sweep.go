package index

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"graven/internal/segment"
)

// Sweep removes what a writer does not need: files of segments that are not in
// play, ids that have left the window, and what a crash left of files in the
// making. Only a writer may call it, when it is sure of what Begin put in play.
func (x *Index) Sweep() error {
	x.sealing.Lock()
	defer x.sealing.Unlock()
	x.merging.Lock()
	defer x.merging.Unlock()
	x.mu.Lock()
	if x.set.Load().closed {
		x.mu.Unlock()
		return ErrClosed
	}
	x.dropIDs()
	x.forget()
	segs := x.set.Load().segs
	x.mu.Unlock()

	inPlay := map[address]*seg{}
	for _, s := range segs {
		inPlay[s.address] = s
	}
	var names []string
	if err := x.list(func(table string, a address) error {
		if s := inPlay[a]; s == nil || *s.file(table) == nil {
			names = append(names, fileName(table, a))
		}
		return nil
	}); err != nil {
		return err
	}
	if len(names) > 0 {
		if err := x.settle(segs); err != nil {
			return err
		}
	}
	for _, name := range names {
		if err := x.discard(name); err != nil {
			return fmt.Errorf("discarding %s: %w", x.path(name), err)
		}
	}
	for _, table := range x.tables() {
		if err := x.dir.Sweep(table); err != nil {
			return fmt.Errorf("sweeping %s: %w", x.path(table), err)
		}
	}
	return nil
}

// settle makes the segments durable that took the place of others: after a crash
// of the process their names may not be so yet, and what they replace is about to go.
func (x *Index) settle(segs []*seg) error {
	for _, s := range segs {
		if s.level == 0 {
			continue
		}
		for _, table := range x.tables() {
			if *s.file(table) == nil {
				continue
			}
			if err := x.dir.Sync(fileName(table, s.address)); err != nil {
				return err
			}
		}
	}
	return nil
}

// dropIDs replaces the segments in play whose ids do not count any more. The
// caller holds mu.
func (x *Index) dropIDs() {
	segs := x.set.Load().segs
	list := make([]*seg, len(segs))
	for i, s := range segs {
		list[i] = s
		if s.ids != nil && !idsNeeded(segs, i) {
			list[i] = s.withoutIDs()
		}
	}
	x.install(list)
	for i, s := range list {
		if s != segs[i] {
			x.found[s.address].release()
			x.found[s.address] = s
		}
	}
}

// Check reads every page of every segment in play and holds it against its
// checksum, and rows against their order, their numbers, what a table may hold,
// and the filter. Findings match [ErrDamaged]. The error is the disk's, ctx's, or
// one that fn returned: that ends the check.
func (x *Index) Check(ctx context.Context, fn func(error) error) error {
	s, err := x.acquire()
	if err != nil {
		return err
	}
	defer s.release()
	for _, g := range s.segs {
		for _, table := range x.tables() {
			f := *g.file(table)
			if f == nil {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			damaged := false
			if err := f.Reader.Check(func(err error) error { damaged = true; return fn(err) }); err != nil {
				return err
			}
			if damaged {
				continue
			}
			if err := f.checkRows(ctx, table, fn); err != nil {
				return err
			}
		}
	}
	return nil
}

// CheckFile reads a file in play anew and past the cache, its two ends too, and
// holds every byte against a checksum. What is read goes through a file of the
// caller's, who may slow it down. Findings match [ErrDamaged]. A file that is not
// in play any more has none. The error is as that of Check.
func (x *Index) CheckFile(name string, through func(segment.File) segment.File, fn func(error) error) error {
	s, err := x.acquire()
	if err != nil {
		return err
	}
	defer s.release()
	for _, g := range s.segs {
		for _, table := range x.tables() {
			if f := *g.file(table); f != nil && f.Name() == name {
				return f.checkAnew(x, table, through, fn)
			}
		}
	}
	return nil
}

// checkAnew is CheckFile.
func (f *file) checkAnew(x *Index, table string, through func(segment.File) segment.File, fn func(error) error) error {
	h := f.Header()
	if there, err := x.dir.Exists(fileName(table, address{h.Level, h.Number})); err != nil || !there {
		return errors.Join(err, fn(&DamageError{File: f.Name(), Want: "a file", Got: "nothing"}))
	}
	const ownCache = 256 << 10 // for pages of the filter
	r, err := segment.Open(through(f.handle), f.Name(), h, filterPrefix(table), segment.NewCache(ownCache))
	switch {
	case errors.Is(err, ErrDamaged):
		return fn(err)
	case unusable(err):
		return fn(&DamageError{File: f.Name(), Want: "the header that it had", Got: err.Error()})
	case err != nil:
		return err
	}
	return r.Check(fn)
}

// checkRows reads all rows of a file that is whole as what they are in its table.
func (f *file) checkRows(ctx context.Context, table string, fn func(error) error) error {
	for row, err := range until(ctx, segment.Merge([]*segment.Reader{f.Reader}))() {
		if err != nil {
			return err
		}
		if err := parseRow(table, row); err != nil {
			if err := fn(f.oddRow(row, err)); err != nil {
				return err
			}
		}
	}
	return nil
}

// parseRow returns what a row of a table should be, if it is not.
func parseRow(table string, row segment.Row) error {
	var err error
	switch {
	case table == tableKeys:
		_, err = parseVersion(row.Seq, row.Value)
	case table == tableIDs:
		err = new(IDRow).parse(row)
	case table == tableLog:
		err = parseLogRow(row)
	default:
		_, err = parsePlace(row)
	}
	return err
}

// Contradicted is the damage of the segment in play that a record belongs to, of which
// somebody who can be relied on says something else. It is no [*DamageError] if no segment
// has the record: then it comes from the log.
func (x *Index) Contradicted(seq uint64, want, got string) error {
	for _, g := range x.set.Load().segs {
		if g.from <= seq && seq < g.to {
			return &DamageError{File: g.keys.Name(), Want: want, Got: got}
		}
	}
	return fmt.Errorf("%w: memory: wanted %s, got %s", ErrDamaged, want, got)
}

// Discard removes a file in which damage was found, by the name in the
// [*DamageError], so that the next open calls its segment missing and makes it
// again. Readers that have it open keep it.
func (x *Index) Discard(name string) error {
	table, base, ok := strings.Cut(strings.TrimPrefix(name, x.path("")+"/"), "/")
	a, isFile := parseFileName(base)
	if !ok || !isFile || !slices.Contains(x.tables(), table) {
		return fmt.Errorf("index: %s is not a file of a segment", name)
	}
	return x.discard(fileName(table, a))
}
