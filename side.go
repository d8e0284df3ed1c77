package graven

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"graven/internal/block"
	"graven/internal/index"
	"graven/merkle"
)

// What is derived follows from the log, so it can be made again on the side, by the
// functions that an open uses: a second Vault over the same folder reads log and
// blocks, replays a part of the log, and writes what follows into tmp/scratch.
// Mending an index segment and checking all of them work like this.

const scratch = "tmp/scratch"

// mending makes damaged segments of the index again while the vault is in use.
type mending struct {
	mu    sync.Mutex      // held while one is made again
	ctx   context.Context // ends with the vault
	tries map[string]int  // of each file that could not be made again
}

// maxMends is how often it is tried to make a segment again that cannot be.
const maxMends = 3

// mendIndex is the index's Mender. It runs on the goroutine of a reader who has met
// damage: he waits, and so do others who meet the same. Whoever reads other segments,
// and all who write without meeting it, go on.
func (v *Vault) mendIndex(d *index.DamageError) bool {
	m := &v.mending
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ctx.Err() != nil || v.writable() != nil || m.tries[d.File] >= maxMends {
		return false
	}
	if whole, err := v.segmentWhole(d.File); err != nil || whole {
		return whole // somebody else has mended it
	}
	err := v.remakeSegment(d)
	if err != nil {
		if m.ctx.Err() == nil {
			m.tries[d.File]++
		}
		v.opts.Logger.Error("a damaged index segment could not be made again", "vault", v.name, "damage", d, "err", err)
		return false
	}
	v.opts.Logger.Warn("a damaged index segment was made again from the log", "vault", v.name, "damage", d)
	return true
}

// segmentWhole reports whether a file of the index is whole, or not in play any more.
func (v *Vault) segmentWhole(file string) (whole bool, err error) {
	whole = true
	err = v.index.CheckFile(file, func(f index.File) index.File { return f }, func(error) error {
		whole = false
		return nil
	})
	return whole, err
}

// remakeSegment makes a segment again from the records that it is about. If one
// before it turns out to be damaged too, that comes first.
func (v *Vault) remakeSegment(d *index.DamageError) error {
	for {
		span, ok, err := v.index.Span(d.File)
		if err != nil || !ok {
			return err // another has taken its place
		}
		err = v.remakeSpan(span)
		var before *index.DamageError
		if !errors.As(err, &before) || before.File == d.File {
			return err
		}
		if err := v.remakeSegment(before); err != nil {
			return err
		}
	}
}

// remakeSpan replays the runs of a segment on the side and puts what they give in its place.
func (v *Vault) remakeSpan(span index.Span) (err error) {
	const folder = scratch + "/mend"
	if err := v.dir.DiscardAll(folder); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.dir.DiscardAll(folder)) }()
	fork, err := v.index.Fork(v.dir.Sub(folder), span.Before.Runs)
	if err != nil {
		return err
	}
	side := v.side(fork, span.Before)
	defer func() { err = errors.Join(err, side.closeRooms()) }()
	s, err := side.openSide(span.To)
	if err != nil {
		return err
	}
	// Not by treeHashes: who mends a tile at this moment may be waiting for us.
	root, err := merkle.RootFrom(span.To, v.View().tree)
	if err != nil {
		return err
	}
	if got := s.tree.Root(); s.size != span.To || got != root {
		return fmt.Errorf("%w: the first %d records have root %v, the tree says %v", ErrDamaged, s.size, got, root)
	}
	if err := side.loadSide(s, v.enteredAt(span.To)); err != nil {
		return err
	}
	if err := side.replaySide(v.mending.ctx, span); err != nil {
		return err
	}
	return v.index.Take(fork, span.Level, span.Number)
}

// enteredAt is how far the blocks had come at the end of a segment, nil if that is
// not known.
func (v *Vault) enteredAt(to uint64) *block.Mark {
	rows, err := v.index.EnteredAt(to)
	if err != nil || len(rows) == 0 {
		return nil
	}
	m := markOf(rows)
	return &m
}

// side is a second Vault over the same folder, which reads only and knows what an
// index knows of the records before a border.
func (v *Vault) side(x *index.Index, from index.Border) *Vault {
	side := &Vault{
		name: v.name, host: v.host, opts: v.opts, dir: v.dir, genesis: v.genesis, readOnly: "it is on the side",
		index: x, indexed: from.To, runs: from.Runs, recent: newRecent(from.Txs),
		segmentsTo: map[uint64]uint64{}, pending: map[artifactKey]struct{}{},
	}
	side.tip.versions = from.Versions
	return side
}

// openSide opens log and blocks and scans the records from the border up to a size.
func (v *Vault) openSide(size uint64) (*scanner, error) {
	if err := v.openJournal(); err != nil {
		return nil, err
	}
	var err error
	if v.blocks, err = block.Open(v.dir.Sub("blocks"), v.genesis.Vault); err != nil {
		return nil, err
	}
	v.blocks.SetFinder(finder{v.index})
	if v.indexed > 0 {
		if err := v.startAt(v.indexed); err != nil {
			return nil, err
		}
	}
	s, _, err := v.scan(size)
	return s, err
}

// loadSide makes the artifacts known that were mentioned in the records scanned. Of
// those, some may lie in blocks whose records come later; until says how far blocks
// have to be loaded for that, nil that nobody knows.
func (v *Vault) loadSide(s *scanner, until *block.Mark) error {
	if err := v.loadBlocks(s.blocks, false); err != nil {
		return err
	}
	if until == nil {
		v.blocks.LoadUnnamed()
	} else {
		v.blocks.LoadUnnamedWithin(*until)
	}
	if v.lost {
		return fmt.Errorf("%w: a sealed block cannot be read", ErrDamaged)
	}
	if err := v.loadDocuments(); err != nil {
		return err
	}
	versions := v.tip.versions
	v.tip = s.tip()
	v.tip.versions = versions
	return nil
}

// replaySide replays the runs of a segment, seals and merges them.
func (v *Vault) replaySide(ctx context.Context, span index.Span) error {
	order, err := v.begin()
	if err != nil {
		return err
	}
	r := &replayer{v: v, mend: true, order: order, based: noLimit}
	const stretch = 256
	for from := v.entry.size; from < span.To; from += stretch {
		lines, err := v.journal.Lines(from, min(span.To, from+stretch))
		if err != nil {
			return v.damaged(err)
		}
		for i, line := range lines {
			if err := r.line(from+uint64(i), line); err != nil {
				return err
			}
		}
		if _, err := v.index.MergeTo(ctx, span.Level); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if to, _ := v.index.Border(); to != span.To {
		return fmt.Errorf("the runs up to record %d end at record %d", span.To, to)
	}
	return nil
}
