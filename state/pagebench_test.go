package state

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
)

// BenchmarkPages measures a map of a million random keys on pages in memory, in
// a cache that holds all of them (warm) or none (cold). Puts are updates in
// groups of 100; held-B/put is the live heap that 20,000 of them leave behind,
// weight-B/put what Weight says of it.
func BenchmarkPages(b *testing.B) {
	keys := keysOf("random", million)
	files := (&shelf{}).fresh()
	root, _, err := fill(b, keys, million).Write(files, Again{From: NoFile})
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("%.1f bytes a key", float64(root.Bytes())/million)
	source := readFile{files}
	open := func(bytes int64) Map {
		m, err := Open(root, source, NewCache(bytes))
		if err != nil {
			b.Fatal(err)
		}
		return m
	}
	warm := open(2 << 30)
	before := liveHeap()
	for range warm.Ascend(nil) {
	}
	b.Logf("%.1f bytes a key in the cache", float64(liveHeap()-before)/million)
	r := rand.New(rand.NewPCG(3, 4))
	update := func(e *Edit, n int) {
		for range n {
			l := version1(keys[r.IntN(million)], 1)
			l.Seq, l.N = million+1, 2
			if err := e.Put(l); err != nil {
				b.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name string
		m    Map
	}{{"warm", warm}, {"cold", open(1)}} {
		b.Run("Get/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sure2(c.m.Get(keys[r.IntN(million)]))
			}
		})
		b.Run("Prove/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sure(c.m.Prove(keys[r.IntN(million)]))
			}
		})
		b.Run("Ascend100/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				n := 0
				for range c.m.Ascend(keys[r.IntN(million)]) {
					if n++; n == 100 {
						break
					}
				}
			}
		})
		b.Run("Put/"+c.name, func(b *testing.B) {
			const puts = 20_000
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				before, m := liveHeap(), c.m
				b.StartTimer()
				for range puts / 100 {
					e := m.Edit()
					update(e, 100)
					m = e.Map()
				}
				b.StopTimer()
				b.ReportMetric(float64(liveHeap()-before)/puts, "held-B/put")
				b.ReportMetric(float64(m.Weight())/puts, "weight-B/put")
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/puts, "ns/put")
		})
	}
	for _, n := range []int{100, 20_000} {
		e := warm.Edit()
		update(e, n)
		m := e.Map()
		b.Run(fmt.Sprintf("Write/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				files.files = append(files.files[:1], nil)
				if _, _, err := m.Write(files, Again{From: NoFile}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/put")
		})
	}
}

// readFile is a shelf that gives away copies, as one that reads files does.
type readFile struct{ *shelf }

func (f readFile) ReadPage(r Ref, buf []byte) ([]byte, error) {
	data, err := f.shelf.ReadPage(r, buf)
	return bytes.Clone(data), err
}

// liveHeap returns the bytes of memory in use, after a collection.
func liveHeap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
