package state

import (
	"math/rand/v2"
	"testing"
)

// TestPathSize holds the size of a path to what is promised of it: at most
// 1,150 bytes for a million keys of 32 bytes. It takes every path of a smaller
// map, for as many keys as a test may take, and grows the limit by one more
// level than the balance of an AVL tree can cost.
func TestPathSize(t *testing.T) {
	n := million
	if testing.Short() {
		n = 100_000
	}
	for _, kind := range []string{"sorted", "random"} {
		keys := keysOf(kind, n)
		m := fill(t, keys, n)
		r := rand.New(rand.NewPCG(1, 1))
		longest, sum, asked := 0, 0, 0
		var path []byte
		for range 20_000 {
			key := keys[r.IntN(n)]
			path = m.Prove(key).AppendPath(path[:0], key)
			longest, sum, asked = max(longest, len(path)), sum+len(path), asked+1
		}
		t.Logf("%d %s keys, height %d: path %d bytes at most, %d on average", n, kind, m.Spaces()[0].Height, longest, sum/asked)
		if longest >= 1150 {
			t.Errorf("%d %s keys: a path of %d bytes, wanted less than 1150", n, kind, longest)
		}
	}
}
