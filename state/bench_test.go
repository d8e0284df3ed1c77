package state

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
)

const million = 1_000_000

// keysOf returns n stored keys of space k over 32 bytes: numbers in order, the
// same shuffled, or random bytes.
func keysOf(kind string, n int) [][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	keys := make([][]byte, n)
	for i := range keys {
		switch kind {
		case "random":
			k := make([]byte, 33)
			for j := range k {
				k[j] = byte(r.Uint32())
			}
			k[0] = 'k'
			keys[i] = k
		default:
			keys[i] = fmt.Appendf(nil, "k%032d", i)
		}
	}
	if kind == "shuffled" {
		r.Shuffle(n, func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	}
	return keys
}

// version1 is the leaf of version 1 at seq.
func version1(key []byte, seq uint64) Leaf {
	l := Leaf{Key: key, Seq: seq, N: 1, Created: seq, Live: true}
	l.Digest[0], l.Digest[1], l.Digest[2], l.Digest[3] = byte(seq), byte(seq>>8), byte(seq>>16), byte(seq>>24)
	return l
}

// fill puts all keys into one Map, in groups.
func fill(tb testing.TB, keys [][]byte, group int) Map {
	tb.Helper()
	var m Map
	for i := 0; i < len(keys); i += group {
		e := m.Edit()
		for j := i; j < min(i+group, len(keys)); j++ {
			if err := e.Put(version1(keys[j], uint64(j)+1)); err != nil {
				tb.Fatal(err)
			}
		}
		m = e.Map()
	}
	return m
}

// BenchmarkInsert inserts a million keys in groups of 1,000, starting with an
// empty map. B/key is what the finished map keeps alive.
func BenchmarkInsert(b *testing.B) {
	for _, kind := range []string{"sorted", "shuffled", "random"} {
		b.Run(kind, func(b *testing.B) {
			keys := keysOf(kind, million)
			for b.Loop() {
				b.StopTimer()
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				b.StartTimer()
				m := fill(b, keys, 1000)
				b.StopTimer()
				runtime.GC()
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/million, "B/key")
				runtime.KeepAlive(m)
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/million, "ns/key")
		})
	}
}

// BenchmarkLoad inserts a million keys in one Edit.
func BenchmarkLoad(b *testing.B) {
	for _, kind := range []string{"sorted", "random"} {
		b.Run(kind, func(b *testing.B) {
			keys := keysOf(kind, million)
			for b.Loop() {
				fill(b, keys, million)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/million, "ns/key")
		})
	}
}

// BenchmarkUpdate updates keys of a map of a million, in groups.
func BenchmarkUpdate(b *testing.B) {
	keys := keysOf("random", million)
	full := fill(b, keys, million)
	for _, group := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(group), func(b *testing.B) {
			r := rand.New(rand.NewPCG(3, 4))
			m, seq := full, uint64(million)
			b.ReportAllocs()
			for b.Loop() {
				e := m.Edit()
				for range group {
					seq++
					l := version1(keys[r.IntN(million)], 1)
					l.Seq, l.N = seq, 2
					if err := e.Put(l); err != nil {
						b.Fatal(err)
					}
				}
				m = e.Map()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(group), "ns/update")
		})
	}
}

func BenchmarkRead(b *testing.B) {
	keys := keysOf("random", million)
	m := fill(b, keys, million)
	r := rand.New(rand.NewPCG(5, 6))
	key := func() []byte { return keys[r.IntN(million)] }
	root := m.Root()

	b.Run("Get", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sure2(m.Get(key()))
		}
	})
	b.Run("Prove", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sure(m.Prove(key()))
		}
	})
	b.Run("Encode", func(b *testing.B) {
		k := key()
		p := sure(m.Prove(k))
		b.ReportAllocs()
		for b.Loop() {
			p.AppendPath(nil, k)
		}
	})
	b.Run("Parse", func(b *testing.B) {
		k := key()
		p := sure(m.Prove(k))
		path := p.AppendPath(nil, k)
		b.ReportAllocs()
		for b.Loop() {
			ParsePath(path, k, *p.Leaf)
		}
	})
	b.Run("Verify", func(b *testing.B) {
		k := key()
		p := sure(m.Prove(k))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := p.Verify(k, root); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("LiveRange", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sure(m.LiveRange(key(), key()))
		}
	})
	b.Run("Ascend100", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			n := 0
			for range m.Ascend(key()) {
				if n++; n == 100 {
					break
				}
			}
		}
	})
}
