package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
)

// Secure makes durable what the files hold: what a killed process wrote and did
// not sync can be read, and a power cut would still take it back. Call it before
// Read if what Read returns is to be written anywhere.
func (w *WAL) Secure() error {
	entries, err := w.dir.ReadDir(".")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list %s: %w", w.dir.Path(), err)
	}
	for _, e := range entries {
		if !isFileName(e.Name) || !e.Regular {
			continue // Read says what is wrong with it
		}
		f, err := w.dir.Append(e.Name, false)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return w.fail(err)
		}
	}
	return nil
}

// Reset makes all files free: call it when all that Read returned is synced
// elsewhere. The next Append begins a new generation at a file's start.
//
// What a crash leaves: the files are marked from the oldest generation to the
// newest, so what still counts is always the newest part of the log; and the
// newest file counts, marked or not, until something newer is durable.
func (w *WAL) Reset() error {
	if err := w.usable(); err != nil {
		return err
	}
	switch {
	case !w.read:
		return fmt.Errorf("reset: %w: not read yet", ErrNotReady)
	case w.unsynced:
		return fmt.Errorf("reset: %w", ErrUnsynced)
	}
	for _, f := range w.files {
		if f.f != nil {
			continue
		}
		var err error
		if f.f, err = w.dir.Append(f.name, false); err != nil {
			return err
		}
	}
	for _, f := range slices.SortedFunc(slices.Values(w.files), olderFile) {
		if err := w.mark(f); err != nil {
			return w.fail(err)
		}
		if err := w.clearHead(f); err != nil {
			return w.fail(err)
		}
	}
	w.ready, w.cur, w.next, w.last = true, nil, nil, nil
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending, w.bytes, w.forgotten = nil, 0, 0
	return nil
}

// Reserve makes room for a group whose BodyLen is n, before its first byte. It
// may take a file that was forgotten, make one, or lengthen one. After an error
// (fsx.ErrNoSpace: the disk is full) nothing that matters has changed, and it
// may be called again; only a failed sync poisons the log.
func (w *WAL) Reserve(n int) error {
	if err := w.writable(); err != nil {
		return err
	}
	if n < 0 || n > maxBody {
		return fmt.Errorf("%w: body of %d bytes, the limit is %d", ErrInvalid, n, maxBody)
	}
	return w.reserve(int64(maxHeader + n))
}

// Append writes a group as one frame. It is durable after Sync, which must
// come before the next Append. The group is not kept. Without a Reserve before
// it, Append makes room itself and may fail as Reserve does.
//
// ErrInvalid, ErrOrder and ErrUnsynced refuse a group before its first byte.
// When the write itself fails the log is poisoned.
func (w *WAL) Append(g *Group) error {
	if err := w.writable(); err != nil {
		return err
	}
	if err := g.validate(); err != nil {
		return err
	}
	h := g.header()
	if l := w.last; l != nil && (h.height != l.height+1 || h.first != l.first+l.records) {
		return fmt.Errorf("%w: height %d from seq %d; wanted height %d from seq %d", ErrOrder, h.height, h.first, l.height+1, l.first+l.records)
	}
	h.vault = w.opts.Vault
	frame := int64(len(h.append(nil))) + int64(h.body)
	if err := w.reserve(frame); err != nil {
		return err
	}
	if err := w.enter(frame); err != nil {
		return err
	}
	f := w.cur
	h.generation, h.salt = f.generation, f.salt
	w.buf = g.appendFrame(w.buf[:0], &h)
	zeros := min(endBytes, f.size-f.end-frame)
	w.buf = append(w.buf, make([]byte, zeros)...)
	// Before this write nothing of the group is on the disk. From here until
	// Sync returns, a crash leaves any part of it: a torn frame, or the whole.
	if _, err := f.f.WriteAt(w.buf, f.end); err != nil {
		return w.fail(err)
	}
	if cap(w.buf) > int(2*w.opts.FileBytes) {
		w.buf = nil // one great group need not hold the memory for ever
	}
	f.end += frame
	f.last = h.height
	w.last, w.unsynced = &h, true
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending = append(w.pending, pending{h.height, frame})
	w.bytes += frame
	return nil
}

// enter makes cur a file in which the frame may be written.
func (w *WAL) enter(frame int64) error {
	if w.cur.fits(frame) {
		// Not free from the second frame on. The sync that makes the frame
		// durable makes this durable too; should a crash keep the old length,
		// the first frame still counts, being the newest generation's.
		return w.unmark(w.cur)
	}
	salt, err := w.newSalt()
	if err != nil {
		return err
	}
	if w.cur != nil && w.cur.free {
		// A file with one frame is left behind: from here on it is not the
		// newest, and as a free one it would not count.
		if err := w.unmark(w.cur); err != nil {
			return err
		}
		if err := w.cur.f.Sync(); err != nil {
			return w.fail(err)
		}
	}
	w.cur, w.next = w.next, nil
	w.generation++
	w.newest = w.generation
	w.cur.generation, w.cur.salt = w.generation, salt
	return nil
}

// newSalt draws a generation's salt.
func (w *WAL) newSalt() (uint64, error) {
	if w.opts.Rand == nil {
		return 0, errors.New("write-ahead log: no source of randomness")
	}
	var b [8]byte
	if _, err := io.ReadFull(w.opts.Rand, b[:]); err != nil {
		return 0, fmt.Errorf("salt: %w", err)
	}
	return binary.BigEndian.Uint64(b[:]), nil
}

// Sync makes the group appended last durable. When it returns nil the group
// survives whatever happens, and may be signed and acknowledged. When it fails
// the log is poisoned: nobody knows what is on the disk, and a second sync that
// succeeds would prove nothing.
func (w *WAL) Sync() error {
	if err := w.usable(); err != nil {
		return err
	}
	if !w.unsynced {
		return nil
	}
	if err := w.cur.f.Sync(); err != nil {
		return w.fail(err)
	}
	w.unsynced = false
	return nil
}

// writable returns why nothing can be written now.
func (w *WAL) writable() error {
	if err := w.usable(); err != nil {
		return err
	}
	switch {
	case !w.ready:
		return fmt.Errorf("%w: Reset comes first", ErrNotReady)
	case w.unsynced:
		return ErrUnsynced
	}
	return nil
}
