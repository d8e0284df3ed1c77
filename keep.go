package graven

import (
	"context"
	"errors"
	"fmt"

	"graven/internal/index"
	"graven/record"
)

// keep does what follows behind settle, at its leisure: it makes the segments of
// runs that have ended, merges segments, and writes pages of the state. All of it is
// derived: whatever fails or is cut off is done again, at the latest by the next
// open. Only what is synced is covered.
//
// It may run beside everything else; keeping keeps two of them apart.
func (v *Vault) keep(ctx context.Context) error {
	v.keeping.Lock()
	defer v.keeping.Unlock()
	if done, err := v.discardCondemned(); done || err != nil {
		return err
	}
	if err := v.sealRuns(v.published.Load()); err != nil {
		return err
	}
	made, err := v.index.Merge(ctx)
	v.recordSegments(made)
	var d *index.DamageError
	if errors.As(err, &d) && v.mendIndex(d) {
		made, err = v.index.Merge(ctx)
		v.recordSegments(made)
	}
	if err != nil {
		return v.damaged(err)
	}
	if v.stateCondemned() || v.View().state.Weight() < v.opts.stateBytes && v.puts.count() < int(v.genesis.RunOps) {
		return nil
	}
	return v.writeState()
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
		return fmt.Errorf("index segment of run %d: %w", r.number, err)
	}
	made, err := v.index.Seal(rows)
	if err != nil {
		return fmt.Errorf("index segment of run %d: %w", r.number, err)
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

// writeState writes the pages of the newest durable state, and prepares the ground
// for the committer to go on from.
func (v *Vault) writeState() error {
	view := v.View()
	if v.ground.Load() != nil || view.head.Size > v.published.Load() {
		return nil // the committer has not taken the last one, or it is not synced yet
	}
	m, err := v.pages.Write(view.state, view.head.Size)
	if err != nil {
		return fmt.Errorf("state pages: %w", err)
	}
	v.puts.forget(view.head.Size)
	g := &ground{edit: m.Edit(), next: view.head.Size}
	// The last puts are the committer's, and it should not have many of them.
	const rounds, few = 8, 256
	for range rounds {
		size := v.View().head.Size
		many := len(v.puts.of(g.next, size)) > few
		if err := g.put(&v.puts, size); err != nil {
			return fmt.Errorf("state pages: %w", err)
		}
		if !many {
			break
		}
		g.edit.Map() // hashes what is new
	}
	v.ground.Store(g)
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
	if v.puts.count() < v.opts.closePuts {
		return nil
	}
	view := v.View()
	if view.head.Size > v.published.Load() {
		return nil
	}
	_, err = v.pages.Write(view.state, view.head.Size)
	return err
}

// keepLoop keeps whenever settle has covered more, until the vault closes.
func (v *Vault) keepLoop(ctx context.Context) {
	defer close(v.keeperGone)
	for {
		select {
		case <-v.covered:
		case <-ctx.Done():
			return
		}
		if err := v.keep(ctx); err != nil && ctx.Err() == nil {
			v.opts.Logger.Error("index and state on disk fall behind; it is tried again", "vault", v.name, "err", err)
		}
	}
}
