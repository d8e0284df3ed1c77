package block

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"graven/record"
)

// Restore writes a section that recovery read from the write-ahead log to its
// place: over nothing, over a part of itself, over garbage, or over the same
// bytes, which it writes again, for after a crash what can be read may never
// have reached the disk. It does not sync. Its artifacts are registered.
//
// It refuses, with ErrConflict and before the first byte, a place where a
// different artifact stands whose bytes have its hash. A place that leaves a gap
// behind what is loaded is a *Damage: something was lost. Parts of a section that
// a sealed block holds are compared with it instead; what stood behind them
// belongs to the next block.
func (s *Store) Restore(class string, number uint64, offset int64, section []byte) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.write.Unlock()
	sec, err := s.parse(class, number, offset, section)
	if err != nil || len(sec.entries) == 0 {
		return err
	}
	_, err = s.restore(sec, noSource)
	return err
}

// noSource is no file of any Ref.
const noSource = 1<<32 - 1

// restore is Restore for a section of an open block. Artifacts that are
// registered in the file movedFrom may move. Callers hold write.
func (s *Store) restore(sec section, movedFrom uint32) (*openBlock, error) {
	b, err := s.target(sec)
	if err != nil && sec.offset == 0 {
		return nil, err
	}
	if err != nil || sec.offset > b.size {
		return nil, s.gap(b, sec)
	}
	same, err := s.compare(b, sec)
	if err != nil {
		return nil, err
	}
	if err := s.replaceable(b, sec, movedFrom); err != nil {
		return nil, err
	}
	if !same || s.twinOf(b) == nil { // a published file is durable: leave it alone
		w, err := s.writer(b)
		if err != nil {
			return nil, err
		}
		if _, err := w.WriteAt(sec.bytes, sec.offset); err != nil {
			return nil, err
		}
	}
	s.register(b, sec)
	return b, nil
}

// gap says that what stood before a section was lost. b is nil if all of it was.
func (s *Store) gap(b *openBlock, sec section) error {
	d := &Damage{
		File: s.files.path(openName(sec.class, sec.number)), What: "length",
		Wanted: "artifacts up to offset " + strconv.FormatInt(sec.offset, 10), Got: "none",
	}
	if b == nil {
		return d
	}
	d.Offset, d.Got = b.size, "artifacts up to offset "+strconv.FormatInt(b.size, 10)
	return errors.Join(d, b.broken)
}

// compare looks at what stands where a section goes. It reports whether that is
// the same already, and refuses other valid content.
func (s *Store) compare(b *openBlock, sec section) (same bool, err error) {
	if !b.loose && b.size == 0 {
		return false, nil // new: there is no file
	}
	name := openName(b.class, b.number)
	h, err := s.files.open(s.source(b.source))
	if errors.Is(err, ErrMissing) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer s.files.release(h)
	size, err := h.Size()
	if err != nil {
		return false, err
	}
	if b.loose && s.twinOf(b) == nil {
		if err := s.findTwin(s.classOf(b), b, h, size); err != nil {
			return false, err
		}
	}
	if _, _, err := readHeader(h, size); sec.offset == 0 && !isSyntax(err) {
		if err == nil {
			err = s.checkHeader(h, name, s.header(b.class, b.number))
		}
		if err != nil {
			return false, fmt.Errorf("%s: %w: %w", s.files.path(name), ErrConflict, err)
		}
	}
	w := newWindow(h, size)
	for _, e := range sec.entries {
		if err := s.compareFrame(name, w, e); err != nil {
			return false, err
		}
	}
	if size < sec.offset+int64(len(sec.bytes)) {
		return false, nil
	}
	old := make([]byte, len(sec.bytes))
	if err := readFull(h, old, sec.offset); err != nil {
		return false, err
	}
	return bytes.Equal(old, sec.bytes), nil
}

// compareFrame refuses a place where a whole frame of another artifact stands.
func (s *Store) compareFrame(name string, w *window, want Entry) error {
	walk := frames{w: w, next: want.start()}
	e, ok, err := walk.read()
	if isSyntax(err) || err == nil && (!ok || e == want) {
		return nil
	}
	if err != nil {
		return err
	}
	_, _, err = hashFrames(w, e.start(), 1, nil, func(e Entry, got record.ID) error {
		if got == e.ID {
			return fmt.Errorf("%s at offset %d: %w: artifact %v of %d bytes, to be restored is %v of %d bytes",
				s.files.path(name), e.Offset, ErrConflict, e.ID, e.Size, want.ID, want.Size)
		}
		return nil
	})
	return err
}

// replaceable checks what a restored section means for what is registered. What
// LoadOpen registered at the same place, from a frame header that rotted, gives
// way: compare found that its bytes do not have its hash.
func (s *Store) replaceable(b *openBlock, sec section, movedFrom uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.classes[b.class]
	for _, e := range sec.entries {
		place := Ref{file: b.source, size: uint32(e.Size), off: e.Offset}
		ref, ok := c.artifacts.ref(e.ID)
		switch {
		case ok && ref == place, ok && ref.file == movedFrom, !ok && e.start() >= b.size:
		case !ok && e.end() <= b.size && rename(c, b, place, e.ID):
		default:
			return fmt.Errorf("%s at offset %d: %w: artifact %v to be restored there does not fit what was loaded",
				s.files.path(openName(b.class, b.number)), e.Offset, ErrConflict, e.ID)
		}
	}
	return nil
}

// rename gives the artifact at a place another id; false if there is none.
func rename(c *class, b *openBlock, place Ref, id record.ID) bool {
	i := b.frames.index(place)
	if i >= 0 {
		c.artifacts.rename(b.frames, i, id)
	}
	return i >= 0
}

// classOf returns the class of an open block.
func (s *Store) classOf(b *openBlock) *class {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.classes[b.class]
}
