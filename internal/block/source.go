package block

import (
	"container/list"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"

	"graven/internal/fsx"
)

// source is a block file that artifacts are read from. It stays the same while
// the file gets another name.
type source struct {
	name string  // below the folder of blocks; guarded by files.mu
	h    *handle // open for reading, or nil; guarded by files.mu
}

// handle is an open file and how many readers use it. An evicted handle is
// closed by the last of them.
type handle struct {
	fsx.File
	refs    int
	evicted bool
	of      *source
	place   *list.Element
}

// files opens sources for reading and keeps at most max of them open, besides
// those in use and open blocks.
type files struct {
	dir fsx.Dir
	max int

	mu     sync.Mutex
	recent *list.List // of *handle, the most recently used in front
	closed bool
}

// maxHandles is how many block files stay open for reading.
const maxHandles = 64

func newFiles(dir fsx.Dir) *files {
	return &files{dir: dir, max: maxHandles, recent: list.New()}
}

// path is a source's name in the vault's folder, for errors.
func (f *files) path(name string) string { return path.Join(f.dir.Path(), name) }

// nameOf returns the present name of a source.
func (f *files) nameOf(s *source) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return s.name
}

// open returns a handle of a source, which must be released.
func (f *files) open(s *source) (*handle, error) {
	for {
		f.mu.Lock()
		if f.closed {
			f.mu.Unlock()
			return nil, fmt.Errorf("read %s: %w", f.path(s.name), ErrClosed)
		}
		name := s.name
		if h := s.h; h != nil {
			h.refs++
			f.recent.MoveToFront(h.place)
			f.mu.Unlock()
			return h, nil
		}
		f.mu.Unlock()
		file, err := f.openFile(name)
		if err != nil {
			if f.nameOf(s) != name {
				continue // sealed meanwhile: the old name is gone
			}
			return nil, err
		}
		if h := f.add(s, name, file); h != nil {
			return h, nil
		}
		file.Close()
	}
}

// openFile opens a file for reading. Where too many are open it closes those
// that nobody uses and tries once more.
func (f *files) openFile(name string) (fsx.File, error) {
	file, err := f.dir.Open(name)
	if errors.Is(err, fsx.ErrTooManyFiles) {
		f.mu.Lock()
		f.evictAll()
		f.mu.Unlock()
		file, err = f.dir.Open(name)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("%s: %w: %w", f.path(name), ErrMissing, err)
	case errors.Is(err, fsx.ErrNotRegular), errors.Is(err, fsx.ErrNotFolder): // something else took its place
		err = fmt.Errorf("%s: %w: %w", f.path(name), ErrDamaged, err)
	}
	return file, err
}

// add makes an open file the handle of its source; nil if another caller was
// faster or the source was renamed.
func (f *files) add(s *source, name string, file fsx.File) *handle {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.h != nil || s.name != name || f.closed {
		return nil
	}
	h := &handle{File: file, refs: 1, of: s}
	h.place = f.recent.PushFront(h)
	s.h = h
	f.shrink()
	return h
}

// release ends the use of a handle.
func (f *files) release(h *handle) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h.refs--
	if h.evicted && h.refs == 0 {
		h.File.Close()
	}
}

// rename notes the new name of a source. Its next reader opens it anew.
func (f *files) rename(s *source, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.name = name
	if s.h != nil {
		f.evict(s.h)
	}
}

// shrink evicts the least recently used handles until at most max are left. Those of open
// blocks stay: a writer in another process may seal one, and its name is gone.
func (f *files) shrink() {
	for at := f.recent.Back(); at != nil && f.recent.Len() > f.max; {
		h := at.Value.(*handle)
		at = at.Prev()
		if !strings.HasPrefix(h.of.name, "open/") {
			f.evict(h)
		}
	}
}

// evictAll evicts all handles.
func (f *files) evictAll() {
	for f.recent.Len() > 0 {
		f.evict(f.recent.Back().Value.(*handle))
	}
}

// evict takes a handle out of use. Callers hold the lock.
func (f *files) evict(h *handle) {
	f.recent.Remove(h.place)
	h.of.h = nil
	h.evicted = true
	if h.refs == 0 {
		h.File.Close()
	}
}

// close closes everything that is not in use, and the rest when it is released.
func (f *files) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.evictAll()
}
