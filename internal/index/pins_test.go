package index

import (
	"slices"
	"testing"
)

// TestCover: the segments that a number of runs comes to when all merges are done.
func TestCover(t *testing.T) {
	for _, c := range []struct {
		runs uint64
		want []string
	}{
		{0, nil},
		{1, []string{"0-00000000"}},
		{16, []string{"1-00000000"}},
		{18, []string{"1-00000000", "0-00000016", "0-00000017"}},
		{256 + 17, []string{"2-00000000", "1-00000016", "0-00000272"}},
	} {
		if got := Cover(c.runs); !slices.Equal(got, c.want) {
			t.Errorf("%d runs: %v, wanted %v", c.runs, got, c.want)
		}
	}
	for runs := range uint64(5000) {
		next := uint64(0)
		for _, name := range Cover(runs) {
			a, ok := parseFileName(name + ".seg")
			if !ok || a.start() != next {
				t.Fatalf("%d runs: %s does not begin at %d", runs, name, next)
			}
			next = a.end()
		}
		if next != runs {
			t.Fatalf("%d runs: it covers %d", runs, next)
		}
	}
}
