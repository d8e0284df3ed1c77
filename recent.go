package graven

import (
	"slices"
	"sort"
	"sync"

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
	number uint64 // of the transaction, counted from the vault's first
}

// within reports whether an id still counts after so many transactions.
func (e *idemEntry) within(count uint64) bool { return e.number+idempotencyWindow >= count }

// recent is what the vault remembers of the records that no index segment covers
// yet, besides keys and artifacts. The committer fills it; others look things up
// beside it. Of older records the index knows the same: see [Vault.usedID],
// [Vault.spent].
type recent struct {
	mu    sync.Mutex // guards what follows
	count uint64     // transactions since genesis
	ids   map[idemKey]idemEntry
	// signed has the request of every signed transaction, and its record. A
	// signature is for one effect: whoever finds it in the log cannot use it again.
	signed map[record.ID]uint64
	// The same, and the records of other kinds than tx and commit, by rising seq.
	idRows     []idRow
	signedRows []signedRow
	others     []otherRow
}

type (
	idRow struct {
		key idemKey
		idemEntry
	}
	signedRow struct {
		req record.ID
		seq uint64
	}
	otherRow struct {
		seq, v uint64
		kind   string
	}
)

func newRecent(count uint64) *recent {
	return &recent{count: count, ids: map[idemKey]idemEntry{}, signed: map[record.ID]uint64{}}
}

// transaction counts one and remembers its id, and its request if that is signed.
func (d *recent) transaction(key idemKey, seq uint64, req record.ID, signed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if signed {
		d.signed[req] = seq
		d.signedRows = append(d.signedRows, signedRow{req, seq})
	}
	if key.id != "" {
		e := idemEntry{seq: seq, req: req, number: d.count}
		d.ids[key] = e
		d.idRows = append(d.idRows, idRow{key, e})
	}
	d.count++
}

// other remembers a record of another kind than tx and commit.
func (d *recent) other(seq uint64, kind string, v uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.others = append(d.others, otherRow{seq, v, kind})
}

// lookup finds what an id stands for, if it is within the window.
func (d *recent) lookup(key idemKey) (idemEntry, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, ok := d.ids[key]
	return e, ok && e.within(d.count)
}

// spent finds the record of a signed request.
func (d *recent) spent(req record.ID) (seq uint64, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	seq, ok = d.signed[req]
	return seq, ok
}

// transactions is how many there are since genesis.
func (d *recent) transactions() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.count
}

// cut takes back the records from a seq on, of which so many were transactions:
// their group was refused before its first byte.
func (d *recent) cut(seq, txs uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count -= txs
	ids := d.idsBefore(seq)
	for _, r := range d.idRows[ids:] {
		delete(d.ids, r.key)
	}
	signed := d.signedBefore(seq)
	for _, r := range d.signedRows[signed:] {
		delete(d.signed, r.req)
	}
	d.idRows, d.signedRows, d.others = d.idRows[:ids], d.signedRows[:signed], d.others[:d.othersBefore(seq)]
}

// forget lets go of the records before a seq: the index has them.
func (d *recent) forget(seq uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ids := d.idsBefore(seq)
	for _, r := range d.idRows[:ids] {
		if d.ids[r.key].seq == r.seq {
			delete(d.ids, r.key)
		}
	}
	signed := d.signedBefore(seq)
	for _, r := range d.signedRows[:signed] {
		delete(d.signed, r.req)
	}
	// Cloned, so that the old rows can go from memory.
	d.idRows, d.signedRows = slices.Clone(d.idRows[ids:]), slices.Clone(d.signedRows[signed:])
	d.others = slices.Clone(d.others[d.othersBefore(seq):])
}

// idsBefore counts the rows before a seq. Callers of this and its likes hold mu.
func (d *recent) idsBefore(seq uint64) int {
	return sort.Search(len(d.idRows), func(i int) bool { return d.idRows[i].seq >= seq })
}

func (d *recent) signedBefore(seq uint64) int {
	return sort.Search(len(d.signedRows), func(i int) bool { return d.signedRows[i].seq >= seq })
}

func (d *recent) othersBefore(seq uint64) int {
	return sort.Search(len(d.others), func(i int) bool { return d.others[i].seq >= seq })
}

// usedID finds what an id stands for, if it is within the window.
func (v *Vault) usedID(key idemKey) (idemEntry, bool, error) {
	e, ok := v.recent.lookup(key)
	if ok || key.id == "" {
		return e, ok, nil
	}
	row, ok, err := v.index.ID(key.actor, key.id)
	if err != nil || !ok {
		return idemEntry{}, false, v.damaged(err)
	}
	e = idemEntry{seq: row.Seq, req: row.Req, number: row.Number}
	return e, e.within(v.recent.transactions()), nil
}

// spent finds the record of a signed request.
func (v *Vault) spent(req record.ID) (seq uint64, ok bool, err error) {
	if seq, ok = v.recent.spent(req); ok {
		return seq, true, nil
	}
	seq, ok, err = v.index.Spent(req)
	return seq, ok, v.damaged(err)
}

// Used finds the transaction for which an actor's idempotency id stands. A new
// request with that id would be answered with its receipt, or refused.
func (v *Vault) Used(actor, id string) (seq uint64, used bool, err error) {
	e, used, err := v.usedID(idemKey{actor, id})
	return e.seq, used && e.seq <= v.View().Seq(), err // one behind it is still on its way
}

// seenBefore answers a request whose id was used already: with the first
// receipt if it is the same request, with a conflict if it is another. A signed
// request that is in the log is a conflict too, if its id does not answer it.
func (v *Vault) seenBefore(g *group, r *request) (bool, error) {
	first, ok, err := v.usedID(idemKey{r.actor, r.id})
	if err != nil {
		return false, err
	}
	if ok && first.req == r.req {
		again := waiter{r: r, seq: first.seq, replayed: true}
		for _, w := range g.waiting { // of this very group nobody can ask the log
			if w.seq == first.seq {
				again.time = w.time
			}
		}
		g.waiting = append(g.waiting, again)
		return true, nil
	}
	if ok {
		return false, &ConflictError{ID: r.id, Seq: first.seq}
	}
	if r.sig == nil {
		return false, nil
	}
	seq, spent, err := v.spent(r.req)
	if spent {
		err = &ConflictError{Signed: true, Seq: seq}
	}
	return false, err
}

// noteTransaction remembers the transaction that a request became.
func (v *Vault) noteTransaction(g *group, r *request, seq uint64) {
	v.recent.transaction(idemKey{r.actor, r.id}, seq, r.req, r.sig != nil)
	g.txs++
}
