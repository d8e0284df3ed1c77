package graven

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"graven/internal/block"
	"graven/internal/index"
	"graven/merkle"
	"graven/record"
	"graven/state"
)

// tip is what the next record builds on: the newest state in memory, durable
// or on its way. Only the committer touches it.
//
// It is a value: assigning it copies the tree's frontier too.
//
// Invariants: tree holds exactly next leaves; outside a group the record
// next-1 is a commit line whose leaf hash is prev.
type tip struct {
	next   uint64      // seq of the next record
	time   time.Time   // of the newest record; times never go back
	tree   merkle.Tree // RFC 6962 frontier over all records
	state  state.Map   // after the newest commit
	epoch  uint64
	height uint64      // of the next commit
	prev   merkle.Hash // leaf hash of the newest commit line
	policy *policy     // in force for the next record

	run      run    // that the next record belongs to
	versions uint64 // of keys, since genesis
}

// group is what becomes durable together. The committer fills it while the
// group before it syncs, seals it with a commit line, and hands it on.
type group struct {
	before tip // what to go back to if the group is refused before its first byte
	after  tip

	edit    *state.Edit
	lines   []byte // the log lines, each with its newline
	leaves  []merkle.Hash
	records int
	commit  []byte    // the commit line; set by seal
	ended   *endedRun // the run that ends with it, if one does; set by seal
	broken  error     // why it can only be refused: pages of the state could not be read

	classes   []string                    // classes touched, in order of first touch
	artifacts map[string][]block.Artifact // what enters the open block of each class, in order
	admits    []record.Block              // chunk blocks that this group admits
	seals     []record.Block              // sealed blocks that this group records
	segments  []record.Segment            // index segments that it records
	errands   []*errand                   // of snapshots

	waiting []waiter // whom to answer, in order
	touched [][]byte // stored keys that got a version
	txs     uint64   // transactions
	ops     int
	bytes   int
}

// artifactKey names an artifact of a class, or with an empty class a chunk block.
type artifactKey struct {
	class string
	id    record.ID
}

// waiter is a request in a group, and the seq of the record that answers it.
type waiter struct {
	r        *request
	seq      uint64
	time     time.Time
	replayed bool
	err      error // a refusal, to be told when what it was judged against is durable
}

// newGroup begins a group behind the tip. Here, between two groups, the committer goes
// over to a new ground.
func (v *Vault) newGroup() *group {
	v.changeGround()
	return &group{before: v.tip, edit: v.tip.state.Edit(), artifacts: map[string][]block.Artifact{}}
}

// now is the time of the next record: the host's, in nanoseconds, never going back.
func (v *Vault) now() time.Time {
	if t := v.host.Now().UTC().Round(0); t.After(v.tip.time) {
		return t
	}
	return v.tip.time
}

// add encodes a record and makes it the newest of the group.
func (v *Vault) add(g *group, body record.Body) error {
	at := v.now()
	rec := record.New(v.tip.next, at, body)
	if err := v.append(g, at, rec.Append); err != nil {
		return err
	}
	if rec.Kind != record.KindCommit {
		v.recent.other(rec.Seq, rec.Kind, rec.V)
	}
	return nil
}

// append makes the line that encode appends the newest record of the group.
func (v *Vault) append(g *group, at time.Time, encode func(dst []byte) ([]byte, error)) error {
	start := len(g.lines)
	lines, err := encode(g.lines)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	leaf := merkle.LeafHash(lines[start:])
	g.lines = append(lines, '\n')
	g.leaves = append(g.leaves, leaf)
	g.records++
	v.tip.tree.Append(leaf)
	v.tip.next++
	v.tip.time = at
	v.tip.run.records++
	return nil
}

// sequence gives a request its place: it checks the conditions against the
// tip, and if they hold writes the request's records into the group. Nothing of
// a request that is refused is left behind. The error, if any, is the caller's.
func (v *Vault) sequence(g *group, r *request) error {
	if r.policy != nil {
		return v.sequencePolicy(g, r)
	}
	if r.errand != nil {
		return v.sequenceErrand(g, r)
	}
	if done, err := v.seenBefore(g, r); done || err != nil {
		return err
	}
	if r.judged != v.tip.policy { // it changed since the caller looked
		r.denied = v.tip.policy.allows(v.genesis.Vault, r.actor, r.class, r.req, r.sig)
	}
	if r.denied != nil {
		return r.denied
	}
	if err := errors.Join(v.deletesExist(r, g.edit), v.conditions(r.ops, v.tip.next, g.edit)); err != nil {
		return err
	}
	chain, err := v.links(r.ops, v.tip.next, g.edit)
	if err != nil {
		return err
	}
	full, size := opLines(r, chain)
	tx := &record.Tx{Actor: r.actor, ID: r.id, Class: r.class, Req: r.req, Sig: r.sig}
	digests := digestsOf(full)
	var wide, inline []byte
	if uint64(size) > v.genesis.OpLines {
		wide = joinLines(full, size)
		tx.Wide = &record.Wide{Lines: record.IDOf(wide), Size: uint64(size), Count: uint64(len(full)), Root: merkle.RootOf(digests)}
	} else {
		inline = joinLines(full, size)
	}
	mark := v.markOf(g)
	for i := range r.contents {
		if err := v.admit(g, r.contents[i].upload); err != nil {
			v.backTo(g, mark)
			return err
		}
	}
	seq := v.tip.next
	at := v.now()
	encode := record.New(seq, at, tx).Append
	if wide == nil {
		encode = func(dst []byte) ([]byte, error) { return record.AppendTx(dst, seq, at, tx, inline) }
	}
	if err := v.append(g, at, encode); err != nil {
		v.backTo(g, mark)
		return err
	}
	if wide != nil {
		v.mention(g, classLog, block.Artifact{ID: tx.Wide.Lines, Bytes: wide}, 0)
	}
	for i := range r.contents {
		if c := &r.contents[i]; c.bytes != nil {
			v.mention(g, v.className(r.class), block.Artifact{ID: c.id, Bytes: c.bytes}, r.lookedFor(i))
		}
	}
	v.tip.run.ops += uint64(len(r.ops))
	v.tip.run.bytes += uint64(size)
	if err := v.applyOps(g.edit, seq, r.ops, digests, chain, &g.touched); err != nil {
		// Half of it may be in index and state: the group can only be taken back.
		g.broken = err
		return err
	}
	v.noteTransaction(g, r, seq)
	g.waiting = append(g.waiting, waiter{r: r, seq: seq, time: at})
	g.ops += len(r.ops)
	g.bytes += r.bytes
	return nil
}

// groupMark is how far a group had come before a request.
type groupMark struct {
	tip                              tip
	lines, leaves, records, admitted int
}

func (v *Vault) markOf(g *group) groupMark {
	return groupMark{tip: v.tip, lines: len(g.lines), leaves: len(g.leaves), records: g.records, admitted: len(g.admits)}
}

// backTo takes the records of a refused request out of its group again.
func (v *Vault) backTo(g *group, m groupMark) {
	for _, b := range g.admits[m.admitted:] {
		delete(v.pending, artifactKey{"", b.ID})
	}
	v.tip = m.tip
	v.recent.cut(v.tip.next, 0)
	g.lines, g.leaves, g.records, g.admits = g.lines[:m.lines], g.leaves[:m.leaves], m.records, g.admits[:m.admitted]
}

// newest is the newest version of a stored key at a position, as the index has it. The
// committer's state, which is bound by the roots of the log, must say the same before
// anything is signed on it: an edit is what it is held against, nil that it is not. Of a
// key that the state never had the index is not asked: that is certain, and would take a
// look at every segment.
func (v *Vault) newest(edit *state.Edit, key []byte, pos uint64) (index.Version, state.Leaf, bool, error) {
	var leaf state.Leaf
	if edit != nil {
		var there bool
		var err error
		if leaf, there, err = edit.Get(key); !there {
			return index.Version{}, leaf, false, err
		}
	}
	last, ok, err := v.index.At(key, pos)
	if err != nil || edit == nil {
		return last, leaf, ok, err
	}
	if !ok || leaf.Seq != last.Seq || leaf.N != last.N || leaf.Live != last.Live {
		err = v.index.Contradicted(max(last.Seq, leaf.Seq), fmt.Sprintf("version %d of key %q at seq %d, live %v, as the state has it", leaf.N, key, leaf.Seq, leaf.Live),
			fmt.Sprintf("version %d at seq %d, live %v", last.N, last.Seq, last.Live))
	}
	return last, leaf, ok, err
}

// link is how a version is tied to the ones before it: the fields of its op.
type link struct {
	prev, skip, n uint64
	created       uint64 // seq of the key's first version; 0: there is none, or nobody has looked
}

// links are the links of the versions that record seq makes. What does not write
// a key has none. For edit see newest.
func (v *Vault) links(ops []record.Op, seq uint64, edit *state.Edit) ([]link, error) {
	chain := make([]link, len(ops))
	for i := range ops {
		if !ops[i].Kind.WritesKey() {
			continue
		}
		l, err := v.linkOf(ops[i].StoredKey(), seq, edit)
		if err != nil {
			return nil, v.damaged(err)
		}
		chain[i] = l
	}
	return chain, nil
}

// linkOf is the link of the version of a stored key that record seq makes. The
// skew-binary rule needs two older versions at most: if the last two jumps were
// equally wide, the next is as wide as both together.
func (v *Vault) linkOf(key []byte, seq uint64, edit *state.Edit) (link, error) {
	last, leaf, ok, err := v.newest(edit, key, seq-1)
	if err != nil || !ok {
		return link{n: 1}, err
	}
	l := link{prev: last.Seq, n: last.N + 1, created: leaf.Created}
	switch record.J(l.n) {
	case 0:
	case last.N:
		l.skip = last.Seq
	default: // j(j(last)), which stands in the version that last skips to
		older, ok, err := v.index.At(key, last.Skip)
		if err != nil {
			return link{}, err
		}
		if !ok || older.Seq != last.Skip {
			return link{}, fmt.Errorf("%w: key %q has no version at seq %d, to which the one at seq %d skips", ErrDamaged, key, last.Skip, last.Seq)
		}
		l.skip = older.Skip
	}
	return l, nil
}

// applyOps puts the versions that a transaction made into the index and the
// state. The live path, which wants to know the keys touched, and every replay go
// through here. A replay passes over what segments hold already, and has no edit
// where the state's pages hold it.
func (v *Vault) applyOps(edit *state.Edit, seq uint64, ops []record.Op, digests []merkle.Hash, chain []link, touched *[][]byte) error {
	for i := range ops {
		op := &ops[i]
		if !op.Kind.WritesKey() {
			continue
		}
		key := op.StoredKey()
		if seq >= v.indexed {
			ver := index.Version{
				Seq: seq, N: chain[i].n, Prev: chain[i].prev, Skip: chain[i].skip, Op: uint32(i), Live: op.Kind == record.OpPut,
				Size: op.Size, Value: op.Value, Chunks: op.Chunks, Type: op.Type,
			}
			if err := v.index.Add(key, ver); err != nil {
				return fmt.Errorf("%w: %w", ErrDamaged, err)
			}
			v.tip.versions++
			if touched != nil {
				*touched = append(*touched, key)
			}
		}
		if edit == nil {
			continue
		}
		if err := putVersion(edit, op, seq, chain[i], digests[i]); err != nil {
			v.condemn(err)
			return v.wayOut(fmt.Errorf("%w: record %d op %d: %w", ErrDamaged, seq, i, err))
		}
	}
	return nil
}

// mention lets an artifact enter its class's open block at its first mention. For
// forgotten see block.Store.MentionedSince.
func (v *Vault) mention(g *group, class string, a block.Artifact, forgotten uint64) {
	key := artifactKey{class, a.ID}
	if _, ok := v.pending[key]; ok {
		return
	}
	there, err := v.blocks.MentionedSince(forgotten, class, a.ID)
	if err != nil { // its record is written already
		g.broken = v.damaged(err)
	}
	if there || err != nil {
		return
	}
	v.pending[key] = struct{}{}
	if _, ok := g.artifacts[class]; !ok {
		g.classes = append(g.classes, class)
	}
	g.artifacts[class] = append(g.artifacts[class], a)
}

// admit writes the block record that makes an uploaded chunk block part of the
// ledger, unless an earlier record did.
func (v *Vault) admit(g *group, up *block.Uploaded) error {
	if up == nil {
		return nil
	}
	key := artifactKey{"", up.Block.ID}
	if _, ok := v.pending[key]; ok || v.blocks.Admitted(up.Block.ID) {
		return nil
	}
	rec := up.Block
	if err := v.add(g, &rec); err != nil {
		return err
	}
	v.pending[key] = struct{}{}
	g.admits = append(g.admits, rec)
	return nil
}

// seal ends a group with its commit line. After it the group is immutable.
func (v *Vault) seal(g *group) error {
	v.tip.state = g.edit.Map()
	c := &record.Commit{
		Epoch: v.tip.epoch, Height: v.tip.height, Lines: record.IDOf(g.lines),
		Root: v.tip.tree.Root(), State: v.tip.state.Root(),
	}
	if v.tip.height > 0 {
		prev := v.tip.prev
		c.Prev = &prev
	}
	start := len(g.lines)
	if err := v.add(g, c); err != nil {
		return err
	}
	g.commit = g.lines[start : len(g.lines)-1 : len(g.lines)-1]
	v.tip.prev = g.leaves[len(g.leaves)-1]
	v.tip.height++
	g.ended = v.endRun(v.tip.next)
	g.after = v.tip
	return nil
}

// deletesExist refuses deletes of absent keys, unless they were allowed to be.
func (v *Vault) deletesExist(r *request, edit *state.Edit) error {
	for i := range r.ops {
		if op := &r.ops[i]; op.Kind == record.OpDelete && !r.absentOK[i] {
			last, _, ok, err := v.newest(edit, op.StoredKey(), v.tip.next)
			if err != nil {
				return v.damaged(err)
			}
			if !ok || !last.Live {
				return fmt.Errorf("%w: key %s cannot be deleted, it is absent", ErrNotFound, keyText(op.Key))
			}
		}
	}
	return nil
}

// conditions checks what a transaction demands of the vault as it was before
// its record, seq. The committer asks, and every check again. For edit see newest.
func (v *Vault) conditions(ops []record.Op, seq uint64, edit *state.Edit) error {
	for i := range ops {
		op := &ops[i]
		if op.Kind == record.OpIf && op.If == nil {
			from, to := rangeOf(op)
			changed, err := v.index.Changed(from, to, op.Since, seq-1)
			if err != nil {
				return v.damaged(err)
			}
			if changed != 0 {
				return &ConflictError{
					Key: rangeText(op), Op: i,
					Wanted: fmt.Sprintf("no change after seq %d", op.Since), Found: fmt.Sprintf("one at seq %d", changed),
				}
			}
			continue
		}
		if op.If == nil {
			continue
		}
		last, _, ok, err := v.newest(edit, op.StoredKey(), seq-1)
		if err != nil {
			return v.damaged(err)
		}
		if c := holds(op, last, ok); c != nil {
			c.Op = i
			return c
		}
	}
	return nil
}

// holds checks the condition of one op against the key's newest version.
func holds(op *record.Op, last index.Version, ok bool) *ConflictError {
	found := "no version"
	if ok {
		found = "a deleted key, seq " + strconv.FormatUint(last.Seq, 10)
		if last.Live {
			found = fmt.Sprintf("value %v, seq %d", last.Value, last.Seq)
		}
	}
	conflict := func(wanted string) *ConflictError {
		return &ConflictError{Key: keyText(op.Key), Wanted: wanted, Found: found}
	}
	live := ok && last.Live
	switch c := op.If; c.Kind {
	case record.Absent:
		if live {
			return conflict("an absent key")
		}
	case record.Present:
		if !live {
			return conflict("a present key")
		}
	case record.AtSeq:
		if last.Seq != c.Seq { // the zero Version has seq 0: never written
			return conflict("seq " + strconv.FormatUint(c.Seq, 10))
		}
	case record.HasValue:
		if !live || last.Value != c.Value {
			return conflict("value " + c.Value.String())
		}
	}
	return nil
}

// rangeText names the range of a condition.
func rangeText(op *record.Op) string {
	if len(op.To) == 0 {
		return fmt.Sprintf("%q to the end", op.From)
	}
	return fmt.Sprintf("%q to %q", op.From, op.To)
}

// rangeOf is the stored-key interval of a range condition.
func rangeOf(op *record.Op) (from, to []byte) {
	from = append([]byte{op.Space}, op.From...)
	if len(op.To) > 0 {
		return from, append([]byte{op.Space}, op.To...)
	}
	return from, spaceEnd(op.Space)
}

// spaceEnd is the least stored key after all of a space; nil after the last space.
func spaceEnd(space byte) []byte {
	if space == 0xFF {
		return nil
	}
	return []byte{space + 1}
}

func joinLines(lines [][]byte, size int) []byte {
	out := make([]byte, 0, size)
	for _, l := range lines {
		out = append(append(out, l...), '\n')
	}
	return out
}
