package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"graven/internal/fsx"
)

// Line returns a record's line without its newline. It is the caller's. The
// caller checks it against the tree; here it is only made sure that it is one line.
func (l *Log) Line(seq uint64) ([]byte, error) {
	lines, err := l.Lines(seq, seq+1)
	if err != nil {
		return nil, err
	}
	return lines[0], nil
}

// Lines returns the lines of the records [from, to), without newlines, with one
// read for each file. All are in memory at once: the caller bounds the range.
func (l *Log) Lines(from, to uint64) ([][]byte, error) {
	parts, err := l.parts(from, to)
	if err != nil {
		return nil, err
	}
	lines := make([][]byte, 0, to-from)
	for _, p := range parts {
		if lines, err = l.readPart(p, lines); err != nil {
			return nil, err
		}
	}
	return lines, nil
}

// part is a run of lines in one file.
type part struct {
	first   uint64   // the file
	offsets []uint32 // where each line begins
	end     int64    // where the last one ends
}

// parts cuts a range of records by files.
func (l *Log) parts(from, to uint64) ([]part, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if from > to || to > l.cursor.next {
		return nil, fmt.Errorf("records [%d, %d) of %d: %w", from, to, l.cursor.next, ErrOutOfRange)
	}
	var parts []part
	for i := max(0, l.fileOf(from)); from < to; i++ {
		f := l.files[i]
		a := from - f.first
		b := min(to-f.first, uint64(len(f.offsets)))
		if a == b {
			continue // the last file before an empty one
		}
		p := part{first: f.first, offsets: f.offsets[a:b:b], end: f.size}
		if b < uint64(len(f.offsets)) {
			p.end = int64(f.offsets[b])
		}
		parts = append(parts, p)
		from = f.first + b
	}
	return parts, nil
}

// readPart reads the lines of one part.
func (l *Log) readPart(p part, lines [][]byte) ([][]byte, error) {
	h, err := l.readers.get(p.first)
	if err != nil {
		return nil, err
	}
	defer l.readers.put(h)
	start := int64(p.offsets[0])
	data := make([]byte, p.end-start)
	if err := readFull(h.f, data, start); err != nil {
		return nil, fmt.Errorf("%s: offset %d: %w", l.path(Name(p.first)), start, err)
	}
	for i, off := range p.offsets {
		end := p.end
		if i+1 < len(p.offsets) {
			end = int64(p.offsets[i+1])
		}
		line := data[int64(off)-start : end-start]
		n := bytes.IndexByte(line, '\n')
		if n != len(line)-1 {
			return nil, &DamageError{
				File: l.path(Name(p.first)), Offset: int64(off),
				Want: fmt.Sprintf("a line of %d bytes", len(line)-1), Got: describe(n),
			}
		}
		lines = append(lines, line[:n:n])
	}
	return lines, nil
}

func describe(newline int) string {
	if newline < 0 {
		return "no newline at its end"
	}
	return fmt.Sprintf("a newline after %d bytes", newline)
}

// Position returns where a record's line begins; for the next record, the tail.
func (l *Log) Position(seq uint64) (Pos, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if seq == l.cursor.next {
		return l.cursor.Pos(), nil
	}
	if seq > l.cursor.next {
		return Pos{}, fmt.Errorf("seq %d of %d: %w", seq, l.cursor.next, ErrOutOfRange)
	}
	f := l.files[l.fileOf(seq)]
	return Pos{File: f.first, Offset: int64(f.offsets[seq-f.first])}, nil
}

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

// Bytes is the length of all log files, as far as lines were written.
func (l *Log) Bytes() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var n int64
	for _, f := range l.files {
		n += f.size
	}
	return n
}
