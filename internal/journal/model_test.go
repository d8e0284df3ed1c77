package journal

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"graven/internal/fsx"
)

// model is a log and what must be in it. A group is of up to 90 records, so
// that a few make bundles and files.
type model struct {
	disk   *fsx.Mem
	opts   Options
	log    *Log
	groups []group
	where  []Pos  // of each line
	base   uint64 // first record in the table
}

// TestModel opens from random starts, appends, forgets, restores and cuts, and
// holds every answer against a list of groups.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{disk: fsx.NewMem(), opts: rapid.SampledFrom(append(long, limits...)).Draw(t, "options")}
		m.reopen(t)
		t.Repeat(map[string]func(*rapid.T){
			"append": m.append,
			"forget": m.forget,
			"lines":  m.lines,
			"places": m.places,
			"reopen": m.reopen,
			"sync":   func(t *rapid.T) { m.must(t, m.log.Sync()) },
			"":       m.check,
		})
	})
}

func (m *model) must(t *rapid.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// cursor is where the next group goes.
func (m *model) cursor() Cursor {
	c := NewCursor(m.opts)
	for _, g := range m.groups {
		c.Add(int64(len(g.lines)), g.records)
		c.EndGroup()
	}
	return c
}

func (m *model) append(t *rapid.T) {
	c := m.cursor()
	g := group{first: c.Next(), records: rapid.IntRange(1, 90).Draw(t, "records"), at: c.Pos()}
	for k := range g.records {
		g.lines = append(g.lines, line(g.first+uint64(k))...)
	}
	m.must(t, m.log.appendGroup(g))
	m.groups = append(m.groups, g)
	m.where = places(m.groups)
}

func (m *model) forget(t *rapid.T) {
	before := rapid.Uint64Range(0, uint64(len(m.where))+5).Draw(t, "before")
	m.log.Forget(before)
	m.base = max(m.base, min(before, uint64(len(m.where))))
}

// lines reads a range, and the place of its first line.
func (m *model) lines(t *rapid.T) {
	n := uint64(len(m.where))
	from := rapid.Uint64Range(0, n).Draw(t, "from")
	to := rapid.Uint64Range(from, n).Draw(t, "to")
	lines, err := m.log.Lines(from, to)
	m.must(t, err)
	for i, got := range lines {
		m.must(t, check(from+uint64(i), got, Pos{}))
	}
	at, err := m.log.Position(from)
	if want := m.log.Tail(); err != nil || from == n && at != want || from < n && at != m.where[from] {
		t.Fatalf("record %d at %v: %v", from, at, err)
	}
}

func (m *model) places(t *rapid.T) {
	n := uint64(len(m.where))
	from := rapid.Uint64Range(0, n).Draw(t, "from")
	const every = 16
	want := (from + every - 1) / every * every
	err := m.log.Places(from, n, every, func(seq uint64, at Pos) {
		if seq != want || at != m.where[seq] {
			t.Fatalf("record %d at %v, wanted record %d", seq, at, want)
		}
		want += every
	})
	switch {
	case from < n && from < m.base:
		if !errors.Is(err, ErrOutOfRange) {
			t.Fatalf("places from %d on, the table begins at %d: %v", from, m.base, err)
		}
	case err != nil || want < n:
		t.Fatalf("places from %d on end before %d: %v", from, want, err)
	}
}

// grid names every 256th record.
func (m *model) grid(seq uint64) (uint64, Pos, error) {
	at := seq - seq%bundleLines
	return at, m.where[at], nil
}

// reopen begins anew, somewhere, and may restore and cut.
func (m *model) reopen(t *rapid.T) {
	if m.log != nil {
		m.must(t, m.log.Close())
	}
	var err error
	m.log, err = Open(folder(m.disk), m.opts)
	m.must(t, err)
	if rapid.IntRange(0, 3).Draw(t, "grid") > 0 {
		m.log.SetGrid(m.grid)
	}
	i := rapid.IntRange(0, len(m.groups)).Draw(t, "start")
	start := Start{}
	switch {
	case i < len(m.groups) && rapid.Bool().Draw(t, "at the start of a group"):
		start = m.groups[i].start()
	case i > 0:
		start = m.groups[i-1].end()
	}
	m.base = start.Seq
	if rapid.Bool().Draw(t, "whole") {
		_, err = m.log.ScanFrom(start, check)
		m.must(t, err)
		return
	}
	k := rapid.IntRange(i, len(m.groups)).Draw(t, "limit")
	limit := m.log.Tail()
	if k < len(m.groups) {
		limit = m.groups[k].at
	} else if k > 0 {
		limit = m.groups[k-1].end().Pos
	}
	tail, err := m.log.ScanFromUntil(start, limit, check)
	m.must(t, err)
	if k < len(m.groups) && (tail.Pos != limit || tail.Next != m.groups[k].first) {
		t.Fatalf("the scan ends at %+v, wanted %v", tail, limit)
	}
	keep := len(m.groups)
	if rapid.Bool().Draw(t, "lose") {
		keep = rapid.IntRange(k, len(m.groups)).Draw(t, "keep")
	}
	for _, g := range m.groups[k:keep] {
		m.must(t, m.log.Restore(g.at, g.lines, g.records))
		m.log.EndGroup()
	}
	if i > 0 {
		g := m.groups[rapid.IntRange(0, i-1).Draw(t, "old")]
		if err := m.log.Restore(g.at, g.lines, g.records); !errors.Is(err, ErrPosition) {
			t.Fatalf("restore before the start: %v", err)
		}
	}
	if _, err := m.log.Cut(m.log.Tail()); errors.Is(err, ErrPosition) && keep < len(m.groups) {
		// More than one file would have to go: they come back instead.
		for _, g := range m.groups[keep:] {
			m.must(t, m.log.Restore(g.at, g.lines, g.records))
			m.log.EndGroup()
		}
		return
	} else if err != nil {
		t.Fatal(err)
	}
	m.groups = m.groups[:keep:keep]
	m.where = places(m.groups)
}

// check compares what the log says of itself.
func (m *model) check(t *rapid.T) {
	c := m.cursor()
	var size int64
	for _, g := range m.groups {
		size += int64(len(g.lines))
	}
	l := m.log
	if l.Next() != c.Next() || l.Tail() != c.Pos() || l.Bytes() != size {
		t.Fatalf("next %d at %v, %d bytes; wanted %d at %v, %d bytes", l.Next(), l.Tail(), l.Bytes(), c.Next(), c.Pos(), size)
	}
	m.must(t, invariants(l))
	if got := l.base(); got != m.base {
		t.Fatalf("the table begins at %d, wanted %d", got, m.base)
	}
}

// invariants holds a table against what it promises.
func invariants(l *Log) error {
	for i, f := range l.files {
		next := l.cursor.next
		if i+1 < len(l.files) {
			next = l.files[i+1].first
		}
		if f.base+uint64(len(f.offsets)) != next || f.base < f.first || i > 0 && f.base != f.first {
			return fmt.Errorf("file %d: its %d places begin at %d, the next file at %d", f.first, len(f.offsets), f.base, next)
		}
		if i > 0 && f.first <= l.files[i-1].first {
			return fmt.Errorf("file %d follows %d", f.first, l.files[i-1].first)
		}
	}
	for i, f := range l.old {
		if i > 0 && f.first <= l.old[i-1].first || f.first >= l.files[0].first {
			return fmt.Errorf("old file %d is out of order", f.first)
		}
	}
	return nil
}
