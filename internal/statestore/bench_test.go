package statestore

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"graven/internal/fsx"
	"graven/state"
)

const million = 1_000_000

// bigMap returns a map of n keys in memory.
func bigMap(b *testing.B, n int) state.Map {
	b.Helper()
	var m state.Map
	for i := 0; i < n; i += 10_000 {
		put(b, first(i, i+10_000), &m)
	}
	return m
}

// BenchmarkPut updates random keys of a million in groups of 100: in memory, on
// pages that are all in the cache, and on pages in a cache for a tenth of them.
// Paged maps go back to the set when they weigh 32 MiB, as if it had been
// written.
func BenchmarkPut(b *testing.B) {
	m := bigMap(b, million)
	disk := fsx.NewMem()
	var paged [2]state.Map
	for i, cache := range []int64{1 << 30, 24 << 20} {
		s, _, err := Open(stateDir(disk), vault, Options{CacheBytes: cache})
		if err != nil {
			b.Fatal(err)
		}
		if i == 0 {
			mustWrite(b, s, m, million)
			bytes, _ := diskBytes(b, disk)
			b.Logf("%.1f bytes a key", float64(bytes)/million)
		}
		paged[i] = mustMap(b, s, Set{1, million, m.Root()})
		if i == 0 {
			s, _, _ = Open(stateDir(disk), vault, Options{CacheBytes: cache})
			paged[i] = mustMap(b, s, s.Sets()[0])
		}
	}
	for range paged[0].Ascend(nil) { // warms the cache
	}
	for _, c := range []struct {
		name string
		m    state.Map
	}{{"memory", m}, {"warm", paged[0]}, {"tenth", paged[1]}} {
		b.Run(c.name, func(b *testing.B) {
			r, seq := rand.New(rand.NewPCG(1, 1)), uint64(million)
			now := c.m
			for b.Loop() {
				e := now.Edit()
				for _, l := range some(r, 100, million, &seq) {
					if err := e.Put(l); err != nil {
						b.Fatal(err)
					}
				}
				if now = e.Map(); now.Weight()-c.m.Weight() > 32<<20 {
					now = c.m
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/put")
		})
	}
}

// BenchmarkGet reads random keys of a million.
func BenchmarkGet(b *testing.B) {
	m := bigMap(b, million)
	s := mustOpen(b, fsx.NewMem())
	s.cache = state.NewCache(1 << 30)
	paged := mustWrite(b, s, m, 1)
	for range paged.Ascend(nil) {
	}
	for name, m := range map[string]state.Map{"memory": m, "warm": paged} {
		b.Run(name, func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, 1))
			for b.Loop() {
				if _, ok, err := m.Get(keyOf(r.IntN(million))); !ok || err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkWrite writes a whole map of 300,000 keys, and sets after so many
// random updates of it, to a disk in memory. Bytes are those of the file.
func BenchmarkWrite(b *testing.B) {
	const keys = 300_000
	m := bigMap(b, keys)
	write := func(b *testing.B, base state.Map, s *Store, updates int) {
		r, seq := rand.New(rand.NewPCG(1, 1)), uint64(keys)
		changed := base
		put(b, some(r, updates, keys, &seq), &changed)
		var bytes uint64
		for b.Loop() {
			mustWrite(b, s, changed, 1)
			bytes = s.files[len(s.files)-1].length
		}
		b.SetBytes(int64(bytes))
		if updates > 0 {
			b.ReportMetric(float64(bytes)/float64(updates), "B/update")
		} else {
			b.ReportMetric(float64(bytes)/keys, "B/key")
		}
	}
	s := mustOpen(b, fsx.NewMem())
	s.cache = state.NewCache(1 << 30)
	b.Run("whole", func(b *testing.B) { write(b, m, s, 0) })
	paged := mustWrite(b, s, m, 1)
	for _, n := range []int{1, 1000, 30_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { write(b, paged, s, n) })
	}
}
