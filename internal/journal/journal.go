// Package journal keeps a vault's log files: the records, one line each.
//
// The log is a row of files, each named by the seq of its first record. Lines
// are appended to the last one, the active file, in groups; after a group that
// fills the file the next one is begun. The journal knows nothing of what a line
// means.
//
// Where the newest lines begin stands in a table in memory, 4 bytes a record. It
// begins where the scan at open did, and Forget takes from its front, so it does
// not grow with the log. An older line is found from a record before it whose
// place is known: the first of its file, or one that the Grid names, every 256th.
// The lines between are counted once and then known for a while.
//
//	log-…000.jsonl      log-…400.jsonl      log-…7f3.jsonl
//	|---+---+---+---    |---+---+---::::    |::::::::::::: <- the next line
//	 old lines: the places of | and + are known  : in the table
//
// It stands behind the write-ahead log: what was appended and not synced may be
// lost or torn in a crash, and is written again, at the same place, by Restore.
//
// Invariants:
//   - A file begins where the one before it ends, and is made only after that
//     one was synced. So no crash leaves a gap, and a gap is damage.
//   - Lines are appended and never changed. Only Cut takes something away, in a
//     recovery, and returns it.
//   - Readers see a line only after it was written, and never wait for the
//     writer's disk.
//   - Every record is in the table or older than all that are.
//
// Example:
//
//	log, err := journal.Open(vault.Sub("log"), journal.Options{FileRecords: 65536, FileBytes: 64 << 20})
//	log.SetGrid(grid)
//	tail, err := log.ScanFromUntil(start, firstGroupOfWAL, check) // builds the table of lines
//	err = log.Restore(at, lines, records)              // each group of the WAL
//	log.EndGroup()
//	n, err := log.Cut(log.Tail())
//	err = log.Sync()
//	...
//	err = log.Append(lines, records) // from now on
//	log.EndGroup()
//	err = log.Sync()
//	line, err := log.Line(seq) // any goroutine
//	log.Forget(seq)            // when the grid covers the records before it
package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"graven/internal/fsx"
	"graven/record"
)

// Errors of the journal, wrapped with file and offset or with the seqs.
var (
	// ErrForeignFile says that a name in the folder is none of the journal's.
	ErrForeignFile = errors.New("foreign name in the folder of log files")
	// ErrGap says that a log file does not begin where the one before it ends.
	ErrGap = errors.New("gap between log files")
	// ErrDamaged says that bytes are not what they must be; the error is a *DamageError.
	ErrDamaged = errors.New("log file is damaged")
	// ErrConflict says that other whole lines stand where lines were to be
	// restored: the log has another history. Nothing was changed.
	ErrConflict = errors.New("the log holds other lines")
	// ErrPosition says that a position is none that the call can start from.
	ErrPosition = errors.New("wrong position in the log")
	// ErrOutOfRange says that there is no such record yet.
	ErrOutOfRange = errors.New("no such record")
	// ErrInvalid says that lines to be written are not whole or not as many as said.
	ErrInvalid = errors.New("invalid lines")
	// ErrPoisoned says that a write or sync failed before, and wraps its error.
	// Reading goes on.
	ErrPoisoned = errors.New("log files are poisoned")
	// ErrNotReady says that the log was not scanned yet, or is scanned after it was written.
	ErrNotReady = errors.New("log files are not ready")
)

// DamageError says where a log file is damaged. It matches ErrDamaged.
type DamageError struct {
	File   string // relative to the vault
	Offset int64
	Want   string
	Got    string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("%s: offset %d: %v: wanted %s, got %s", e.File, e.Offset, ErrDamaged, e.Want, e.Got)
}

// Is reports whether target is ErrDamaged.
func (e *DamageError) Is(target error) bool { return target == ErrDamaged }

// Options say when a file is full; both are fixed by a vault's genesis.
type Options struct {
	FileRecords uint64 // records, at least 1
	FileBytes   uint64 // bytes, at least 1, at most 2^31
}

// maxFileBytes leaves the last group of a file room below the 4 GiB that the
// table of lines can address.
const maxFileBytes = 1 << 31

// maxSeq is the greatest seq of a record.
const maxSeq = 1<<53 - 1

// Log is the log of one vault. One goroutine writes (Scan and its kin, Append,
// EndGroup, Restore, Cut, Reserve, Sync, Close); the other methods may be called
// by any, Forget not beside a scan, Restore or Cut.
type Log struct {
	dir     fsx.Dir
	opts    Options
	readers handles
	bundles bundles // of old lines

	// Owned by the writer.
	listed  []uint64 // first seqs of the files found at Open that no scan has come to yet
	scanned bool     // a Scan has ended well enough to go on from
	started bool     // a file was opened for writing
	closed  bool
	poison  error     // the first failure
	active  *writer   // the file that is written; nil: none opened yet
	behind  []*writer // files written before it and not synced yet

	mu     sync.RWMutex // guards what follows; never held over I/O
	grid   Grid         // nil: none
	old    []oldFile    // the files before the table, by first seq
	files  []*logFile   // the table: by first seq, without gaps; only the last one grows
	cursor Cursor       // the tail
}

// oldFile is a file of which no line is in the table.
type oldFile struct {
	first uint64 // seq of line 0
	size  int64
}

// logFile is where lines of a file begin, from one on to the end.
//
// Invariant: base+len(offsets) is the first seq of the file that follows, or the
// log's next; base is first in all files of the table but the first one, whose
// lines before base are old.
type logFile struct {
	first   uint64   // seq of line 0
	base    uint64   // seq of the line at offsets[0]
	offsets []uint32 // where each line begins
	size    int64    // where the last one ends
}

// place returns where the line of a seq begins; of the one behind the last,
// where that one ends.
func (f *logFile) place(seq uint64) int64 {
	if i := seq - f.base; i < uint64(len(f.offsets)) {
		return int64(f.offsets[i])
	}
	return f.size
}

// Open lists the files of a folder, which need not exist. It changes nothing
// and reads no file: Scan comes next. A name that is none of the journal's is
// ErrForeignFile, a first file that does not begin at seq 0 is ErrGap.
func Open(dir fsx.Dir, opts Options) (*Log, error) {
	if opts.FileRecords < 1 || opts.FileBytes < 1 || opts.FileBytes > maxFileBytes {
		return nil, fmt.Errorf("log files of %d records and %d bytes: each must be at least 1, the bytes at most %d", opts.FileRecords, opts.FileBytes, uint64(maxFileBytes))
	}
	l := &Log{dir: dir, opts: opts, readers: handles{dir: dir, open: map[uint64]*handle{}}, cursor: NewCursor(opts)}
	entries, err := dir.ReadDir(".")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list %s: %w", dir.Path(), err)
	}
	for _, e := range entries {
		if e.Name == currentName {
			continue // a hint; nobody depends on it
		}
		first, ok := ParseName(e.Name)
		if !ok {
			return nil, fmt.Errorf("%s: %w", l.path(e.Name), ErrForeignFile)
		}
		if !e.Regular {
			return nil, fmt.Errorf("%s: %w", l.path(e.Name), fsx.ErrNotRegular)
		}
		l.listed = append(l.listed, first)
	}
	if len(l.listed) > 0 && l.listed[0] != 0 {
		return nil, fmt.Errorf("%s: %w: %s, which begins at seq 0, is missing", l.path(Name(l.listed[0])), ErrGap, l.path(Name(0)))
	}
	return l, nil
}

// currentName is the file that holds the active file's name.
const currentName = "current"

// Name returns the name of the log file whose first record has a seq.
func Name(first uint64) string { return fmt.Sprintf("log-%016x.jsonl", first) }

// ParseName reads what Name returns and nothing else.
func ParseName(name string) (first uint64, ok bool) {
	s, ok := strings.CutPrefix(name, "log-")
	if !ok {
		return 0, false
	}
	s, _ = strings.CutSuffix(s, ".jsonl")
	first, err := strconv.ParseUint(s, 16, 64)
	return first, err == nil && first <= maxSeq && Name(first) == name
}

// Tail returns where the next line goes: in the next file if the active one is
// full and its group has ended.
func (l *Log) Tail() Pos {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.cursor.Pos()
}

// Next returns the seq of the next line.
func (l *Log) Next() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.cursor.next
}

// Cursor returns a copy of the tail, to compute where groups will go that are
// not appended yet.
func (l *Log) Cursor() Cursor {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.cursor
}

// Close gives back the room that Reserve took and closes the files. It does not
// sync: what was not synced is not durable. Lines that are being read are read to the end.
func (l *Log) Close() error {
	var errs []error
	if l.active != nil && l.poison == nil {
		errs = append(errs, l.active.trim())
	}
	for _, w := range append(slices.Clone(l.behind), l.active) {
		if w != nil {
			errs = append(errs, w.f.Close())
		}
	}
	l.active, l.behind, l.closed = nil, nil, true
	return errors.Join(append(errs, l.readers.close())...)
}

// path returns a file's name for errors: relative to the vault.
func (l *Log) path(name string) string { return path.Join(l.dir.Path(), name) }

// fail poisons the writer.
func (l *Log) fail(err error) error {
	l.poison = err
	return err
}

// writable returns why nothing can be written now.
func (l *Log) writable() error {
	switch {
	case l.poison != nil:
		return fmt.Errorf("%w: %w", ErrPoisoned, l.poison)
	case l.closed:
		return fmt.Errorf("log files: %w", fs.ErrClosed)
	case !l.scanned:
		return fmt.Errorf("%w: Scan comes first", ErrNotReady)
	}
	return nil
}

const maxLine = record.MaxLine
