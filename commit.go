package graven

import (
	"context"
	"errors"
	"fmt"
)

// Commit makes a transaction durable and returns its receipt. It encodes and
// hashes in the caller's goroutine, waits for the group that takes the
// transaction in, and returns when that group is synced and signed.
//
// If ctx ends while the transaction waits, nothing of it was or will be
// written and the error is ctx's ([ErrBusy] if it could not even be queued). If
// ctx ends later, the transaction goes on and the error is [ErrUnknown]; with
// an idempotency id, committing it again gives the answer, also where the policy
// would not allow it any more.
func (v *Vault) Commit(ctx context.Context, tx *Tx) (*Receipt, error) {
	if err := v.writable(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r, err := v.encode(tx)
	if err != nil {
		return nil, err
	}
	if err := v.heal(r); err != nil {
		if v.ended.Load() { // it read files that were closed under it
			return nil, fmt.Errorf("vault %q: %w", v.name, ErrClosed)
		}
		return nil, err
	}
	if err := r.takeContents(); err != nil {
		return nil, err
	}
	return v.submit(ctx, r)
}

// submit queues a request and waits for its answer.
func (v *Vault) submit(ctx context.Context, r *request) (*Receipt, error) {
	select {
	case v.queue <- r:
	case <-v.stopped:
		r.contents.release(false)
		return nil, fmt.Errorf("vault %q: %w", v.name, ErrClosed)
	case <-ctx.Done():
		r.contents.release(false)
		return nil, fmt.Errorf("%w: %d transactions wait already: %w", ErrBusy, cap(v.queue), ctx.Err())
	}
	select {
	case d := <-r.done:
		return d.receipt, d.err
	case <-v.stopped:
	case <-ctx.Done():
		if r.claim() {
			r.contents.release(false)
			return nil, ctx.Err() // the committer will pass over it
		}
	}
	select {
	case d := <-r.done:
		return d.receipt, d.err
	default:
	}
	if ctx.Err() == nil {
		return nil, fmt.Errorf("vault %q: %w", v.name, ErrClosed)
	}
	return nil, fmt.Errorf("%w: %w", ErrUnknown, ctx.Err())
}

// claim reports whether the caller of it is the first: the committer claims a
// request when it gives it a place, a caller that gives up claims it so that
// the committer never will.
func (r *request) claim() bool {
	select {
	case r.claimed <- struct{}{}:
		return true
	default:
		return false
	}
}

func (r *request) answer(receipt *Receipt, err error) {
	// Of a poisoned vault nobody knows whether the group was durable: its values
	// stay, and the next open sweeps away what no record names.
	r.contents.release(err == nil || errors.Is(err, ErrPoisoned))
	r.done <- requestDone{receipt, err}
}

// commitLoop is the committer: the only goroutine that touches the tip. It
// fills a group while the group before it syncs; a lone transaction goes at
// once; nothing waits for a timer.
func (v *Vault) commitLoop() {
	defer close(v.stopped)
	var filling *group // being filled; nil if nothing waits
	var syncing *group // handed to persist; nil if none
	result := make(chan error, 1)
	stop := v.stop
	for {
		if filling != nil && syncing == nil {
			v.drain(filling)
			syncing, filling = filling, nil
			if !v.dispatch(syncing, result) {
				syncing = nil
			}
			continue
		}
		if stop == nil && filling == nil && syncing == nil {
			return
		}
		queue := v.queue
		if stop == nil || filling != nil && v.closed(filling) {
			queue = nil
		}
		select {
		case r := <-queue:
			if filling == nil {
				filling = v.newGroup()
			}
			v.take(filling, r)
		case err := <-result:
			v.persisted(syncing, filling, err)
			if err != nil {
				filling = nil
			}
			syncing = nil
		case <-stop:
			stop = nil // finish what was taken, take nothing more
		}
	}
}

// closed reports whether a group has reached a cap.
func (v *Vault) closed(g *group) bool {
	return g.broken != nil || g.ops >= v.opts.BatchOps || g.bytes >= v.opts.BatchBytes
}

// drain takes what waits, up to the caps.
func (v *Vault) drain(g *group) {
	for !v.closed(g) {
		select {
		case r := <-v.queue:
			v.take(g, r)
		default:
			return
		}
	}
}

// take gives one request its place in the group, or its error.
func (v *Vault) take(g *group, r *request) {
	if !r.claim() {
		return // its caller gave up before it had a place
	}
	if err := v.sequence(g, r); err != nil {
		// What it was judged against may not be durable yet: it hears of it
		// with the group, or that the group itself was refused.
		g.waiting = append(g.waiting, waiter{r: r, err: err})
	}
}

// dispatch seals a group and starts to persist it. It reports false if there
// was nothing to persist.
func (v *Vault) dispatch(g *group, result chan<- error) bool {
	v.atBorder(g)
	if g.records == 0 && g.broken == nil && !v.mustRecord(g) { // only refusals, and retries of what is durable by now
		v.reply(g, v.View())
		return false
	}
	err := g.broken
	if err == nil {
		err = v.takeSeals(g)
	}
	if err == nil {
		err = v.seal(g)
	}
	if err != nil {
		// The state cannot be read, or our own records do not encode: nothing was
		// written, nothing is lost.
		v.revert(g)
		g.refuse(err)
		return false
	}
	go func() { result <- v.persist(g) }()
	return true
}

// persisted handles the end of a persist: on success the group is durable and
// answered already; if it was refused before its first byte, it and what was
// built on it are taken back.
func (v *Vault) persisted(g, next *group, err error) {
	if err == nil {
		v.forgetPending(g)
		return
	}
	if next != nil {
		v.revert(next)
		next.refuse(err)
	}
	v.revert(g)
	g.refuse(err)
}

// revert takes a group back out of the tip, the index and the idempotency ids.
// Groups are reverted newest first.
func (v *Vault) revert(g *group) {
	for _, key := range g.touched {
		v.index.Cut(key, g.before.next)
	}
	v.recent.cut(g.before.next, g.txs)
	v.forgetPending(g)
	v.giveBackSeals(g)
	v.tip = g.before
}

// forgetPending ends the time in which a group's artifacts are known only to
// the committer: they are in the blocks now, or were taken back.
func (v *Vault) forgetPending(g *group) {
	for class, arts := range g.artifacts {
		for _, a := range arts {
			delete(v.pending, artifactKey{class, a.ID})
		}
	}
	for _, b := range g.admits {
		delete(v.pending, artifactKey{"", b.ID})
	}
}

func (g *group) refuse(err error) {
	for _, w := range g.waiting {
		w.r.answer(nil, err)
	}
}

// writable says why the vault cannot be written, or nil.
func (v *Vault) writable() error {
	if v.ended.Load() {
		return fmt.Errorf("vault %q: %w", v.name, ErrClosed)
	}
	if v.readOnly != "" {
		return fmt.Errorf("vault %q: %w: %s", v.name, ErrReadOnly, v.readOnly)
	}
	if err := v.poison.Load(); err != nil {
		return *err
	}
	return nil
}

// poisoned makes the vault refuse every later write: after a failed write or
// sync nobody knows what the disk holds, and trying again would hide it.
func (v *Vault) poisoned(doing string, err error) error {
	wrapped := fmt.Errorf("vault %q: %w: %s: %w; open the store again to recover to the last durable commit", v.name, ErrPoisoned, doing, err)
	if v.poison.CompareAndSwap(nil, &wrapped) {
		v.opts.Logger.Error("vault poisoned", "vault", v.name, "doing", doing, "err", err)
	}
	return *v.poison.Load()
}
