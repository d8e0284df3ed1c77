package graven

import (
	"context"

	"graven/internal/block"
	"graven/record"
)

// errand is what the maker of a snapshot asks of the committer, by the same queue as
// any transaction: nobody waits for a snapshot, and a snapshot waits for one group.
// Exactly one of its fields before the results is set.
type errand struct {
	border bool             // tell where the log stands between two groups
	flush  bool             // let what waits to be recorded go into a group, also if nobody writes
	record *record.Snapshot // write this record

	at border // the result of border
}

// border is a vault between two groups. Everything in it is of that moment, and does
// not change.
type border struct {
	view *View
	mark block.Mark // what had entered the blocks; later artifacts go to new ones
	runs uint64     // of the index that had ended
	from uint64     // the first record behind those
}

// ask does an errand. The error is that of [Vault.Commit].
func (v *Vault) ask(ctx context.Context, e *errand) (*Receipt, error) {
	r := &request{errand: e, claimed: make(chan struct{}, 1), done: make(chan requestDone, 1)}
	if !v.opts.scripted {
		return v.submit(ctx, r)
	}
	g := v.newGroup() // the caller's goroutine is the committer
	v.take(g, r)
	result := make(chan error, 1)
	if v.dispatch(g, result) {
		v.persisted(g, nil, <-result)
	}
	d := <-r.done
	return d.receipt, d.err
}

// sequenceErrand gives an errand its place in a group.
func (v *Vault) sequenceErrand(g *group, r *request) error {
	seq := v.tip.next
	if r.errand.record != nil {
		mark := v.markOf(g)
		if err := v.add(g, r.errand.record); err != nil {
			v.backTo(g, mark)
			return err
		}
	}
	g.errands = append(g.errands, r.errand)
	g.waiting = append(g.waiting, waiter{r: r, seq: seq, time: v.tip.time})
	return nil
}

// atBorder does the errands that are about the border before a group, which is about
// to be persisted; the one before it is. The committer calls it, so nothing moves
// meanwhile.
func (v *Vault) atBorder(g *group) {
	var at *border
	for _, e := range g.errands {
		if !e.border {
			continue
		}
		if at == nil {
			run := g.before.run
			at = &border{view: v.View(), mark: v.blocks.Mark(), runs: run.number, from: run.from}
			// A crash from here on leaves blocks that end early. They are sealed by
			// the next settle, or if nothing was written behind them go on.
			for _, class := range v.blocks.Classes() {
				v.blocks.Advance(class)
			}
		}
		e.at = *at
	}
}

// mustRecord reports whether a group without records has to be written because
// somebody waits for the records of sealed blocks.
func (v *Vault) mustRecord(g *group) bool {
	v.sealsMu.Lock()
	defer v.sealsMu.Unlock()
	for _, e := range g.errands {
		if e.flush && len(v.seals) > 0 {
			return true
		}
	}
	return false
}
