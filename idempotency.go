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

	// signed has the request of every signed transaction, and its record. A
	// signature is for one effect: whoever finds it in the log cannot use it again.
	signed map[record.ID]uint64
}

func newIdempotency() *idempotency {
	return &idempotency{seen: map[idemKey]idemEntry{}, signed: map[record.ID]uint64{}}
}

// note counts a transaction and remembers its id, and its request if that is signed.
func (d *idempotency) note(key idemKey, seq uint64, req record.ID, at time.Time, signed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if signed {
		d.signed[req] = seq
	}
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

// spent finds the record of a signed request.
func (d *idempotency) spent(req record.ID) (seq uint64, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	seq, ok = d.signed[req]
	return seq, ok
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

// drop takes the newest n transactions back, with the ids and the signed requests
// among them.
func (d *idempotency) drop(n uint64, ids []idemKey, signed []record.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count -= n
	for _, req := range signed {
		delete(d.signed, req)
	}
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
// receipt if it is the same request, with a conflict if it is another. A signed
// request that is in the log is a conflict too, if its id does not answer it.
func (v *Vault) seenBefore(g *group, r *request) (bool, error) {
	first, ok := v.ids.lookup(idemKey{r.actor, r.id})
	if r.id == "" || !ok {
		if seq, spent := v.ids.spent(r.req); spent && r.sig != nil {
			return false, &ConflictError{Signed: true, Seq: seq}
		}
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
	v.ids.note(key, seq, r.req, v.tip.time, r.sig != nil)
	g.txs++
	if r.sig != nil {
		g.signed = append(g.signed, r.req)
	}
	if r.id != "" {
		g.ids = append(g.ids, key)
	}
}
