package state

import (
	"math"
	"testing"
)

// A path for one of a million keys of 32 bytes is to stay below pathLimit. A
// test of that size takes too long, so this one takes a tenth of the keys and
// all their paths, and lowers the limit by what the missing levels would cost:
// an AVL tree is at most 1.4405·log2(n) high, and a step of such keys takes
// less than 45 bytes. BenchmarkPath measures the million itself.
const (
	pathLimit = 1150
	stepLimit = 45
)

func TestPathSize(t *testing.T) {
	const n = million / 10
	limit := pathLimit - stepLimit*int(math.Ceil(1.4405*math.Log2(million/n)))
	for _, kind := range []string{"sorted", "random"} {
		keys := keysOf(kind, n)
		m := fill(t, keys, n)
		longest, sum, step := 0, 0, 0
		var path []byte
		for _, key := range keys {
			p := sure(m.Prove(key))
			path = p.AppendPath(path[:0], key)
			longest, sum, step = max(longest, len(path)), sum+len(path), max(step, (len(path)-16)/len(p.Steps))
		}
		t.Logf("%d %s keys, height %d: path %d bytes at most, %d on average", n, kind, m.Spaces()[0].Height, longest, sum/n)
		if longest >= limit || step >= stepLimit {
			t.Errorf("%d %s keys: a path of %d bytes, steps of %d, wanted less than %d and %d", n, kind, longest, step, limit, stepLimit)
		}
	}
}

// BenchmarkPath measures every path of a map of a million keys.
func BenchmarkPath(b *testing.B) {
	for _, kind := range []string{"sorted", "shuffled", "random"} {
		b.Run(kind, func(b *testing.B) {
			keys := keysOf(kind, million)
			m := fill(b, keys, million)
			longest, sum := 0, 0
			var path []byte
			for b.Loop() {
				longest, sum = 0, 0
				for _, key := range keys {
					path = sure(m.Prove(key)).AppendPath(path[:0], key)
					longest, sum = max(longest, len(path)), sum+len(path)
				}
			}
			b.ReportMetric(float64(longest), "B-max")
			b.ReportMetric(float64(sum)/million, "B-mean")
			if longest >= pathLimit {
				b.Errorf("a path of %d bytes, wanted less than %d", longest, pathLimit)
			}
		})
	}
}
