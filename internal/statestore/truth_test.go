package statestore

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"graven/internal/fsx"
	"graven/record"
	"graven/state"
)

var vault = record.VaultID{1, 2, 3, 0xFE}

// fatal is what *testing.T and *rapid.T have in common.
type fatal interface {
	Helper()
	Fatalf(format string, args ...any)
}

func stateDir(d fsx.Disk) fsx.Dir { return fsx.NewDir(d, fsx.VaultRules()).Sub("state") }

// mustOpen opens a store in which nothing is odd.
func mustOpen(t fatal, d fsx.Disk) *Store {
	t.Helper()
	s, notes, err := Open(stateDir(d), vault, Options{CacheBytes: 1 << 18})
	if err != nil || len(notes) > 0 {
		t.Fatalf("Open: %v, %q", err, notes)
	}
	return s
}

func mustMap(t fatal, s *Store, set Set) state.Map {
	t.Helper()
	m, err := s.Map(set)
	if err != nil {
		t.Fatalf("Map: %v", err)
	}
	return m
}

// newest opens the map of the newest set; the empty one if there is none.
func newest(t fatal, s *Store) (state.Map, uint64) {
	t.Helper()
	sets := s.Sets()
	if len(sets) == 0 {
		return state.Map{}, 0
	}
	last := sets[len(sets)-1]
	return mustMap(t, s, last), last.Position
}

func mustWrite(t fatal, s *Store, m state.Map, position uint64) state.Map {
	t.Helper()
	next, _, err := s.Write(m, position)
	if err != nil {
		t.Fatalf("Write: %v", err)
	}
	if next.Root() != m.Root() || next.Weight() != 0 {
		t.Fatalf("Write returned another map")
	}
	return next
}

func mustCheck(t fatal, s *Store) {
	t.Helper()
	if found := s.Check(context.Background()); found != nil {
		t.Fatalf("Check: %v", found)
	}
}

// version returns a leaf; n is about how many there were.
func leafOf(key []byte, seq, created uint64, live bool) state.Leaf {
	l := state.Leaf{Key: key, Seq: seq, N: 1, Created: created, Live: live}
	if created != seq {
		l.N = 2
	}
	l.Digest = sha256.Sum256(fmt.Appendf(nil, "%x %d", key, seq))
	return l
}

// keyOf returns the i-th of many stored keys in random order.
func keyOf(i int) []byte {
	h := sha256.Sum256(fmt.Appendf(nil, "key %d", i))
	return append([]byte{'k'}, h[:]...)
}

// put puts leaves into all maps alike.
func put(t fatal, leaves []state.Leaf, maps ...*state.Map) {
	t.Helper()
	for _, m := range maps {
		e := m.Edit()
		for _, l := range leaves {
			if err := e.Put(l); err != nil {
				t.Fatalf("Put: %v", err)
			}
		}
		*m = e.Map()
	}
}

// some returns n updates of keys among the first total, which exist since seq
// index+1.
func some(r *rand.Rand, n, total int, seq *uint64) []state.Leaf {
	leaves := make([]state.Leaf, n)
	for i := range leaves {
		*seq++
		at := r.IntN(total)
		leaves[i] = leafOf(keyOf(at), *seq, uint64(at)+1, r.IntN(8) > 0)
	}
	return leaves
}

// first returns the leaves of version 1 of keys from up to to.
func first(from, to int) []state.Leaf {
	var leaves []state.Leaf
	for i := from; i < to; i++ {
		leaves = append(leaves, leafOf(keyOf(i), uint64(i)+1, uint64(i)+1, true))
	}
	return leaves
}

// sameAnswers compares what two maps say about a key and a range.
func sameAnswers(t fatal, want, got state.Map, key, to []byte) {
	t.Helper()
	if want.Root() != got.Root() || want.Len() != got.Len() || want.Live() != got.Live() {
		t.Fatalf("root %v, wanted %v", got.Root(), want.Root())
	}
	p, err1 := want.Prove(key)
	q, err2 := got.Prove(key)
	if err1 != nil || err2 != nil || !reflect.DeepEqual(p, q) {
		t.Fatalf("proof of %x: %v, %v", key, err1, err2)
	}
	n, err1 := want.LiveRange(key, to)
	m, err2 := got.LiveRange(key, to)
	if err1 != nil || err2 != nil || n != m {
		t.Fatalf("live keys from %x to %x: %d, wanted %d; %v", key, to, m, n, err2)
	}
}

// sameLists compares all leaves.
func sameLists(t fatal, want, got state.Map) {
	t.Helper()
	list := func(m state.Map) (all []state.Leaf) {
		for l, err := range m.Ascend(nil) {
			if err != nil {
				t.Fatalf("%v", err)
			}
			all = append(all, l)
		}
		return all
	}
	if !reflect.DeepEqual(list(want), list(got)) {
		t.Fatalf("the lists differ")
	}
}

// diskBytes is the length of all files of pages.
func diskBytes(t testing.TB, d fsx.Disk) (bytes int64, files int) {
	t.Helper()
	entries, err := stateDir(d).ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := stateDir(d).Stat(e.Name)
		if err != nil {
			t.Fatal(err)
		}
		bytes += info.Size
	}
	return bytes, len(entries)
}

// data returns a file's bytes.
func data(t testing.TB, d fsx.Disk, number uint32) []byte {
	t.Helper()
	b, err := stateDir(d).ReadFile(fileName(number), 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// replace puts other bytes in the place of a file.
func replace(t testing.TB, d fsx.Disk, number uint32, b []byte) {
	t.Helper()
	if err := stateDir(d).Replace(fileName(number), b); err != nil {
		t.Fatal(err)
	}
}
