package block

import (
	"fmt"
	"io"
	"runtime"
	"testing"

	"graven/internal/fsx/osfs"
	"graven/record"
)

func realStore(b *testing.B) *Store {
	disk, err := osfs.Open(b.TempDir())
	must(b, err)
	b.Cleanup(func() { _ = disk.Close() })
	return openOn(b, disk)
}

func numbered(i, size int) Artifact {
	a := Artifact{Bytes: make([]byte, size)}
	copy(a.Bytes, fmt.Sprint(i))
	a.ID = record.IDOf(a.Bytes)
	return a
}

// BenchmarkAppend files groups of 100 artifacts, without syncing.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{100, 10_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := realStore(b)
			b.SetBytes(int64(100 * size))
			n := 0
			for b.Loop() {
				b.StopTimer()
				group := make([]Artifact, 100)
				for i := range group {
					n++
					group[i] = numbered(n, size)
				}
				b.StartTimer()
				put(b, s, "main", group...)
				if s.Full("main", 64<<20) {
					s.Advance("main")
				}
			}
		})
	}
}

// BenchmarkRead reads and verifies artifacts of sealed blocks.
func BenchmarkRead(b *testing.B) {
	for _, size := range []int{100, 10_000, 250_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := realStore(b)
			var ids []record.ID
			for i := range 200 {
				a := numbered(i, size)
				put(b, s, "main", a)
				ids = append(ids, a.ID)
			}
			must(b, s.Sealed(sealFull(b, s, "main")))
			b.SetBytes(int64(size))
			i := 0
			for b.Loop() {
				id := ids[i%len(ids)]
				i++
				ref, _, _ := s.LookupAny(id)
				if _, err := s.Read(ref, id); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSeal seals blocks of 16 MiB.
func BenchmarkSeal(b *testing.B) {
	s := realStore(b)
	b.SetBytes(16 << 20)
	n := 0
	for b.Loop() {
		b.StopTimer()
		for range 16 {
			group := make([]Artifact, 16)
			for i := range group {
				n++
				group[i] = numbered(n, 64<<10)
			}
			put(b, s, "main", group...)
		}
		must(b, s.Sync())
		b.StartTimer()
		must(b, s.Sealed(sealFull(b, s, "main")))
	}
}

// BenchmarkUpload stores and reads values of 32 MiB in chunks of 8 MiB.
func BenchmarkUpload(b *testing.B) {
	s := realStore(b)
	value := make([]byte, 32<<20)
	b.SetBytes(int64(len(value)))
	n := 0
	for b.Loop() {
		n++
		copy(value, fmt.Sprint(n))
		up := upload2(b, s, value)
		must(b, s.Admit(up.Block))
		v, err := s.OpenValue(up.List, up.Whole, up.Size)
		must(b, err)
		_, err = v.WriteTo(io.Discard)
		must(b, err)
	}
}

func upload2(b *testing.B, s *Store, value []byte) Uploaded {
	u, err := s.NewUpload("main", 8<<20)
	must(b, err)
	_, err = u.Write(value)
	must(b, err)
	up, err := u.Finish()
	must(b, err)
	return up
}

// BenchmarkMemory reports the bytes that the map holds for an artifact.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		const count = 1 << 20
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		c := (&Store{classes: map[string]*class{}}).class("main")
		list := c.artifacts.newList(1, 0)
		for i := range count {
			c.artifacts.put(list, numbered(i, 8).ID, int64(i), 8)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/count, "B/artifact")
		runtime.KeepAlive(c)
	}
}
