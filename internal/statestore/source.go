package statestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"

	"graven/state"
)

// source reads the pages of one set. It never changes. As long as it lives, the
// set's files are not removed: the Maps hold it, and when the last of them is
// gone, the collector's cleanup gives the pins back.
type source struct {
	store *Store
	files []*file // all that pages of the set lie in, ascending
	bytes uint64  // of all pages of the set
}

// pin returns a source on files that are not being removed. The caller holds mu.
func (s *Store) pin(files []*file, bytes uint64) *source {
	for _, f := range files {
		f.pins++
	}
	src := &source{s, files, bytes}
	runtime.AddCleanup(src, s.unpin, files)
	return src
}

// unpin gives back what pin took.
// Hold opens all files of a set and keeps them open until Close: for a reader beside a
// writer in another process, which may remove them. A file that is gone already is a
// [*DamageError]; then the sets have changed, and Open finds the newer ones.
func (s *Store) Hold(want Set) error {
	s.mu.Lock()
	var files []*file
	for _, have := range s.sets {
		if have.Number == want.Number {
			files = have.files
		}
	}
	s.most = max(s.most, len(files)+maxHandles)
	s.mu.Unlock()
	for _, f := range files {
		if _, err := s.acquire(f); err != nil { // never released
			return err
		}
	}
	return nil
}

func (s *Store) unpin(files []*file) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range files {
		f.pins--
	}
}

// ReadPage implements [state.Source]. The error is a [*DamageError] or the disk's.
func (s *source) ReadPage(ref state.Ref, buf []byte) ([]byte, error) {
	defer runtime.KeepAlive(s) // or the file might be removed before it is open
	i, ok := slices.BinarySearchFunc(s.files, ref.File, func(f *file, n uint32) int { return int(f.number) - int(n) })
	if !ok {
		return nil, s.store.damage(ref.File, ref.Off, "a file of the set", "another one")
	}
	f := s.files[i]
	if size := uint64(ref.Len) + pageSumSize; ref.Off > f.length || size > f.length-ref.Off {
		return nil, s.store.damage(ref.File, ref.Off, fmt.Sprintf("%d bytes", size), fmt.Sprintf("the end of the file at %d", f.length))
	}
	handle, err := s.store.acquire(f)
	if err != nil {
		return nil, err
	}
	defer s.store.release(f)
	data := slices.Grow(buf[:0], int(ref.Len)+pageSumSize)[:int(ref.Len)+pageSumSize]
	if err := readFull(handle, data, ref.Off); errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, s.store.damage(ref.File, ref.Off, fmt.Sprintf("%d bytes", len(data)), "less")
	} else if err != nil {
		return nil, err
	}
	page := data[:ref.Len]
	if got, want := pageSum(ref, page), binary.BigEndian.Uint64(data[ref.Len:]); got != want {
		return nil, s.store.damage(ref.File, ref.Off, fmt.Sprintf("checksum %016x", want), fmt.Sprintf("%016x", got))
	}
	return page, nil
}
