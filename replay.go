package graven

import (
	"fmt"

	"graven/internal/block"
	"graven/internal/index"
	"graven/internal/journal"
	"graven/merkle"
	"graven/record"
	"graven/state"
)

// replay fills index, state and idempotency ids from the first size records of
// the log, and checks the state root of the last commit. It is what a restart
// costs; every version goes through applyOps, as on the live path.
func (v *Vault) replay(size uint64, want merkle.Hash) error {
	v.index = index.New()
	v.ids = newIdempotency()
	v.pending = map[artifactKey]struct{}{}
	v.tip.policy = v.first
	order := block.NewOrder(v.blocks)
	edit := state.Map{}.Edit()
	const stretch = 1024
	for from := uint64(0); from < size; from += stretch {
		lines, err := v.journal.Lines(from, min(size, from+stretch))
		if err != nil {
			return v.damaged(err)
		}
		for i, line := range lines {
			if err := v.replayLine(edit, order, from+uint64(i), line); err != nil {
				return err
			}
		}
	}
	v.tip.state = edit.Map()
	if got := v.tip.state.Root(); got != want {
		return fmt.Errorf("%w: the records up to %d give state root %v, the last commit says %v", ErrDamaged, size, got, want)
	}
	v.ids.purge()
	return v.finishOrder(order)
}

// replayLine applies one record.
func (v *Vault) replayLine(edit *state.Edit, order *block.Order, seq uint64, line []byte) error {
	at := func() journal.Pos {
		p, _ := v.journal.Position(seq) // it was read a moment ago
		return p
	}
	rec, err := record.Parse(line)
	if err != nil {
		return lineError(seq, at(), "%v", err)
	}
	switch b := rec.Body.(type) {
	case *record.Genesis:
		return mentionAll(order, classLog, b.Authority, b.Policy)
	case *record.Document:
		if err := mentionAll(order, classLog, b.Doc); err != nil {
			return err
		}
		switch b.Kind {
		case record.KindPolicy:
			return v.replayPolicy(seq, line, b)
		case record.KindAuthority:
			v.authority = nil // not applied yet: the vault is read-only
		}
	case *record.Tx:
		if err := v.replayTx(edit, order, line, seq, b); err != nil {
			return fmt.Errorf("%s, offset %d: %w", logName(at().File), at().Offset, err)
		}
		key := idemKey{b.Actor, b.ID}
		if v.audit != nil {
			if err := v.usedOnce(key, b); err != nil {
				return fmt.Errorf("%w: record %d: %w", ErrDamaged, seq, err)
			}
		}
		v.ids.note(key, seq, b.Req, rec.Time, b.Sig != nil)
	}
	return nil
}

// usedOnce refuses a transaction that repeats an id within its window, or a signed
// request.
func (v *Vault) usedOnce(key idemKey, tx *record.Tx) error {
	if first, ok := v.ids.lookup(key); ok && key.id != "" {
		return fmt.Errorf("id %q of actor %q is that of record %d", key.id, key.actor, first.seq)
	}
	if seq, ok := v.ids.spent(tx.Req); ok && tx.Sig != nil {
		return fmt.Errorf("the signed request %v is that of record %d", tx.Req, seq)
	}
	return nil
}

func mentionAll(order *block.Order, class string, ids ...record.ID) error {
	for _, id := range ids {
		if err := order.Mention(class, id); err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	return nil
}

// audit is what a check wants of a replay besides index and state: it replays
// on past artifacts that are missing, and holds requests and conditions against
// the log.
type audit struct {
	missing []missed
	chunked map[chunkedValue]uint64 // and the last record that speaks of it
}

// chunkedValue is what an op says of a value in chunks.
type chunkedValue struct {
	list, whole record.ID
	size        uint64
}

// missed is what an op of a record names and no block holds as the op says.
type missed struct {
	seq uint64
	err error
}

func (a *audit) missed(seq uint64, err error) { a.missing = append(a.missing, missed{seq, err}) }

// replayTx applies a transaction after holding its op lines against what the
// ledger knows: the rules of wide transactions and chunked values, the links of
// every version, and in a check the request's digest.
func (v *Vault) replayTx(edit *state.Edit, order *block.Order, line []byte, seq uint64, tx *record.Tx) error {
	if tx.Wide != nil {
		if err := mentionAll(order, classLog, tx.Wide.Lines); err != nil {
			return err
		}
	}
	ops, lines, err := v.opsOf(line, seq, tx)
	if err != nil {
		return err
	}
	if err := v.checkForm(seq, tx, ops, lines); err != nil {
		return err
	}
	if v.audit != nil {
		if err := v.conditions(ops, seq); err != nil {
			return fmt.Errorf("%w: record %d was committed although a condition of it did not hold: %v", ErrDamaged, seq, err)
		}
	}
	chain := make([]link, len(ops))
	for i := range ops {
		op := &ops[i]
		if (op.Kind == record.OpPut || op.Kind == record.OpAppend) && op.Chunks == nil {
			// Of a sealed block that is lost the open has said so already; its
			// values are missed when they are read.
			err := mentionAll(order, v.className(tx.Class), op.Value)
			if err != nil && v.audit != nil {
				v.audit.missed(seq, fmt.Errorf("record %d op %d: %w", seq, i, err))
			} else if err != nil && !v.lost {
				return fmt.Errorf("record %d op %d: %w", seq, i, err)
			}
			if ref, ok := v.blocks.Lookup(v.className(tx.Class), op.Value); ok && v.audit != nil && uint64(ref.Size()) != op.Size {
				v.audit.missed(seq, fmt.Errorf("%w: record %d op %d: value %v has %d bytes, the op says %d", ErrDamaged, seq, i, op.Value, ref.Size(), op.Size))
			}
		}
		if op.Chunks != nil && v.audit != nil {
			v.audit.chunked[chunkedValue{*op.Chunks, op.Value, op.Size}] = seq
		}
		if !op.Kind.WritesKey() {
			continue
		}
		chain[i] = v.linkOf(op.StoredKey(), seq)
		if says := (link{op.Prev, op.Skip, op.N}); says != chain[i] {
			return fmt.Errorf("%w: record %d op %d: prev, skip, n are %v, the log gives %v", ErrDamaged, seq, i, says, chain[i])
		}
	}
	return v.applyOps(edit, seq, ops, digestsOf(lines), chain, nil)
}

// checkForm holds a transaction against the rules that depend on the vault's
// parameters, and against its request.
func (v *Vault) checkForm(seq uint64, tx *record.Tx, ops []record.Op, lines [][]byte) error {
	size := uint64(0)
	for i, line := range lines {
		size += uint64(len(line)) + 1
		if err := ops[i].CheckChunks(v.genesis.ValueLimit); err != nil {
			return fmt.Errorf("%w: record %d op %d: %w", ErrDamaged, seq, i, err)
		}
	}
	if wide := size > v.genesis.OpLines; wide != (tx.Wide != nil) {
		return fmt.Errorf("%w: record %d has %d bytes of op lines and wide is %v; above %d it must be, below it may not", ErrDamaged, seq, size, tx.Wide != nil, v.genesis.OpLines)
	}
	if v.audit == nil {
		return nil
	}
	if err := tx.VerifyReq(lines); err != nil {
		return fmt.Errorf("%w: record %d: %w", ErrDamaged, seq, err)
	}
	if p := v.tip.policy; p.lacks == "" {
		if err := p.allows(v.genesis.Vault, tx.Actor, tx.Class, tx.Req, tx.Sig); err != nil {
			return fmt.Errorf("%w: record %d was committed although policy %d did not allow it: %v", ErrDamaged, seq, p.number, err)
		}
	}
	return nil
}
