package statestore

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"

	"graven/internal/fsx"
	"graven/merkle"
	"graven/record"
	"graven/state"
)

// Set is a version of the state that stands on files of pages.
type Set struct {
	Number   uint32      // of its file
	Position uint64      // how many records it stands for
	Root     merkle.Hash // the state root
}

// Options says how to open a Store. The zero value is useful.
type Options struct {
	// CacheBytes is how much memory parsed pages may take; 0: state.DefaultCache.
	CacheBytes int64
}

// Store is the folder of a vault's pages. Any number of goroutines may read;
// Write, Collect and Reset are for one at a time, the vault's writer.
type Store struct {
	dir   fsx.Dir // the vault's folder state/
	vault record.VaultID
	cache *state.Cache
	most  int // files to keep open

	mu       sync.Mutex // guards what follows and the files' fields; held while a file is opened
	sets     []*set     // those that can be opened, by number
	files    []*file    // those that sets stand on
	keep     []uint64   // positions, see Keep
	next     uint32     // number of the next file; no file has it or a greater one
	handles  []*file    // those that are open
	finished bool       // maps in memory pin nothing any more
	clock    uint64     // counts acquire
}

// set is a Set and what it stands on.
type set struct {
	Set
	root  state.Root
	files []*file // ascending, the set's own last
}

// Open lists the sets in dir, which need not exist. It reads the texts of all
// files and no page, and changes nothing. The notes, for people, name what was
// found and does not count: files that are damaged or foreign, sets that miss an
// older file though they are newer than all others. The error is the disk's.
func Open(dir fsx.Dir, vault record.VaultID, opts Options) (s *Store, notes []string, err error) {
	s = &Store{dir: dir, vault: vault, cache: state.NewCache(opts.CacheBytes), most: maxHandles, next: 1}
	entries, err := dir.ReadDir(".")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("listing state pages: %w", err)
	}
	var late []string // about sets that miss something
	for _, e := range entries {
		number, ok := parseName(e.Name)
		if !ok {
			notes = append(notes, fmt.Sprintf("%s/%s: not a file of pages", dir.Path(), e.Name))
			continue
		}
		s.next = number + 1 // entries are sorted
		if e.Dir {
			notes = append(notes, fmt.Sprintf("%s: %v", s.path(number), fsx.ErrFolder))
			continue
		}
		f, c, err := s.read(number)
		var bad *badFile
		if errors.As(err, &bad) {
			notes = append(notes, fmt.Sprintf("%s: %v", s.path(number), bad))
			continue
		} else if err != nil {
			return nil, nil, fmt.Errorf("reading %s: %w", s.path(number), err)
		}
		s.files = append(s.files, f)
		if err := s.addSet(f, c); err != nil {
			late = append(late, fmt.Sprintf("%s: %v", s.path(number), err))
		} else {
			late = nil // of older sets nobody expects that they are whole
		}
	}
	return s, append(notes, late...), nil
}

// badFile says why a file does not count.
type badFile struct{ error }

// read reads header, text and trailer of a file. Whatever is wrong with them is
// a *badFile; other errors are the disk's.
func (s *Store) read(number uint32) (*file, *contents, error) {
	handle, err := s.dir.Open(fileName(number))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fsx.ErrNotRegular):
		return nil, nil, &badFile{err} // it may have been removed since it was listed
	case err != nil:
		return nil, nil, err
	}
	defer handle.Close()
	size, err := handle.Size()
	if err != nil {
		return nil, nil, err
	}
	want := header(s.vault, number)
	if size < int64(len(want))+trailerSize {
		return nil, nil, &badFile{fmt.Errorf("%d bytes, wanted at least %d", size, len(want)+trailerSize)}
	}
	head, tail := make([]byte, len(want)), make([]byte, trailerSize)
	if err := readAll(handle, head, 0); err != nil {
		return nil, nil, err
	}
	if err := readAll(handle, tail, uint64(size)-trailerSize); err != nil {
		return nil, nil, err
	}
	if err := checkHeader(head, s.vault, number); err != nil {
		return nil, nil, &badFile{err}
	}
	offset, sum, err := parseTrailer(tail)
	end := uint64(size) - trailerSize
	switch {
	case err != nil:
		return nil, nil, &badFile{err}
	case offset < uint64(len(want)) || offset > end || end-offset > maxText:
		return nil, nil, &badFile{fmt.Errorf("the text of a file of %d bytes is said to begin at %d", size, offset)}
	}
	text := make([]byte, end-offset)
	if err := readAll(handle, text, offset); err != nil {
		return nil, nil, err
	}
	if got := textSum(want, text); got != sum {
		return nil, nil, &badFile{fmt.Errorf("text at byte %d: checksum %016x, wanted %016x", offset, got, sum)}
	}
	c, err := parseText(text)
	if err != nil {
		return nil, nil, &badFile{err}
	}
	return &file{fileID: fileID{number, uint64(size), sum}}, c, nil
}

// readAll is readFull for a file that may have been cut meanwhile.
func readAll(f fsx.File, b []byte, off uint64) error {
	err := readFull(f, b, off)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return &badFile{err}
	}
	return err
}

// addSet adds the set of f, if all that it needs is there.
func (s *Store) addSet(f *file, c *contents) error {
	made := &set{Set: Set{f.number, c.position, c.root.Root}, root: c.root}
	for _, want := range c.older {
		i := slices.IndexFunc(s.files, func(f *file) bool { return f.fileID == want })
		if i < 0 || want.number >= f.number {
			return fmt.Errorf("it needs %s, %d bytes with checksum %016x, which is not there", s.path(want.number), want.length, want.sum)
		}
		made.files = append(made.files, s.files[i])
	}
	made.files = append(made.files, f)
	if _, err := state.Open(c.root, nil, s.cache); err != nil {
		return err
	}
	s.sets = append(s.sets, made)
	return nil
}

// Sets returns the sets that can be opened, ascending by position, and by number
// if that is equal. The caller owns the slice.
func (s *Store) Sets() []Set {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Set, len(s.sets))
	for i, have := range s.sets {
		list[i] = have.Set
	}
	slices.SortFunc(list, func(a, b Set) int {
		return cmp.Or(cmp.Compare(a.Position, b.Position), cmp.Compare(a.Number, b.Number))
	})
	return list
}

// Map opens the map of a set that [Store.Sets] listed. Nothing is read. As long
// as the map, or one made from it, is reachable, its files are not removed. The
// error, which wraps fs.ErrNotExist, says that the set has gone.
func (s *Store) Map(want Set) (state.Map, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, have := range s.sets {
		if have.Set == want {
			return state.Open(have.root, s.pin(have.files, have.root.Bytes()), s.cache)
		}
	}
	return state.Map{}, fmt.Errorf("state pages of position %d in %s: %w", want.Position, s.path(want.Number), fs.ErrNotExist)
}
