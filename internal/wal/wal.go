// Package wal is the write-ahead log of a vault: where a group becomes durable
// first, with one write and one sync.
//
// The log is a few files, made of zeros once and then used again and again. A
// frame is one group: a text header, the group's log lines, and what it appends
// to open blocks, as they are. Frames follow each other from a file's start.
// Each use of a file has a generation, a number greater than all before, and a
// random salt; both are in every frame and under its checksum, so what an
// earlier use left behind a file's end is never taken for a part of it, and
// nobody who writes values can forge a frame inside one.
//
// A file is free when what it holds is not needed any more, or when it never
// held anything. It is marked as such by its length: a free file is one byte
// longer than a multiple of 4,096. The mark is synced before the first frame of
// a new generation is written over the file, and taken away with the second.
//
// Invariants:
//   - A frame is written only after the sync of the one before it returned.
//   - A frame that was synced is not touched until its group, and all in its
//     file, are forgotten: synced elsewhere.
//   - A file that is not free begins with a whole frame. So a bad first frame is
//     a torn one if the file is free, and damage otherwise, and no crash can
//     make the one look like the other.
//   - Heights and seqs are consecutive over the files that are not free, in
//     order of generation; a free file counts only if its generation is the newest.
//   - After a failed write or sync nothing is written any more.
//
// Example:
//
//	w, err := wal.Open(vault.Sub("wal"), wal.Options{Vault: id, Rand: random})
//	report, err := w.Read(recoverGroup) // then sync log and blocks, then:
//	err = w.Reset()
//	...
//	err = w.Reserve(g.BodyLen()) // a full disk is met here
//	err = w.Append(g)
//	err = w.Sync()               // g is durable: sign, acknowledge
//	...
//	w.Forget(g.Height)           // log and blocks that hold g are synced
package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"sync"

	"graven/internal/fsx"
	"graven/record"
)

const (
	// DefaultFileBytes is the length of a file unless Options say otherwise.
	DefaultFileBytes = 8 << 20

	// pageBytes divides the length of every file, apart from the mark.
	pageBytes = 4096
	// markBytes is what a free file is longer.
	markBytes = 1
	// endBytes is how many zeros are written behind a frame, as far as the file
	// has room, so that an older generation's bytes do not follow it directly.
	endBytes = 32
)

// Errors of the log as a whole; those of a file are wrapped with its name.
var (
	// ErrPoisoned says that a write or sync failed before, and wraps its error.
	// What is on the disk is known only after opening again.
	ErrPoisoned = errors.New("write-ahead log is poisoned")
	// ErrUnsynced says that the last group was appended but not synced.
	ErrUnsynced = errors.New("the last group is not synced")
	// ErrNotReady says that calls came in the wrong order: Open, Read, Reset, then the rest.
	ErrNotReady = errors.New("write-ahead log is not ready")
	// ErrOrder says that a group does not follow the last one.
	ErrOrder = errors.New("group out of order")
	// ErrForeignVault says that a file belongs to another vault.
	ErrForeignVault = errors.New("file of another vault")
	// ErrForeignFile says that a name in the folder is none of the log's.
	ErrForeignFile = errors.New("foreign name in the folder of the write-ahead log")
	// ErrMissing says that a file of the log is not there.
	ErrMissing = errors.New("file is missing")
	// ErrLength says that a file has a length that no file of this log has: it was cut or extended.
	ErrLength = errors.New("wrong length")
	// ErrTwins says that two files claim the same generation: one is a copy.
	ErrTwins = errors.New("two files of one generation")
)

// Options of a log.
type Options struct {
	// Vault is in every frame.
	Vault record.VaultID
	// FileBytes is the length of a file, rounded up to a multiple of 4,096; 0
	// means DefaultFileBytes. It must not grow over the life of a vault: shorter
	// files are taken for cut ones.
	FileBytes int64
	// Rand gives salts, 8 bytes each. Only writing needs it.
	Rand io.Reader
}

// WAL is an open write-ahead log. One goroutine uses it; Forget, Pending and
// Size may be called by any.
type WAL struct {
	dir  fsx.Dir
	opts Options

	// Reading.
	buf []byte // a frame; reused

	// Writing. Owned by the goroutine that uses the log.
	read       bool  // Read has ended well since Open
	ready      bool  // Reset has ended well
	poison     error // the first failure
	closed     bool
	files      []*file // by number; open for writing once ready
	cur        *file   // takes the next frame if it has room; nil: none yet
	next       *file   // free and long enough for what was reserved; nil: none
	generation uint64  // the greatest seen or used
	newest     uint64  // of the file that holds the newest group; 0: there is none
	last       *header // of the last group appended; nil: none since Reset
	unsynced   bool    // appended, not synced

	mu        sync.Mutex // guards what follows; never held over I/O
	pending   []pending  // groups not forgotten, heights ascending
	bytes     int64      // their frames
	forgotten uint64     // heights below this one are forgotten
	size      int64      // bytes of all files
}

// pending is a group that is durable only here.
type pending struct {
	height uint64
	bytes  int64
}

// Open opens the log in a folder, which need not exist. It changes nothing. It
// looks at the first frame of each file and returns an error for what is not
// this vault's log: ErrForeignFile, ErrForeignVault, ErrMissing, ErrLength,
// ErrTwins, ErrUnknownVersion, fsx.ErrNotRegular. Damage is for Read to report.
func Open(dir fsx.Dir, opts Options) (*WAL, error) {
	if opts.FileBytes == 0 {
		opts.FileBytes = DefaultFileBytes
	}
	if opts.FileBytes < 0 || opts.FileBytes > math.MaxInt64/2 {
		return nil, fmt.Errorf("write-ahead log: file length of %d bytes", opts.FileBytes)
	}
	opts.FileBytes = roundUp(opts.FileBytes)
	w := &WAL{dir: dir, opts: opts}
	sources, err := w.survey()
	if err != nil {
		return nil, err
	}
	for _, s := range sources {
		w.size += s.size
	}
	return w, closeAll(sources)
}

// Size returns the bytes of all files.
func (w *WAL) Size() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.size
}

// Pending returns how many groups appended since Reset are not forgotten, and
// the bytes of their frames.
func (w *WAL) Pending() (groups int, bytes int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.pending), w.bytes
}

// Forget says that all groups up to a height are synced elsewhere. Files that
// hold only such groups may be used again. It does no I/O.
func (w *WAL) Forget(height uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forgotten = max(w.forgotten, height+1)
	n := 0
	for n < len(w.pending) && w.pending[n].height <= height {
		w.bytes -= w.pending[n].bytes
		n++
	}
	w.pending = append(w.pending[:0], w.pending[n:]...)
}

// Shrink gives back the room of all files but one, and makes that one free. Call it
// when nothing in the log is needed any more, and that is known on disk; only Close
// may follow.
//
// What a crash leaves: fewer files, without a gap.
func (w *WAL) Shrink() error {
	if err := w.usable(); err != nil {
		return err
	}
	w.cur, w.next, w.unsynced = nil, nil, false
	for n := len(w.files) - 1; n > 0; n-- {
		f := w.files[n]
		w.files = w.files[:n]
		if err := errors.Join(f.f.Close(), w.dir.Discard(f.name)); err != nil {
			return err
		}
		// Removals may reach the disk in any order: one after the other.
		if err := w.dir.Sync(w.files[0].name); err != nil {
			return err
		}
	}
	for _, f := range w.files {
		if err := w.mark(f); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the files. It syncs nothing: what was not synced is not durable.
func (w *WAL) Close() error {
	var errs []error
	for _, f := range w.files {
		if f.f != nil {
			errs = append(errs, f.f.Close())
		}
	}
	w.files, w.cur, w.next, w.closed = nil, nil, nil, true
	return errors.Join(errs...)
}

// fail poisons the log.
func (w *WAL) fail(err error) error {
	w.poison = err
	return err
}

// usable returns the error of every call after a failure.
func (w *WAL) usable() error {
	switch {
	case w.poison != nil:
		return fmt.Errorf("%w: %w", ErrPoisoned, w.poison)
	case w.closed:
		return fmt.Errorf("write-ahead log: %w", fs.ErrClosed)
	}
	return nil
}

// path returns a file's name for errors: relative to the vault.
func (w *WAL) path(name string) string { return path.Join(w.dir.Path(), name) }

func fileName(number int) string { return fmt.Sprintf("wal-%08d", number) }

// roundUp returns the least multiple of pageBytes that is at least n.
func roundUp(n int64) int64 { return (n + pageBytes - 1) / pageBytes * pageBytes }
