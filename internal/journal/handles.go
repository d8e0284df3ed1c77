package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"graven/internal/fsx"
)

// maxReaders bounds the files that are open for reading and not being read.
const maxReaders = 16

// handles keeps files open for reading, the ones used last.
type handles struct {
	dir fsx.Dir

	mu     sync.Mutex // never held over I/O but closing
	open   map[uint64]*handle
	clock  uint64 // counts uses
	closed bool
}

// handle is an open file. Its fields belong to handles.mu.
type handle struct {
	first uint64
	f     fsx.File
	users int
	used  uint64
	gone  bool // no longer in the map: the last user closes it
}

// get returns a file for reading; put gives it back.
func (hs *handles) get(first uint64) (*handle, error) {
	if h, err := hs.take(first, nil); h != nil || err != nil {
		return h, err
	}
	f, err := hs.dir.Open(Name(first))
	if err != nil {
		return nil, err
	}
	h, err := hs.take(first, f)
	if err != nil || h.f != f {
		err = errors.Join(err, f.Close()) // too late, or another reader was faster
	}
	return h, err
}

// take returns the open file, or makes f the open file.
func (hs *handles) take(first uint64, f fsx.File) (*handle, error) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if hs.closed {
		return nil, fmt.Errorf("%s: %w", Name(first), fs.ErrClosed)
	}
	h := hs.open[first]
	if h == nil && f != nil {
		hs.evict()
		h = &handle{first: first, f: f}
		hs.open[first] = h
	}
	if h != nil {
		h.users++
		hs.clock++
		h.used = hs.clock
	}
	return h, nil
}

// evict closes the file whose use is longest ago if there are too many.
func (hs *handles) evict() {
	if len(hs.open) < maxReaders {
		return
	}
	var oldest *handle
	for _, h := range hs.open {
		if oldest == nil || h.used < oldest.used {
			oldest = h
		}
	}
	_ = hs.drop(oldest) // was only read
}

// drop takes a file out and closes it as soon as nobody reads it.
func (hs *handles) drop(h *handle) error {
	delete(hs.open, h.first)
	h.gone = true
	if h.users > 0 {
		return nil
	}
	return h.f.Close()
}

// put gives a file back.
func (hs *handles) put(h *handle) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h.users--
	if h.gone && h.users == 0 {
		_ = h.f.Close() // was only read
	}
}

// close closes all files that nobody reads; the others are closed by their last reader.
func (hs *handles) close() error {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	hs.closed = true
	var errs []error
	for _, h := range hs.open {
		errs = append(errs, hs.drop(h))
	}
	return errors.Join(errs...)
}
