package journal

import (
	"bytes"
	"fmt"
	"slices"
	"sort"

	"graven/record"
)

// Restore writes lines of a group again, in a recovery: at the tail, or over
// lines that a scan has found. What stands there may be nothing, the same
// bytes, or remains of them; it is written over in any case, since what can be
// read after a crash may not have reached the disk. Where a line differs and is
// a whole record with the right seq, the log has another history: ErrConflict,
// and nothing is changed.
//
// A line never reaches from one file into the next, and groups are not split,
// so all lines go to one file. ErrPosition says that no line begins at the
// position, or that it is before the table.
func (l *Log) Restore(at Pos, lines []byte, records int) error {
	if err := l.writable(); err != nil {
		return err
	}
	lengths, err := lineLengths(lines, records)
	if err != nil {
		return err
	}
	seq, err := l.seqAt(at)
	if err != nil {
		return err
	}
	if err := l.matches(at, seq, lengths); err != nil {
		return err
	}
	w, err := l.enterOld(at)
	if err != nil {
		return err
	}
	if err := l.conflict(w, at, seq, lines, lengths); err != nil {
		return err
	}
	if at.File == l.cursor.file {
		l.mu.Lock()
		l.cursor.ended = false // these lines belong to this file, full or not
		l.mu.Unlock()
	}
	return l.write(w, at, lines, lengths)
}

// seqAt returns the seq of the line that begins at a position, or would at the tail.
func (l *Log) seqAt(at Pos) (uint64, error) {
	c := &l.cursor
	if at == c.at() || at == (Pos{File: c.next}) && c.full() {
		return c.next, nil
	}
	if len(l.files) > 0 {
		if f := l.files[0]; at.before(Pos{File: f.first, Offset: f.place(f.base)}) {
			return 0, fmt.Errorf("%s: offset %d: %w: it is before the start of the scan, or forgotten; seq %d is the first that is not", l.path(Name(at.File)), at.Offset, ErrPosition, f.base)
		}
	}
	i := l.fileOf(at.File)
	if i < 0 || l.files[i].first != at.File || at.Offset < 0 {
		return 0, fmt.Errorf("%s: %w: the log ends with %s at offset %d", l.path(Name(at.File)), ErrPosition, l.path(Name(c.file)), c.offset)
	}
	f := l.files[i]
	n := sort.Search(len(f.offsets), func(i int) bool { return int64(f.offsets[i]) >= at.Offset })
	if n < len(f.offsets) && int64(f.offsets[n]) == at.Offset {
		return f.base + uint64(n), nil
	}
	return 0, fmt.Errorf("%s: offset %d: %w: no line begins there", l.path(Name(at.File)), at.Offset, ErrPosition)
}

// matches returns an error unless lines that begin at a seq stand where the
// table says.
func (l *Log) matches(at Pos, seq uint64, lengths []int) error {
	i := l.fileOf(at.File)
	if seq == l.cursor.next || i < 0 {
		return nil
	}
	f := l.files[i]
	off := at.Offset
	for n, length := range lengths {
		k := int(seq-f.base) + n
		switch {
		case k < len(f.offsets) && int64(f.offsets[k]) == off:
		case k >= len(f.offsets) && i == len(l.files)-1 && (k > len(f.offsets) || off == f.size):
		default:
			return fmt.Errorf("%s: offset %d: %w: seq %d does not begin there", l.path(Name(f.first)), off, ErrConflict, seq+uint64(n))
		}
		off += int64(length)
	}
	if off > f.size && i < len(l.files)-1 {
		return fmt.Errorf("%s: offset %d: %w: the file's lines end there", l.path(Name(f.first)), f.size, ErrConflict)
	}
	return nil
}

// fileOf returns the index of the table's file that holds a seq, -1 if none does.
func (l *Log) fileOf(seq uint64) int {
	return sort.Search(len(l.files), func(i int) bool { return l.files[i].first > seq }) - 1
}

// enterOld is enter in a recovery: the file may hold bytes that are not in the
// table, and may be one before the last.
func (l *Log) enterOld(at Pos) (*writer, error) {
	if l.active != nil && l.active.first == at.File {
		return l.active, nil
	}
	i := l.fileOf(at.File)
	known := i >= 0 && l.files[i].first == at.File
	if !known && (len(l.listed) == 0 || l.listed[0] != at.File) {
		return l.begin(at.File)
	}
	if !known {
		// The file is there, so the one before it was complete and synced.
		if err := l.endsHere(); err != nil {
			return nil, err
		}
	}
	w, _, err := l.openFile(at.File, false)
	if err != nil {
		return nil, err
	}
	if !known {
		return w, l.enterNew(w)
	}
	w.end = l.files[i].size
	return w, l.activate(w)
}

// endsHere returns an error if the last file of the table has bytes behind its lines.
func (l *Log) endsHere() error {
	if len(l.files) == 0 {
		return nil
	}
	name := Name(l.cursor.file)
	info, err := l.dir.Stat(name)
	if err == nil && info.Size != l.cursor.offset {
		err = &DamageError{File: l.path(name), Offset: l.cursor.offset, Want: "the end of the file, since another file follows", Got: fmt.Sprintf("%d more bytes", info.Size-l.cursor.offset)}
	}
	return err
}

// conflict looks at what stands where lines are to be written.
func (l *Log) conflict(w *writer, at Pos, seq uint64, lines []byte, lengths []int) error {
	size, err := w.f.Size()
	if err != nil {
		return err
	}
	n := max(0, min(int64(len(lines)+maxLine+1), size-at.Offset))
	there := make([]byte, n)
	if err := readFull(w.f, there, at.Offset); err != nil {
		return err
	}
	off := 0
	for i, length := range lengths {
		if off >= len(there) {
			return nil
		}
		old := there[off:]
		old = old[:bytes.IndexByte(old, '\n')+1]
		// What begins with our line and goes on has lost only the newline.
		ours := bytes.HasPrefix(old, lines[off:off+length-1])
		if len(old) > 0 && !ours && isRecord(old[:len(old)-1], seq+uint64(i)) {
			return fmt.Errorf("%s: offset %d: %w: seq %d was to be %.80q, there is %.80q", l.path(Name(at.File)), at.Offset+int64(off), ErrConflict, seq+uint64(i), lines[off:off+length], old)
		}
		off += length
	}
	return nil
}

// isRecord reports whether a line is a record with a seq: not what a torn write
// leaves, by whatever chance it has a newline.
func isRecord(line []byte, seq uint64) bool {
	r, err := record.Parse(line)
	return err == nil && r.Seq == seq
}

// Cut takes away everything behind a position, in a recovery, and returns how
// many bytes that were: the rest of the position's file, and the file that
// follows, if there is one. That one stays, empty, since its name is that of the
// next line. The position is the tail or where a line of the table begins;
// ErrPosition if a whole file would have to go. It is durable after Sync.
func (l *Log) Cut(at Pos) (int64, error) {
	if err := l.writable(); err != nil {
		return 0, err
	}
	seq, err := l.seqAt(at)
	if err != nil {
		return 0, err
	}
	i := l.fileOf(at.File)
	if i >= 0 && l.files[i].first != at.File {
		at = l.cursor.at() // of a file that is not in the table: behind the last that is
	}
	next, err := l.laterFile(i, seq)
	if err != nil {
		return 0, err
	}
	var cut int64
	if i >= 0 {
		if cut, err = l.cutFile(at); err != nil {
			return 0, err
		}
	}
	if next {
		w, size, err := l.openFile(seq, false)
		if err != nil {
			return 0, err
		}
		l.behind = append(l.behind, w)
		if err := l.cutWriter(w, 0); err != nil {
			return 0, err
		}
		cut += size
	}
	l.shrink(i, at, seq, next)
	return cut, nil
}

// laterFile reports whether a file follows the one with an index; it must begin
// with a seq, and follow a full file.
func (l *Log) laterFile(i int, seq uint64) (bool, error) {
	var later []uint64
	for _, f := range l.files[i+1:] {
		later = append(later, f.first)
	}
	later = append(later, l.listed...)
	if len(later) == 0 {
		return false, nil
	}
	if last := later[len(later)-1]; last != seq {
		return false, fmt.Errorf("%s: %w: the log is to end before seq %d, and this file would have to go", l.path(Name(last)), ErrPosition, seq)
	}
	if i >= 0 {
		c := Cursor{opts: l.opts, records: seq - l.files[i].first, offset: l.files[i].size}
		if !c.full() {
			return false, fmt.Errorf("%s: %w: this file begins before %s is full", l.path(Name(seq)), ErrPosition, l.path(Name(l.files[i].first)))
		}
	}
	return true, nil
}

// cutFile cuts a file of the table and makes it the active one.
func (l *Log) cutFile(at Pos) (int64, error) {
	info, err := l.dir.Stat(Name(at.File))
	if err != nil || info.Size == at.Offset {
		return 0, err
	}
	w, err := l.enterOld(at)
	if err != nil {
		return 0, err
	}
	return info.Size - at.Offset, l.cutWriter(w, at.Offset)
}

// cutWriter cuts an open file.
func (l *Log) cutWriter(w *writer, off int64) error {
	if err := w.f.Truncate(off); err != nil {
		return l.fail(err)
	}
	w.end, w.reserved, w.dirty = off, 0, true
	return nil
}

// shrink makes the table end at a position of file i; another file may follow,
// which is empty now.
func (l *Log) shrink(i int, at Pos, seq uint64, next bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listed = nil
	if next {
		l.listed = []uint64{seq}
	}
	l.files = l.files[:i+1]
	l.cursor = Cursor{opts: l.opts, next: seq, ended: true}
	if i < 0 {
		return
	}
	// A new one, since readers may have the old one in hand.
	f := l.files[i]
	f = &logFile{first: f.first, base: f.base, offsets: slices.Clone(f.offsets[:seq-f.base]), size: at.Offset}
	l.files[i] = f
	l.cursor.file, l.cursor.offset, l.cursor.records = f.first, at.Offset, seq-f.first
}
