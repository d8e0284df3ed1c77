package journal

import (
	"bytes"
	"fmt"

	"graven/internal/fsx"
)

// Tail is where a scan ended.
type Tail struct {
	Next uint64 // seq of the line that would come next
	Pos  Pos    // where it begins
	Junk int64  // bytes behind the last newline of the last file, if the scan came so far
}

// LineFunc is told each line of a scan, where it begins, and in order. The line
// has no newline and is valid until it returns.
type LineFunc func(seq uint64, line []byte, at Pos) error

// scanBytes is how much of a file is in memory. It holds the longest line.
const scanBytes = 256 << 10

// noLimit is behind every line.
var noLimit = Pos{File: maxSeq + 1}

// Scan reads the whole log from the start, calls fn with each line and builds
// the table of lines. It may be called again until something is written.
//
// An error of fn ends the scan and is returned as it is; the log then ends
// before that line. Bytes without a newline at the very end are no error but
// Junk. A *DamageError names a longer line, or such bytes in a file that is not
// the last; ErrGap names two files that do not fit together.
func (l *Log) Scan(fn LineFunc) (Tail, error) { return l.ScanFromUntil(Start{}, noLimit, fn) }

// ScanUntil is Scan of what stands before a position; nothing behind it is
// looked at. It is ErrPosition if no line begins there and the log does not end
// there. A log that ends before is no error: compare Tail.Pos.
func (l *Log) ScanUntil(limit Pos, fn LineFunc) (Tail, error) {
	return l.ScanFromUntil(Start{}, limit, fn)
}

// ScanFrom is Scan from a record on. Of the files before it only names and
// sizes are looked at, so that one of them is missing or damaged shows when its
// lines are read. It is ErrPosition if no line can begin at start; which record
// begins there is believed, as far as the end of the file does not show that it
// is another (ErrGap): who is not sure reads the line before it.
func (l *Log) ScanFrom(start Start, fn LineFunc) (Tail, error) {
	return l.ScanFromUntil(start, noLimit, fn)
}

// ScanFromUntil is ScanFrom of what stands before a position, as ScanUntil is of
// Scan. A limit before the start is ErrPosition.
func (l *Log) ScanFromUntil(start Start, limit Pos, fn LineFunc) (Tail, error) {
	switch {
	case l.poison != nil:
		return Tail{}, fmt.Errorf("%w: %w", ErrPoisoned, l.poison)
	case l.started:
		return Tail{}, fmt.Errorf("scan: %w: lines were written", ErrNotReady)
	}
	if fn == nil {
		fn = func(uint64, []byte, Pos) error { return nil }
	}
	l.scanned = false
	l.rewind()
	at, err := l.startAt(start)
	if err != nil {
		return Tail{}, err
	}
	if limit.before(at) {
		return Tail{}, fmt.Errorf("%s: offset %d: %w: the scan begins behind it, at %s, offset %d", l.path(Name(limit.File)), limit.Offset, ErrPosition, l.path(Name(at.File)), at.Offset)
	}
	s := &scanner{log: l, limit: limit, fn: fn, buf: make([]byte, scanBytes)}
	err = s.run(at)
	l.scanned = err == nil || s.stopped
	if err == nil {
		l.EndGroup() // if it is not so, the caller cuts
	}
	return Tail{Next: l.cursor.next, Pos: l.cursor.Pos(), Junk: s.junk}, err
}

// rewind empties the table.
func (l *Log) rewind() {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []uint64
	for _, f := range l.old {
		all = append(all, f.first)
	}
	for _, f := range l.files {
		all = append(all, f.first)
	}
	l.listed = append(all, l.listed...)
	l.old, l.files = nil, nil
	l.bundles.clear() // what was old may be in the table next, and be cut
	l.cursor = NewCursor(l.opts)
}

// scanner is the state of one scan.
type scanner struct {
	log   *Log
	limit Pos
	fn    LineFunc
	buf   []byte

	junk    int64
	stopped bool // by fn
}

// run reads the file of the start, if the scan does not begin with the log, and
// then the listed files in order.
func (s *scanner) run(at Pos) error {
	l := s.log
	if len(l.files) > 0 {
		if err := s.file(at, len(l.listed) == 0); err != nil || s.limit.File == at.File {
			return err
		}
	}
	for len(l.listed) > 0 {
		first := l.listed[0]
		if next := l.cursor.next; first != next {
			return fmt.Errorf("%s and %s: %w: wanted seq %d, got seq %d", l.path(Name(l.cursor.file)), l.path(Name(first)), ErrGap, next, first)
		}
		if first > s.limit.File || first == s.limit.File && s.limit.Offset == 0 {
			return nil
		}
		l.listed = l.listed[1:]
		l.mu.Lock()
		l.files = append(l.files, &logFile{first: first, base: first})
		l.cursor = Cursor{opts: l.opts, file: first, next: first}
		l.mu.Unlock()
		if err := s.file(Pos{File: first}, len(l.listed) == 0); err != nil {
			return err
		}
		if s.limit.File == first {
			return nil
		}
	}
	return nil
}

// file reads one file's lines from a position on.
func (s *scanner) file(at Pos, last bool) error {
	l := s.log
	f, err := l.dir.Open(Name(at.File))
	if err != nil {
		return err
	}
	defer f.Close() // only read: nothing can be lost
	size, err := f.Size()
	if err != nil {
		return err
	}
	if s.limit.File == at.File && s.limit.Offset < size {
		size = s.limit.Offset
	}
	r := liner{f: f, off: at.Offset, end: size, buf: s.buf}
	for {
		off := r.off
		line, ok, err := r.next()
		if err != nil {
			return fmt.Errorf("%s: offset %d: %w", l.path(Name(at.File)), off, err)
		}
		if !ok {
			return s.rest(f, at.File, off, size, last)
		}
		if err := s.line(line, off); err != nil {
			return err
		}
	}
}

// line passes one line on and puts it into the table.
func (s *scanner) line(line []byte, off int64) error {
	l := s.log
	seq := l.cursor.next
	if err := s.fn(seq, line, Pos{File: l.cursor.file, Offset: off}); err != nil {
		s.stopped = true
		return err
	}
	return l.publish(Pos{File: l.cursor.file, Offset: off}, []int{len(line) + 1})
}

// rest judges what stands behind the last line that could be read, at off.
func (s *scanner) rest(f fsx.File, first uint64, off, size int64, last bool) error {
	if off == size {
		return nil
	}
	name := s.log.path(Name(first))
	if s.limit.File == first && size == s.limit.Offset {
		return fmt.Errorf("%s: %w: offset %d is within the line that begins at %d", name, ErrPosition, size, off)
	}
	// A line that is too long is junk only if it has no end at all: a power cut
	// may leave more zeros than a line has room for.
	for at := off; at < size; at += int64(len(s.buf)) {
		part := s.buf[:min(int64(len(s.buf)), size-at)]
		if err := readFull(f, part, at); err != nil {
			return fmt.Errorf("%s: offset %d: %w", name, at, err)
		}
		if i := bytes.IndexByte(part, '\n'); i >= 0 {
			return &DamageError{File: name, Offset: off, Want: fmt.Sprintf("a line of at most %d bytes", maxLine), Got: fmt.Sprintf("%d bytes", at+int64(i)-off)}
		}
	}
	if !last {
		return &DamageError{File: name, Offset: off, Want: "the end of the file, since another file follows", Got: fmt.Sprintf("%d bytes without a newline", size-off)}
	}
	s.junk = size - off
	return nil
}
