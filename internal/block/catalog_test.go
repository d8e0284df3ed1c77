package block

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"graven/record"
)

func TestCatalogAgainstAMap(t *testing.T) {
	var none *catalog
	if none.size() != 0 || none.has(record.ID{}) {
		t.Fatal("a nil catalog holds something")
	}
	for range none.all() {
		t.Fatal("a nil catalog holds something")
	}
	c, m := newCatalog(), map[record.ID]Ref{}
	if c.has(record.ID{}) {
		t.Fatal("a new catalog holds something")
	}
	r := rand.New(rand.NewPCG(1, 2))
	// Ids with equal beginnings, as somebody may grind them.
	id := func(n uint64) (id record.ID) {
		binary.BigEndian.PutUint64(id[24:], n)
		return id
	}
	for i := range 20_000 {
		k := id(r.Uint64N(8000))
		ref := Ref{file: uint32(i), size: uint32(i * 3), off: int64(i)}
		c.put(k, ref)
		m[k] = ref
		if i%5000 == 4999 {
			c.keep(func(_ record.ID, ref Ref) bool { return ref.file%3 != 0 })
			for k, ref := range m {
				if ref.file%3 == 0 {
					delete(m, k)
				}
			}
		}
	}
	for n := range uint64(8000) {
		got, ok := c.get(id(n))
		want, wantOK := m[id(n)]
		if got != want || ok != wantOK {
			t.Fatalf("id %d: %v %t, wanted %v %t", n, got, ok, want, wantOK)
		}
	}
	seen := 0
	for k, ref := range c.all() {
		if m[k] != ref {
			t.Fatalf("%v: %v, wanted %v", k, ref, m[k])
		}
		seen++
	}
	if seen != len(m) || c.size() != len(m) {
		t.Fatalf("%d entries, %d visited, wanted %d", c.size(), seen, len(m))
	}
}
