package journal

import (
	"fmt"
	"math"
	"slices"
)

// Start is where a scan begins: a record, and where its line begins or, which is
// as good if they are not the same, the line before it ends: that place is there
// also when the record is not yet. The zero Start is the start of the log.
type Start struct {
	Seq uint64
	Pos Pos
}

// startAt makes the listed files before a start old ones and its file the first
// of the table, with no line yet. It returns where the scan begins.
func (l *Log) startAt(start Start) (Pos, error) {
	if start == (Start{}) {
		return Pos{}, nil
	}
	at := start.Pos
	wrong := func(format string, args ...any) (Pos, error) {
		return Pos{}, fmt.Errorf("%s: offset %d, seq %d: %w: %s", l.path(Name(start.Pos.File)), start.Pos.Offset, start.Seq, ErrPosition, fmt.Sprintf(format, args...))
	}
	if at.Offset < 0 || start.Seq < at.File || (at.Offset == 0) != (start.Seq == at.File) {
		return wrong("a file begins with the record that it is named after")
	}
	i, there := slices.BinarySearch(l.listed, at.File)
	if at.Offset == 0 {
		i-- // begin at the end of the file before it: what must be true of it is looked at there
	}
	if i < 0 || at.Offset > 0 && !there {
		return wrong("there is no such file")
	}
	files, err := l.statAll(l.listed[:i+1])
	if err != nil {
		return Pos{}, err
	}
	file := files[i]
	if at.Offset == 0 {
		at = Pos{File: file.first, Offset: file.size}
	}
	cursor := Cursor{opts: l.opts, file: file.first, offset: at.Offset, records: start.Seq - file.first, next: start.Seq}
	if at != start.Pos && !there && !cursor.full() {
		return wrong("there is no such file, and %s is not full", l.path(Name(file.first)))
	}
	if at.Offset > file.size {
		return wrong("the file has %d bytes", file.size)
	}
	if ends, err := l.lineEnds(at); err != nil || !ends {
		if err != nil {
			return Pos{}, err
		}
		return wrong("no line ends at offset %d of %s", at.Offset, l.path(Name(at.File)))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listed = l.listed[i+1:]
	l.old = files[:i:i]
	l.files = []*logFile{{first: file.first, base: start.Seq, size: at.Offset}}
	l.cursor = cursor
	return at, nil
}

// statAll returns the sizes of files.
func (l *Log) statAll(firsts []uint64) ([]oldFile, error) {
	files := make([]oldFile, len(firsts))
	for i, first := range firsts {
		info, err := l.dir.Stat(Name(first))
		if err != nil {
			return nil, err
		}
		if info.Size > math.MaxUint32 {
			return nil, l.tooLarge(first, info.Size)
		}
		files[i] = oldFile{first: first, size: info.Size}
	}
	return files, nil
}

// lineEnds reports whether a newline stands before a position.
func (l *Log) lineEnds(at Pos) (bool, error) {
	if at.Offset == 0 {
		return false, nil
	}
	h, err := l.readers.get(at.File)
	if err != nil {
		return false, err
	}
	defer l.readers.put(h)
	var b [1]byte
	if err := readFull(h.f, b[:], at.Offset-1); err != nil {
		return false, l.readError(at.File, at.Offset-1, err)
	}
	return b[0] == '\n', nil
}
