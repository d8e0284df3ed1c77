package index

import (
	"bytes"
	"errors"
	"iter"
	"slices"

	"graven/internal/segment"
	"graven/record"
)

// What follows is about records below the border only; the caller knows what is
// newer.

// Artifact yields places of an artifact, the newest first: of each class that it entered,
// and of each kind of block, at least one. A place may come twice. Who has what he wants
// stops, and spares the look at what is older. An error is the last.
func (x *Index) Artifact(id record.ID) iter.Seq2[Place, error] {
	return func(yield func(Place, error) bool) {
		err := x.artifactOnce(id, yield)
		if x.again(err) {
			err = x.artifactOnce(id, yield)
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(Place{}, err)
		}
	}
}

// errStopped says that nobody wants more.
var errStopped = errors.New("index: stopped")

// artifactOnce is one try of Artifact.
func (x *Index) artifactOnce(id record.ID, yield func(Place, error) bool) error {
	s, err := x.acquire()
	if err != nil {
		return err
	}
	defer s.release()
	h := segment.HashOf(id[:])
	for _, g := range slices.Backward(s.segs) {
		f := g.shards[shardOf(id, x.opts.ShardBits)]
		if may, err := f.May(h); err != nil {
			return err
		} else if !may {
			continue
		}
		it := f.Iter()
		for ok := it.Seek(id[:], newestSeq); ok && bytes.HasPrefix(it.Row().Key, id[:]); ok = it.Next() {
			p, err := parsePlace(it.Row())
			if err != nil {
				return f.oddRow(it.Row(), err)
			}
			if !yield(p, nil) {
				return errStopped
			}
		}
		if it.Err() != nil {
			return it.Err()
		}
	}
	return nil
}

// ID returns the newest transaction with an idempotency id of an actor. It may be
// one that has left the window: its Number says so.
func (x *Index) ID(actor, id string) (row IDRow, ok bool, err error) {
	row, ok, err = x.idOnce(actor, id)
	if x.again(err) {
		row, ok, err = x.idOnce(actor, id)
	}
	return row, ok, err
}

// idOnce is one try of ID.
func (x *Index) idOnce(actor, id string) (IDRow, bool, error) {
	s, err := x.acquire()
	if err != nil {
		return IDRow{}, false, err
	}
	defer s.release()
	key := idKey(actor, id)
	h := segment.HashOf(key)
	for _, g := range slices.Backward(s.segs) {
		if g.ids == nil {
			continue
		}
		row, ok, err := g.ids.get(h, key, newestSeq)
		if err != nil {
			return IDRow{}, false, err
		}
		if ok {
			r := IDRow{Actor: actor, ID: id}
			if err := r.parse(row); err != nil {
				return IDRow{}, false, g.ids.oddRow(row, err)
			}
			return r, true, nil
		}
	}
	return IDRow{}, false, nil
}

// get is Floor behind the filter.
func (f *file) get(h segment.Hash, key []byte, seq uint64) (segment.Row, bool, error) {
	if may, err := f.May(h); !may {
		return segment.Row{}, false, err
	}
	return f.Floor(key, seq)
}

// Spent finds the transaction of a signed request.
func (x *Index) Spent(req record.ID) (seq uint64, ok bool, err error) {
	seq, ok, err = x.spentOnce(req)
	if x.again(err) {
		seq, ok, err = x.spentOnce(req)
	}
	return seq, ok, err
}

// spentOnce is one try of Spent.
func (x *Index) spentOnce(req record.ID) (seq uint64, ok bool, err error) {
	s, err := x.acquire()
	if err != nil {
		return 0, false, err
	}
	defer s.release()
	key := signedKey(req)
	h := segment.HashOf(key)
	for _, g := range s.segs {
		row, ok, err := g.log.get(h, key, 0)
		if err != nil {
			return 0, false, err
		}
		if ok {
			seq, err := parseSeq(row.Value)
			if err != nil {
				return 0, false, g.log.oddRow(row, err)
			}
			return seq, true, nil
		}
	}
	return 0, false, nil
}

// Grid returns the place of the last record of the grid at or before seq.
func (x *Index) Grid(seq uint64) (g Grid, ok bool, err error) {
	g, ok, err = x.gridOnce(seq)
	if x.again(err) {
		g, ok, err = x.gridOnce(seq)
	}
	return g, ok, err
}

// gridOnce is one try of Grid.
func (x *Index) gridOnce(seq uint64) (Grid, bool, error) {
	s, err := x.acquire()
	if err != nil {
		return Grid{}, false, err
	}
	defer s.release()
	var found Grid
	ok := false
	s.newest(seq, func(g *seg) bool {
		it := g.log.Iter()
		if it.SeekBefore(after(seqKey(rowGrid, "", seq)), newestSeq) && it.Row().Key[0] == rowGrid {
			if found, err = parseGrid(it.Row()); err != nil {
				err = g.log.oddRow(it.Row(), err)
			}
			ok = err == nil
			return false
		}
		err = it.Err()
		return err == nil
	})
	return found, ok, err
}

// Blocks yields the seqs of the records of kind block, in ascending order. An
// error is the last that it yields.
func (x *Index) Blocks() iter.Seq2[uint64, error] {
	return x.seqs(false, []byte{rowBlock})
}

// Documents yields the seqs of the records of a kind that is about documents, the
// newest first. An error is the last that it yields.
func (x *Index) Documents(kind string) iter.Seq2[uint64, error] {
	return x.seqs(true, append([]byte{rowDocument}, kind+"\x00"...))
}

// seqs yields the seqs at the end of all keys of `log` with a prefix.
func (x *Index) seqs(reverse bool, prefix []byte) iter.Seq2[uint64, error] {
	return func(yield func(uint64, error) bool) {
		s, err := x.acquire()
		if err != nil {
			yield(0, err)
			return
		}
		defer s.release()
		segs := slices.Clone(s.segs)
		if reverse {
			slices.Reverse(segs)
		}
		for _, g := range segs {
			if !g.log.seqs(reverse, prefix, yield) {
				return
			}
		}
	}
}

// seqs is Index.seqs of one file. It returns whether to go on.
func (f *file) seqs(reverse bool, prefix []byte, yield func(uint64, error) bool) bool {
	it := f.Iter()
	ok, move := false, it.Next
	if reverse {
		// No key of a prefix is behind its greatest seq.
		ok, move = it.SeekBefore(after(seqKey(prefix[0], string(prefix[1:]), newestSeq)), newestSeq), it.Prev
	} else {
		ok = it.Seek(prefix, newestSeq)
	}
	for ; ok && bytes.HasPrefix(it.Row().Key, prefix); ok = move() {
		seq, err := seqOfKey(it.Row().Key, len(prefix))
		if err != nil {
			yield(0, f.oddRow(it.Row(), err))
			return false
		}
		if !yield(seq, nil) {
			return false
		}
	}
	if it.Err() != nil {
		yield(0, it.Err())
		return false
	}
	return true
}

// Entered returns how far the blocks of each class had come at the border.
func (x *Index) Entered() (all []Entered, err error) {
	all, err = x.enteredOnce()
	if x.again(err) {
		all, err = x.enteredOnce()
	}
	return all, err
}

// enteredOnce is one try of Entered.
func (x *Index) enteredOnce() (all []Entered, err error) {
	s, err := x.acquire()
	if err != nil {
		return nil, err
	}
	defer s.release()
	if len(s.segs) == 0 {
		return nil, nil
	}
	return s.last().entered()
}

// entered is what had entered the blocks at the end of a segment.
func (s *seg) entered() (all []Entered, err error) {
	prefix := seqKey(rowEntered, "", s.to)
	it := s.log.Iter()
	for ok := it.Seek(prefix, newestSeq); ok && bytes.HasPrefix(it.Row().Key, prefix); ok = it.Next() {
		e, err := parseEntered(it.Row())
		if err != nil {
			return nil, s.log.oddRow(it.Row(), err)
		}
		all = append(all, e)
	}
	return all, it.Err()
}

// Features returns the kinds and versions of all records, in order, each with its
// first record.
func (x *Index) Features() (list []Feature, err error) {
	list, err = x.featuresOnce()
	if x.again(err) {
		list, err = x.featuresOnce()
	}
	return list, err
}

// featuresOnce is one try of Features.
func (x *Index) featuresOnce() ([]Feature, error) {
	s, err := x.acquire()
	if err != nil {
		return nil, err
	}
	defer s.release()
	first := map[string]uint64{}
	for _, g := range s.segs {
		it := g.log.Iter()
		for ok := it.Seek([]byte{rowFeature}, newestSeq); ok && it.Row().Key[0] == rowFeature; ok = it.Next() {
			name := string(it.Row().Key[1:])
			seq, err := parseSeq(it.Row().Value)
			if err != nil {
				return nil, g.log.oddRow(it.Row(), err)
			}
			if _, ok := first[name]; !ok {
				first[name] = seq
			}
		}
		if it.Err() != nil {
			return nil, it.Err()
		}
	}
	list := make([]Feature, 0, len(first))
	for name, seq := range first {
		list = append(list, Feature{name, seq})
	}
	slices.SortFunc(list, func(a, b Feature) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	return list, nil
}
