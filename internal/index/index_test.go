package index

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// model is the naive index: a list of versions per key.
type model map[string][]Version

func (m model) at(key string, pos uint64) (Version, bool) {
	var found Version
	ok := false
	for _, v := range m[key] {
		if v.Seq <= pos {
			found, ok = v, true
		}
	}
	return found, ok
}

func (m model) scan(from, to []byte, pos uint64, reverse bool) []string {
	var keys []string
	for k := range m {
		if bytes.Compare([]byte(k), from) < 0 || (to != nil && bytes.Compare([]byte(k), to) >= 0) {
			continue
		}
		if _, ok := m.at(k, pos); ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	if reverse {
		slices.Reverse(keys)
	}
	return keys
}

// TestModel drives a table and the naive model through the same random
// history, with refused groups taken back, and compares every kind of answer
// at every position.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table, naive := New(), model{}
		key := rapid.SampledFrom([]string{"a", "aa", "a\x00", "b", "ba", "\xff", "\xff\xff", "k\x00z"})
		steps := rapid.IntRange(1, 60).Draw(t, "steps")
		for seq := uint64(1); seq <= uint64(steps); seq++ {
			k := key.Draw(t, "key")
			v := Version{Seq: seq, N: uint64(len(naive[k]) + 1), Live: rapid.Bool().Draw(t, "live")}
			if err := table.Add([]byte(k), v); err != nil {
				t.Fatal(err)
			}
			if rapid.IntRange(0, 4).Draw(t, "refuse") == 0 {
				table.Cut([]byte(k), seq)
				continue
			}
			naive[k] = append(naive[k], v)
		}
		live := 0
		for pos := uint64(0); pos <= uint64(steps); pos++ {
			for k := range naive {
				got, ok := table.At([]byte(k), pos)
				want, wantOK := naive.at(k, pos)
				if ok != wantOK || got != want {
					t.Fatalf("At(%q, %d) = %v, %v; want %v, %v", k, pos, got, ok, want, wantOK)
				}
			}
			from, to := []byte(key.Draw(t, "from")), []byte(key.Draw(t, "to"))
			if rapid.Bool().Draw(t, "open") {
				to = nil
			}
			for _, reverse := range []bool{false, true} {
				var got []string
				table.Scan(from, to, pos, reverse, func(it Item) bool {
					got = append(got, string(it.Key))
					return true
				})
				if want := naive.scan(from, to, pos, reverse); !slices.Equal(got, want) {
					t.Fatalf("Scan(%q, %q, %d, %v) = %q; want %q", from, to, pos, reverse, got, want)
				}
			}
		}
		for _, vs := range naive {
			if vs[len(vs)-1].Live {
				live++
			}
		}
		keys, gotLive, _ := table.Stats()
		if keys != len(naive) || gotLive != live {
			t.Fatalf("Stats: %d keys, %d live; want %d, %d", keys, gotLive, len(naive), live)
		}
	})
}

// TestScanBatches crosses the borders at which a scan lets go of the lock.
func TestScanBatches(t *testing.T) {
	table := New()
	const n = 3*batch + 7
	for i := range n {
		if err := table.Add(fmt.Appendf(nil, "k%06d", i), Version{Seq: uint64(i + 1), N: 1, Live: true}); err != nil {
			t.Fatal(err)
		}
	}
	for _, reverse := range []bool{false, true} {
		var keys []string
		table.Scan([]byte("k"), nil, n, reverse, func(it Item) bool {
			keys = append(keys, string(it.Key))
			return true
		})
		if reverse {
			slices.Reverse(keys)
		}
		if len(keys) != n || !slices.IsSorted(keys) || len(slices.Compact(keys)) != n {
			t.Fatalf("reverse %v: %d keys, sorted %v", reverse, len(keys), slices.IsSorted(keys))
		}
	}
	if got := table.Changed([]byte("k000010"), []byte("k000020"), n); got != 20 {
		t.Fatalf("Changed = %d, want 20", got)
	}
}

func TestAddRefusesDisorder(t *testing.T) {
	table := New()
	if err := table.Add([]byte("a"), Version{Seq: 5, N: 1}); err != nil {
		t.Fatal(err)
	}
	for _, v := range []Version{{Seq: 5, N: 2}, {Seq: 4, N: 2}, {Seq: 6, N: 1}, {Seq: 6, N: 3}} {
		if err := table.Add([]byte("a"), v); err == nil {
			t.Errorf("Add(%v) after seq 5, version 1: no error", v)
		}
	}
}
