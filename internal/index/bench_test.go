package index

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path"
	"testing"
	"time"

	"graven/internal/fsx/osfs"
	"graven/record"
)

// benchIndex makes runs of 65,536 versions of random keys of 33 bytes, and as
// many artifacts, on a disk of the machine.
func benchIndex(b testing.TB, runs int) (x *Index, keys [][]byte) {
	b.Helper()
	disk, err := osfs.Open(b.TempDir())
	must(b, err)
	x = mustOpen(b, disk, Options{CacheBytes: 256 << 20})
	must(b, x.Begin(0))
	rng := rand.New(rand.NewPCG(1, 2))
	random := func(n int) []byte {
		p := make([]byte, 0, n+8)
		for len(p) < n {
			p = binary.BigEndian.AppendUint64(p, rng.Uint64())
		}
		return p[:n]
	}
	const perRun = 65536
	seq := uint64(1)
	for n := range runs {
		run := Run{Number: uint64(n), From: uint64(n) * perRun, To: uint64(n+1) * perRun, Txs: uint64(n+1) * perRun}
		for seq < run.To {
			key := random(33)
			keys = append(keys, key)
			must(b, x.Add(key, Version{Seq: seq, N: 1, Live: true, Size: 1000, Value: record.ID(random(32))}))
			run.Artifacts = append(run.Artifacts, Place{ID: record.ID(random(32)), Class: "main", Number: seq / 60000, Offset: int64(seq % 60000 * 1100), Size: 1000})
			seq++
		}
		run.Versions = seq - 1
		start := time.Now()
		_, err := x.Seal(run)
		must(b, err)
		if n == 0 {
			b.Logf("seal: %v", time.Since(start))
			for _, table := range []string{tableKeys, shardTable(0)} {
				f := *x.set.Load().segs[0].file(table)
				info, err := x.dir.Stat(fileName(table, address{}))
				must(b, err)
				b.Logf("%s: %.1f bytes a row", path.Dir(f.Name()), float64(info.Size)/float64(f.Rows()))
			}
		}
	}
	return x, keys
}

func BenchmarkAt(b *testing.B) {
	x, keys := benchIndex(b, 16)
	for _, level := range []int{0, 1} {
		if level == 1 {
			start := time.Now()
			_, err := x.Merge(context.Background())
			must(b, err)
			b.Logf("merge of %d versions and artifacts: %v", len(keys), time.Since(start))
		}
		rng := rand.New(rand.NewPCG(1, 1))
		for _, key := range keys { // warm
			if _, ok, err := x.At(key, newestSeq); err != nil || !ok {
				b.Fatal(ok, err)
			}
		}
		for name, among := range map[string]int{"there": len(keys), "hot": 1000} {
			b.Run(fmt.Sprintf("%s-level%d", name, level), func(b *testing.B) {
				step := len(keys) / among
				for b.Loop() {
					_, ok, err := x.At(keys[rng.IntN(among)*step], newestSeq)
					if err != nil || !ok {
						b.Fatal(ok, err)
					}
				}
			})
		}
		b.Run(fmt.Sprintf("absent-level%d", level), func(b *testing.B) {
			key := make([]byte, 33)
			for b.Loop() {
				binary.LittleEndian.PutUint64(key, rng.Uint64())
				if _, ok, err := x.At(key, newestSeq); err != nil || ok {
					b.Fatal(ok, err)
				}
			}
		})
		b.Run(fmt.Sprintf("scan1000-level%d", level), func(b *testing.B) {
			for b.Loop() {
				n := 0
				must(b, x.Scan(keys[rng.IntN(len(keys))], nil, newestSeq, false, func(Item) bool { n++; return n < 1000 }))
			}
		})
		b.Run(fmt.Sprintf("scan1000-reverse-level%d", level), func(b *testing.B) {
			for b.Loop() {
				n := 0
				must(b, x.Scan(nil, keys[rng.IntN(len(keys))], newestSeq, true, func(Item) bool { n++; return n < 1000 }))
			}
		})
	}
}
