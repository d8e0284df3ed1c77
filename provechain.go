package graven

import (
	"fmt"

	"graven/internal/index"
	"graven/merkle"
	"graven/proof"
)

// ProveHistory makes the proof of all versions of a key, deletions too, up to the
// newest of the view.
func (w *View) ProveHistory(key []byte) ([]byte, error) {
	if w.newest {
		return w.proveChain(key, 0, true)
	}
	return w.provePast(key, true)
}

// provePast makes a proof of a key as it was in an older view.
func (w *View) provePast(key []byte, whole bool) ([]byte, error) {
	if w.pos == 0 {
		return nil, fmt.Errorf("key %s at seq 0: %w: before record 1 there is no key", keyText(key), ErrNotFound)
	}
	return w.proveChain(key, w.pos, whole)
}

// proveChain makes the proof of a key's history if whole is true, or else of its
// newest version; up to a position above 0 or the time that the view was asked for;
// from what the newest state says of it.
func (w *View) proveChain(key []byte, at uint64, whole bool) ([]byte, error) {
	k, err := w.keyProof(key)
	if err != nil {
		return nil, err
	}
	p := proof.ChainProof{Space: k.Space, Key: k.Key, At: at, Whole: whole, Op: k.Op, State: k.State, Commit: k.Commit, Checkpoint: k.Checkpoint}
	if !w.asked.IsZero() {
		p.At, p.Time = 0, w.asked
		if p.Around, err = w.around(); err != nil {
			return nil, err
		}
	}
	seqs := []uint64{w.head.Size - 1}
	older, err := w.wayBack(userKey(key), at, whole)
	if err != nil {
		return nil, w.vault.damaged(err)
	}
	for _, ver := range older {
		e, err := w.evidence(ver.Seq, uint64(ver.Op))
		if err != nil {
			return nil, err
		}
		p.Older = append(p.Older, e)
		seqs = append(seqs, ver.Seq)
	}
	if p.Path, err = w.together(seqs...); err != nil {
		return nil, err
	}
	return p.Encode()
}

// wayBack are the older versions that a proof shows, from the newest on: those on
// the way to a position above 0, and if whole is true all behind it.
func (w *View) wayBack(stored []byte, at uint64, whole bool) (older []index.Version, err error) {
	leaf, ok, err := w.state.Get(stored)
	if err != nil || !ok || at > 0 && leaf.Created > at {
		return nil, err // there was none yet
	}
	v, ok, err := w.vault.index.At(stored, w.head.Size-1)
	if err != nil || !ok {
		return nil, err
	}
	for behind := at > 0 && v.Seq > at; behind || whole && v.N > 1; behind = at > 0 && v.Seq > at {
		seq := v.Prev
		if behind && v.Skip > at {
			seq = v.Skip
		}
		next, ok, err := w.vault.index.At(stored, seq)
		if err != nil {
			return nil, err
		}
		if !ok || next.Seq != seq {
			return nil, fmt.Errorf("%w: key %q has no version at seq %d, to which the one at seq %d leads", ErrDamaged, stored, seq, v.Seq)
		}
		v = next
		older = append(older, v)
	}
	return older, nil
}

// evidence reads a transaction, and of a wide one the op with a number.
func (w *View) evidence(seq, number uint64) (e proof.Evidence, err error) {
	line, tx, err := w.transaction(seq)
	if err != nil {
		return e, err
	}
	e.Record = line
	if tx.Wide == nil {
		return e, nil
	}
	lines, err := w.opLines(seq)
	if err != nil {
		return e, err
	}
	if number >= uint64(len(lines)) {
		return e, fmt.Errorf("%w: record %d has %d ops, the index names op %d", ErrDamaged, seq, len(lines), number)
	}
	e.Op, e.Number = lines[number], number
	e.Siblings, err = merkle.InclusionProof(e.Number, uint64(len(lines)), leafHashes(digestsOf(lines)))
	return e, err
}

// leafHashes reads the nodes of a small tree from its leaves.
type leafHashes []merkle.Hash

// ReadHashes implements [merkle.HashReader].
func (l leafHashes) ReadHashes(ids []merkle.NodeID) ([]merkle.Hash, error) {
	hashes := make([]merkle.Hash, len(ids))
	for i, id := range ids {
		hashes[i] = merkle.RootOf(l[id.Index<<id.Level : (id.Index+1)<<id.Level])
	}
	return hashes, nil
}
