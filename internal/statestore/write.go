package statestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"graven/state"
)

// Write writes a new set, the state after so many records, and returns the equal
// map that stands on it, and what takes maps there that were made from m
// meanwhile. m is the empty map, or comes from a map of this Store or from the
// zero Map. Then files that are no longer needed are removed; that this failed is
// left to [Store.Collect] to say.
//
// A nil error says that the set is durable. After an error it may be there or
// not, and the Store is as it was.
func (s *Store) Write(m state.Map, position uint64) (state.Map, *state.Moves, error) {
	base := &source{store: s}
	if src := m.Source(); src != nil {
		var ok bool
		if base, ok = src.(*source); !ok || base.store != s {
			return state.Map{}, nil, errors.New("state pages: the map stands on another store")
		}
	}
	number, err := s.takeNumber()
	if err != nil {
		return state.Map{}, nil, err
	}
	w := setWriter{file: number, contents: contents{position: position}}
	err = s.dir.Publish(fileName(number), func(out io.Writer) error {
		return w.write(out, header(s.vault, number), m, base)
	})
	if err != nil {
		return state.Map{}, nil, fmt.Errorf("writing %s: %w", s.path(number), err)
	}
	// The set is durable. A crash before this leaves the older sets, and perhaps
	// this one; from here on, this one and at least the one before it.
	next, err := s.adopt(&w)
	if err != nil {
		return state.Map{}, nil, err
	}
	_ = s.Collect()
	return next, w.moves, nil
}

// takeNumber returns the number of the next file. One that was not published is
// not used again: what stands under its name is not known.
func (s *Store) takeNumber() (uint32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next > maxNumber {
		return 0, fmt.Errorf("state pages: file %d, wanted at most %d", s.next, maxNumber)
	}
	s.next++
	return s.next - 1, nil
}

// adopt adds the set that was written and opens its map.
func (s *Store) adopt(w *setWriter) (state.Map, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := &file{fileID: fileID{w.file, w.off, w.sum}}
	made := &set{
		Set:   Set{w.file, w.contents.position, w.contents.root.Root},
		root:  w.contents.root,
		files: append(w.older, own),
	}
	s.files = append(s.files, own)
	s.sets = append(s.sets, made)
	return state.Open(made.root, s.pin(made.files, made.root.Bytes()), s.cache)
}

// setWriter writes one file. It is a [state.PageWriter].
type setWriter struct {
	out      io.Writer
	file     uint32
	off      uint64 // bytes written
	contents contents
	older    []*file // of contents.older
	moves    *state.Moves
	sum      uint64 // of the text
}

// write writes the whole file.
func (w *setWriter) write(out io.Writer, header string, m state.Map, base *source) error {
	w.out = out
	if err := w.put([]byte(header)); err != nil {
		return err
	}
	again := evacuation(base, m.Weight())
	again.From = merger(base, m.Weight())
	root, moves, err := m.Write(w, again)
	if err != nil {
		return err
	}
	w.contents.root, w.moves = root, moves
	oldest, some := root.Oldest()
	for _, f := range base.files {
		if some && f.number >= oldest && f.number < again.From { // perhaps it has no page any more; then it goes when its turn comes
			w.older = append(w.older, f)
			w.contents.older = append(w.contents.older, f.fileID)
		}
	}
	text, offset := w.contents.text(), w.off
	w.sum = textSum(header, text)
	return w.put(append(text, trailer(offset, w.sum)...))
}

// WritePage implements [state.PageWriter].
func (w *setWriter) WritePage(page []byte) (state.Ref, error) {
	ref := state.Ref{File: w.file, Off: w.off, Len: uint32(len(page))}
	if err := w.put(page); err != nil {
		return ref, err
	}
	return ref, w.put(binary.BigEndian.AppendUint64(nil, pageSum(ref, page)))
}

func (w *setWriter) put(b []byte) error {
	n, err := w.out.Write(b)
	w.off += uint64(n)
	return err
}

// fresh estimates how many bytes of pages a map of that weight brings: a node in
// memory takes less than what is written with it for the sake of its page.
func fresh(weight int64) uint64 { return uint64(weight) * 3 / 2 }

// evacuation decides which pages of old files the next set takes along, so that the
// files can go. There are none as long as all files have at most 1½ times the bytes of
// the pages that live. Then the oldest files go, one at least, until that is expected to
// hold again, or more would be moved than ¾ of what the set has to write anyway. And of
// the oldest third of all bytes, pages of leaves go wherever the page above them is
// written anyway: one that is moved alone costs the pages above it as well.
//
// A set that is large beside what lives meets most pages anyway. Then moving costs
// little, and the files are held to 1.3 times, and neighbours, of which few are left, stay.
//
// So the work of a set is bounded by its size and that of a file, and the sizes of the
// files by those of the sets.
func evacuation(base *source, weight int64) (again state.Again) {
	var total float64
	for _, f := range base.files {
		total += float64(f.length)
	}
	living := float64(base.bytes)
	own := float64(fresh(weight))
	large := own > living/4
	enough, most := 1.5, 0.75*own
	if large {
		enough, most = 1.3, 1.5*own
	}
	if total <= enough*living {
		return again
	}
	part := living / total // of a file, as expected: the oldest have less
	left, moved := total, 0.0
	for _, f := range base.files {
		move := part * float64(f.length)
		if left <= enough*living || again.Below > 0 && moved+move > most {
			break
		}
		left += move - float64(f.length)
		moved += move
		again.Below = f.number + 1
	}
	if large {
		return again
	}
	passed := 0.0
	for _, f := range base.files {
		if passed += float64(f.length); passed > total/3 {
			break
		}
		again.Along = f.number + 1
	}
	return again
}

const (
	// manyFiles is how many files a set stands on before small ones are merged.
	manyFiles = 32
	// maxMerge bounds the bytes of files that one set merges. Files as long as
	// that are never merged.
	maxMerge = 4 << 20
)

// merger decides which of the newest files the next set takes all living pages
// of: it returns the number from which on all go. Who opens a vault for each
// single write makes a small set each time; without this, there would be
// thousands of files before enough of them is dead. A file goes if it is at most
// twice as long as all that is written behind it, so that a page is moved by
// this a few times only: each time it lies in a file of at least half more.
func merger(base *source, weight int64) uint32 {
	from := uint32(state.NoFile)
	if len(base.files) < manyFiles {
		return from
	}
	const text = 2 << 10 // about, of so many files
	behind, merged := fresh(weight)+text, uint64(0)
	for _, f := range slices.Backward(base.files) {
		if f.length > 2*behind || merged+f.length > maxMerge {
			break
		}
		behind += f.length
		merged += f.length
		from = f.number
	}
	return from
}
