package statestore

import (
	"context"
	"fmt"

	"graven/state"
)

// Check reads the newest set: header, text and trailer of its files, all of its
// pages, and recomputes every hash. It returns what is not as it should be, and
// nothing if there is no set; the last error may be that of ctx. It changes
// nothing.
func (s *Store) Check(ctx context.Context) []error { return s.CheckThrough(ctx, func(int) {}) }

// slowSource tells of what it reads.
type slowSource struct {
	*source
	read func(n int)
}

// ReadPage implements [state.Source].
func (s slowSource) ReadPage(ref state.Ref, buf []byte) ([]byte, error) {
	s.read(int(ref.Len) + pageSumSize)
	return s.source.ReadPage(ref, buf)
}

// CheckThrough is Check for who wants to know, before it is read, how many bytes
// will be, and may slow it down.
func (s *Store) CheckThrough(ctx context.Context, read func(n int)) []error {
	s.mu.Lock()
	if len(s.sets) == 0 {
		s.mu.Unlock()
		return nil
	}
	newest := s.sets[len(s.sets)-1]
	pinned := s.pin(newest.files, newest.root.Bytes())
	m, err := state.Open(newest.root, slowSource{pinned, read}, s.cache)
	s.mu.Unlock()
	if err != nil {
		return []error{err}
	}
	var found []error
	for _, f := range newest.files {
		got, _, err := s.read(f.number)
		switch {
		case err != nil:
			found = append(found, s.damage(f.number, 0, "a file of pages", err.Error()))
		case got.fileID != f.fileID:
			found = append(found, s.damage(f.number, 0, fmt.Sprintf("checksum %016x", f.sum), fmt.Sprintf("%016x", got.sum)))
		}
	}
	if err := m.VerifyPages(ctx, func(_ state.Ref, err error) { found = append(found, err) }); err != nil {
		found = append(found, err)
	}
	return found
}
