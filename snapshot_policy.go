package graven

import (
	"context"
	"fmt"
	"time"

	"graven/record"
)

// snapMark is what the policy of snapshots counts from: the newest snapshot, or the
// last attempt at one. The zero value stands for nobody having looked.
type snapMark struct {
	size    uint64    // of the tree at its position; 0: nobody has looked
	height  uint64    // of its commit
	time    time.Time // of that commit line
	scanned uint64    // the records from size up to here hold no transaction
}

// tendSnapshots lets go of those that have come to hold too much, and makes one if it
// is due.
func (v *Vault) tendSnapshots(ctx context.Context) error {
	if v.snapping.TryLock() {
		err := v.retainPins()
		v.snapping.Unlock()
		if err != nil {
			v.opts.Logger.Error("old snapshots still hold pages", "vault", v.name, "err", err)
		}
	}
	return v.snapshotIfDue(ctx)
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
		rec, err := v.recordAt(at)
		if err != nil {
			return false, err
		}
		commit, ok := rec.Body.(*record.Commit)
		if !ok {
			return false, fmt.Errorf("%w: record %d is a %s, wanted a commit line", ErrDamaged, at, rec.Kind)
		}
		*last = snapMark{size: at + 1, height: commit.Height, time: rec.Time, scanned: at + 1}
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
