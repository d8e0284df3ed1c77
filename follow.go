package graven

import (
	"context"
	"errors"
	"fmt"

	"graven/internal/block"
	"graven/internal/fsx"
	"graven/internal/journal"
	"graven/merkle"
	"graven/proof"
	"graven/record"
)

// received is one group of a source: its lines were held against each other and are
// in the tree of the source's checkpoint.
type received struct {
	first  uint64 // seq of its first record
	lines  []byte // each with its newline
	ends   []int  // behind each line's newline, in lines
	leaves []merkle.Hash
	blocks []record.Block // of its block records, in order
	state  merkle.Hash    // root that its commit line states
	after  tip            // what of it follows from the lines: next, time, tree, epoch, height, prev
}

// line is record i of the group, without its newline.
func (g *received) line(i int) []byte {
	from := 0
	if i > 0 {
		from = g.ends[i-1]
	}
	return g.lines[from : g.ends[i]-1]
}

// intake reads the groups of a source in order, from a place where mirror and
// source agree, up to a checkpoint of the source.
type intake struct {
	from *Vault
	head proof.Checkpoint
	scan *scanner
	next uint64 // the first record that no group has yet
	// ahead are the lines from next on that were read from the source already.
	ahead [][]byte
}

// readFrom begins behind the tip of a mirror; nil: at the source's beginning.
func readFrom(from *Vault, head proof.Checkpoint, mirror *Vault) *intake {
	r := &intake{from: from, head: head, scan: newScanner()}
	if mirror == nil {
		return r
	}
	t, s := &mirror.tip, r.scan
	s.genesis, s.tree, s.next, s.size = mirror.genesis, t.tree, t.next, t.next
	s.time, s.height, s.epoch, s.prev = t.time, t.height, t.epoch, t.prev
	r.next = t.next
	return r
}

const (
	stretchBytes = 4 << 20 // of lines that are read, about, before they are applied
	aheadLines   = 512     // that are read from the source at once
)

// stretch reads some groups, at least one, and shows that they are in the tree of the
// checkpoint. So no line is accepted that the source's signature does not cover. At
// the checkpoint's size there are none.
func (r *intake) stretch() (groups []*received, err error) {
	bytes := 0
	for r.next < r.head.Size && bytes < stretchBytes {
		g, err := r.group()
		if err != nil {
			return nil, err
		}
		groups = append(groups, g)
		bytes += len(g.lines)
	}
	if len(groups) == 0 {
		return nil, nil
	}
	return groups, r.covered()
}

// group reads one group.
func (r *intake) group() (*received, error) {
	g := &received{first: r.next}
	r.scan.leaf = func(h merkle.Hash) { g.leaves = append(g.leaves, h) }
	for r.next < r.head.Size {
		line, err := r.line()
		if err != nil {
			return nil, err
		}
		g.lines = append(append(g.lines, line...), '\n')
		g.ends = append(g.ends, len(g.lines))
		if r.scan.size == r.next {
			g.blocks, r.scan.blocks = r.scan.blocks, nil
			g.state, g.after = r.scan.state, r.scan.tip()
			return g, nil
		}
	}
	return nil, fmt.Errorf("%w: record %d, the last that the checkpoint covers, ends no group", ErrDamaged, r.head.Size-1)
}

// line reads the next line and holds it against those before.
func (r *intake) line() ([]byte, error) {
	if len(r.ahead) == 0 {
		lines, err := r.from.journal.Lines(r.next, min(r.head.Size, r.next+aheadLines))
		if err != nil {
			return nil, r.from.damaged(err)
		}
		r.ahead = lines
	}
	line := r.ahead[0]
	if err := r.scan.line(r.next, line, journal.Pos{}); err != nil {
		// To find a place in an old part of the log costs reading it: only for the error.
		if at, lost := r.from.journal.Position(r.next); lost == nil {
			err = r.scan.line(r.next, line, at)
		}
		return nil, err
	}
	r.ahead = r.ahead[1:]
	r.next++
	return line, nil
}

// covered shows that what was read is the beginning of the tree of the checkpoint.
func (r *intake) covered() error {
	size, root := r.next, r.scan.tree.Root()
	path, err := merkle.ConsistencyProof(size, r.head.Size, treeHashes{r.from.View()})
	if err != nil {
		return r.from.damaged(err)
	}
	if err := merkle.VerifyConsistency(size, r.head.Size, root, r.head.Root, path); err != nil {
		return fmt.Errorf("%w: the first %d records have root %v, which is not in the tree of the checkpoint of size %d: %w", ErrDamaged, size, root, r.head.Size, err)
	}
	return nil
}

// follower applies groups of a source to a mirror, each as the committer and persist
// did where it was written: the same functions, in the same order, so that the same
// bytes come out.
type follower struct {
	v    *Vault // the mirror, open for following
	from *Vault
	move moved
}

// moved counts what came over.
type moved struct {
	artifacts uint64 // values, documents, op lines; chunk blocks count with all of theirs
	bytes     int64  // of lines and artifacts
}

// apply makes one group durable in the mirror. An error leaves the mirror as it was
// before the group, or poisoned; the follower is of no more use then.
func (f *follower) apply(ctx context.Context, in *received) error {
	v := f.v
	v.changeGround()
	v.arriving = map[record.ID][]byte{}
	defer func() { v.arriving = nil }()
	g := v.newGroup()
	e := &arrivals{f: f, g: g}
	txs := v.recent.transactions()
	err := f.blocks(ctx, g, in)
	if err == nil {
		err = f.records(g, e, in)
	}
	g.txs = v.recent.transactions() - txs
	if err == nil {
		err = v.writable() // it may have met what this program does not know
	}
	if err == nil {
		for _, class := range g.classes {
			f.advance(class)
		}
		err = v.persist(g)
	}
	if err != nil {
		f.giveBack(g)
		v.revert(g)
		return fmt.Errorf("records %d to %d: %w", in.first, in.after.next-1, v.damaged(err))
	}
	v.forgetPending(g)
	f.move.bytes += int64(len(in.lines))
	return nil
}

// blocks does what the block records of a group tell: chunk blocks come over as whole
// files, and a numbered block must be one that the mirror has sealed in the same way.
func (f *follower) blocks(ctx context.Context, g *group, in *received) error {
	for _, rec := range in.blocks {
		if err := ctx.Err(); err != nil {
			return err
		}
		if rec.Number != nil {
			if err := f.sealed(g, rec); err != nil {
				return err
			}
			continue
		}
		if f.v.blocks.Admitted(rec.ID) {
			continue // recorded twice; the second one moves nothing
		}
		if err := f.receive(rec); err != nil {
			return err
		}
		f.v.pending[artifactKey{"", rec.ID}] = struct{}{}
		g.admits = append(g.admits, rec)
	}
	return nil
}

// receive copies a chunk block.
func (f *follower) receive(rec record.Block) error {
	file, err := f.from.blocks.OpenFile(rec)
	if err != nil {
		return f.from.damaged(err)
	}
	_, err = f.v.blocks.Receive(rec, file)
	err = errors.Join(err, file.Close())
	if errors.Is(err, fsx.ErrNoSpace) {
		return fmt.Errorf("vault %q: %w: copying a block: %w", f.v.name, ErrFull, err)
	}
	if err != nil {
		return wrapDamage(err)
	}
	f.move.artifacts += rec.Count
	f.move.bytes += int64(rec.Size)
	return nil
}

// giveBack lets go of the chunk blocks of a group that was refused. The next open
// removes what is left.
func (f *follower) giveBack(g *group) {
	if f.v.poison.Load() != nil {
		return // nobody knows whether the group is durable
	}
	for _, rec := range g.admits {
		f.v.blocks.DropUpload(block.Uploaded{Block: rec})
	}
}

// advance ends the mirror's block of a class where the source has ended the same one
// before it was full, as for a snapshot. That the source tells the truth of it the hash
// in the block's record shows.
func (f *follower) advance(class string) {
	number, _, count := f.v.blocks.Tail(class)
	if ended, ok := f.from.blocks.EndedCount(class, number); ok && ended == uint64(count) {
		f.v.blocks.Advance(class)
	}
}

// sealed finds the block that a record says is sealed among those that the mirror has
// sealed. They end where the source's did, after the same group.
func (f *follower) sealed(g *group, rec record.Block) error {
	v := f.v
	seal, ok := v.takeSeal(rec)
	if !ok {
		f.advance(rec.Class)
		if err := v.settle(); err != nil { // which seals what has ended
			return err
		}
		seal, ok = v.takeSeal(rec)
	}
	if !ok {
		var err error
		if seal, err = f.sealPart(rec); err != nil {
			return err
		}
	}
	g.seals = append(g.seals, seal)
	if seal.ID != rec.ID || seal.Size != rec.Size || seal.Count != rec.Count {
		return fmt.Errorf("%w: the log says that block %d of class %s is sealed as %v with %d artifacts, the mirror has sealed %v with %d%s",
			ErrDamaged, *rec.Number, rec.Class, rec.ID, rec.Count, seal.ID, seal.Count, orAnew)
	}
	return nil
}

const orAnew = "; check the mirror, and if it is sound move its folder away and sync into a new one"

// sealPart seals as many artifacts of the mirror's block as the record says: the source
// has ended it where the mirror could not know, as an earlier mirror beside an earlier
// program, and what stands behind becomes the first of the next block. That happens
// when the record is published, so that readers find the one or the other; if a block
// is in question that takes the rest of one before, there is no such time, and the
// rest moves now.
func (f *follower) sealPart(rec record.Block) (record.Block, error) {
	v := f.v
	if err := v.sealable(); err != nil {
		return record.Block{}, fmt.Errorf("the mirror: %w", err)
	}
	if err := v.dropSealed(noLimit); err != nil {
		return record.Block{}, v.behind("ending a sealed block", err)
	}
	number, _, count := v.blocks.Tail(rec.Class)
	if number != *rec.Number || uint64(count) < rec.Count {
		return record.Block{}, fmt.Errorf("%w: the log says that block %d of class %s is sealed with %d artifacts, the mirror has not sealed it, and its block %d has %d so far%s",
			ErrDamaged, *rec.Number, rec.Class, rec.Count, number, count, orAnew)
	}
	return v.blocks.Seal(rec.Class, number, int(rec.Count))
}

// takeSeal takes a block out of those that wait for their record. Of segments it keeps
// none: their records come with the log.
func (v *Vault) takeSeal(rec record.Block) (record.Block, bool) {
	v.sealsMu.Lock()
	defer v.sealsMu.Unlock()
	v.segments = nil
	for i, b := range v.seals {
		if b.Class == rec.Class && *b.Number == *rec.Number {
			v.seals = append(v.seals[:i:i], v.seals[i+1:]...)
			return b, true
		}
	}
	return record.Block{}, false
}

// records applies the records of a group to index and state, and makes it what
// persist takes.
func (f *follower) records(g *group, e *arrivals, in *received) error {
	v := f.v
	r := &replayer{v: v, order: e, edit: g.edit, touched: &g.touched, place: f.from.journal.Position}
	last := len(in.ends) - 1
	for i := range last {
		if err := r.line(in.first+uint64(i), in.line(i)); err != nil {
			return err
		}
	}
	g.lines, g.leaves, g.records, g.commit = in.lines, in.leaves, len(in.ends), in.line(last)
	v.tip.state = g.edit.Map()
	if got := v.tip.state.Root(); got != in.state {
		return fmt.Errorf("%w: they give state root %v, the commit line says %v", ErrDamaged, got, in.state)
	}
	t := &in.after
	v.tip.next, v.tip.time, v.tip.tree, v.tip.epoch, v.tip.height, v.tip.prev = t.next, t.time, t.tree, t.epoch, t.height, t.prev
	v.tip.run.records++ // the commit line
	g.ended = v.endRun(v.tip.next)
	g.after = v.tip
	return nil
}

// arrivals lets the artifacts of one group enter the mirror's blocks at their first
// mention, as the committer does.
type arrivals struct {
	f *follower
	g *group
}

// Mention implements [entering].
func (e *arrivals) Mention(class string, id record.ID) error {
	v := e.f.v
	if _, ok := v.pending[artifactKey{class, id}]; ok {
		return nil
	}
	there, err := v.blocks.Mentioned(class, id)
	if there || err != nil {
		return err
	}
	b, err := e.f.from.artifact(id)
	if err != nil {
		return fmt.Errorf("the source: %w", err)
	}
	v.arriving[id] = b
	v.mention(e.g, class, block.Artifact{ID: id, Bytes: b}, 0)
	e.f.move.artifacts++
	e.f.move.bytes += int64(len(b))
	return e.g.broken
}

// Admit implements [entering]; see follower.blocks.
func (e *arrivals) Admit(record.ID) {}

// Mark implements [entering]; persist takes it where the group has entered.
func (e *arrivals) Mark() block.Mark { return e.f.v.blocks.Mark() }
