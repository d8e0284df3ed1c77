package record

import (
	"math"
	"math/bits"
	"testing"

	"pgregory.net/rapid"
)

// The definition, with a table for the smaller numbers.
func TestJDefinition(t *testing.T) {
	const count = 1 << 17
	j := make([]uint64, count)
	for n := uint64(2); n < count; n++ {
		p := n - 1
		if p-j[p] == j[p]-j[j[p]] {
			j[n] = j[j[p]]
		} else {
			j[n] = p
		}
	}
	for n := range uint64(count) {
		if got := J(n); got != j[n] {
			t.Fatalf("J(%d) = %d, wanted %d", n, got, j[n])
		}
	}
}

// The definition is a rule about J itself, so it can be checked anywhere.
func TestJRecurrence(t *testing.T) {
	check := func(n uint64) bool {
		p := n - 1
		if p-J(p) == J(p)-J(J(p)) {
			return J(n) == J(J(p))
		}
		return J(n) == p
	}
	rapid.Check(t, func(t *rapid.T) {
		if n := rapid.Uint64Range(1, math.MaxUint64).Draw(t, "n"); !check(n) {
			t.Fatalf("J(%d) = %d breaks the definition", n, J(n))
		}
	})
	for k := range 64 {
		for d := range uint64(5) {
			if n := uint64(1)<<k + d - 2; n != 0 && !check(n) {
				t.Errorf("J(%d) = %d breaks the definition", n, J(n))
			}
		}
	}
	if !check(math.MaxUint64) || J(0) != 0 {
		t.Error("the ends break the definition")
	}
}

// From any version any older one is near along skips and prevs.
func TestJSteps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.Uint64Range(1, MaxInt).Draw(t, "from")
		to := rapid.Uint64Range(1, from).Draw(t, "to")
		steps, most := 0, 3*bits.Len64(from)+3
		for n := from; n > to; steps++ {
			if j := J(n); j >= to {
				n = j
			} else {
				n--
			}
			if steps > most {
				t.Fatalf("more than %d steps from %d to %d", most, from, to)
			}
		}
	})
}
