package graven

import (
	"context"
	"errors"
	"fmt"
	"time"

	"graven/internal/index"
	"graven/record"
)

// keep does what follows behind settle, at its leisure: it writes pages of the state
// and makes the segments of runs that have ended. All of it is derived: whatever fails
// or is cut off is done again, at the latest by the next open. Only what is synced is
// covered.
//
// It may run beside everything else; keeping keeps two of them apart.
func (v *Vault) keep() error {
	v.keeping.Lock()
	defer v.keeping.Unlock()
	if done, err := v.discardCondemned(); done || err != nil {
		return err
	}
	if v.stateHeavy() {
		if err := v.writeState(); err != nil {
			return err
		}
	}
	return v.sealRuns(v.published.Load())
}

// stateHeavy reports whether the committer's state holds so much memory, or a restart
// would have so much to put, that pages are due. None are built on damaged ones.
func (v *Vault) stateHeavy() bool {
	now := v.View().state
	if v.stateCondemned() || !v.standsOnPages(now) {
		return false
	}
	return now.Weight() >= v.opts.stateBytes || now.Puts() >= int(v.genesis.RunOps)
}

// sealRuns makes the segments of all ended runs within a size, which is synced.
func (v *Vault) sealRuns(size uint64) error {
	for {
		r := v.nextEnded(size)
		if r == nil {
			return nil
		}
		if err := v.sealRun(r); err != nil {
			return err
		}
	}
}

// nextEnded is the first ended run that lies within a size, nil if there is none.
func (v *Vault) nextEnded(size uint64) *endedRun {
	v.runsMu.Lock()
	defer v.runsMu.Unlock()
	if len(v.runsEnded) == 0 || v.runsEnded[0].to > size {
		return nil
	}
	return v.runsEnded[0]
}

// endedRuns is how many runs wait for their segments.
func (v *Vault) endedRuns() int {
	v.runsMu.Lock()
	defer v.runsMu.Unlock()
	return len(v.runsEnded)
}

// sealRun makes the segment of a run, and lets go of what it holds.
func (v *Vault) sealRun(r *endedRun) error {
	rows, err := v.rowsOf(r)
	if err != nil {
		return v.damaged(fmt.Errorf("index segment of run %d: %w", r.number, err))
	}
	made, err := v.index.Seal(rows)
	if err != nil {
		return v.damaged(fmt.Errorf("index segment of run %d: %w", r.number, err))
	}
	v.recordSegments([]index.Made{made})
	v.blocks.Forget(r.end)
	v.journal.Forget(r.to)
	v.recent.forget(r.to)
	v.runsMu.Lock()
	v.runsEnded = v.runsEnded[1:]
	v.runsMu.Unlock()
	return nil
}

// recordSegments lets the next group record segments that no record tells of yet.
func (v *Vault) recordSegments(made []index.Made) {
	v.sealsMu.Lock()
	defer v.sealsMu.Unlock()
	for _, m := range made {
		if m.Number >= v.segmentsTo[m.Level] {
			v.segmentsTo[m.Level] = m.Number + 1
			v.segments = append(v.segments, record.Segment{Level: m.Level, Number: m.Number, Format: v.genesis.Index, Root: m.Root})
		}
	}
}

// writeState writes the pages of the newest settled state, and prepares the ground
// for the committer to go on from.
func (v *Vault) writeState() error {
	view := v.settled.Load() // what is newer may not be synced
	if view == nil || !v.standsOnPages(view.state) {
		return nil // its nodes are on pages already, and the committer will go over to those
	}
	return v.writeStateOf(view)
}

// writeStateOf writes the pages of a state, which is synced, and prepares the ground
// for the committer to go on from, unless that has or will have a newer one.
func (v *Vault) writeStateOf(view *View) error {
	newer := !v.standsOnPages(view.state)
	m, moves, err := v.pages.Write(view.state, view.head.Size)
	if err != nil {
		return v.damaged(fmt.Errorf("state pages: %w", err))
	}
	if newer {
		return nil
	}
	g := &ground{state: m, moves: moves}
	g.rebase(v.View().state) // so that the committer finds most of it done
	v.paged.Store(&m)
	v.ground.Store(g)
	v.settled.Store(nil) // it holds the memory of the old ground
	return nil
}

// keepAtEnd keeps before a clean end: the next open is to find little to replay. A
// set of pages is not worth its syncs for a few puts.
func (v *Vault) keepAtEnd() error {
	v.keeping.Lock()
	defer v.keeping.Unlock()
	done, err := v.discardCondemned()
	if err == nil && !done {
		err = v.sealRuns(v.published.Load())
	}
	if err != nil || done || v.stateCondemned() {
		return errors.Join(err, v.abandonCondemned())
	}
	v.changeGround() // the committer is gone
	if v.tip.state.Puts() < v.opts.closePuts || v.tip.next != v.published.Load() {
		return nil
	}
	_, _, err = v.pages.Write(v.tip.state, v.tip.next)
	return err
}

// makeAll makes, at once, the segments that an open left to the keeper and the merger.
func (v *Vault) makeAll(ctx context.Context) error {
	if v.readOnly != "" {
		return nil
	}
	return errors.Join(v.onlyDerived(v.keep()), v.onlyDerived(v.merge(ctx)))
}

// keepLoop keeps what the open left, and then whenever settle has covered more or the
// state has become heavy, until the vault closes. Only then it lets the merger look: an
// open that nobody writes through makes no snapshot.
func (v *Vault) keepLoop(ctx context.Context) {
	defer v.keepers.Done()
	v.keepOnce(ctx)
	for {
		select {
		case <-v.covered:
		case <-ctx.Done():
			return
		}
		v.keepOnce(ctx)
		poke(v.sealed)
	}
}

// keepOnce keeps. After a failure, of a full disk perhaps, it waits before it returns, on a
// host that has a clock.
func (v *Vault) keepOnce(ctx context.Context) {
	var err error
	if v.stateHeavy() {
		err = v.settle() // so that it can be written as it is now
	}
	if err == nil {
		err = v.keep()
	}
	if err == nil || ctx.Err() != nil {
		return
	}
	v.opts.Logger.Error("index and state on disk fall behind; it is tried again", "vault", v.name, "err", err)
	if v.host.After == nil {
		return
	}
	select {
	case <-v.host.After(max(v.opts.PublishEvery, keepPause)):
	case <-ctx.Done():
	}
}

// keepPause is the least time between two tries of what failed.
const keepPause = time.Second

// mergeLoop merges segments and makes snapshots beside the keeper, which must not wait
// for either: a merge takes as long as it has rows, and a snapshot reads every new file.
func (v *Vault) mergeLoop(ctx context.Context) {
	defer v.keepers.Done()
	for {
		select {
		case <-v.sealed:
		case <-ctx.Done():
			return
		}
		if err := v.merge(ctx); err != nil && ctx.Err() == nil {
			v.opts.Logger.Error("index segments are not merged; it is tried again", "vault", v.name, "err", err)
		}
		if err := v.tendSnapshots(ctx); err != nil && ctx.Err() == nil {
			v.opts.Logger.Error("no snapshot could be made; it is tried again when the next is due", "vault", v.name, "err", err)
		}
	}
}

// merge merges what is due. Each damaged file that it meets is made again, once.
func (v *Vault) merge(ctx context.Context) error {
	mended := map[string]bool{}
	for {
		made, err := v.index.Merge(ctx)
		v.recordSegments(made)
		var d *index.DamageError
		if !errors.As(err, &d) || mended[d.File] || !v.mendIndex(d) {
			return v.damaged(err)
		}
		mended[d.File] = true
	}
}

// poke tells the goroutine that waits at a channel that there is something to do.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
