package graven

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"graven/internal/block"
	"graven/internal/fsx"
	"graven/record"
)

// settle does what follows behind the acknowledgements, in this order: sync
// log and blocks, write full tiles, seal full blocks, copy a new policy, publish a
// checkpoint, let the WAL forget. A crash between any two steps loses nothing: the WAL still
// holds whatever is not synced, and every step may be done again.
//
// It may run while groups are persisted; mu keeps two settles apart.
func (v *Vault) settle() error {
	v.settling.Lock()
	defer v.settling.Unlock()
	if err := v.writable(); err != nil {
		return err
	}
	view := v.View() // everything below covers at least this
	if err := v.syncLog(); err != nil {
		return v.poisoned("syncing the log", err)
	}
	if err := v.blocks.Sync(); err != nil {
		return v.poisoned("syncing the blocks", err)
	}
	if err := v.flushTiles(); err != nil {
		return v.behind("writing tiles", err)
	}
	if err := v.sealFull(); err != nil {
		return v.behind("sealing a block", err)
	}
	if err := v.cachePolicy(view.policy); err != nil {
		return v.behind("copying the policy", err)
	}
	if err := v.publish(view); err != nil {
		return v.behind("publishing a checkpoint", err)
	}
	readable := view.head.Size
	if v.following {
		readable = v.shown
	}
	if err := v.dropSealed(readable); err != nil {
		return v.behind("ending a sealed block", err)
	}
	v.wal.Forget(view.height - 1)
	v.settled.Store(view)
	if v.opts.scripted || v.following { // nobody else keeps
		err := errors.Join(v.onlyDerived(v.keep()), v.onlyDerived(v.merge(context.Background())))
		if errors.Is(err, fsx.ErrNoSpace) {
			err = v.behind("keeping index and state", err)
		}
		return err
	}
	poke(v.covered)
	return nil
}

// onlyDerived lets an error pass that says that derived files are damaged: they are
// condemned, and nothing else is held up by them.
func (v *Vault) onlyDerived(err error) error {
	if !isDerivedDamage(err) {
		return err
	}
	v.opts.Logger.Error("index and state on disk fall behind until the vault is opened again", "vault", v.name, "err", err)
	return nil
}

// recordedSeal is a sealed block whose record is durable.
type recordedSeal struct {
	rec  record.Block
	size uint64 // of the log right after its group
}

// dropSealed lets blocks move to their sealed files, and discards the open
// ones, once the published checkpoint covers their records: a reader beside
// this process goes by that checkpoint, and must find the one or the other.
func (v *Vault) dropSealed(published uint64) error {
	for {
		v.sealsMu.Lock()
		if len(v.recorded) == 0 || v.recorded[0].size > published {
			v.sealsMu.Unlock()
			return nil
		}
		next := v.recorded[0]
		v.sealsMu.Unlock() // the committer must not wait for the disk
		if err := v.blocks.Sealed(next.rec); err != nil {
			return err
		}
		v.sealsMu.Lock()
		v.recorded = v.recorded[1:] // only settle takes from its front
		v.sealsMu.Unlock()
	}
}

// flushTiles writes full tiles. A file that stands in the place of one and is
// another is damage of derived data: it is made again.
func (v *Vault) flushTiles() error {
	const tries = 8
	for range tries {
		err := v.tiles.Flush()
		if !isTileDamage(err) {
			return err
		}
		if err := v.mendTile(err); err != nil {
			return err
		}
	}
	return v.tiles.Flush()
}

func (v *Vault) syncLog() error {
	v.filing.Lock()
	defer v.filing.Unlock()
	return v.journal.Sync()
}

// behind judges an error on the way behind the acknowledgements: a full disk
// passes and is tried again at the next settle, anything else poisons.
func (v *Vault) behind(doing string, err error) error {
	if errors.Is(err, fsx.ErrNoSpace) {
		return fmt.Errorf("vault %q: %w: %s: %w; it is tried again", v.name, ErrFull, doing, err)
	}
	return v.poisoned(doing, err)
}

// publish replaces the published checkpoint. All that it covers is synced.
func (v *Vault) publish(view *View) error {
	if v.following { // see show
		v.published.Store(view.head.Size)
		return nil
	}
	if view.head.Size <= v.published.Load() {
		return nil
	}
	note := view.note
	if v.cosigner != nil {
		both, err := view.Cosigned()
		if err != nil {
			return err
		}
		note = both.note
	}
	if err := v.dir.Replace("checkpoint", note); err != nil {
		return err
	}
	v.published.Store(view.head.Size)
	return nil
}

// unsealed is the oldest block of a class that cannot be sealed.
type unsealed struct {
	block.OpenBlock
	heals uint64 // second copies that had been written when it was tried
	err   error
}

// sealFull seals the open blocks that are full. Their records go into the next group,
// those of a class in the order of their numbers: behind a block that is damaged the
// class waits.
func (v *Vault) sealFull() error {
	waits := ""
	for _, open := range v.blocks.FullBlocks() {
		if v.sealing[open] || open.Class == waits {
			continue
		}
		heals := v.blocks.Heals()
		if last, ok := v.unsealedOf(open.Class); ok && last.OpenBlock == open && last.heals == heals {
			waits = open.Class
			continue
		}
		rec, err := v.blocks.Seal(open.Class, open.Number, open.Count)
		if isRot(err) {
			// Rot is not a failed write: the block stays open as it is, its
			// damaged artifact is refused when it is read, check names it.
			v.opts.Logger.Error("a full block is damaged and is not sealed", "vault", v.name, "class", open.Class, "number", open.Number, "err", err)
			v.sealsMu.Lock()
			v.unsealed[open.Class] = unsealed{open, heals, err}
			v.sealsMu.Unlock()
			waits = open.Class
			continue
		}
		if err != nil {
			return err // a full disk passes, and it is tried again
		}
		v.sealing[open] = true
		v.sealsMu.Lock()
		delete(v.unsealed, open.Class)
		v.seals = append(v.seals, rec)
		v.sealsMu.Unlock()
	}
	return nil
}

// isRot reports whether an error says that a block is not what was written.
func isRot(err error) bool {
	return errors.Is(err, block.ErrDamaged) || errors.Is(err, block.ErrWrongVault) || errors.Is(err, block.ErrUnknownVersion)
}

func (v *Vault) unsealedOf(class string) (unsealed, bool) {
	v.sealsMu.Lock()
	defer v.sealsMu.Unlock()
	u, ok := v.unsealed[class]
	return u, ok
}

// sealable refuses what needs all blocks to be sealed that have ended, and cannot be
// had because one of them is damaged.
func (v *Vault) sealable() error {
	v.sealsMu.Lock()
	defer v.sealsMu.Unlock()
	var errs []error
	for _, class := range slices.Sorted(maps.Keys(v.unsealed)) {
		u := v.unsealed[class]
		errs = append(errs, fmt.Errorf("%w: block %d of class %s cannot be sealed: %w; put the same value again, which heals it, or see graven repair", ErrDamaged, u.Number, class, u.err))
	}
	return errors.Join(errs...)
}

// takeSeals writes the records of the blocks that were sealed meanwhile, and of the
// index segments that were made.
func (v *Vault) takeSeals(g *group) error {
	v.sealsMu.Lock()
	seals, segments := v.seals, v.segments
	v.seals, v.segments = nil, nil
	v.sealsMu.Unlock()
	g.seals, g.segments = seals, segments
	for i := range seals {
		if err := v.add(g, &seals[i]); err != nil {
			return err
		}
	}
	for i := range segments {
		if err := v.add(g, &segments[i]); err != nil {
			return err
		}
	}
	return nil
}

// giveBackSeals returns the seals of a refused group, for the next one.
func (v *Vault) giveBackSeals(g *group) {
	v.sealsMu.Lock()
	v.seals = append(slices.Clone(g.seals), v.seals...)
	v.segments = append(slices.Clone(g.segments), v.segments...)
	v.sealsMu.Unlock()
}

// relieve keeps WAL and memory bounded: when the way behind the acknowledgements
// has fallen far back, the next group waits for it.
func (v *Vault) relieve() error {
	if _, bytes := v.wal.Pending(); bytes >= walPressure*v.opts.walBytes {
		if err := v.settle(); err != nil {
			return err
		}
	}
	runs := v.endedRuns() >= runPressure
	state := v.View().state.Weight() >= statePressure*v.opts.stateBytes && v.stateHeavy() // if pages can be written at all
	if !runs && !state {
		return nil
	}
	if err := v.settle(); err != nil {
		return err
	}
	v.keeping.Lock() // a keeper that is on its way ends first
	defer v.keeping.Unlock()
	var err error
	if runs {
		err = v.sealRuns(v.published.Load())
	}
	if state && v.stateHeavy() {
		err = errors.Join(err, v.writeState())
	}
	if err != nil {
		// Derived data: it costs memory, and nothing else.
		v.opts.Logger.Error("index and state on disk fall behind", "vault", v.name, "err", err)
	}
	return nil
}

const (
	walPressure   = 8 // files' worth of groups that may wait to be synced elsewhere
	runPressure   = 8 // runs that may wait for their segments
	statePressure = 2 // times what is due to be written that the state may hold
)

// settleLoop settles at most PublishEvery after a commit, until the vault closes.
func (v *Vault) settleLoop() {
	defer close(v.settlerGone)
	for {
		select {
		case <-v.dirty:
		case <-v.stop:
			return
		}
		select {
		case <-v.host.After(v.opts.PublishEvery):
		case <-v.stop:
			return
		}
		if err := v.settle(); err != nil {
			v.opts.Logger.Error("settle", "vault", v.name, "err", err)
			if errors.Is(err, ErrFull) {
				poke(v.dirty) // try again
			}
		}
	}
}

// markOpen says on disk, before the first group after an open, that the WAL
// may hold what the log does not. Without it a vault that lost its WAL would
// look whole.
func (v *Vault) markOpen() error {
	if v.markedOpen {
		return nil
	}
	if err := v.dir.Replace(cleanFile, []byte("open\n")); err != nil {
		return err
	}
	v.markedOpen = true
	return nil
}

func sortedClasses(classes []string) []string {
	out := slices.Clone(classes)
	slices.Sort(out)
	return out
}
