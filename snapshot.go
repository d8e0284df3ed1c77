package graven

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
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
	if err := v.snapping.lockWithin(ctx); err != nil {
		return SnapshotInfo{}, fmt.Errorf("snapshot: another one is under way: %w", err)
	}
	defer v.snapping.Unlock()
	return v.snapshot(ctx, true)
}

// gate is a mutex whose wait may end with a context.
type gate struct {
	once sync.Once
	ch   chan struct{} // buffered 1; whoever has put something in holds the gate
}

func (g *gate) held() chan struct{} {
	g.once.Do(func() { g.ch = make(chan struct{}, 1) })
	return g.ch
}

// Lock waits for as long as it takes.
func (g *gate) Lock() { g.held() <- struct{}{} }

// lockWithin is Lock; the error is that of the context, and the gate not held then.
func (g *gate) lockWithin(ctx context.Context) error {
	select {
	case g.held() <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TryLock takes hold if nobody has.
func (g *gate) TryLock() bool {
	select {
	case g.held() <- struct{}{}:
		return true
	default:
		return false
	}
}

func (g *gate) Unlock() { <-g.held() }

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

// findSnapshot is the snapshot with a number. They are counted from 1 without gaps, so
// the newest says how many records come before the one that is wanted.
func (v *Vault) findSnapshot(w *View, number uint64) (SnapshotInfo, error) {
	unknown := fmt.Errorf("snapshot %d: %w", number, ErrNotFound)
	skip, first := uint64(0), true
	for seq, err := range v.snapshotSeqs(w) {
		if err != nil {
			return SnapshotInfo{}, err
		}
		if skip--; !first && skip > 0 {
			continue
		}
		info, err := v.snapshotAt(w, seq)
		switch {
		case err != nil || info.Number == number:
			return info, err
		case !first:
			return info, fmt.Errorf("%w: record %d is snapshot %d, wanted %d", ErrDamaged, seq, info.Number, number)
		case number == 0 || number > info.Number:
			return SnapshotInfo{}, unknown
		}
		skip, first = info.Number-number, false
	}
	return SnapshotInfo{}, unknown
}

// newestSnapshot is the one that was recorded last; its number is 0 if there is none.
// It is for the vault's own decisions, and does not look at tiles.
func (v *Vault) newestSnapshot(w *View) (SnapshotInfo, error) {
	for seq, err := range v.snapshotSeqs(w) {
		if err != nil {
			return SnapshotInfo{}, err
		}
		rec, err := v.recordAt(seq)
		if err != nil {
			return SnapshotInfo{}, err
		}
		return v.snapshotOf(rec)
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
	return v.snapshotOf(rec)
}

// snapshotOf is the snapshot that a record is about.
func (v *Vault) snapshotOf(rec *record.Record) (SnapshotInfo, error) {
	s, ok := rec.Body.(*record.Snapshot)
	if !ok {
		return SnapshotInfo{}, fmt.Errorf("%w: record %d is a %s, the index says snapshot", ErrDamaged, rec.Seq, rec.Kind)
	}
	info := SnapshotInfo{Number: s.Number, Position: s.Position, Size: s.Position + 1, Seq: rec.Seq, Time: rec.Time, Manifest: s.Manifest}
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
