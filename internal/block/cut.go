package block

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// CutOpen removes what stands behind the artifacts of each open block, and the
// open files of which nothing was loaded or restored: what a crash left of
// groups that never happened. Those bytes are first handed to keep, unless it is
// nil, with the file's path in the vault and their offset; an error of keep
// ends the call. Appends are refused before it. It syncs nothing.
func (s *Store) CutOpen(keep func(file string, offset int64, bytes io.Reader) error) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.write.Unlock()
	if keep == nil {
		keep = func(string, int64, io.Reader) error { return nil }
	}
	s.mu.Lock()
	for _, c := range s.classes {
		for number := range c.found {
			if _, ok := c.sealed[number]; !ok { // Settle has the others
				s.newOpen(c, number)
			}
		}
	}
	var loose []*openBlock
	for _, name := range slices.Sorted(maps.Keys(s.classes)) {
		c := s.classes[name]
		for _, number := range slices.Sorted(maps.Keys(c.open)) {
			if b := c.open[number]; b.loose {
				loose = append(loose, b)
			}
		}
	}
	s.mu.Unlock()
	for _, b := range loose {
		if err := s.cut(b, keep); err != nil {
			return err
		}
	}
	return nil
}

// cut is CutOpen for one block.
func (s *Store) cut(b *openBlock, keep func(string, int64, io.Reader) error) error {
	name := openName(b.class, b.number)
	if t := s.twinOf(b); t != nil {
		if t.count != uint64(b.count) {
			return fmt.Errorf("%s: %w: it is sealed with %d artifacts, the log mentions %d", s.files.path(name), ErrConflict, t.count, b.count)
		}
		s.tidy(b)
		return nil
	}
	h, err := s.files.open(s.source(b.source))
	if errors.Is(err, ErrMissing) && b.count == 0 {
		s.tidy(b)
		return nil
	}
	if err != nil {
		return err
	}
	defer s.files.release(h)
	size, err := h.Size()
	if err != nil {
		return err
	}
	if _, _, err := readHeader(h, size); b.count == 0 && !isSyntax(err) {
		if err == nil {
			err = s.checkHeader(h, name, s.header(b.class, b.number))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.files.path(name), err) // not ours to discard
		}
	}
	if size > b.size {
		if err := keep(s.files.path(name), b.size, io.NewSectionReader(h, b.size, size-b.size)); err != nil {
			return err
		}
	}
	if b.count == 0 {
		return s.dropEmpty(b)
	}
	if size > b.size {
		w, err := s.writer(b)
		if err != nil {
			return err
		}
		if err := w.Truncate(b.size); err != nil {
			return err
		}
		s.mu.Lock()
		b.written++
		s.mu.Unlock()
	}
	s.tidy(b)
	return nil
}

// dropEmpty discards the file of an open block that holds no artifact.
func (s *Store) dropEmpty(b *openBlock) error {
	if err := b.close(); err != nil {
		return err
	}
	if err := s.dir.Discard(openName(b.class, b.number)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.classes[b.class]
	delete(c.open, b.number)
	c.settleTail()
	return nil
}

// tidy notes that nothing stands behind a block's artifacts.
func (s *Store) tidy(b *openBlock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.loose = false
}
