package statestore

import (
	"errors"
	"io/fs"
	"slices"
	"testing"

	"graven/internal/fsx"
	"graven/state"
)

// TestPins finds sets by their positions, and the files that they stand on, which stay
// as long as the position is kept.
func TestPins(t *testing.T) {
	disk := fsx.NewMem()
	s := mustOpen(t, disk)
	if _, ok := s.Before(100); ok {
		t.Error("a set in an empty folder")
	}
	s.Keep(20)
	var m state.Map
	for i := range 6 {
		put(t, first(10*i, 10*i+10), &m)
		m = mustWrite(t, s, m, uint64(10*i+10))
	}
	set, ok := s.At(20)
	if !ok || set.Position != 20 {
		t.Fatalf("%v, %v", set, ok)
	}
	if _, ok := s.At(30); ok {
		t.Error("a set that is not kept")
	}
	for limit, want := range map[uint64]uint64{20: 20, 49: 20, 50: 50, 1000: 60} {
		if got, ok := s.Before(limit); !ok || got.Position != want {
			t.Errorf("up to %d: %v", limit, got)
		}
	}
	if _, ok := s.Before(19); ok {
		t.Error("a set before the first")
	}
	files, err := s.Files(set)
	if err != nil || len(files) == 0 || !slices.IsSorted(files) {
		t.Fatalf("%v, %v", files, err)
	}
	if _, err := s.Files(Set{Number: 99}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("files of no set: %v", err)
	}
}
