package graven

import (
	"fmt"

	"graven/internal/index"
	"graven/merkle"
	"graven/proof"
	"graven/record"
	"graven/state"
)

// ProveList makes the proof that the keys of a query which have a value are
// these, all of them up to the query's limit, with their newest versions. Of an
// older view it proves the state of the last commit at or before its position, or
// at the time that it was asked for; that state is built again for it.
func (w *View) ProveList(q Query) ([]byte, error) { return w.proveRange(q, false) }

// ProveCount makes the proof of how many keys of a query have a value; the
// query's limit and direction must be zero, and it is not compact.
func (w *View) ProveCount(q Query) ([]byte, error) {
	if q.Limit != 0 || q.Reverse || q.Compact {
		return nil, fmt.Errorf("%w: a count has no limit and no direction, and is never compact", ErrInvalid)
	}
	return w.proveRange(q, true)
}

func (w *View) proveRange(q Query, counting bool) ([]byte, error) {
	if q.Limit < 0 || q.Deleted {
		return nil, fmt.Errorf("%w: limit %d, deleted %v: a proof lists keys that have a value, a limit is at least 0", ErrInvalid, q.Limit, q.Deleted)
	}
	for name, b := range map[string][]byte{"prefix": q.Prefix, "from": q.From, "to": q.To} {
		if len(b) > record.MaxKey {
			return nil, &LimitError{Field: name, Value: uint64(len(b)), Limit: record.MaxKey}
		}
	}
	commit, next, err := w.commitAt()
	if err != nil {
		return nil, err
	}
	p := proof.RangeProof{
		Subject: record.RangeSubject{
			Space: record.SpaceUser, Prefix: q.Prefix, From: q.From, To: q.To,
			Limit: uint64(q.Limit), Reverse: q.Reverse, Compact: q.Compact, Time: w.asked,
		},
		Counting: counting, Checkpoint: w.note,
	}
	if next != 0 && w.asked.IsZero() {
		p.Subject.At = w.pos
	}
	if p.Commit, p.Next, p.Path, err = w.commits(commit, next); err != nil {
		return nil, err
	}
	if p.Around, err = w.around(); err != nil {
		return nil, err
	}
	m, err := w.stateAt(commit)
	if err != nil {
		return nil, err
	}
	covered, err := w.covered(p.Subject, commit)
	if err != nil {
		return nil, err
	}
	aim := state.All
	switch {
	case counting:
		covered, aim = proof.Covered(p.Subject, 0, nil, nil), state.Count
	case q.Compact:
		aim = state.Live
	}
	if p.State, err = m.ProveRange(covered, aim); err != nil {
		return nil, w.vault.damaged(err)
	}
	if !counting {
		if p.Ops, err = w.opLinesOf(p.State.Leaves, covered); err != nil {
			return nil, err
		}
	}
	return p.Encode()
}

// commits reads a commit line and the one after it, unless that is 0, and proves
// that they are in the log, as together does.
func (w *View) commits(commit, next uint64) (first, second []byte, path []merkle.Hash, err error) {
	seqs := []uint64{commit}
	if first, err = w.Record(commit); err != nil {
		return nil, nil, nil, err
	}
	if next != 0 {
		seqs = append(seqs, next)
		if second, err = w.Record(next); err != nil {
			return nil, nil, nil, err
		}
	}
	path, err = w.together(seqs...)
	return first, second, path, err
}

// covered is the range that a list at a commit shows: up to the last key that the
// limit lets in.
func (w *View) covered(s record.RangeSubject, commit uint64) (state.Range, error) {
	all := proof.Covered(s, 0, nil, nil)
	if s.Limit == 0 {
		return all, nil
	}
	var live uint64
	var last []byte
	to := all.To
	if to == nil {
		to = spaceEnd(s.Space)
	}
	err := w.vault.index.Scan(all.From, to, commit, s.Reverse, func(it index.Item) bool {
		if it.Version.Live {
			live, last = live+1, it.Key
		}
		return live < s.Limit
	})
	return proof.Covered(s, live, last, last), w.vault.damaged(err)
}

// opLinesOf reads the op lines of the live leaves in a range.
func (w *View) opLinesOf(leaves []state.Leaf, r state.Range) ([][]byte, error) {
	var ops [][]byte
	size := 0
	for i := range leaves {
		l := &leaves[i]
		if !l.Live || !r.Holds(l.Key) {
			continue
		}
		line, err := w.opLine(l.Key, l.Seq, l.Digest)
		if err != nil {
			return nil, err
		}
		if size += len(line); size > proof.MaxListed {
			return nil, &LimitError{Field: "op lines in one proof (prove the list in parts, with a limit and a first key)", Value: uint64(size), Limit: proof.MaxListed}
		}
		ops = append(ops, line)
	}
	return ops, nil
}
