package graven

import (
	"errors"
	"fmt"
	"time"

	"graven/internal/fsx"
	"graven/internal/wal"
	"graven/merkle"
	"graven/proof"
	"graven/record"
)

// Persist makes groups durable: it is the commit point. Alone it is the
// vault's write-ahead log (package wal); where several machines hold a vault,
// their common log takes its place.
//
// Append is never called before the Sync of the group before it returned. A
// failed Append or Sync is final: the implementation refuses everything after.
type Persist interface {
	// Reserve makes room for a group with a body of n bytes, or fails with
	// fsx.ErrNoSpace and changes nothing.
	Reserve(n int) error
	// Append writes a group; Sync makes it durable.
	Append(g *wal.Group) error
	Sync() error
	// Secure makes durable what a process that was killed left behind.
	Secure() error
	// Read gives back every whole group in order of height, and says how the log ends.
	Read(fn func(wal.Group) error) (wal.Report, error)
	// Reset says that all that was read is synced elsewhere: it may be overwritten.
	Reset() error
	// Forget says so of all groups up to a height.
	Forget(height uint64)
	// Pending is how many groups, and bytes of them, are not forgotten.
	Pending() (groups int, bytes int64)
	// Shrink gives back room; nothing but Close may follow. Everything must be synced
	// elsewhere, and that must be known on disk.
	Shrink() error
	Close() error
}

// Receipt is what a write returns.
type Receipt struct {
	Seq        uint64      // the transaction's record
	Size       uint64      // of the tree, right after the commit that made it durable
	Root       merkle.Hash // of the tree at Size
	Time       time.Time   // of the record
	Commit     []byte      // the commit line, record Size-1
	Checkpoint []byte      // signed note over Size and Root
	Replayed   bool        // the answer to a retry: the first receipt again

	view *View
}

// Proof is the C2SP tlog-proof of the transaction's record against the
// receipt's own checkpoint.
func (r *Receipt) Proof() ([]byte, error) { return r.view.ProveRecord(r.Seq) }

// persist makes a sealed group durable and visible, and answers its callers.
// It runs beside the committer, one group at a time. An error says that no
// byte of the group was written, or that the vault is poisoned.
func (v *Vault) persist(g *group) error {
	if err := v.writable(); err != nil {
		return err
	}
	w := &wal.Group{
		Height: g.before.height, First: g.before.next,
		LogFile: v.journal.Tail().File, LogOffset: v.journal.Tail().Offset,
		Records: g.records, Lines: g.lines,
	}
	size := len(g.lines)
	for _, class := range sortedClasses(g.classes) {
		number, offset, _ := v.blocks.Tail(class)
		frames := v.blocks.Encode(class, g.artifacts[class])
		w.Sections = append(w.Sections, wal.Section{Class: class, Number: number, Offset: offset, Count: len(g.artifacts[class]), Bytes: frames})
		size += len(frames)
	}
	if err := v.reserve(w, g.admits, size); err != nil {
		return err
	}
	// A crash before the sync returns leaves a torn frame, which recovery drops
	// (or a whole one, which it keeps): the group was never acknowledged.
	if err := v.wal.Append(w); err != nil {
		return v.poisoned("appending to the write-ahead log", err)
	}
	if err := v.wal.Sync(); err != nil {
		return v.poisoned("syncing the write-ahead log", err)
	}
	// The group is durable: a crash from here on replays it from the WAL.
	if err := v.file(w, g.admits, g.seals); err != nil {
		return v.poisoned("writing log and blocks", err)
	}
	if g.ended != nil {
		v.finishRun(g.ended, v.blocks.Mark())
	}
	v.tiles.Append(g.leaves)
	view, err := v.newView(g.after, g.commit)
	if err != nil {
		return v.poisoned("signing a checkpoint", err)
	}
	v.view.Store(view)
	v.leaveOldGround(view)
	v.reply(g, view)
	poke(v.dirty)
	if view.state.Weight() >= v.opts.stateBytes {
		poke(v.covered)
	}
	return nil
}

// reserve finds room for a group in WAL, log and blocks before its first byte
// is written, so that a full disk refuses it whole.
func (v *Vault) reserve(w *wal.Group, admits []record.Block, size int) error {
	if err := v.relieve(); err != nil {
		return err
	}
	v.filing.Lock()
	defer v.filing.Unlock()
	refuse := func(where string, err error) error {
		if errors.Is(err, fsx.ErrNoSpace) {
			return fmt.Errorf("vault %q: %w: no room for %d bytes in %s; nothing was written, free some space and try again: %w", v.name, ErrFull, size, where, err)
		}
		return v.poisoned("reserving room in "+where, err)
	}
	if err := v.wal.Reserve(w.BodyLen()); err != nil {
		return refuse("the write-ahead log", err)
	}
	if err := v.journal.Reserve(len(w.Lines)); err != nil {
		return refuse("the log", err)
	}
	for _, s := range w.Sections {
		if err := v.blocks.Reserve(s.Class, len(s.Bytes)); err != nil {
			return refuse("the blocks", err)
		}
	}
	for _, b := range admits {
		if err := v.dir.MakeFolder("blocks/sealed/" + b.ID.Hex()[:2]); err != nil {
			return refuse("blocks/sealed", err)
		}
	}
	// Only now that the WAL has a file: an open vault without one has lost it.
	if err := v.markOpen(); err != nil {
		return refuse("meta", err)
	}
	return nil
}

// file puts a durable group into the log and the blocks, without syncing.
// Recovery has its own entry to the same rooms, which rewrites.
func (v *Vault) file(w *wal.Group, admits, seals []record.Block) error {
	v.filing.Lock()
	defer v.filing.Unlock()
	if err := v.journal.Append(w.Lines, w.Records); err != nil {
		return err
	}
	for _, s := range w.Sections {
		if err := v.blocks.Append(s.Class, s.Number, s.Offset, s.Bytes); err != nil {
			return err
		}
	}
	return v.endGroup(w.Sections, admits, seals)
}

// endGroup does what stands at the border of two groups: rotation, full
// blocks, admitted and sealed ones. The live path and recovery share it.
func (v *Vault) endGroup(sections []wal.Section, admits, seals []record.Block) error {
	v.journal.EndGroup()
	for _, rec := range admits {
		if err := v.blocks.Admit(rec); err != nil {
			return err
		}
	}
	v.sealsMu.Lock()
	for _, rec := range seals {
		v.recorded = append(v.recorded, recordedSeal{rec, v.journal.Next()})
	}
	v.sealsMu.Unlock()
	for _, s := range sections {
		if v.blocks.Full(s.Class, v.genesis.BlockBytes) {
			v.blocks.Advance(s.Class)
		}
	}
	return nil
}

// newView makes the view of a durable commit, with its signed checkpoint.
func (v *Vault) newView(t tip, commit []byte) (*View, error) {
	head := proof.Checkpoint{Origin: v.genesis.Origin, Size: t.next, Root: t.tree.Root()}
	var note []byte
	if !v.following { // a mirror signs nothing, and nobody but its sync sees this view
		var err error
		if note, err = v.signer.SignCheckpoint(head); err != nil {
			return nil, err
		}
	}
	return &View{
		vault: v, head: head, note: note, at: t.time, commit: commit, pos: t.next - 1,
		state: t.state, tree: v.tiles.Snapshot(), height: t.height, epoch: t.epoch, policy: t.policy, versions: t.versions, newest: true,
	}, nil
}

// reply answers the callers of a durable group.
func (v *Vault) reply(g *group, view *View) {
	for _, w := range g.waiting {
		if w.err != nil {
			w.r.answer(nil, w.err)
			continue
		}
		receipt := &Receipt{
			Seq: w.seq, Size: view.head.Size, Root: view.head.Root, Time: w.time,
			Commit: view.commit, Checkpoint: view.note, Replayed: w.replayed, view: view,
		}
		var err error
		if w.replayed && w.seq < g.before.next {
			receipt, err = view.firstReceipt(w.seq)
		}
		w.r.answer(receipt, err)
	}
}
