package statestore

import (
	"fmt"
	"io/fs"
)

// At returns the newest set of a position, if it has one.
func (s *Store) At(position uint64) (found Set, ok bool) {
	for _, have := range s.Sets() { // of equal positions the newest comes last
		if have.Position == position {
			found, ok = have, true
		}
	}
	return found, ok
}

// Before returns the newest of the sets with the greatest position up to a limit.
func (s *Store) Before(limit uint64) (found Set, ok bool) {
	for _, have := range s.Sets() {
		if have.Position <= limit {
			found, ok = have, true
		}
	}
	return found, ok
}

// Files returns the files that a set stands on, by name relative to the vault's
// folder, in ascending order. They stay as long as [Store.Keep] names the set's
// position, or a map of it is in use. The error, which wraps fs.ErrNotExist, says
// that the set has gone.
func (s *Store) Files(want Set) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, have := range s.sets {
		if have.Set != want {
			continue
		}
		names := make([]string, len(have.files))
		for i, f := range have.files {
			names[i] = s.path(f.number)
		}
		return names, nil
	}
	return nil, fmt.Errorf("state pages of position %d in %s: %w", want.Position, s.path(want.Number), fs.ErrNotExist)
}
