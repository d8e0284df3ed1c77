package journal

import (
	"bytes"
	"errors"
	"fmt"
	"math"

	"graven/internal/fsx"
)

// writer is a file that is written.
type writer struct {
	first    uint64
	f        fsx.File
	end      int64 // of the lines in it
	reserved int64 // room was reserved up to here, or it is below end
	dirty    bool  // something was written or cut since the last sync
}

// reserveStep is the unit in which room is reserved.
const reserveStep = 1 << 20

// trim gives back the room behind the last line.
func (w *writer) trim() error {
	if w.reserved <= w.end {
		return nil
	}
	if err := w.f.Truncate(w.end); err != nil {
		return err
	}
	w.reserved, w.dirty = 0, true
	return nil
}

// Append writes lines, each with its newline, behind the last one. They are
// not durable before Sync, but readers see them when it returns.
//
// ErrInvalid refuses lines before the first byte. After fsx.ErrNoSpace nothing
// has changed and the same lines may be appended again; any other failed write
// poisons the writer.
func (l *Log) Append(lines []byte, records int) error {
	if err := l.writable(); err != nil {
		return err
	}
	lengths, err := lineLengths(lines, records)
	if err != nil {
		return err
	}
	at := l.cursor.Pos()
	w, err := l.enter(at)
	if err != nil {
		return err
	}
	return l.write(w, at, lines, lengths)
}

// write puts lines at a position and into the table, as far as they are not in it.
func (l *Log) write(w *writer, at Pos, lines []byte, lengths []int) error {
	if at.Offset+int64(len(lines)) > math.MaxUint32 {
		return fmt.Errorf("%s: %w: %d bytes behind offset %d", l.path(Name(at.File)), ErrInvalid, len(lines), at.Offset)
	}
	w.dirty = true
	if _, err := w.f.WriteAt(lines, at.Offset); err != nil {
		if !errors.Is(err, fsx.ErrNoSpace) {
			l.poison = err
		}
		return err
	}
	w.end = max(w.end, at.Offset+int64(len(lines)))
	return l.publish(at, lengths)
}

// publish puts lines into the table that begin at a position in its last file.
// Those that it has are left out. Readers see them from here on.
func (l *Log) publish(at Pos, lengths []int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.files[len(l.files)-1]
	off := at.Offset
	for _, n := range lengths {
		if off >= f.size && at.File == f.first {
			if off > math.MaxUint32 {
				return l.tooLarge(f.first, off)
			}
			f.offsets = append(f.offsets, uint32(off))
			f.size = off + int64(n)
			l.cursor.Add(int64(n), 1)
		}
		off += int64(n)
	}
	return nil
}

// tooLarge is the error of a file that the table cannot address.
func (l *Log) tooLarge(first uint64, size int64) error {
	return l.damage(first, size, "a file of less than 4 GiB", "more")
}

// EndGroup says that the last line ended a group. If the active file is full,
// the next line begins the next file.
func (l *Log) EndGroup() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cursor.EndGroup()
}

// enter makes the file of a position, which is the tail, the active one.
func (l *Log) enter(at Pos) (*writer, error) {
	if n := len(l.listed); n > 1 || n == 1 && l.listed[0] != at.File {
		return nil, fmt.Errorf("%s: %w: the scan ended before this file", l.path(Name(l.listed[0])), ErrNotReady)
	}
	if l.active != nil && l.active.first == at.File {
		return l.active, nil
	}
	if first, ok := l.last(); ok && first == at.File {
		return l.reopen(at)
	}
	return l.begin(at.File)
}

// reopen opens the last file, which must end at a position.
func (l *Log) reopen(at Pos) (*writer, error) {
	w, size, err := l.openFile(at.File, false)
	if err != nil {
		return nil, err
	}
	if size != at.Offset {
		return nil, errors.Join(&DamageError{
			File: l.path(Name(at.File)), Offset: at.Offset,
			Want: "the end of the log", Got: fmt.Sprintf("%d more bytes", size-at.Offset),
		}, w.f.Close())
	}
	w.end = at.Offset
	return w, l.activate(w)
}

// activate makes a file the active one. The one before it is closed, or kept
// until it is synced.
func (l *Log) activate(w *writer) error {
	old := l.active
	l.active = w
	switch {
	case old == nil:
		return nil
	case old.dirty:
		l.behind = append(l.behind, old)
		return nil
	}
	return old.f.Close()
}

// openFile opens a file for writing and returns its size.
func (l *Log) openFile(first uint64, create bool) (*writer, int64, error) {
	l.started = true
	f, err := l.dir.Append(Name(first), create)
	if err != nil {
		return nil, 0, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return &writer{first: first, f: f}, size, nil
}

// begin makes the next file. Everything before it is synced first: where a file
// follows, no crash can have left the one before it incomplete.
func (l *Log) begin(first uint64) (*writer, error) {
	if _, ok := l.last(); ok && l.active == nil {
		// Nothing was written since Open, but what was found is what the page
		// cache shows, and something may stand behind it.
		w, err := l.reopen(l.cursor.at())
		if err != nil {
			return nil, err
		}
		w.dirty = true
	}
	if l.active != nil {
		if err := l.active.trim(); err != nil {
			return nil, err
		}
	}
	if err := l.syncAll(); err != nil {
		return nil, err
	}
	w, size, err := l.openFile(first, true)
	if err != nil {
		return nil, err
	}
	if size != 0 {
		// Only Restore may write over what is there.
		return nil, errors.Join(&DamageError{
			File: l.path(Name(first)), Want: "no file, or an empty one", Got: fmt.Sprintf("%d bytes", size),
		}, w.f.Close())
	}
	return w, l.enterNew(w)
}

// enterNew makes a file the last of the table and the active one.
func (l *Log) enterNew(w *writer) error {
	err := l.activate(w)
	l.mu.Lock()
	l.files = append(l.files, &logFile{first: w.first, base: w.first})
	l.cursor = Cursor{opts: l.opts, file: w.first, next: w.first, ended: l.cursor.ended}
	l.mu.Unlock()
	if len(l.listed) > 0 && l.listed[0] == w.first {
		l.listed = l.listed[1:]
	}
	// The name of the active file is a hint for people and tools. It is not
	// worth failing a group: who opens the log lists the folder.
	_ = l.dir.Replace(currentName, []byte(Name(w.first)+"\n"))
	return err
}

// Reserve makes room for n more bytes of lines, before the first of them is
// written. It makes the next file if they go there. After an error
// (fsx.ErrNoSpace: the disk is full) it may be called again.
func (l *Log) Reserve(n int) error {
	if err := l.writable(); err != nil {
		return err
	}
	if n < 0 {
		return fmt.Errorf("%w: %d bytes", ErrInvalid, n)
	}
	at := l.cursor.Pos()
	w, err := l.enter(at)
	if err != nil {
		return err
	}
	need := at.Offset + int64(n)
	if need <= w.reserved {
		return nil
	}
	from := max(w.reserved, w.end)
	to := (need + reserveStep - 1) / reserveStep * reserveStep
	if err := w.f.Reserve(from, to-from); err != nil {
		return err
	}
	w.reserved = to
	return nil
}

// Sync makes all lines durable that were appended, restored or cut. If it fails
// the writer is poisoned: another sync that works would prove nothing.
func (l *Log) Sync() error {
	if err := l.writable(); err != nil {
		return err
	}
	return l.syncAll()
}

func (l *Log) syncAll() error {
	for len(l.behind) > 0 {
		w := l.behind[0]
		if err := w.f.Sync(); err != nil {
			return l.fail(err)
		}
		l.behind = l.behind[1:]
		if err := w.f.Close(); err != nil {
			return l.fail(err)
		}
	}
	if w := l.active; w != nil && w.dirty {
		if err := w.f.Sync(); err != nil {
			return l.fail(err)
		}
		w.dirty = false
	}
	return nil
}

// lineLengths returns the length of each line with its newline.
func lineLengths(lines []byte, records int) ([]int, error) {
	if records < 1 || len(lines) == 0 || lines[len(lines)-1] != '\n' {
		return nil, fmt.Errorf("%w: %d records in %d bytes", ErrInvalid, records, len(lines))
	}
	lengths := make([]int, 0, min(records, len(lines)))
	for rest := lines; len(rest) > 0; {
		n := bytes.IndexByte(rest, '\n') + 1
		if n > maxLine+1 {
			return nil, fmt.Errorf("%w: line of %d bytes, at most %d", ErrInvalid, n-1, maxLine)
		}
		lengths = append(lengths, n)
		rest = rest[n:]
	}
	if len(lengths) != records {
		return nil, fmt.Errorf("%w: wanted %d records, got %d lines", ErrInvalid, records, len(lengths))
	}
	return lengths, nil
}
