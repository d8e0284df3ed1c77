package graven

import "graven/state"

// The committer's state is a tree in memory whose lower parts lie in pages. What it
// makes stays in memory until a set of pages is written; then the same state stands on
// that set, and what was made meanwhile is taken over to it (docs/decisions/0014).

// ground is a state on pages that were just written, and what takes the states there
// that were made from it meanwhile. The keeper makes it and uses it first, then the
// committer.
type ground struct {
	state state.Map
	moves *state.Moves
}

// rebase returns a state that stands on the pages before these, or already on these,
// on these.
func (g *ground) rebase(m state.Map) state.Map {
	if m.Source() == g.state.Source() {
		return m
	}
	return g.moves.Rebase(m, g.state)
}

// standsOnPages reports whether a state stands on the newest pages that were written as
// a ground. One that does not has its nodes on those pages already, or is older.
func (v *Vault) standsOnPages(m state.Map) bool {
	newest := v.paged.Load()
	return newest == nil || newest.Source() == m.Source()
}

// changeGround moves the committer to the newest ground, if the keeper has left one.
func (v *Vault) changeGround() {
	if g := v.ground.Load(); g != nil {
		v.tip.state = g.rebase(v.tip.state)
	}
}

// leaveOldGround lets go of the ground when a durable view stands on it: no group that
// is taken back leads behind it any more.
func (v *Vault) leaveOldGround(view *View) {
	if g := v.ground.Load(); g != nil && view.state.Source() == g.state.Source() {
		v.ground.CompareAndSwap(g, nil)
	}
}
