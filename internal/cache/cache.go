// Package cache keeps what was read, up to a bound of memory.
//
// Values go in the order of CLOCK (Corbató 1968): a hand goes round, passes those that
// were used since it last came by, and takes the first that was not. A new value comes
// in right behind the hand, which reaches it last: however many others come in, it stays
// for a round. One that is put in and never asked for again goes then, so who walks over
// everything does not drive out what others need.
package cache

import (
	"sync"
	"sync/atomic"
)

// Cache holds values that never change, by their keys. It is safe for concurrent use. A
// hit takes a shared lock and writes nothing but a flag that is not set yet.
type Cache[K comparable, V any] struct {
	hash   func(K) uint64
	shards [1 << shardBits]shard[K, V]
}

const shardBits = 4

// New returns an empty cache for values that cost so much together, in bytes. The hash
// spreads keys over shards; only its highest bits count.
func New[K comparable, V any](limit int64, hash func(K) uint64) *Cache[K, V] {
	c := &Cache[K, V]{hash: hash}
	for i := range c.shards {
		c.shards[i].limit = limit >> shardBits
		c.shards[i].entries = map[K]*entry[K, V]{}
	}
	return c
}

// Spread is a hash of numbers whose highest bits depend on all of theirs (Fibonacci
// hashing, Knuth 1973).
func Spread(n uint64) uint64 { return n * 0x9E3779B97F4A7C15 }

// Get returns the value of a key; false if it is not here.
func (c *Cache[K, V]) Get(key K) (value V, ok bool) {
	s := c.shard(key)
	s.mu.RLock()
	e := s.entries[key]
	s.mu.RUnlock()
	if e == nil {
		return value, false
	}
	if !e.used.Load() {
		e.used.Store(true)
	}
	return e.value, true
}

// Put adds a value that costs so much, and lets others go for it. One that is here stays.
func (c *Cache[K, V]) Put(key K, value V, cost int64) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries[key] != nil {
		return // somebody else was faster
	}
	for s.hand != nil && s.cost+cost > s.limit {
		s.tick()
	}
	s.add(&entry[K, V]{key: key, value: value, cost: cost})
}

// Len returns how many values there are.
func (c *Cache[K, V]) Len() (n int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		n += len(s.entries)
		s.mu.RUnlock()
	}
	return n
}

func (c *Cache[K, V]) shard(key K) *shard[K, V] { return &c.shards[c.hash(key)>>(64-shardBits)] }

// shard is a part of the entries. They stand in a ring.
//
// Invariant: entries and ring hold the same, and cost is what they cost: at most
// limit, or one entry alone.
type shard[K comparable, V any] struct {
	mu      sync.RWMutex // guards what follows and the ring
	limit   int64        // never changes
	cost    int64
	entries map[K]*entry[K, V]
	hand    *entry[K, V] // the next to be looked at; nil: there is none
}

type entry[K comparable, V any] struct {
	key        K
	value      V
	cost       int64
	next, prev *entry[K, V]
	used       atomic.Bool // since the hand last came by
}

// add puts an entry right behind the hand. The caller holds mu.
func (s *shard[K, V]) add(e *entry[K, V]) {
	s.entries[e.key] = e
	s.cost += e.cost
	if s.hand == nil {
		e.next, e.prev = e, e
		s.hand = e
		return
	}
	e.next, e.prev = s.hand, s.hand.prev
	e.prev.next, e.next.prev = e, e
}

// tick moves the hand on by one entry, which goes unless it was used. The caller holds
// mu; there is an entry.
func (s *shard[K, V]) tick() {
	e := s.hand
	s.hand = e.next
	if e.used.Swap(false) {
		return
	}
	if e.next == e {
		s.hand = nil
	}
	e.prev.next, e.next.prev = e.next, e.prev
	s.cost -= e.cost
	delete(s.entries, e.key)
}
