package block

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"graven/record"
)

// checkCatalog recomputes the invariants of a catalog.
func checkCatalog(t testing.TB, c *catalog) (entries int) {
	t.Helper()
	for at, l := range c.lists {
		if l == nil {
			continue
		}
		if int(l.at) != at {
			t.Fatalf("list %d says that it is %d", at, l.at)
		}
		for i := range l.n {
			if !c.has(l.entry(i).id) {
				t.Fatalf("entry %d of list %d is not found", i, at)
			}
			if i > 0 && l.entry(i-1).off >= l.entry(i).off {
				t.Fatalf("entry %d of list %d stands before the one before", i, at)
			}
		}
		entries += l.n
	}
	used := 0
	for _, s := range c.slots {
		if s.list == 0 {
			continue
		}
		used++
		if l := c.lists[s.list-1]; l == nil || int(s.entry) >= l.n {
			t.Fatalf("a slot leads to entry %d of list %d, which is not there", s.entry, s.list-1)
		}
	}
	if used != c.used || len(c.slots) > 0 && 4*used > 3*len(c.slots) {
		t.Fatalf("%d of %d slots are used, the catalog says %d", used, len(c.slots), c.used)
	}
	return entries
}

func TestCatalogAgainstAMap(t *testing.T) {
	var none *catalog
	if none.size() != 0 || none.has(record.ID{}) {
		t.Fatal("a nil catalog holds something")
	}
	c := newCatalog()
	if c.has(record.ID{}) {
		t.Fatal("a new catalog holds something")
	}
	r := rand.New(rand.NewPCG(1, 2))
	// Ids with equal beginnings, as somebody may grind them.
	id := func(n uint64) (id record.ID) {
		binary.BigEndian.PutUint64(id[24:], n)
		return id
	}
	type where struct {
		list *frameList
		i    int
	}
	m := map[record.ID]where{}
	lists := []*frameList{c.newList(0, 0)}
	gone := func(l *frameList, from int) {
		for k, w := range m {
			if w.list == l && w.i >= from {
				delete(m, k)
			}
		}
	}
	for i := range uint64(40_000) {
		l := lists[r.IntN(len(lists))]
		switch what := r.IntN(2000); {
		case what < 1900: // also ids that another list has
			k := id(r.Uint64N(20_000))
			c.put(l, k, int64(i), uint32(i))
			m[k] = where{l, l.n - 1}
		case what < 1980:
			if k := id(20_000 + i); l.n > 0 {
				at := r.IntN(l.n)
				if old := l.entry(at).id; m[old] == (where{l, at}) {
					delete(m, old)
				}
				c.rename(l, at, k)
				m[k] = where{l, at}
			}
		case what < 1990:
			lists = append(lists, c.newList(uint32(i), i))
		case what < 1995:
			n := r.IntN(l.n + 1)
			c.cut(l, n)
			gone(l, n)
		case len(lists) > 1:
			at := r.IntN(len(lists))
			l := lists[at]
			c.drop(l)
			gone(l, 0)
			lists[at] = lists[len(lists)-1]
			lists = lists[:len(lists)-1]
		}
	}
	if len(m) == 0 || len(lists) < 3 {
		t.Fatalf("%d ids in %d lists prove nothing", len(m), len(lists))
	}
	for n := range uint64(60_000) {
		l, i, ok := c.get(id(n))
		want, wantOK := m[id(n)]
		if ok != wantOK || l != want.list || i != want.i {
			t.Fatalf("id %d: %v %d %t, wanted %v %t", n, l, i, ok, want, wantOK)
		}
	}
	if c.size() != len(m) {
		t.Fatalf("%d entries, wanted %d", c.size(), len(m))
	}
	for _, l := range lists {
		c.drop(l)
	}
	if checkCatalog(t, c) != 0 || len(c.slots) != minSlots {
		t.Fatalf("empty, the table has %d slots", len(c.slots))
	}
}
