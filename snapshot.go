package graven

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"graven/record"
)

// A snapshot is a position of the log with everything pinned that is needed there:
// the artifacts of all records up to it in sealed blocks, the state as a set of pages,
// the index as segments. It copies nothing. What it is stands in the folder
// snapshots/snapshot-<8 digits>, whose manifest a record of the log names by its
// SHA-256 (docs/decisions/0018). An open begins at the newest pages and segments,
// and so replays only what follows.

// SnapshotInfo describes a snapshot.
type SnapshotInfo struct {
	Number   uint64    // from 1
	Position uint64    // seq of the commit line that it stands behind
	Size     uint64    // of the tree there: Position+1
	Seq      uint64    // of its record
	Time     time.Time // of its record
	Manifest record.ID // SHA-256 of its manifest
	Pages    bool      // its state is kept in pages; if not, it is built again from the log when it is wanted
}

// folder is where a snapshot's files stand in the vault's folder.
func snapshotFolder(number uint64) string {
	return fmt.Sprintf("%s/snapshot-%08d", snapshotsName, number)
}

const (
	snapshotsName  = "snapshots"
	manifestName   = "manifest.yaml"
	pinnedSegments = "pinned-segments.txt"
	pinnedBlocks   = "pinned-blocks.txt"
)

// Snapshot makes a snapshot of the newest durable position. Nobody who writes or
// reads waits for it. Its pages and lists are kept until [Vault.DropSnapshot]. If ctx
// ends first, or after an error, there is no snapshot and nothing that would not be
// used or replaced by the next one.
func (v *Vault) Snapshot(ctx context.Context) (SnapshotInfo, error) {
	v.snapping.Lock()
	defer v.snapping.Unlock()
	return v.snapshot(ctx, true)
}

// Snapshots lists the snapshots that the log records, by number.
func (v *Vault) Snapshots() ([]SnapshotInfo, error) {
	w := v.View()
	var list []SnapshotInfo
	for seq, err := range v.snapshotSeqs(w) {
		if err != nil {
			return nil, err
		}
		info, err := v.snapshotAt(w, seq)
		if err != nil {
			return nil, err
		}
		list = append(list, info)
	}
	slices.Reverse(list)
	return list, nil
}

// findSnapshot is the snapshot with a number.
func (v *Vault) findSnapshot(w *View, number uint64) (SnapshotInfo, error) {
	for seq, err := range v.snapshotSeqs(w) {
		if err != nil {
			return SnapshotInfo{}, err
		}
		info, err := v.snapshotAt(w, seq)
		if err != nil || info.Number == number {
			return info, err
		}
	}
	return SnapshotInfo{}, fmt.Errorf("snapshot %d: %w", number, ErrNotFound)
}

// newestSnapshot is the one that was recorded last; its number is 0 if there is none.
func (v *Vault) newestSnapshot(w *View) (SnapshotInfo, error) {
	for seq, err := range v.snapshotSeqs(w) {
		if err != nil {
			return SnapshotInfo{}, err
		}
		return v.snapshotAt(w, seq)
	}
	return SnapshotInfo{}, nil
}

// snapshotAt reads the record of a snapshot.
func (v *Vault) snapshotAt(w *View, seq uint64) (SnapshotInfo, error) {
	line, err := w.Record(seq)
	if err != nil {
		return SnapshotInfo{}, err
	}
	rec, err := record.Parse(line)
	if err != nil {
		return SnapshotInfo{}, fmt.Errorf("%w: record %d: %w", ErrDamaged, seq, err)
	}
	s, ok := rec.Body.(*record.Snapshot)
	if !ok {
		return SnapshotInfo{}, fmt.Errorf("%w: record %d is a %s, the index says snapshot", ErrDamaged, seq, rec.Kind)
	}
	info := SnapshotInfo{Number: s.Number, Position: s.Position, Size: s.Position + 1, Seq: seq, Time: rec.Time, Manifest: s.Manifest}
	_, info.Pages = v.pages.At(info.Size)
	return info, nil
}

// snapshotSeqs yields the records of snapshots in a view, the newest first. An error
// is the last that it yields.
func (v *Vault) snapshotSeqs(w *View) iter.Seq2[uint64, error] {
	return func(yield func(uint64, error) bool) {
		// Memory first: what leaves it meanwhile is in segments by then, and met twice.
		before := w.head.Size
		for _, seq := range v.recent.ofKind(record.KindSnapshot) {
			if seq >= before {
				continue
			}
			if before = seq; !yield(seq, nil) {
				return
			}
		}
		for seq, err := range v.index.Documents(record.KindSnapshot) {
			if err != nil {
				yield(0, v.damaged(err))
				return
			}
			if seq >= before {
				continue
			}
			if !yield(seq, nil) {
				return
			}
		}
	}
}

// ofKind returns the remembered records of a kind in this version, the newest first.
func (d *recent) ofKind(kind string) (seqs []uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range slices.Backward(d.others) {
		if r.kind == kind && r.v == record.Version {
			seqs = append(seqs, r.seq)
		}
	}
	return seqs
}

// snapMark is what the policy of snapshots counts from: the newest snapshot, or the
// last attempt at one. The zero value stands for nobody having looked.
type snapMark struct {
	size    uint64    // of the tree at its position; 0: nobody has looked
	height  uint64    // of its commit
	time    time.Time // of that commit line
	scanned uint64    // the records from size up to here hold no transaction
}

// snapshotIfDue makes a snapshot if the policy wants one: enough commits, or enough
// time by the records themselves, since the last one, and a transaction among them.
// So where a vault by itself makes snapshots follows from its log, and from when it
// came to look.
func (v *Vault) snapshotIfDue(ctx context.Context) error {
	if v.opts.SnapshotCommits < 0 && v.opts.SnapshotEvery < 0 || v.writable() != nil || !v.snapping.TryLock() {
		return nil
	}
	defer v.snapping.Unlock()
	due, err := v.snapshotDue(v.View())
	if err != nil || !due {
		return err
	}
	_, err = v.snapshot(ctx, false)
	return err
}

// snapshotDue says whether the policy wants a snapshot. Callers hold snapping.
func (v *Vault) snapshotDue(w *View) (bool, error) {
	last := &v.lastSnap
	if last.size == 0 {
		newest, err := v.newestSnapshot(w)
		if err != nil {
			return false, err
		}
		at := max(newest.Position, 1) // if there is none: the commit of genesis
		commit, frame, err := w.commitLine(at)
		if err != nil {
			return false, err
		}
		*last = snapMark{size: at + 1, height: commit.Height, time: frame.Time, scanned: at + 1}
	}
	commits, every := v.opts.SnapshotCommits, v.opts.SnapshotEvery
	if !(commits >= 0 && w.height-1 >= last.height+uint64(commits)) && !(every >= 0 && w.at.Sub(last.time) >= every) {
		return false, nil
	}
	for ; last.scanned < w.head.Size; last.scanned++ {
		line, err := v.journal.Line(last.scanned)
		if err != nil {
			return false, v.damaged(err)
		}
		f, err := record.ParseFrame(line)
		if err != nil {
			return false, fmt.Errorf("%w: record %d: %w", ErrDamaged, last.scanned, err)
		}
		if f.Kind == record.KindTx {
			return true, nil
		}
	}
	return false, nil
}

// commitLine reads the commit line that a record is.
func (w *View) commitLine(seq uint64) (*record.Commit, record.Frame, error) {
	line, err := w.Record(seq)
	if err != nil {
		return nil, record.Frame{}, err
	}
	rec, err := record.Parse(line)
	if err != nil {
		return nil, record.Frame{}, fmt.Errorf("%w: record %d: %w", ErrDamaged, seq, err)
	}
	c, ok := rec.Body.(*record.Commit)
	if !ok {
		return nil, record.Frame{}, fmt.Errorf("%w: record %d is a %s, wanted a commit line", ErrDamaged, seq, rec.Kind)
	}
	return c, rec.Frame(), nil
}

// errNoPages says that a snapshot's state is not in pages.
var errNoPages = errors.New("its state is in no pages")
