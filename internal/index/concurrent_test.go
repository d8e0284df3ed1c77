package index

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"

	"graven/internal/fsx"
)

// TestConcurrent lets readers ask while a writer adds and a settler seals, merges
// and sweeps. Each reader asks at positions that are published, where the answers
// are known.
func TestConcurrent(t *testing.T) {
	h := makeHistory(80, 40, 150)
	x := mustOpen(t, fsx.NewMem(), Options{CacheBytes: 100 << 10})
	must(t, x.Begin(0))
	var published atomic.Uint64
	var done atomic.Bool
	var writers, readers sync.WaitGroup
	failed := make(chan error, 8)
	toSeal := make(chan Run, len(h.runs))
	writers.Go(func() {
		defer close(toSeal)
		next := 0
		for _, k := range h.versions {
			if err := x.Add([]byte(k.key), k.v); err != nil {
				failed <- err
				return
			}
			published.Store(k.v.Seq)
			if k.v.Seq+1 == h.runs[next].To {
				toSeal <- h.runs[next]
				next++
			}
		}
	})
	writers.Go(func() {
		for run := range toSeal {
			_, err := x.Seal(run)
			if err == nil && run.Number%8 == 7 {
				err = x.Sweep()
			}
			if err != nil {
				failed <- err
				return
			}
		}
	})
	writers.Go(func() {
		for runs := uint64(0); runs < uint64(len(h.runs)); _, runs = x.Border() {
			if _, err := x.Merge(context.Background()); err != nil {
				failed <- err
				return
			}
		}
	})
	for i := range 3 {
		readers.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 8))
			for !done.Load() {
				if err := askPublished(t, h, x, rng, published.Load()); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	writers.Wait()
	done.Store(true)
	readers.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	must(t, x.Sweep())
	must(t, h.asks(t, x, rand.New(rand.NewPCG(1, 1)), 50))
	must(t, h.asksRest(t, x))
	wantSound(t, x)
}

// errWrong is a fatal wrong answer, told in a goroutine.
type errWrong struct{ t *testing.T }

func (e errWrong) Helper() {}
func (e errWrong) Fatalf(format string, args ...any) {
	e.t.Errorf(format, args...)
	panic(errors.New("a wrong answer"))
}

func askPublished(t *testing.T, h *history, x *Index, rng *rand.Rand, pos uint64) error {
	if pos == 0 {
		return nil
	}
	pos = 1 + rng.Uint64N(pos)
	key := h.versions[rng.IntN(len(h.versions))].key
	got, ok, err := x.At([]byte(key), pos)
	if err != nil {
		return err
	}
	if want, wantOK := h.at(key, pos); ok != wantOK || got.Seq != want.Seq || got.N != want.N {
		errWrong{t}.Fatalf("At(%q, %d) = %v, %v; want %v", key, pos, got, ok, want)
	}
	if rng.IntN(8) == 0 {
		if err := h.asksHistory(errWrong{t}, x, key, pos); err != nil {
			return err
		}
	}
	if rng.IntN(20) == 0 {
		return h.asksRange(errWrong{t}, x, []byte(key), nil, pos, rng)
	}
	return nil
}

// Keys are found all the while that a seal moves them from memory to a segment.
func TestAtBesideSeal(t *testing.T) {
	h := &history{}
	for i := range 20_000 {
		h.write(fmt.Sprintf("k%06d", i), true)
	}
	run := h.endRun()
	x := mustOpen(t, fsx.NewMem(), Options{})
	must(t, x.Begin(0))
	h.replay(t, x, 0)
	var done atomic.Bool
	var reader sync.WaitGroup
	reader.Go(func() {
		rng := rand.New(rand.NewPCG(1, 8))
		for !done.Load() {
			key := h.versions[rng.IntN(len(h.versions))].key
			if _, ok, err := x.At([]byte(key), newestSeq); err != nil || !ok {
				t.Errorf("At(%q) = %v, %v", key, ok, err)
				return
			}
		}
	})
	_, err := x.Seal(run)
	done.Store(true)
	reader.Wait()
	must(t, err)
}

// A seal, or a merge, in the middle of a scan takes nothing out of it.
func TestSealWithinScan(t *testing.T) {
	h := &history{}
	for range 16 {
		for i := range 5 * batch {
			h.write(fmt.Sprintf("k%06d", i), true)
		}
		h.endRun()
	}
	for _, reverse := range []bool{false, true} {
		x := mustOpen(t, fsx.NewMem(), Options{})
		must(t, x.Begin(0))
		h.replay(t, x, 0)
		var got []Item
		must(t, x.Scan(nil, nil, newestSeq, reverse, func(it Item) bool {
			got = append(got, it)
			if n := len(got); n%50 == 0 && n/50 <= len(h.runs) {
				_, err := x.Seal(h.runs[n/50-1])
				must(t, err)
			} else if n == 900 {
				_, err := x.Merge(context.Background())
				must(t, err)
			}
			return true
		}))
		if want := h.scan(nil, nil, newestSeq, reverse); !reflect.DeepEqual(got, want) {
			t.Fatalf("reverse %v: %d items, wanted %d, or others", reverse, len(got), len(want))
		}
	}
}
