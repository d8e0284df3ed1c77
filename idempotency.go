package graven

import (
	"sync"
	"time"

	"graven/record"
)

// idempotencyWindow is how many transactions back an id is remembered. It is
// counted in records, not in time, so that every replica and every restart
// decides alike.
const idempotencyWindow = 1 << 20

// idemKey is the scope of an idempotency id within a vault.
type idemKey struct{ actor, id string }

// idemEntry is the transaction that an id stands for.
type idemEntry struct {
	seq    uint64
	req    record.ID
	time   time.Time
	number uint64 // of the transaction, counted from the vault's first
}

// idempotency remembers the ids of the last transactions. The committer owns it;
// others may look ids up beside it.
type idempotency struct {
	mu    sync.Mutex // guards what follows
	seen  map[idemKey]idemEntry
	order []idemKey // by rising number; the oldest first
	count uint64    // transactions so far
}

func newIdempotency() *idempotency {
	return &idempotency{seen: map[idemKey]idemEntry{}}
}

// note counts a transaction and remembers its id.
func (d *idempotency) note(key idemKey, seq uint64, req record.ID, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if key.id != "" {
		d.seen[key] = idemEntry{seq: seq, req: req, time: at, number: d.count}
		d.order = append(d.order, key)
	}
	d.count++
}

// lookup finds what an id stands for, if it is within the window.
func (d *idempotency) lookup(key idemKey) (idemEntry, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.within(key)
}

// within is lookup for who holds mu.
func (d *idempotency) within(key idemKey) (idemEntry, bool) {
	e, ok := d.seen[key]
	return e, ok && e.number+idempotencyWindow >= d.count
}

// purge lets go of ids that left the window. It is called only for durable
// groups, so that drop can take a refused one back exactly.
func (d *idempotency) purge() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.order) > 0 {
		if _, ok := d.within(d.order[0]); ok {
			return
		}
		delete(d.seen, d.order[0])
		d.order = d.order[1:]
	}
}

// drop takes the newest n transactions back, with the ids among them.
func (d *idempotency) drop(n uint64, ids []idemKey) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count -= n
	for _, key := range ids {
		delete(d.seen, key)
	}
	d.order = d.order[:len(d.order)-len(ids)]
}

// Used finds the transaction for which an actor's idempotency id stands. A new
// request with that id would be answered with its receipt, or refused.
func (v *Vault) Used(actor, id string) (seq uint64, used bool) {
	e, used := v.ids.lookup(idemKey{actor, id})
	return e.seq, used && e.seq <= v.View().Seq() // one behind it is still on its way
}

// seenBefore answers a request whose id was used already: with the first
// receipt if it is the same request, with a conflict if it is another.
func (v *Vault) seenBefore(g *group, r *request) (bool, error) {
	if r.id == "" {
		return false, nil
	}
	first, ok := v.ids.lookup(idemKey{r.actor, r.id})
	if !ok {
		return false, nil
	}
	if first.req != r.req {
		return false, &ConflictError{ID: r.id, Seq: first.seq}
	}
	g.waiting = append(g.waiting, waiter{r: r, seq: first.seq, time: first.time, replayed: true})
	return true, nil
}

func (v *Vault) noteID(g *group, r *request, seq uint64) {
	key := idemKey{r.actor, r.id}
	v.ids.note(key, seq, r.req, v.tip.time)
	g.txs++
	if r.id != "" {
		g.ids = append(g.ids, key)
	}
}
