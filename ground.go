package graven

import (
	"fmt"
	"slices"
	"sort"
	"sync"

	"graven/state"
)

// The committer's state is a tree in memory whose lower parts may lie in pages.
// What it makes stays in memory until a set of pages is written; then the same
// state stands on that set, and the puts that came meanwhile are made once more
// on that ground (docs/decisions/0014).

// puts are the leaves that were put into the state, for as long as they may have
// to be put again.
type puts struct {
	mu     sync.Mutex
	leaves []state.Leaf // by rising Seq
	older  int          // more that no pages hold, which were put before the vault was opened
	from   uint64       // those of records before it were forgotten
}

func (p *puts) add(l state.Leaf) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaves = append(p.leaves, l)
}

// cut takes back those of records from a seq on.
func (p *puts) cut(seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaves = p.leaves[:p.before(seq)]
}

// forget lets go of those of records before a seq.
func (p *puts) forget(seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaves = slices.Clone(p.leaves[p.before(seq):]) // cloned, so that the others leave memory
	p.older, p.from = 0, seq
}

// forgotten is the seq before which they are gone.
func (p *puts) forgotten() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.from
}

// of returns those of the records [from, to). The caller owns the slice.
func (p *puts) of(from, to uint64) []state.Leaf {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.leaves[p.before(from):p.before(to)])
}

// count is how many puts no pages hold: what a restart has to put again.
func (p *puts) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.leaves) + p.older
}

// before counts those of records before a seq. Callers hold mu.
func (p *puts) before(seq uint64) int {
	return sort.Search(len(p.leaves), func(i int) bool { return p.leaves[i].Seq >= seq })
}

// ground is a state that stands on pages, on its way to the committer: it holds
// the puts of all records before next.
type ground struct {
	edit *state.Edit
	next uint64
}

// put makes the puts of the records up to a size.
func (g *ground) put(p *puts, size uint64) error {
	for _, l := range p.of(g.next, size) {
		if err := g.edit.Put(l); err != nil {
			return err
		}
	}
	g.next = size
	return nil
}

// standsOnPages reports whether a state stands on the newest pages that were written as
// a ground. One that does not has its nodes on those pages already, or is older.
func (v *Vault) standsOnPages(m state.Map) bool {
	newest := v.paged.Load()
	return newest == nil || newest.Source() == m.Source()
}

// changeGround moves the committer to the newest ground, if the keeper has left
// one.
func (v *Vault) changeGround() {
	g := v.ground.Swap(nil)
	if g == nil {
		return
	}
	err := g.put(&v.puts, v.tip.next)
	if err == nil {
		m := g.edit.Map()
		if m.Root() == v.tip.state.Root() {
			v.tip.state = m
			return
		}
		err = fmt.Errorf("%w: they give state root %v for the first %d records, wanted %v", state.ErrPage, m.Root(), v.tip.next, v.tip.state.Root())
	}
	v.paged.Store(nil) // the old ground holds
	v.opts.Logger.Error("state pages were not taken", "vault", v.name, "err", v.damaged(err))
}
