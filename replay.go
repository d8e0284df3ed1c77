package graven

import (
	"fmt"

	"graven/internal/block"
	"graven/internal/journal"
	"graven/merkle"
	"graven/record"
	"graven/state"
)

// replayer applies the records of the log from the start of an open on. It is what
// a restart costs; every version goes through applyOps, as on the live path.
type replayer struct {
	v       *Vault
	mend    bool // files may be made again
	late    bool // a keeper comes behind: only that is made which it would be too late for
	order   entering
	place   func(seq uint64) (journal.Pos, error) // of a record, for errors; nil: in the vault's own log
	touched *[][]byte                             // as applyOps wants it
	edit    *state.Edit                           // nil below based
	based   uint64                                // the records whose versions the state began with
	base    state.Map
}

// entering lets artifacts enter the blocks in the order of the log: a
// [block.Order] those that are in them, a sync those that come from its source.
type entering interface {
	Mention(class string, id record.ID) error
	Admit(block record.ID)
	Mark() block.Mark
}

// replay fills index, state and what else the committer remembers with what stands
// behind the start, up to size, and checks the state root of the last commit. Index
// and state may begin later than the start; what they have is passed over. With mend
// it makes the segments and pages that are due on the way, so memory does not grow
// with the log.
func (v *Vault) replay(size uint64, want merkle.Hash, mend bool) error {
	v.pending = map[artifactKey]struct{}{}
	r := &replayer{v: v, mend: mend, late: mend}
	var err error
	if r.base, r.based, err = v.baseState(); err != nil {
		return err
	}
	order, err := v.begin()
	if err != nil {
		return err
	}
	r.order = order
	began := v.runMark
	const stretch = 1024
	for from := v.entry.size; from < size; from += stretch {
		lines, err := v.journal.Lines(from, min(size, from+stretch))
		if err != nil {
			return v.damaged(err)
		}
		if err := r.lines(from, lines); err != nil {
			return err
		}
	}
	v.tip.state = r.state()
	if got := v.tip.state.Root(); got != want {
		return fmt.Errorf("%w: the records up to %d give state root %v, the last commit says %v", ErrDamaged, size, got, want)
	}
	v.mentioned = order.Mark()
	if err := v.finishOrder(order); err != nil {
		return err
	}
	v.blocks.Forget(began) // that much is in the index
	return nil
}

// state is the state so far.
func (r *replayer) state() state.Map {
	if r.edit == nil {
		return r.base
	}
	return r.edit.Map()
}

// lines applies the records from one on. What the state needs to have read for them it
// reads first, all at a time.
func (r *replayer) lines(from uint64, lines [][]byte) error {
	records := make([]*record.Record, len(lines))
	var keys [][]byte
	for i, line := range lines {
		rec, err := record.Parse(line)
		if err != nil { // those before it are held against their rules first
			records = records[:i]
			break
		}
		records[i] = rec
		if tx, ok := rec.Body.(*record.Tx); ok {
			keys = appendKeys(keys, tx.Ops)
		}
	}
	if e := r.edit; e != nil {
		e.Fetch(keys)
	}
	for i, rec := range records {
		if err := r.record(from+uint64(i), lines[i], rec); err != nil {
			return err
		}
	}
	if n := len(records); n < len(lines) {
		return r.line(from+uint64(n), lines[n])
	}
	return nil
}

// appendKeys appends the keys that ops write.
func appendKeys(keys [][]byte, ops []record.Op) [][]byte {
	for i := range ops {
		if ops[i].Kind.WritesKey() {
			keys = append(keys, ops[i].StoredKey())
		}
	}
	return keys
}

// line applies one record.
func (r *replayer) line(seq uint64, line []byte) error {
	rec, err := record.Parse(line)
	if err != nil {
		return lineError(seq, r.at(seq), "%v", err)
	}
	return r.record(seq, line, rec)
}

// at is where a record lies that was read a moment ago.
func (r *replayer) at(seq uint64) journal.Pos {
	place := r.place
	if place == nil {
		place = r.v.journal.Position
	}
	p, _ := place(seq)
	return p
}

// record applies one that was parsed.
func (r *replayer) record(seq uint64, line []byte, rec *record.Record) (err error) {
	v := r.v
	if seq >= r.based && r.edit == nil {
		r.edit = r.base.Edit()
	}
	covered := seq < v.indexed // by index segments
	if !covered {
		v.tip.run.records++
	}
	if seq+1 == v.indexed && rec.Kind != record.KindCommit {
		return v.index.Contradicted(seq, "a segment that ends with a commit line", fmt.Sprintf("a record of kind %s at its end", rec.Kind))
	}
	switch b := rec.Body.(type) {
	case *record.Genesis:
		if !covered {
			err = r.mention(b.Authority, b.Policy)
		}
	case *record.Document:
		if !covered {
			err = r.mention(b.Doc)
		}
		switch {
		case err != nil:
		case b.Kind == record.KindPolicy:
			err = v.replayPolicy(seq, line, b)
		case b.Kind == record.KindAuthority:
			v.authority = nil // not applied yet: the vault is read-only
		}
	case *record.Tx:
		if err := r.transaction(line, seq, b); err != nil {
			at := r.at(seq)
			return fmt.Errorf("%s, offset %d: %w", logName(at.File), at.Offset, err)
		}
		return nil
	case *record.Commit:
		return r.commit(seq, b)
	case *record.Block:
		if !covered && b.Number == nil {
			r.order.Admit(b.ID)
		}
	case *record.Segment:
		v.segmentsTo[b.Level] = max(v.segmentsTo[b.Level], b.Number+1)
	}
	if !covered {
		v.recent.other(seq, rec.Kind, rec.V)
	}
	return err
}

// transaction applies a transaction, and remembers it.
func (r *replayer) transaction(line []byte, seq uint64, tx *record.Tx) error {
	v := r.v
	if err := r.tx(line, seq, tx); err != nil {
		return err
	}
	if seq < v.indexed {
		return nil
	}
	key := idemKey{tx.Actor, tx.ID}
	if v.audit != nil {
		if err := v.usedOnce(key, tx); err != nil {
			return fmt.Errorf("%w: record %d: %w", ErrDamaged, seq, err)
		}
	}
	v.recent.transaction(key, seq, tx.Req, tx.Sig != nil)
	return nil
}

// commit ends a run if it is due and, where files may be made, makes what is due.
func (r *replayer) commit(seq uint64, c *record.Commit) error {
	v := r.v
	if seq >= v.indexed {
		if ended := v.endRun(seq + 1); ended != nil {
			v.finishRun(ended, r.order.Mark())
		}
	}
	if !r.mend {
		return nil
	}
	runs, times := 1, 1
	if r.late {
		runs, times = runPressure, statePressure
	}
	if v.endedRuns() >= runs {
		if err := v.sealRuns(seq + 1); err != nil {
			return err
		}
	}
	heavy := r.edit != nil && (r.edit.Weight() >= int64(times)*v.opts.stateBytes || r.edit.Puts() >= times*int(v.genesis.RunOps))
	if !heavy && (r.edit == nil || !v.asksFor(seq+1)) {
		return nil
	}
	m := r.edit.Map()
	if got := m.Root(); got != c.State {
		return fmt.Errorf("%w: record %d: the records before it give state root %v, it says %v", ErrDamaged, seq, got, c.State)
	}
	m, _, err := v.pages.Write(m, seq+1)
	if err != nil {
		return fmt.Errorf("state pages: %w", err)
	}
	r.edit = m.Edit()
	return nil
}

// usedOnce refuses a transaction that repeats an id within its window, or a signed
// request.
func (v *Vault) usedOnce(key idemKey, tx *record.Tx) error {
	first, ok, err := v.usedID(key)
	if err != nil {
		return err
	}
	if ok && key.id != "" {
		return fmt.Errorf("id %q of actor %q is that of record %d", key.id, key.actor, first.seq)
	}
	if tx.Sig == nil {
		return nil
	}
	seq, ok, err := v.spent(tx.Req)
	if err != nil {
		return err
	}
	if ok {
		return fmt.Errorf("the signed request %v is that of record %d", tx.Req, seq)
	}
	return nil
}

// mention lets documents and op lines enter the blocks, in the order of the log.
func (r *replayer) mention(ids ...record.ID) error {
	for _, id := range ids {
		if err := r.order.Mention(classLog, id); err != nil {
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

// tx applies a transaction after holding its op lines against what the
// ledger knows: the rules of wide transactions and chunked values, the links of
// every version, and in a check the request's digest.
func (r *replayer) tx(line []byte, seq uint64, tx *record.Tx) error {
	v, covered := r.v, seq < r.v.indexed
	if tx.Wide != nil && !covered {
		if err := r.mention(tx.Wide.Lines); err != nil {
			return err
		}
	}
	ops, lines, err := v.opsOf(line, seq, tx)
	if err != nil {
		return err
	}
	size, err := v.checkForm(seq, tx, ops, lines)
	if err != nil {
		return err
	}
	if !covered {
		v.tip.run.ops += uint64(len(ops))
		v.tip.run.bytes += size
	}
	if v.audit != nil {
		if err := v.conditions(ops, seq, nil); err != nil {
			return fmt.Errorf("%w: record %d was committed although a condition of it did not hold: %v", ErrDamaged, seq, err)
		}
	}
	if !covered {
		if err := r.values(seq, tx, ops); err != nil {
			return err
		}
	}
	if r.edit != nil && tx.Wide != nil {
		r.edit.Fetch(appendKeys(nil, ops))
	}
	chain, err := v.links(ops, seq, r.edit)
	if err != nil {
		return err
	}
	for i := range ops {
		op := &ops[i]
		if says := (link{op.Prev, op.Skip, op.N, chain[i].created}); op.Kind.WritesKey() && says != chain[i] {
			return fmt.Errorf("%w: record %d op %d: prev, skip, n are %d, %d, %d, the versions before it give %d, %d, %d",
				ErrDamaged, seq, i, says.prev, says.skip, says.n, chain[i].prev, chain[i].skip, chain[i].n)
		}
	}
	return v.applyOps(r.edit, seq, ops, digestsOf(lines), chain, r.touched)
}

// values lets the values of a transaction enter the blocks.
func (r *replayer) values(seq uint64, tx *record.Tx, ops []record.Op) error {
	v, class := r.v, r.v.className(tx.Class)
	for i := range ops {
		op := &ops[i]
		if op.Chunks != nil && v.audit != nil {
			v.audit.chunked[chunkedValue{*op.Chunks, op.Value, op.Size}] = seq
		}
		if op.Kind != record.OpPut && op.Kind != record.OpAppend || op.Chunks != nil {
			continue
		}
		// Of a sealed block that is lost the open has said so already; its
		// values are missed when they are read.
		err := r.order.Mention(class, op.Value)
		if err != nil && v.audit == nil && !v.lost {
			return fmt.Errorf("%w: record %d op %d: %w", ErrDamaged, seq, i, err)
		}
		if v.audit == nil {
			continue
		}
		if err != nil {
			v.audit.missed(seq, fmt.Errorf("%w: record %d op %d: %w", ErrDamaged, seq, i, err))
		}
		ref, ok, err := v.blocks.Lookup(class, op.Value)
		if err != nil {
			return v.damaged(err)
		}
		if ok && uint64(ref.Size()) != op.Size {
			v.audit.missed(seq, fmt.Errorf("%w: record %d op %d: value %v has %d bytes, the op says %d", ErrDamaged, seq, i, op.Value, ref.Size(), op.Size))
		}
	}
	return nil
}

// checkForm holds a transaction against the rules that depend on the vault's
// parameters, and against its request. It returns the bytes of the op lines.
func (v *Vault) checkForm(seq uint64, tx *record.Tx, ops []record.Op, lines [][]byte) (size uint64, err error) {
	for i, line := range lines {
		size += uint64(len(line)) + 1
		if err := ops[i].CheckChunks(v.genesis.ValueLimit); err != nil {
			return size, fmt.Errorf("%w: record %d op %d: %w", ErrDamaged, seq, i, err)
		}
	}
	if wide := size > v.genesis.OpLines; wide != (tx.Wide != nil) {
		return size, fmt.Errorf("%w: record %d has %d bytes of op lines and wide is %v; above %d it must be, below it may not", ErrDamaged, seq, size, tx.Wide != nil, v.genesis.OpLines)
	}
	if v.audit == nil {
		return size, nil
	}
	if err := tx.VerifyReq(lines); err != nil {
		return size, fmt.Errorf("%w: record %d: %w", ErrDamaged, seq, err)
	}
	if p := v.tip.policy; p.lacks == "" {
		if err := p.allows(v.genesis.Vault, tx.Actor, tx.Class, tx.Req, tx.Sig); err != nil {
			return size, fmt.Errorf("%w: record %d was committed although policy %d did not allow it: %v", ErrDamaged, seq, p.number, err)
		}
	}
	return size, nil
}
