package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// What a child may be asked to do. The first six are also what -only takes,
// except that verify is made of two.
const (
	machineWork = "machine"
	commitWork  = "commit"
	loadWork    = "load"
	getWork     = "get"
	verifyWork  = "verify"
	openWork    = "open"
	narrowWork  = "narrow" // verify in a store of transactions with a single entry
	holdWork    = "hold"   // add entries and keep the store open until the kill
)

// workload measures in a child. It opens and closes the store itself.
type workload func(context.Context, task) ([]metric, error)

func workloads() map[string]workload {
	return map[string]workload{
		machineWork: machine, commitWork: commits, loadWork: load, getWork: gets,
		verifyWork: verifyWide, narrowWork: verifyNarrow, openWork: reopen, holdWork: hold,
	}
}

// loaders is how many committers a load has.
const loaders = 4

// withPeer opens the task's store for use, and closes it.
func withPeer(ctx context.Context, t task, use func(Peer) ([]metric, error)) (_ []metric, err error) {
	p, err := openPeer(ctx, t.Peer, t.Dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	return use(p)
}

// parallel runs f in so many goroutines and waits for all of them.
func parallel(goroutines int, f func(goroutine int) error) error {
	errs := make([]error, goroutines)
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() { errs[g] = f(g) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// timer returns a flag that is set when d is over, or ctx.
func timer(ctx context.Context, d time.Duration) (over *atomic.Bool, stop func()) {
	over = &atomic.Bool{}
	ctx, cancel := context.WithTimeout(ctx, d)
	end := context.AfterFunc(ctx, func() { over.Store(true) })
	return over, func() { end(); cancel() }
}

// commits measures commits of single entries.
func commits(ctx context.Context, t task) ([]metric, error) {
	return withPeer(ctx, t, func(p Peer) (metrics []metric, err error) {
		var next atomic.Uint64
		for _, writers := range []int{1, 16, 64, 256} {
			if _, _, err := commitFor(ctx, p, committedKeys, &next, writers, t.Phase/5); err != nil { // warm up
				return nil, err
			}
			took, elapsed, err := commitFor(ctx, p, committedKeys, &next, writers, t.Phase)
			if err != nil {
				return nil, err
			}
			name := counted(writers, "writer")
			metrics = append(metrics,
				metric{name, "/s", true, float64(len(took)) / elapsed.Seconds()},
				metric{name + ", p50", "ms", false, milliseconds(quantile(took, 0.50))},
				metric{name + ", p99", "ms", false, milliseconds(quantile(took, 0.99))})
		}
		return append(metrics, metric{"refused and repeated", "", false, float64(p.Refused())}), nil
	})
}

// commitFor commits single entries by so many writers for d. It returns how long
// each commit took, and how long all together.
func commitFor(ctx context.Context, p Peer, s space, next *atomic.Uint64, writers int, d time.Duration) (took []time.Duration, elapsed time.Duration, err error) {
	each := make([][]time.Duration, writers)
	over, stop := timer(ctx, d)
	defer stop()
	start := time.Now()
	err = parallel(writers, func(g int) error {
		for !over.Load() {
			entry := entryOf(s, next.Add(1))
			begin := time.Now()
			if err := p.Commit(ctx, []Entry{entry}); err != nil {
				return err
			}
			each[g] = append(each[g], time.Since(begin))
		}
		return nil
	})
	elapsed = time.Since(start)
	for _, e := range each {
		took = append(took, e...)
	}
	if err == nil && len(took) == 0 {
		err = fmt.Errorf("no commit in %s", d)
	}
	return took, elapsed, err
}

// load measures how fast n entries are there, and what they occupy.
func load(ctx context.Context, t task) (metrics []metric, err error) {
	metrics, err = withPeer(ctx, t, func(p Peer) ([]metric, error) {
		start := time.Now()
		if err := fill(ctx, p, loadedKeys, t.N); err != nil {
			return nil, err
		}
		committed := time.Since(start)
		if err := p.WaitReadable(ctx); err != nil {
			return nil, err
		}
		readable := time.Since(start)
		n := float64(t.N)
		return []metric{
			{"committed", "entries/s", true, n / committed.Seconds()},
			{"readable", "entries/s", true, n / readable.Seconds()},
		}, nil
	})
	if err != nil {
		return nil, err
	}
	bytes, err := diskBytes(t.Dir)
	return append(metrics, metric{"disk", "x payload", false, float64(bytes) / float64(t.N*entrySize)}), err
}

// fill commits n entries in transactions of batchSize.
func fill(ctx context.Context, p Peer, s space, n uint64) error {
	var next atomic.Uint64
	return parallel(loaders, func(int) error {
		for {
			from := (next.Add(1) - 1) * batchSize
			if from >= n {
				return nil
			}
			if err := p.Commit(ctx, batch(s, from, min(from+batchSize, n))); err != nil {
				return err
			}
		}
	})
}

// reopen measures how long an open takes, until it returns and until the newest
// entry can be read. The files are in the page cache: this is no cold start.
func reopen(ctx context.Context, t task) ([]metric, error) {
	start := time.Now()
	return withPeer(ctx, t, func(p Peer) ([]metric, error) {
		opened := time.Since(start)
		if err := p.WaitReadable(ctx); err != nil {
			return nil, err
		}
		last := keyOf(loadedKeys, t.N-1)
		if t.Held > 0 {
			last = keyOf(heldKeys, t.Held-1)
		}
		got, err := p.Get(ctx, last)
		if err != nil {
			return nil, fmt.Errorf("the last entry that was committed: %w", err)
		}
		readable := time.Since(start)
		return []metric{
			{"opened" + t.suffix(), "ms", false, milliseconds(opened)},
			{"readable" + t.suffix(), "ms", false, milliseconds(readable)},
		}, checkValue(last, got)
	})
}

// hold adds entries to the loaded store and leaves it open.
func hold(ctx context.Context, t task) ([]metric, error) {
	if _, err := os.Stat(t.Dir); err != nil { // or it would be a new store
		return nil, err
	}
	p, err := openPeer(ctx, t.Peer, t.Dir)
	if err != nil {
		return nil, err
	}
	return nil, fill(ctx, p, heldKeys, t.Held)
}

// quantile is the smallest duration that a share q of all are not above. It sorts.
func quantile(took []time.Duration, q float64) time.Duration {
	slices.Sort(took)
	return took[min(int(q*float64(len(took))), len(took)-1)]
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprint(n, " ", what)
}
