package index

import (
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"

	"graven/internal/segment"
)

// seg is a segment with all its files, open. It never changes.
type seg struct {
	address
	from, to uint64          // its records
	sum      segment.Summary // of all records below to
	keys     *file
	ids      *file // nil: no file, which is right for one whose ids have left the window
	log      *file
	shards   []*file
	refs     atomic.Int32 // of sets, and of the index's list
}

func (s *seg) files() []*file { return append([]*file{s.log, s.ids, s.keys}, s.shards...) }

func (s *seg) retain() *seg {
	s.refs.Add(1)
	return s
}

func (s *seg) release() {
	if s.refs.Add(-1) == 0 {
		for _, f := range s.files() {
			f.release()
		}
	}
}

// file returns where the segment keeps the file of a table.
func (s *seg) file(table string) **file {
	switch table {
	case tableKeys:
		return &s.keys
	case tableIDs:
		return &s.ids
	case tableLog:
		return &s.log
	}
	var shard int
	_, _ = fmt.Sscanf(table, "shard-%x", &shard) // made by shardTable
	return &s.shards[shard]
}

// withoutIDs is the segment without its ids, with a reference for the caller.
func (s *seg) withoutIDs() *seg {
	c := &seg{address: s.address, from: s.from, to: s.to, sum: s.sum, keys: s.keys, log: s.log, shards: s.shards}
	for _, f := range c.files() {
		if f != nil {
			f.refs.Add(1)
		}
	}
	return c.retain()
}

// openSegment opens the files of a segment. Problems are what is wrong with
// files; if there is one that counts the segment is nil. The error is the disk's.
func (x *Index) openSegment(a address) (s *seg, problems []string, err error) {
	s = &seg{address: a, shards: make([]*file, 1<<x.opts.ShardBits)}
	s.refs.Store(1)
	whole := true
	for _, table := range x.tables() {
		f, err := x.openFile(table, a)
		if err == nil && s.to > 0 && (f.Header().From != s.from || f.Header().To != s.to || f.Summary() != s.sum) {
			err = &DamageError{
				File: x.path(fileName(table, a)), Want: fmt.Sprintf("records [%d, %d), %+v, as other files of segment %v", s.from, s.to, s.sum, a),
				Got: fmt.Sprintf("[%d, %d), %+v", f.Header().From, f.Header().To, f.Summary()),
			}
			f.release()
		}
		switch {
		case err == nil:
			s.from, s.to, s.sum = f.Header().From, f.Header().To, f.Summary()
			*s.file(table) = f
			continue
		case !unusable(err):
			s.release()
			return nil, nil, fmt.Errorf("opening segment %v of the index: %w", a, err)
		case errors.Is(err, fs.ErrNotExist) && table == tableIDs:
			continue // whether that is right the others of the index say
		case errors.Is(err, fs.ErrNotExist):
			problems = append(problems, fmt.Sprintf("segment %v of the index has no %s", a, x.path(fileName(table, a))))
		default:
			problems = append(problems, err.Error())
		}
		whole = whole && table == tableIDs
	}
	if !whole {
		s.release()
		return nil, problems, nil
	}
	return s, problems, nil
}

// idsWindow is how many transactions back an idempotency id counts (docs/format.md §2.2).
const idsWindow = 1 << 20

// idsCount reports whether ids of a segment may still count when there are so
// many transactions.
func (s *seg) idsCount(txs uint64) bool { return s.sum.Txs > 0 && s.sum.Txs-1+idsWindow >= txs }

// idsNeeded reports whether the file of ids of number i of a list of segments
// without a gap must be there. A merge takes the ids that count at the end of the
// new segment, so that its bytes follow from the log; until then they stay.
func idsNeeded(list []*seg, i int) bool {
	txs := list[len(list)-1].sum.Txs
	end := list[i].parent().end()
	for _, s := range list[i:] {
		if s.end() == end {
			txs = s.sum.Txs
		}
	}
	return list[i].idsCount(txs)
}

// set is the segments in play. Its references keep their files open.
type set struct {
	segs   []*seg // from 0 without a gap
	closed bool   // the index was
	refs   atomic.Int64
}

func newSet(segs []*seg) *set {
	s := &set{segs: segs}
	for _, g := range segs {
		g.retain()
	}
	s.refs.Store(1)
	return s
}

func (s *set) release() {
	if s.refs.Add(-1) == 0 {
		for _, g := range s.segs {
			g.release()
		}
	}
}

// last is the newest segment; an empty one if there is none.
func (s *set) last() *seg {
	if len(s.segs) == 0 {
		return &seg{}
	}
	return s.segs[len(s.segs)-1]
}

// runs is how many runs the segments cover.
func (s *set) runs() uint64 {
	if len(s.segs) == 0 {
		return 0
	}
	return s.last().end()
}

// newest calls fn for the segments that may have a record at or below pos, the
// newest first, until it returns false.
func (s *set) newest(pos uint64, fn func(*seg) bool) {
	for i := len(s.segs) - 1; i >= 0; i-- {
		if g := s.segs[i]; g.from <= pos && !fn(g) {
			return
		}
	}
}

// acquire returns the segments in play, to be released by the caller.
func (x *Index) acquire() (*set, error) {
	for {
		s := x.set.Load()
		n := s.refs.Load()
		if n == 0 {
			continue // replaced just now, and let go by its last reader
		}
		if !s.refs.CompareAndSwap(n, n+1) {
			continue
		}
		if s.closed {
			s.release()
			return nil, ErrClosed
		}
		return s, nil
	}
}

// install puts other segments in play. The caller holds mu.
func (x *Index) install(segs []*seg) {
	x.set.Swap(newSet(segs)).release()
}
