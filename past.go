package graven

import (
	"fmt"
	"slices"
	"sync"

	"graven/merkle"
	"graven/proof"
	"graven/record"
	"graven/state"
)

// pastStates keeps the newest few states that were built again for proofs about
// the past. The zero value is empty; it is safe for concurrent use.
type pastStates struct {
	mu   sync.Mutex
	kept []pastState // the one used last is the last
}

type pastState struct {
	commit uint64
	state  state.Map
}

// maxPast is how many states are kept. They share nothing with each other unless
// one was built from the other.
const maxPast = 4

// before returns the newest kept state at or before a commit; commit 0, which is
// genesis and no commit, stands for the empty state.
func (p *pastStates) before(commit uint64) (best pastState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.kept {
		if s.commit <= commit && s.commit > best.commit {
			best = s
		}
	}
	return best
}

func (p *pastStates) keep(s pastState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.kept = append(p.kept, s); len(p.kept) > maxPast {
		p.kept = append([]pastState(nil), p.kept[1:]...)
	}
}

// commitAt finds the last commit at or before the view's position, and the one
// after it: 0 if the first is the newest of the view.
func (w *View) commitAt() (commit, next uint64, err error) {
	commit, ok := w.pos, false
	for !ok {
		if ok, err = w.isCommit(commit); err != nil {
			return 0, 0, err
		}
		if !ok {
			if commit == 0 {
				return 0, 0, fmt.Errorf("seq %d: %w: the first commit comes after it", w.pos, ErrNotFound)
			}
			commit--
		}
	}
	if commit == w.head.Size-1 {
		return commit, 0, nil
	}
	for next = commit + 1; next < w.head.Size; next++ {
		if ok, err := w.isCommit(next); ok || err != nil {
			return commit, next, err
		}
	}
	return 0, 0, fmt.Errorf("%w: no commit follows record %d", ErrDamaged, commit)
}

func (w *View) isCommit(seq uint64) (bool, error) {
	line, err := w.Record(seq)
	if err != nil {
		return false, err
	}
	f, err := record.ParseFrame(line)
	if err != nil {
		return false, fmt.Errorf("%w: record %d: %w", ErrDamaged, seq, err)
	}
	return f.Kind == record.KindCommit && f.V == record.Version, nil
}

// around reads the record that was the newest at the time that the view was asked
// for, and the one behind it; neither if it was asked for by position.
func (w *View) around() (a proof.Around, err error) {
	if w.asked.IsZero() {
		return a, nil
	}
	if a.Then, err = w.Record(w.pos); err != nil {
		return a, err
	}
	a.After, err = w.Record(w.pos + 1)
	return a, err
}

// together proves that records are in the log; of a view that was asked for by time
// also the two around it. One that is named twice is one record.
func (w *View) together(seqs ...uint64) ([]merkle.Hash, error) {
	if !w.asked.IsZero() {
		seqs = append(seqs, w.pos, w.pos+1)
	}
	slices.Sort(seqs)
	path, err := merkle.MultiProof(slices.Compact(seqs), w.head.Size, treeHashes{w})
	return path, w.vault.damaged(err)
}

// stateAt is the state under the root of a commit: that of now, or one that is
// built again from the log, from the nearest one before it that is in memory or in
// state pages. It costs time in proportion to what stands between.
func (w *View) stateAt(commit uint64) (state.Map, error) {
	if commit == w.head.Size-1 {
		return w.state, nil
	}
	from := w.vault.past.before(commit)
	if from.commit == commit {
		return from.state, nil
	}
	m, err := state.Map{}, errNoPages
	if paged, ok := w.pagedBefore(commit); ok && paged.commit > from.commit {
		m, err = w.stateFrom(paged, commit)
		_ = w.vault.damaged(err) // pages that are damaged are noted, and done without
	}
	if err != nil {
		m, err = w.stateFrom(from, commit)
	}
	if err == nil {
		w.vault.past.keep(pastState{commit, m})
	}
	return m, err
}

// pagedBefore is the newest state at or before a commit that is in pages.
func (w *View) pagedBefore(commit uint64) (pastState, bool) {
	set, ok := w.vault.pages.Before(commit + 1)
	if !ok || set.Position == 0 {
		return pastState{}, false
	}
	m, err := w.vault.pages.Map(set)
	return pastState{commit: set.Position - 1, state: m}, err == nil
}

// stateFrom is the state under the root of a commit, built on an earlier one, and held
// against the commit line.
func (w *View) stateFrom(from pastState, commit uint64) (state.Map, error) {
	edit := from.state.Edit()
	for seq := from.commit + 1; seq < commit; seq++ {
		if err := w.replayInto(edit, seq); err != nil {
			return state.Map{}, err
		}
	}
	m := edit.Map()
	c, _, err := w.commitLine(commit)
	if err != nil {
		return state.Map{}, err
	}
	if c.State != m.Root() {
		return state.Map{}, fmt.Errorf("%w: the records up to %d give state root %v, the commit says %v", ErrDamaged, commit, m.Root(), c.State)
	}
	return m, nil
}

// replayInto puts the versions that a record made into a state.
func (w *View) replayInto(edit *state.Edit, seq uint64) error {
	line, err := w.Record(seq)
	if err != nil {
		return err
	}
	rec, err := record.Parse(line)
	if err != nil {
		return fmt.Errorf("%w: record %d: %w", ErrDamaged, seq, err)
	}
	tx, ok := rec.Body.(*record.Tx)
	if !ok {
		return nil
	}
	ops, lines, err := w.vault.opsOf(line, seq, tx)
	if err != nil {
		return err
	}
	for i := range ops {
		if !ops[i].Kind.WritesKey() {
			continue
		}
		if err := putVersion(edit, &ops[i], seq, link{n: ops[i].N}, record.OpDigest(lines[i])); err != nil {
			return err
		}
	}
	return nil
}

// putVersion makes what an op wrote, as version n of its key, the newest.
func putVersion(edit *state.Edit, op *record.Op, seq uint64, at link, digest merkle.Hash) error {
	l := state.Leaf{Key: op.StoredKey(), Digest: digest, Seq: seq, N: at.n, Created: seq, Live: op.Kind == record.OpPut}
	if at.created > 0 {
		l.Created = at.created
	} else if at.n > 1 {
		old, ok, err := edit.Get(l.Key)
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("version %d of key %q has no first version", at.n, l.Key)
		}
		l.Created = old.Created
	}
	return edit.Put(l)
}
