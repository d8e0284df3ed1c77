package block

import (
	"errors"
	"testing"

	"graven/internal/fsx"
)

// TestPins: what a mark covers is pinned once all of it is sealed, and what comes
// behind it is not.
func TestPins(t *testing.T) {
	s := openOn(t, fsx.NewMem())
	put(t, s, "main", arts("a", 3)...)
	first := sealFull(t, s, "main")
	must(t, s.Sealed(first))
	put(t, s, "main", arts("b", 2)...)
	put(t, s, "other", arts("c", 1)...)
	mark := s.Mark()
	for _, class := range s.Classes() {
		s.Advance(class)
	}
	put(t, s, "main", arts("d", 4)...) // the next block
	if _, err := s.Pins(mark); !errors.Is(err, ErrMissing) {
		t.Fatalf("before it is sealed: %v", err)
	}
	want := map[string]uint64{sealedName(first.ID): first.Size}
	for _, b := range s.FullBlocks() {
		rec, err := s.Seal(b.Class, b.Number, b.Count)
		must(t, err)
		must(t, s.Sealed(rec))
		want[sealedName(rec.ID)] = rec.Size
	}
	pins, err := s.Pins(mark)
	must(t, err)
	if len(pins) != 3 || len(want) != 3 {
		t.Fatalf("%v, wanted %v", pins, want)
	}
	for _, p := range pins {
		if size, ok := want[p.Name[len("blocks/"):]]; !ok || size != p.Size {
			t.Errorf("%+v is none of %v", p, want)
		}
	}
	mark.Chunks = 1
	if _, err := s.Pins(mark); !errors.Is(err, ErrMissing) {
		t.Errorf("a chunk block that is not there: %v", err)
	}
	if pins, err := s.Pins(Mark{}); err != nil || len(pins) > 0 {
		t.Errorf("of the start of the log: %v, %v", pins, err)
	}
}
