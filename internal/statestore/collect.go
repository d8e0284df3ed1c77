package statestore

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"graven/internal/fsx"
)

// keepSets is how many of the newest sets are kept.
const keepSets = 2

// Keep names the positions whose sets are kept besides the newest two, until
// Keep is called again. Those that have no set are passed over. After Open it
// comes before the first Write and Collect, or their sets are gone.
func (s *Store) Keep(positions ...uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep = slices.Clone(positions)
}

// Extra is how many bytes of files stay only because of some of the positions that
// Keep names, and how many bytes of pages the newest set has.
func (s *Store) Extra(positions ...uint64) (extra, living uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	some, others := map[*file]bool{}, map[*file]bool{}
	for i, have := range s.sets {
		needed := others
		if i < len(s.sets)-keepSets && slices.Contains(positions, have.Position) {
			needed = some
		}
		for _, f := range have.files {
			needed[f] = true
		}
		living = have.root.Bytes()
	}
	for f := range some {
		if !others[f] {
			extra += f.length
		}
	}
	return extra, living
}

// Collect drops the sets that are not kept and removes the files that neither a
// kept set nor a map in memory stands on, damaged and foreign ones of such names
// too, and what a crash left of a file in the making. The error is the disk's;
// what was not removed is met again next time.
func (s *Store) Collect() error {
	needed, next := s.drop()
	entries, err := s.dir.ReadDir(".")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = s.dir.Sweep(".")
	}
	for _, e := range entries {
		if number, ok := parseName(e.Name); ok && number < next && !needed[number] {
			err = errors.Join(err, s.discard(e.Name))
		}
	}
	if err != nil {
		return fmt.Errorf("removing state pages: %w", err)
	}
	return nil
}

// discard removes a file. A folder that has its name and is not empty is not ours:
// Open has told of it, and its number is not used.
func (s *Store) discard(name string) error {
	err := s.dir.Discard(name)
	if errors.Is(err, fsx.ErrNotEmpty) {
		return nil
	}
	return err
}

// drop drops sets and says which files are still needed. Files with the number
// next or more are none of our business.
func (s *Store) drop() (needed map[uint32]bool, next uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	newest := len(s.sets) - keepSets
	latest := map[uint64]*set{} // of each position the newest set
	for _, have := range s.sets {
		latest[have.Position] = have
	}
	i := -1
	s.sets = slices.DeleteFunc(s.sets, func(have *set) bool {
		i++
		return i < newest && !(slices.Contains(s.keep, have.Position) && latest[have.Position] == have)
	})
	needed = map[uint32]bool{}
	for _, have := range s.sets {
		for _, f := range have.files {
			needed[f.number] = true
		}
	}
	s.files = slices.DeleteFunc(s.files, func(f *file) bool {
		if f.pins > 0 && !s.finished {
			needed[f.number] = true
		}
		return !needed[f.number]
	})
	for i := len(s.handles) - 1; i >= 0; i-- {
		if f := s.handles[i]; f.users == 0 && !needed[f.number] {
			s.closeHandle(i)
		}
	}
	return needed, s.next
}

// Finish is the last call before Close of a writer whose newest set is all that the
// next open needs: it drops the set before it too, and removes what maps in memory
// stand on. They can no longer be read.
func (s *Store) Finish() error {
	s.mu.Lock()
	if n := len(s.sets); n > 1 {
		newest := s.sets[n-1]
		s.sets = slices.DeleteFunc(s.sets, func(have *set) bool {
			return have != newest && !slices.Contains(s.keep, have.Position)
		})
	}
	s.finished = true
	s.mu.Unlock()
	return s.Collect()
}

// Reset forgets all sets and what [Store.Keep] named, and removes all files but
// those that maps in memory stand on: the state is to be built again.
func (s *Store) Reset() error {
	s.mu.Lock()
	s.sets, s.keep = nil, nil
	s.mu.Unlock()
	return s.Collect()
}

// Abandon is Reset without regard for maps in memory, which can read no more: for a
// store that is damaged and about to be closed.
func (s *Store) Abandon() error {
	s.mu.Lock()
	s.sets, s.keep = nil, nil
	s.mu.Unlock()
	entries, err := s.dir.ReadDir(".")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if _, ok := parseName(e.Name); ok {
			err = errors.Join(err, s.discard(e.Name))
		}
	}
	if err != nil {
		return fmt.Errorf("removing state pages: %w", err)
	}
	return nil
}

// Close gives back the handles. Maps that are still in use open them again.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.handles) - 1; i >= 0; i-- {
		if s.handles[i].users == 0 {
			s.closeHandle(i)
		}
	}
}
