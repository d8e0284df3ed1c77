package wal

import "graven/internal/fsx"

// file is a file that may be written.
//
// Invariant: if not free, the frames [0, end) are synced, but for the last one
// while the log is unsynced.
type file struct {
	name       string
	f          fsx.File
	size       int64  // room for frames; a multiple of pageBytes
	free       bool   // marked by its length
	filled     bool   // every page was written once, so an append takes no new room
	bad        bool   // its first frame is none, and no zeros
	generation uint64 // of its newest frames; 0: none
	salt       uint64
	end        int64  // behind the last of them
	last       uint64 // height of the last of them
}

// olderFile orders files by generation; those never used come first.
func olderFile(a, b *file) int {
	switch {
	case a.generation < b.generation:
		return -1
	case a.generation > b.generation:
		return 1
	}
	return 0
}

// mark makes a file free, durably.
func (w *WAL) mark(f *file) error {
	if f.free {
		return nil
	}
	if err := f.f.Truncate(f.size + markBytes); err != nil {
		return err
	}
	if err := f.f.Sync(); err != nil {
		return w.fail(err)
	}
	f.free = true
	return nil
}

// unmark ends a file's being free. It is not synced.
func (w *WAL) unmark(f *file) error {
	if !f.free {
		return nil
	}
	if err := f.f.Truncate(f.size); err != nil {
		return w.fail(err)
	}
	f.free = false
	return nil
}

// clearHead removes a bad first frame from a free file, so that it is reported
// by one Read only.
func (w *WAL) clearHead(f *file) error {
	if !f.bad {
		return nil
	}
	if _, err := f.f.WriteAt(make([]byte, pageBytes), 0); err != nil {
		return err
	}
	if err := f.f.Sync(); err != nil {
		return err
	}
	f.bad = false
	return nil
}

// reserve makes sure that a frame fits into cur or next.
func (w *WAL) reserve(frame int64) error {
	if w.cur.fits(frame) || w.next.fits(frame) {
		return nil
	}
	f := w.next
	if f == nil {
		f = w.reusable()
	}
	if f == nil {
		f = &file{name: fileName(len(w.files)), free: true}
		var err error
		if f.f, err = w.dir.Append(f.name, true); err != nil {
			return err
		}
		w.files = append(w.files, f)
	}
	if err := w.mark(f); err != nil {
		return err
	}
	if err := w.fill(f, max(f.size, roundUp(frame), w.opts.FileBytes)); err != nil {
		return err
	}
	f.end = 0
	w.next = f
	return nil
}

// fits reports whether a file has room for a frame behind its last one.
func (f *file) fits(frame int64) bool { return f != nil && f.filled && f.end+frame <= f.size }

// reusable returns a file of which nothing is needed, nil if there is none: the
// one with the oldest generation, so that those left are the newest without a
// gap. One that was never used comes last: making it may have failed for want
// of room. The newest generation is never among them, so that the group synced
// last is in the log until the next one is.
func (w *WAL) reusable() *file {
	w.mu.Lock()
	forgotten := w.forgotten
	w.mu.Unlock()
	var best *file
	for _, f := range w.files {
		switch {
		case f.generation != 0 && f.generation == w.newest:
		case !f.free && f.last >= forgotten:
		case best == nil || best.generation == 0 || f.generation != 0 && f.generation < best.generation:
			best = f
		}
	}
	return best
}

// fillBytes is how much is written at once when a file is made.
const fillBytes = 256 << 10

// fill gives a free file its length and writes zeros all over it, so that a
// later append neither needs new room nor changes what describes the file:
// that makes its sync cheap. What the file held is lost; it is free.
//
// What a crash leaves: an empty file, or one with its length, marked. Both are free.
func (w *WAL) fill(f *file, size int64) error {
	if f.filled && f.size == size {
		return nil
	}
	f.filled = false
	if err := f.f.Reserve(0, size+markBytes); err != nil {
		return err
	}
	if err := f.f.Truncate(size + markBytes); err != nil {
		return err
	}
	if err := f.f.Sync(); err != nil {
		return w.fail(err)
	}
	zeros := make([]byte, min(size, fillBytes))
	for off := int64(0); off < size; off += int64(len(zeros)) {
		if _, err := f.f.WriteAt(zeros[:min(int64(len(zeros)), size-off)], off); err != nil {
			return err
		}
	}
	if err := f.f.Sync(); err != nil {
		return w.fail(err)
	}
	w.mu.Lock()
	w.size += size - f.size
	w.mu.Unlock()
	f.size, f.filled = size, true
	return nil
}
