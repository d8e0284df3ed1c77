package tilestore

import (
	"slices"
	"sort"
)

// run is the numbers from first up to, not including, end.
type run struct{ first, end uint64 }

// runs is a set of tile numbers. Tiles are written in order, so even of many
// millions it has a handful of runs.
//
// Invariant: sorted, each run holds a number, and between two lies a gap.
type runs []run

// from returns the position of the first run that ends behind n.
func (s runs) from(n uint64) int {
	return sort.Search(len(s), func(i int) bool { return s[i].end > n })
}

func (s runs) has(n uint64) bool {
	i := s.from(n)
	return i < len(s) && s[i].first <= n
}

// firstGap returns the smallest number that is not in the set.
func (s runs) firstGap() uint64 {
	if len(s) == 0 || s[0].first > 0 {
		return 0
	}
	return s[0].end
}

func (s *runs) add(n uint64) {
	i := s.from(n)
	r := *s
	if i < len(r) && r[i].first <= n {
		return
	}
	left := i > 0 && r[i-1].end == n
	right := i < len(r) && r[i].first == n+1
	switch {
	case left && right:
		r[i-1].end = r[i].end
		*s = slices.Delete(r, i, i+1)
	case left:
		r[i-1].end++
	case right:
		r[i].first--
	default:
		*s = slices.Insert(r, i, run{n, n + 1})
	}
}

func (s *runs) remove(n uint64) {
	i := s.from(n)
	r := *s
	if i == len(r) || r[i].first > n {
		return
	}
	old := r[i]
	switch {
	case old.first == n && old.end == n+1:
		*s = slices.Delete(r, i, i+1)
	case old.first == n:
		r[i].first++
	case old.end == n+1:
		r[i].end--
	default:
		r[i].end = n
		*s = slices.Insert(r, i+1, run{n + 1, old.end})
	}
}
