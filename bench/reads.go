package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// checkEvery is how many reads go by for one whose value is compared: often enough
// to notice a peer that returns something else, seldom enough not to be measured.
const checkEvery = 64

// gets measures reads of the loaded store.
func gets(ctx context.Context, t task) ([]metric, error) {
	return withPeer(ctx, t, func(p Peer) (metrics []metric, err error) {
		if err := p.WaitReadable(ctx); err != nil {
			return nil, err
		}
		if err := warm(ctx, p, t); err != nil {
			return nil, err
		}
		for _, readers := range []int{1, 4} {
			for _, kind := range []struct {
				name string
				of   space
				read reader
			}{
				{"with value", loadedKeys, whole(p.Get)},
				{"key alone", loadedKeys, finding(p.Find)},
				{"absent", absentKeys, whole(p.Get)},
			} {
				rate, err := readFor(ctx, readers, t.Phase, kind.of, t.N, kind.read)
				if err != nil {
					return nil, err
				}
				metrics = append(metrics, metric{kind.name + ", " + counted(readers, "reader"), "/s", true, rate})
			}
		}
		return metrics, nil
	})
}

// warm reads every key once, or as many as it can in two phases.
func warm(ctx context.Context, p Peer, t task) error {
	over, stop := timer(ctx, 2*t.Phase)
	defer stop()
	for n := uint64(0); n < t.N && !over.Load(); n++ {
		if _, err := p.Get(ctx, keyOf(loadedKeys, n)); err != nil {
			return fmt.Errorf("entry %d of the loaded store: %w", n, err)
		}
	}
	return nil
}

// reader reads a key, and if it is asked to compares the value.
type reader func(ctx context.Context, key []byte, check bool) error

// whole is the reader of Peer.Get or Peer.VerifiedGet.
func whole(get func(ctx context.Context, key []byte) ([]byte, error)) reader {
	return func(ctx context.Context, key []byte, check bool) error {
		value, err := get(ctx, key)
		if err == nil && check {
			err = checkValue(key, value)
		}
		return err
	}
}

// finding is the reader of Peer.Find, which has no value to compare.
func finding(find func(ctx context.Context, key []byte) error) reader {
	return func(ctx context.Context, key []byte, _ bool) error { return find(ctx, key) }
}

// readFor reads random keys of a space for d and returns how many a second.
func readFor(ctx context.Context, readers int, d time.Duration, s space, n uint64, read reader) (rate float64, err error) {
	over, stop := timer(ctx, d)
	defer stop()
	var sum atomic.Uint64
	start := time.Now()
	err = parallel(readers, func(g int) error {
		random := rand.New(rand.NewPCG(uint64(g), n)) // each peer reads the same keys
		reads := uint64(0)
		for ; !over.Load(); reads++ {
			if err := readOne(ctx, keyOf(s, random.Uint64N(n)), s, read, reads%checkEvery == 0); err != nil {
				return err
			}
		}
		sum.Add(reads)
		return nil
	})
	return float64(sum.Load()) / time.Since(start).Seconds(), err
}

func readOne(ctx context.Context, key []byte, s space, read reader, check bool) error {
	err := read(ctx, key, check)
	switch {
	case s == absentKeys && errors.Is(err, errAbsent):
		return nil
	case s == absentKeys && err == nil:
		return fmt.Errorf("key %x: found, and it was never written", key)
	case err != nil:
		return fmt.Errorf("key %x: %w", key, err)
	}
	return nil
}

// verifyWide measures verified reads of the loaded store, whose transactions have
// batchSize entries.
func verifyWide(ctx context.Context, t task) ([]metric, error) {
	return withPeer(ctx, t, func(p Peer) ([]metric, error) {
		return verified(ctx, t, p, loadedKeys, t.N)
	})
}

// verifyNarrow makes a store of single-entry transactions first, at most a tenth of
// the loaded one.
func verifyNarrow(ctx context.Context, t task) ([]metric, error) {
	return withPeer(ctx, t, func(p Peer) ([]metric, error) {
		n := min(max(t.N/10, 1), 20_000)
		var next atomic.Uint64
		err := parallel(256, func(int) error {
			for i := next.Add(1) - 1; i < n; i = next.Add(1) - 1 {
				if err := p.Commit(ctx, batch(narrowKeys, i, i+1)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		return verified(ctx, t, p, narrowKeys, n)
	})
}

func verified(ctx context.Context, t task, p Peer, s space, n uint64) ([]metric, error) {
	if err := p.WaitReadable(ctx); err != nil {
		return nil, err
	}
	if _, err := readFor(ctx, 1, t.Phase/5, s, n, whole(p.VerifiedGet)); err != nil { // warm up
		return nil, err
	}
	var metrics []metric
	for _, readers := range []int{1, 4} {
		rate, err := readFor(ctx, readers, t.Phase, s, n, whole(p.VerifiedGet))
		if err != nil {
			return nil, err
		}
		metrics = append(metrics, metric{counted(readers, "reader") + t.suffix(), "/s", true, rate})
	}
	return metrics, nil
}
