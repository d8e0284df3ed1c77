package index

import (
	"bytes"
	"container/heap"

	"graven/internal/segment"
)

// Scan calls fn for the keys of [from, to) that have a version at or before pos,
// with that version, in byte order or, if reverse, against it. A nil to means no
// upper end. It stops when fn returns false. No lock is held while fn runs: it may
// call the index.
func (x *Index) Scan(from, to []byte, pos uint64, reverse bool, fn func(Item) bool) error {
	if to != nil && bytes.Compare(from, to) >= 0 {
		return nil
	}
	s := scan{x: x, from: from, to: to, pos: pos, reverse: reverse}
	defer s.close()
	for more := true; more; {
		var items []Item
		var err error
		if items, more, err = s.batch(); x.again(err) {
			s.close()
			s.set = nil // where it stands is kept in from and to
			items, more, err = s.batch()
		}
		if err != nil {
			return err
		}
		for _, it := range items {
			if !fn(it) {
				return nil
			}
		}
	}
	return nil
}

// scan merges memory and segments. What is left to scan is [from, to).
type scan struct {
	x        *Index
	from, to []byte
	pos      uint64
	reverse  bool

	set     *set    // whose segments sources read; nil at first
	sources sources // a heap; each stands on a key that is left to scan
}

func (s *scan) close() {
	if s.set != nil {
		s.set.release()
	}
}

// batch returns the next items: all that are left up to the last key that memory
// had in one look, but no more than batch.
func (s *scan) batch() (items []Item, more bool, err error) {
	fresh, last := s.x.memory.scan(s.from, s.to, s.pos, s.reverse)
	// Segments after memory: see At. They are mostly those of the batch before.
	if s.set == nil || s.set != s.x.set.Load() {
		if err := s.open(); err != nil {
			return nil, false, err
		}
	}
	for len(items) < batch {
		var old *source
		if len(s.sources) > 0 {
			old = s.sources[0]
		}
		if last != nil && len(fresh) == 0 && (old == nil || s.compare(old.key, last) > 0) {
			s.leave(last)
			return items, true, nil
		}
		if old == nil && len(fresh) == 0 {
			return items, false, nil
		}
		var item Item
		if old == nil || len(fresh) > 0 && s.compare(fresh[0].Key, old.key) <= 0 {
			item, fresh = fresh[0], fresh[1:]
		} else if item, err = old.item(); err != nil {
			return nil, false, err
		}
		items = append(items, item)
		if err := s.pass(item.Key); err != nil {
			return nil, false, err
		}
	}
	s.leave(items[len(items)-1].Key)
	return items, true, nil
}

// leave makes a key the last that was scanned.
func (s *scan) leave(key []byte) {
	if s.reverse {
		s.to = key
	} else {
		s.from = after(key)
	}
}

// compare orders keys in the direction of the scan.
func (s *scan) compare(a, b []byte) int {
	if s.reverse {
		return bytes.Compare(b, a)
	}
	return bytes.Compare(a, b)
}

// pass moves the sources that stand on key to their next.
func (s *scan) pass(key []byte) error {
	for len(s.sources) > 0 && bytes.Equal(s.sources[0].key, key) {
		src := s.sources[0]
		switch {
		case src.next():
			heap.Fix(&s.sources, 0)
		case src.it.Err() != nil:
			return src.it.Err()
		default:
			heap.Remove(&s.sources, 0)
		}
	}
	return nil
}

// open begins to read the segments that are now in play.
func (s *scan) open() error {
	set, err := s.x.acquire()
	if err != nil {
		return err
	}
	s.close()
	s.set, s.sources = set, s.sources[:0]
	for _, g := range set.segs {
		if g.from > s.pos {
			break
		}
		src := &source{f: g.keys, it: g.keys.Iter(), from: s.from, to: s.to, pos: s.pos, reverse: s.reverse, rank: g.from}
		if src.start() {
			s.sources = append(s.sources, src)
		} else if src.it.Err() != nil {
			return src.it.Err()
		}
	}
	heap.Init(&s.sources)
	return nil
}

// source yields, of the rows of a segment, for each key of [from, to) the newest
// one at or before pos.
type source struct {
	f        *file
	it       *segment.Iter
	from, to []byte // to nil: no upper end
	pos      uint64
	reverse  bool
	rank     uint64 // of the segment: greater is newer

	key []byte      // that it stands on
	row segment.Row // the version of it; its Key may be another by now
	// Of a reverse source: the iterator has left the key, to the row before if more.
	left, more bool
}

func (s *source) item() (Item, error) {
	v, err := s.f.version(segment.Row{Key: s.key, Seq: s.row.Seq, Value: s.row.Value})
	return Item{Key: bytes.Clone(s.key), Version: v}, err
}

func (s *source) start() bool {
	if s.reverse {
		if s.to == nil {
			return s.settleBack(s.it.Last())
		}
		return s.settleBack(s.it.SeekBefore(s.to, newestSeq))
	}
	return s.seek(s.from)
}

func (s *source) next() bool {
	if s.reverse {
		if s.left {
			return s.settleBack(s.more)
		}
		return s.settleBack(s.it.SeekBefore(s.key, newestSeq))
	}
	return s.settle(s.it.Skip())
}

// seek goes to the first key at or behind lower.
func (s *source) seek(lower []byte) bool { return s.settle(s.it.Seek(lower, newestSeq)) }

// settle goes on from the newest row of a key until there is a version at pos.
func (s *source) settle(ok bool) bool {
	for ok {
		s.row = s.it.Row()
		if s.to != nil && bytes.Compare(s.row.Key, s.to) >= 0 {
			return false
		}
		s.key = append(s.key[:0], s.row.Key...)
		if s.row.Seq <= s.pos {
			return true
		}
		if ok = s.it.Seek(s.key, s.pos); ok && bytes.Equal(s.it.Row().Key, s.key) {
			s.row = s.it.Row()
			return true
		}
	}
	return false
}

// settleBack goes back from the oldest row of a key until there is a version at pos.
func (s *source) settleBack(ok bool) bool {
	for ok {
		s.row = s.it.Row()
		if bytes.Compare(s.row.Key, s.from) < 0 {
			return false
		}
		s.key = append(s.key[:0], s.row.Key...)
		if s.row.Seq <= s.pos {
			return s.climb()
		}
		ok = s.it.SeekBefore(s.key, newestSeq)
	}
	return false
}

// climb goes from the oldest row of a key, which is visible, to the newest that
// is. Most keys have few versions, so it first tries a few steps.
func (s *source) climb() bool {
	const steps = 4
	s.left = false
	for range steps {
		if s.more = s.it.Prev(); !s.more {
			s.left = true
			return s.it.Err() == nil
		}
		row := s.it.Row()
		if !bytes.Equal(row.Key, s.key) {
			s.left = true
			return true
		}
		if row.Seq > s.pos {
			return true
		}
		s.row = row
	}
	if !s.it.Seek(s.key, s.pos) {
		return false
	}
	s.row = s.it.Row()
	return true
}

// sources is a heap: the next key in the direction of the scan first, and of a
// key its newest segment.
type sources []*source

func (h sources) Len() int      { return len(h) }
func (h sources) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h sources) Less(i, j int) bool {
	c := bytes.Compare(h[i].key, h[j].key)
	if c == 0 {
		return h[i].rank > h[j].rank
	}
	return (c < 0) != h[i].reverse
}
func (h *sources) Push(any) {} // never called

func (h *sources) Pop() any {
	*h = (*h)[:len(*h)-1]
	return nil
}
