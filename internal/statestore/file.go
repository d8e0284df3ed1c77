package statestore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"graven/internal/fsx"
)

// ErrDamaged says that a file is missing or does not hold what it held when it
// was written. The error is a [*DamageError]. Nothing is lost: the state follows
// from the log.
var ErrDamaged = errors.New("damaged state pages")

// DamageError says which file is damaged, and where.
type DamageError struct {
	File   string // relative to the vault's folder
	Offset uint64 // in the file, in bytes
	Wanted string
	Got    string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("%v: %s: at byte %d: wanted %s, got %s", ErrDamaged, e.File, e.Offset, e.Wanted, e.Got)
}

// Is reports whether target is ErrDamaged.
func (e *DamageError) Is(target error) bool { return target == ErrDamaged }

const (
	nameDigits = 8
	nameEnd    = ".pages"
	maxNumber  = 99_999_999
)

// fileName returns the name of a file in the store's folder.
func fileName(number uint32) string { return fmt.Sprintf("%0*d%s", nameDigits, number, nameEnd) }

// parseName is the inverse of fileName.
func parseName(name string) (number uint32, ok bool) {
	digits, ok := strings.CutSuffix(name, nameEnd)
	n, err := strconv.ParseUint(digits, 10, 32)
	return uint32(n), ok && err == nil && n > 0 && name == fileName(uint32(n))
}

// file is a file that a set or a Map stands on. Which it is never changes; the
// rest is guarded by Store.mu.
type file struct {
	fileID
	pins   int      // Sources that live
	handle fsx.File // nil: not open
	users  int      // of handle, at this moment
	used   uint64   // Store.clock when handle was last asked for
}

// maxHandles is how many files are kept open, unless a test says otherwise. More
// are open only while more are being read at the same moment.
const maxHandles = 64

// acquire returns the open file. The caller calls release.
func (s *Store) acquire(f *file) (fsx.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.handle == nil {
		handle, err := s.open(f)
		if err != nil {
			return nil, err
		}
		f.handle = handle
		s.handles = append(s.handles, f)
		s.closeIdle()
	}
	s.clock++
	f.users, f.used = f.users+1, s.clock
	return f.handle, nil
}

func (s *Store) release(f *file) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.users--
}

// open opens a file and looks whether it is the one.
func (s *Store) open(f *file) (fsx.File, error) {
	handle, err := s.dir.Open(fileName(f.number))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fsx.ErrNotRegular):
		return nil, s.damage(f.number, 0, fmt.Sprintf("%d bytes", f.length), err.Error())
	case err != nil:
		return nil, err
	}
	got, err := readID(handle, f.number)
	if (err == nil || errors.Is(err, io.ErrUnexpectedEOF)) && got != f.fileID {
		err = s.damage(f.number, 0, fmt.Sprintf("%d bytes with checksum %016x", f.length, f.sum), fmt.Sprintf("%d with %016x", got.length, got.sum))
	}
	if err != nil {
		handle.Close()
		return nil, err
	}
	return handle, nil
}

// readID reads the trailer of a file; that of one without has no checksum.
func readID(f fsx.File, number uint32) (fileID, error) {
	size, err := f.Size()
	if err != nil {
		return fileID{}, err
	}
	id := fileID{number: number, length: uint64(size)}
	if size < trailerSize {
		return id, nil
	}
	var b [trailerSize]byte
	if err := readFull(f, b[:], uint64(size-trailerSize)); err != nil {
		return id, err
	}
	_, id.sum, _ = parseTrailer(b[:])
	return id, nil
}

// closeIdle closes the files that were not asked for longest, down to
// s.most. The caller holds mu.
func (s *Store) closeIdle() {
	for len(s.handles) > s.most {
		idle := -1
		for i, f := range s.handles[:len(s.handles)-1] { // the last one was just opened
			if f.users == 0 && (idle < 0 || f.used < s.handles[idle].used) {
				idle = i
			}
		}
		if idle < 0 {
			return
		}
		s.closeHandle(idle)
	}
}

// closeHandle closes s.handles[i]. The caller holds mu.
func (s *Store) closeHandle(i int) {
	f, last := s.handles[i], len(s.handles)-1
	f.handle.Close() // it was only read
	f.handle = nil
	s.handles[i] = s.handles[last]
	s.handles[last] = nil
	s.handles = s.handles[:last]
}

// readFull fills b from off on; less is io.ErrUnexpectedEOF.
func readFull(f fsx.File, b []byte, off uint64) error {
	n, err := f.ReadAt(b, int64(off))
	switch {
	case n == len(b):
		return nil
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	}
	return err
}

// path returns a file's name for people.
func (s *Store) path(number uint32) string { return path.Join(s.dir.Path(), fileName(number)) }

func (s *Store) damage(number uint32, offset uint64, wanted, got string) error {
	return &DamageError{File: s.path(number), Offset: offset, Wanted: wanted, Got: got}
}
