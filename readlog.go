package graven

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"

	"graven/internal/fsx"
	"graven/internal/journal"
	"graven/merkle"
	"graven/record"
)

// logPart is what was read of a log file: a backup copies as much, and a repair
// judges as much.
type logPart struct {
	first uint64 // seq of its first record
	size  int64  // bytes
	hash  record.ID
}

func (p logPart) name() string { return logName(p.first) }

// logReader reads a log from its first line on, as the bytes stand in the files,
// and holds every line against all before it. It keeps nothing of the lines, so
// its memory does not grow with the log but by its files and blocks.
type logReader struct {
	ctx    context.Context
	limit  uint64                                    // records to read; a commit line is the last
	open   func(first uint64) (io.ReadCloser, error) // a log file's bytes, by the seq of its first record
	read   func(n int64)                             // told of bytes that were read; may be nil
	roots  map[uint64]merkle.Hash                    // sizes whose roots are wanted; filled in as they are passed
	scan   *scanner
	cursor journal.Cursor
	parts  []logPart
}

func newLogReader(ctx context.Context, g *record.Genesis, limit uint64, open func(uint64) (io.ReadCloser, error)) *logReader {
	return &logReader{
		ctx: ctx, limit: limit, open: open, scan: newScanner(), roots: map[uint64]merkle.Hash{},
		cursor: journal.NewCursor(journal.Options{FileRecords: g.FileRecords, FileBytes: g.FileBytes}),
	}
}

// logFilesOf opens the log files of a folder.
func logFilesOf(dir fsx.Dir) func(uint64) (io.ReadCloser, error) {
	return func(first uint64) (io.ReadCloser, error) {
		f, err := dir.Open(logName(first))
		if err != nil {
			return nil, err
		}
		return wholeFile{io.NewSectionReader(f, 0, math.MaxInt64), f}, nil
	}
}

// wholeFile reads a file from its start to its end.
type wholeFile struct {
	io.Reader
	io.Closer
}

// run reads the log up to the limit. An error matches ErrDamaged if the log is
// not whole up to there, and says where.
func (l *logReader) run() error {
	for l.scan.next < l.limit {
		if err := l.file(l.cursor.Pos().File); err != nil {
			return err
		}
	}
	if l.scan.size != l.limit {
		return fmt.Errorf("%w: the log's first %d records do not end with a commit", ErrDamaged, l.limit)
	}
	return nil
}

// file reads one file, up to its end or the limit.
func (l *logReader) file(first uint64) error {
	f, err := l.open(first)
	if err != nil {
		return wrapDamage(fmt.Errorf("%s: %w", logName(first), err))
	}
	defer f.Close()
	sum := sha256.New()
	part := logPart{first: first}
	in := bufio.NewReaderSize(f, record.MaxLine+2)
	for l.scan.next < l.limit {
		if l.cursor.Pos().File != first {
			if _, err := in.Peek(1); err == nil {
				return fmt.Errorf("%w: %s, offset %d: bytes behind the group that fills the file", ErrDamaged, part.name(), part.size)
			} else if !errors.Is(err, io.EOF) {
				return fmt.Errorf("%s, offset %d: %w", part.name(), part.size, err)
			}
			break
		}
		if err := l.line(in, &part, sum); err != nil {
			return err
		}
	}
	part.hash = record.ID(sum.Sum(nil))
	l.parts = append(l.parts, part)
	return l.ctx.Err()
}

// line reads the next line of a file.
func (l *logReader) line(in *bufio.Reader, part *logPart, sum hash.Hash) error {
	at := journal.Pos{File: part.first, Offset: part.size}
	text, err := in.ReadSlice('\n')
	switch {
	case errors.Is(err, io.EOF):
		return lineError(l.scan.next, at, "the file ends, wanted a line")
	case errors.Is(err, bufio.ErrBufferFull):
		return lineError(l.scan.next, at, "a line of more than %d bytes", record.MaxLine)
	case err != nil:
		return fmt.Errorf("%s, offset %d: %w", part.name(), part.size, err)
	}
	if err := l.scan.line(l.scan.next, text[:len(text)-1], at); err != nil {
		return err
	}
	sum.Write(text)
	part.size += int64(len(text))
	if l.read != nil {
		l.read(int64(len(text)))
	}
	l.cursor.Add(int64(len(text)), 1)
	if l.scan.size == l.scan.next {
		l.cursor.EndGroup()
		if _, wanted := l.roots[l.scan.size]; wanted {
			l.roots[l.scan.size] = l.scan.tree.Root()
		}
	}
	if l.scan.next%4096 == 0 {
		return l.ctx.Err()
	}
	return nil
}
