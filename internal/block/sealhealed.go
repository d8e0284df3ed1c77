package block

import (
	"errors"
	"io"

	"graven/record"
)

// planHealed is planSeal of a block that was found damaged: second copies of its
// artifacts take the place of those that rotted. If that is not enough, it returns
// the damage that was found.
func (s *Store) planHealed(b *openBlock, h *handle, count int, found error) (sealPlan, error) {
	w, err := s.overlay(b, h, count)
	if err != nil {
		return sealPlan{}, err
	}
	if w == nil {
		return sealPlan{}, found
	}
	plan, err := s.planSeal(b, w, uint64(count))
	plan.healed = true
	return plan, err
}

// healed is an open block with other bytes in some places.
type healed struct {
	r       io.ReaderAt
	end     int64 // of the last frame; nothing behind is read
	patches []patch
}

// patch is bytes that stand at an offset. Patches do not overlap, and ascend.
type patch struct {
	off   int64
	bytes []byte
}

// Size implements [sized].
func (w *healed) Size() (int64, error) { return w.end, nil }

// ReadAt implements [io.ReaderAt].
func (w *healed) ReadAt(b []byte, off int64) (int, error) {
	n, err := w.r.ReadAt(b, off)
	for _, p := range w.patches {
		if from, to := max(off, p.off), min(off+int64(len(b)), p.off+int64(len(p.bytes))); from < to {
			copy(b[from-off:], p.bytes[from-p.off:to-p.off])
		}
	}
	return n, err
}

// overlay finds which of the first count artifacts of an open block rotted, and
// their bytes; nil if there are none, or one has no second copy.
func (s *Store) overlay(b *openBlock, h *handle, count int) (*healed, error) {
	w := &healed{r: h}
	s.mu.RLock()
	entries := make([]Entry, 0, count)
	for e := range b.frames.all() {
		if len(entries) == count {
			break
		}
		entries = append(entries, e)
	}
	s.mu.RUnlock()
	for _, e := range entries {
		w.end = e.end()
		got := make([]byte, e.Size)
		err := readFull(h, got, e.Offset)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, nil // there is no place for it
		}
		if err != nil {
			return nil, err
		}
		if record.IDOf(got) == e.ID {
			continue
		}
		second, err := s.readHealed(e.ID, e.Size)
		if err != nil || int64(len(second)) != e.Size {
			return nil, nil // what was found damaged is
		}
		w.patches = append(w.patches, patch{e.Offset, second})
	}
	if len(w.patches) == 0 {
		return nil, nil
	}
	return w, nil
}
