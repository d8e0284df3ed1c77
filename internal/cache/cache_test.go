package cache

import (
	"math/rand/v2"
	"sync"
	"testing"
)

const limit = 1000 // of a shard in these tests

func newCache() *Cache[uint64, uint64] { return New[uint64, uint64](limit<<shardBits, Spread) }

// check holds the books of a cache against what is in it.
func check(t *testing.T, c *Cache[uint64, uint64], least int64) {
	t.Helper()
	for i := range c.shards {
		s := &c.shards[i]
		sum, n := int64(0), 0
		for e := s.hand; e != nil; e = e.next {
			sum, n = sum+e.cost, n+1
			if s.entries[e.key] != e || e.next.prev != e || e.value != e.key+1 {
				t.Fatalf("shard %d: entry %d is not where it is said to be", i, e.key)
			}
			if e.next == s.hand {
				break
			}
		}
		if sum != s.cost || n != len(s.entries) || sum > limit && n > 1 || sum < least {
			t.Fatalf("shard %d: %d entries of cost %d, says %d of %d; wanted %d to %d", i, n, sum, len(s.entries), s.cost, least, limit)
		}
	}
}

func TestBound(t *testing.T) {
	c := newCache()
	r := rand.New(rand.NewPCG(1, 1))
	const hot = 1 << 40
	c.Put(hot, hot+1, 100)
	for i := range uint64(10_000) {
		c.Put(i, i+1, 50+r.Int64N(100))
		if v, ok := c.Get(hot); !ok || v != hot+1 {
			t.Fatalf("a value that is always used has gone after %d others", i)
		}
	}
	check(t, c, limit*8/10)
	c.Put(7<<40, 7<<40+1, 1<<40)
	if _, ok := c.Get(7 << 40); !ok {
		t.Error("a value that costs more than the limit is not held at all")
	}
	check(t, c, 0)
}

// TestNewStay: what came in is there until nearly as much came in behind it as the cache
// holds, also if some are used and have a round more.
func TestNewStay(t *testing.T) {
	c := newCache()
	const cost, holds, later = 10, limit << shardBits / 10, limit << shardBits / 20
	for i := range uint64(10 * holds) {
		c.Put(i, i+1, cost)
		if i < later || i%4 != 0 {
			continue
		}
		if v, ok := c.Get(i - later); !ok || v != i-later+1 {
			t.Fatalf("value %d has gone after %d others, of %d that the cache holds", i-later, later, holds)
		}
	}
	check(t, c, limit*9/10)
}

// TestWalk: who walks over everything once does not drive out what is in use.
func TestWalk(t *testing.T) {
	c := newCache()
	const cost, holds = 10, limit << shardBits / 10
	inUse := uint64(holds / 4)
	lost := 0
	for i := range uint64(20 * holds) {
		key := 1<<40 + i%inUse
		if _, ok := c.Get(key); !ok {
			if i > inUse {
				lost++
			}
			c.Put(key, key+1, cost)
		}
		c.Put(i, i+1, cost)
	}
	check(t, c, limit*9/10)
	if lost > 0 {
		t.Errorf("%d times a value was gone that is used all the time", lost)
	}
}

func TestSame(t *testing.T) {
	c := newCache()
	c.Put(1, 2, 10)
	c.Put(1, 2, 10)
	check(t, c, 0)
	if s := c.shard(1); s.cost != 10 || c.Len() != 1 {
		t.Errorf("a value that was put twice costs %d, wanted 10", s.cost)
	}
}

func TestConcurrent(t *testing.T) {
	c := newCache()
	var wg sync.WaitGroup
	for g := range uint64(4) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(g, 1))
			for range 20_000 {
				key := r.Uint64N(4000)
				if v, ok := c.Get(key); !ok {
					c.Put(key, key+1, 10)
				} else if v != key+1 {
					t.Errorf("key %d: value %d", key, v)
					return
				}
			}
		})
	}
	wg.Wait()
	check(t, c, limit*8/10)
}
