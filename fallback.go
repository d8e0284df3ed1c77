package graven

import (
	"errors"
	"fmt"

	"graven/internal/index"
	"graven/internal/journal"
	"graven/record"
)

// A process that only reads cannot make again what it finds damaged. It answers
// without it where another way is short, and otherwise says what to do.

// newestVersion is the index's newest version of a stored key at a position. If the
// index is damaged there, and the position is the view's, state and log say it.
func (w *View) newestVersion(stored []byte, pos uint64) (index.Version, bool, error) {
	ver, ok, err := w.vault.index.At(stored, pos)
	if !errors.Is(err, index.ErrDamaged) || !w.newest {
		return ver, ok, err
	}
	leaf, ok, other := w.state.Get(stored)
	if other != nil || ok && leaf.Seq > pos {
		return ver, false, err
	}
	if !ok {
		return ver, false, nil // the state has every key that was ever written
	}
	line, tx, other := w.transaction(leaf.Seq)
	if other != nil {
		return ver, false, errors.Join(err, other)
	}
	ops, lines, other := w.vault.opsOf(line, leaf.Seq, tx)
	if other != nil {
		return ver, false, errors.Join(err, other)
	}
	for i := range ops {
		if op := &ops[i]; op.Kind.WritesKey() && string(op.StoredKey()) == string(stored) && record.OpDigest(lines[i]) == leaf.Digest {
			return index.Version{
				Seq: leaf.Seq, N: op.N, Prev: op.Prev, Skip: op.Skip, Op: uint32(i), Live: op.Kind == record.OpPut,
				Size: op.Size, Value: op.Value, Chunks: op.Chunks, Type: op.Type,
			}, true, nil
		}
	}
	return ver, false, err
}

// gridOr0 is the journal's grid. Where a reader finds it damaged, a file is read from
// its beginning.
func (v *Vault) gridOr0(seq uint64) (at uint64, pos journal.Pos, err error) {
	at, pos, err = v.gridPlace(seq)
	if v.readOnly != "" && errors.Is(err, index.ErrDamaged) {
		return 0, journal.Pos{}, nil
	}
	return at, pos, err
}

// wayOut adds to an error about derived data what makes it again.
func (v *Vault) wayOut(err error) error {
	pages := isPageDamage(err)
	switch {
	case !isDerivedDamage(err):
		return err
	case v.readOnly != "":
		return fmt.Errorf("%w; log and blocks are not concerned: graven rebuild makes it again", err)
	case pages:
		return fmt.Errorf("%w; log and blocks are not concerned: end this process, and the next that opens the vault for writing builds the state again", err)
	}
	return fmt.Errorf("%w; log and blocks are not concerned: the next open for writing makes it again", err)
}
