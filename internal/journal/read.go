package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
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
// read for each file in the table, and one or two for up to 256 old lines. All
// are in memory at once: the caller bounds the range. A *DamageError says that
// lines are not where they must be.
func (l *Log) Lines(from, to uint64) ([][]byte, error) {
	if next := l.Next(); from > to || to > next {
		return nil, fmt.Errorf("records [%d, %d) of %d: %w", from, to, next, ErrOutOfRange)
	}
	lines := make([][]byte, 0, to-from)
	for from < to {
		p, err := l.part(from, to)
		if err != nil {
			return nil, err
		}
		if lines, err = l.readPart(p, lines); err != nil {
			return nil, err
		}
		from += uint64(len(p.offsets))
	}
	return lines, nil
}

// part is a run of lines in one file.
type part struct {
	first   uint64   // the file
	offsets []uint32 // where each line begins
	end     int64    // where the last one ends
	data    []byte   // the lines, if they were read already
}

// part returns the longest part of the records [from, to) that begins with from.
func (l *Log) part(from, to uint64) (part, error) {
	l.mu.RLock()
	next := l.cursor.next
	if to > next || from >= l.base() {
		defer l.mu.RUnlock()
		if to > next {
			return part{}, fmt.Errorf("records [%d, %d) of %d: %w", from, to, next, ErrOutOfRange)
		}
		return l.tablePart(from, to), nil
	}
	s := l.stretchOf(from)
	l.mu.RUnlock()
	return l.oldPart(s, from, to)
}

// readPart appends the lines of one part.
func (l *Log) readPart(p part, lines [][]byte) ([][]byte, error) {
	start := int64(p.offsets[0])
	data := p.data
	if data == nil {
		h, err := l.readers.get(p.first)
		if err != nil {
			return nil, err
		}
		defer l.readers.put(h)
		data = make([]byte, p.end-start)
		if err := readFull(h.f, data, start); err != nil {
			return nil, l.readError(p.first, start, err)
		}
	}
	for i, off := range p.offsets {
		end := p.end
		if i+1 < len(p.offsets) {
			end = int64(p.offsets[i+1])
		}
		line := data[int64(off)-start : end-start]
		n := bytes.IndexByte(line, '\n')
		if n != len(line)-1 {
			return nil, l.damage(p.first, int64(off), fmt.Sprintf("a line of %d bytes", len(line)-1), describe(n))
		}
		lines = append(lines, line[:n:n])
	}
	return lines, nil
}

// damage is the error of bytes that are not what they must be.
func (l *Log) damage(file uint64, off int64, want, got string) error {
	return &DamageError{File: l.path(Name(file)), Offset: off, Want: want, Got: got}
}

// readError is the error of a read of lines that must be there: damage if the
// file ends before, which is none of the disk's.
func (l *Log) readError(file uint64, off int64, err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return l.damage(file, off, "whole lines", "the end of the file within them")
	}
	return fmt.Errorf("%s: offset %d: %w", l.path(Name(file)), off, err)
}

func describe(newline int) string {
	if newline < 0 {
		return "no newline at its end"
	}
	return fmt.Sprintf("a newline after %d bytes", newline)
}

// Position returns where a record's line begins; for the next record, the tail.
// For an old one it may have to read, with the errors of Lines.
func (l *Log) Position(seq uint64) (Pos, error) {
	l.mu.RLock()
	next, tail := l.cursor.next, l.cursor.Pos()
	l.mu.RUnlock()
	if seq == next {
		return tail, nil
	}
	if seq > next {
		return Pos{}, fmt.Errorf("seq %d of %d: %w", seq, next, ErrOutOfRange)
	}
	p, err := l.part(seq, seq+1)
	if err != nil {
		return Pos{}, err
	}
	return Pos{File: p.first, Offset: int64(p.offsets[0])}, nil
}
