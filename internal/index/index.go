package index

import (
	"fmt"
	"iter"
	"math"

	"graven/internal/segment"
	"graven/record"
)

// Add appends the next version of key, in memory. The index keeps its own copy
// of key. A version that cannot follow the one before it in memory, or that
// belongs below the border, is an error: the log it came from is damaged. Of a
// key that memory does not know any version may come.
func (x *Index) Add(key []byte, v Version) error {
	if to := x.set.Load().last().to; v.Seq < to {
		return fmt.Errorf("index: key %q has a version at seq %d, segments have all before %d", key, v.Seq, to)
	}
	if err := x.memory.add(key, v); err != nil {
		return err
	}
	x.versions.Add(1)
	return nil
}

// Cut takes back the versions of key at or above seq: the group that held them
// was refused before its first byte.
func (x *Index) Cut(key []byte, seq uint64) {
	x.versions.Add(-uint64(x.memory.cut(key, seq)))
}

// Versions returns how many versions of keys there are.
func (x *Index) Versions() uint64 { return x.versions.Load() }

// Border returns the first record that no segment in play is about, and how many
// runs are sealed.
func (x *Index) Border() (to, runs uint64) {
	s := x.set.Load()
	return s.last().to, s.runs()
}

// At returns the newest version of key with a seq at or below pos.
func (x *Index) At(key []byte, pos uint64) (v Version, ok bool, err error) {
	v, ok, err = x.atOnce(key, pos)
	if x.again(err) {
		v, ok, err = x.atOnce(key, pos)
	}
	return v, ok, err
}

// atOnce is one try of At.
func (x *Index) atOnce(key []byte, pos uint64) (Version, bool, error) {
	// Memory first: what a Seal takes out of it after this look is in segments by
	// then. And what is in memory is newer than what segments have.
	if v, ok := x.memory.at(key, pos); ok {
		return v, true, nil
	}
	s, err := x.acquire()
	if err != nil {
		return Version{}, false, err
	}
	defer s.release()
	return s.at(key, pos)
}

// at is At without the memory.
func (s *set) at(key []byte, pos uint64) (Version, bool, error) {
	if len(s.segs) == 0 {
		return Version{}, false, nil
	}
	h := segment.HashOf(key)
	for i := len(s.segs) - 1; i >= 0; i-- {
		g := s.segs[i]
		if g.from > pos {
			continue
		}
		may, err := g.keys.May(h)
		if err != nil {
			return Version{}, false, err
		}
		if !may {
			continue
		}
		row, ok, err := g.keys.Floor(key, pos)
		if err != nil {
			return Version{}, false, err
		}
		if ok {
			v, err := g.keys.version(row)
			return v, err == nil, err
		}
	}
	return Version{}, false, nil
}

// version reads a row of keys.
func (f *file) version(row segment.Row) (Version, error) {
	v, err := parseVersion(row.Seq, row.Value)
	if err != nil {
		return v, f.oddRow(row, err)
	}
	return v, nil
}

// oddRow is the damage of a row that is not what its table has. The page is as it
// was written, so it has no better place than the file.
func (f *file) oddRow(row segment.Row, err error) error {
	return &DamageError{File: f.Name(), Want: err.Error(), Got: fmt.Sprintf("key %x, seq %d, value %x", row.Key, row.Seq, row.Value)}
}

// Number returns version n of key, from 1, among those at or below pos. It goes
// from the newest one along prev and skip, as a proof does, so it takes a number
// of steps that grows with the logarithm of the number of versions.
func (x *Index) Number(key []byte, n, pos uint64) (Version, bool, error) {
	v, ok, err := x.At(key, pos)
	if !ok || err != nil || n == 0 || n > v.N {
		return Version{}, false, err
	}
	for v.N > n {
		want, seq := v.N-1, v.Prev
		if j := record.J(v.N); j >= n {
			want, seq = j, v.Skip
		}
		older, ok, err := x.At(key, seq)
		if err != nil {
			return Version{}, false, err
		}
		if !ok || older.Seq != seq || older.N != want {
			return Version{}, false, fmt.Errorf("index: key %q: version %d at seq %d says version %d is at seq %d, where it is not", key, v.N, v.Seq, want, seq)
		}
		v = older
	}
	return v, true, nil
}

// historyBatch is how many versions of a key are read at a time.
const historyBatch = 64

// History yields the versions of key at or before pos, the newest first. An error
// is the last that it yields.
func (x *Index) History(key []byte, pos uint64) iter.Seq2[Version, error] {
	return func(yield func(Version, error) bool) {
		for {
			list, err := x.history(key, pos)
			for _, v := range list {
				if !yield(v, nil) {
					return
				}
				pos = v.Seq - 1 // a version is never at seq 0
			}
			if err != nil {
				yield(Version{}, err)
				return
			}
			if len(list) == 0 {
				return
			}
		}
	}
}

// history returns the newest versions of key at or before pos, some of them.
func (x *Index) history(key []byte, pos uint64) (list []Version, err error) {
	list, err = x.historyOnce(key, pos)
	if x.again(err) {
		list, err = x.historyOnce(key, pos)
	}
	return list, err
}

// historyOnce is one try of history.
func (x *Index) historyOnce(key []byte, pos uint64) ([]Version, error) {
	if list := x.memory.history(key, pos, historyBatch); len(list) > 0 {
		return list, nil
	}
	s, err := x.acquire()
	if err != nil {
		return nil, err
	}
	defer s.release()
	var list []Version
	h := segment.HashOf(key)
	s.newest(pos, func(g *seg) bool {
		var may bool
		if may, err = g.keys.May(h); !may {
			return err == nil
		}
		it := g.keys.Iter()
		for ok := it.Seek(key, pos); ok && string(it.Row().Key) == string(key) && len(list) < historyBatch; ok = it.Next() {
			var v Version
			if v, err = g.keys.version(it.Row()); err != nil {
				return false
			}
			list = append(list, v)
		}
		err = it.Err()
		return err == nil && len(list) < historyBatch
	})
	return list, err
}

// Changed returns the seq of the newest version in (since, pos] of any key in
// [from, to), and 0 if there is none. A nil to means no upper end. Segments that
// end at or before since are not read.
func (x *Index) Changed(from, to []byte, since, pos uint64) (newest uint64, err error) {
	newest, err = x.changedOnce(from, to, since, pos)
	if x.again(err) {
		newest, err = x.changedOnce(from, to, since, pos)
	}
	return newest, err
}

// changedOnce is one try of Changed.
func (x *Index) changedOnce(from, to []byte, since, pos uint64) (uint64, error) {
	if to != nil && string(from) >= string(to) || since >= pos {
		return 0, nil
	}
	newest := uint64(0)
	for lower := from; lower != nil; {
		items, last := x.memory.scan(lower, to, pos, false)
		for _, it := range items {
			newest = max(newest, it.Version.Seq)
		}
		lower = nil
		if last != nil {
			lower = after(last)
		}
	}
	if newest <= since {
		newest = 0
	}
	s, err := x.acquire()
	if err != nil {
		return 0, err
	}
	defer s.release()
	s.newest(pos, func(g *seg) bool {
		if g.to <= max(since, newest)+1 {
			return false // so are the others
		}
		src := source{it: g.keys.Iter(), from: from, to: to, pos: pos}
		for ok := src.seek(from); ok; ok = src.next() {
			if seq := src.row.Seq; seq > since {
				newest = max(newest, seq)
			}
		}
		err = src.it.Err()
		return err == nil
	})
	return newest, err
}

// newestSeq is behind every record.
const newestSeq = math.MaxUint64
