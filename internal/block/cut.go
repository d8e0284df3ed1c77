package block

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"graven/record"
)

// Behind is what stands behind the artifacts of an open block.
type Behind struct {
	File   string // relative to the vault's folder
	Offset int64
	Bytes  int64
}

// CutOpen removes what stands behind the artifacts of each open block, and the
// open files of which nothing was loaded or restored. Reserved room and whatever
// became of the ending that Seal writes are what a crash may leave there; where
// anything else stands, keep is asked first, unless it is nil; its error ends the
// call. Appends are refused before it. It syncs nothing.
func (s *Store) CutOpen(keep func(Behind) error) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.write.Unlock()
	if keep == nil {
		keep = func(Behind) error { return nil }
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
func (s *Store) cut(b *openBlock, keep func(Behind) error) error {
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
	spare, err := s.spare(b, h, size)
	if err != nil {
		return err
	}
	whole, err := s.wholeFrame(b, h, size)
	if err != nil {
		return err
	}
	if whole || !spare {
		if err := keep(Behind{File: s.files.path(name), Offset: b.size, Bytes: size - b.size}); err != nil {
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

// maxSpare is more than a block has behind its artifacts in any case.
const maxSpare = 1 << 30

// spare reports whether all is zero behind a block's artifacts and the room of
// the ending that belongs there.
func (s *Store) spare(b *openBlock, r io.ReaderAt, size int64) (bool, error) {
	if size-b.size > maxSpare {
		return false, nil
	}
	ending, err := s.ending(b, r, size)
	if err != nil {
		return false, err
	}
	buf := make([]byte, 64<<10)
	for off := b.size + int64(len(ending)); off < size; {
		part := buf[:min(int64(len(buf)), size-off)]
		if err := readFull(r, part, off); err != nil {
			return false, err
		}
		if len(bytes.Trim(part, "\x00")) > 0 {
			return false, nil
		}
		off += int64(len(part))
	}
	return true, nil
}

// wholeFrame reports whether an artifact with the right bytes follows those that
// the log mentions.
func (s *Store) wholeFrame(b *openBlock, r io.ReaderAt, size int64) (bool, error) {
	from := b.size
	if b.count == 0 {
		from = int64(len(AppendHeader(nil, s.header(b.class, b.number))))
	}
	whole := false
	_, _, err := hashFrames(newWindow(r, size), from, 1, nil, func(e Entry, got record.ID) error {
		whole = got == e.ID
		return nil
	})
	if isSyntax(err) {
		err = nil
	}
	return whole, err
}

// ending is what may follow a block's artifacts: its table and trailer; of a
// block without any the header.
func (s *Store) ending(b *openBlock, r io.ReaderAt, size int64) ([]byte, error) {
	header := AppendHeader(nil, s.header(b.class, b.number))
	if b.count == 0 || size <= b.size {
		return header, nil
	}
	walk := frames{w: newWindow(r, b.size), next: int64(len(header))}
	entries := make([]Entry, 0, b.count)
	for range b.count {
		e, ok, err := walk.read()
		if err != nil || !ok {
			return nil, err // they were read a moment ago
		}
		entries = append(entries, e)
	}
	return AppendTrailer(AppendTOC(nil, entries), b.size, uint64(b.count)), nil
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
	c.leave(b)
	c.settleTail()
	return nil
}

// tidy notes that nothing stands behind a block's artifacts.
func (s *Store) tidy(b *openBlock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.loose = false
}
