package journal

import (
	"fmt"
	"slices"
)

// base returns the seq of the first record that is in the table or could be.
// The caller holds mu.
func (l *Log) base() uint64 {
	if len(l.files) == 0 {
		return l.cursor.next
	}
	return l.files[0].base
}

// last returns the last file, if there is one.
func (l *Log) last() (first uint64, ok bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.files) == 0 {
		return 0, false
	}
	return l.files[len(l.files)-1].first, true
}

// tablePart returns the longest part of the records [from, to), which are in the
// table, that begins with from. The caller holds mu.
func (l *Log) tablePart(from, to uint64) part {
	f := l.files[l.fileOf(from)]
	a := from - f.base
	b := min(to-f.base, uint64(len(f.offsets)))
	return part{first: f.first, offsets: f.offsets[a:b:b], end: f.place(f.base + b)}
}

// Places calls fn, in order, with where the line of each record in [from, to)
// begins whose seq is a multiple of every, which is at least 1. They come from
// memory: it is ErrOutOfRange if one of the records is not in the table, and
// then fn may not have been called for all.
func (l *Log) Places(from, to, every uint64, fn func(seq uint64, at Pos)) error {
	for from < to {
		l.mu.RLock()
		base, next := l.base(), l.cursor.next
		if from < base || to > next {
			l.mu.RUnlock()
			return fmt.Errorf("places of the records [%d, %d), in memory are [%d, %d): %w", from, to, base, next, ErrOutOfRange)
		}
		p := l.tablePart(from, to)
		l.mu.RUnlock()
		n := uint64(len(p.offsets))
		for i := (every - from%every) % every; i < n; i += every {
			fn(from+i, Pos{File: p.first, Offset: int64(p.offsets[i])})
		}
		from += n
	}
	return nil
}

// Forget takes the places of the records before one out of the table, as far as
// they are there. The Grid must cover them; without one old lines are found all
// the same, but slowly. What is forgotten can be read, but no more be restored or
// cut. Readers are not disturbed.
func (l *Log) Forget(before uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.files) == 0 {
		return
	}
	n := 0 // files that go as a whole; never the last
	for ; n+1 < len(l.files) && l.files[n+1].first <= before; n++ {
		l.old = append(l.old, oldFile{first: l.files[n].first, size: l.files[n].size})
	}
	l.files = slices.Delete(l.files, 0, n)
	f := l.files[0]
	before = min(before, f.base+uint64(len(f.offsets)))
	if before <= f.base {
		return
	}
	// A new array, so that the old one goes as soon as no reader holds it.
	l.files[0] = &logFile{first: f.first, base: before, offsets: slices.Clone(f.offsets[before-f.base:]), size: f.size}
}

// Bytes is the length of all log files, as far as lines were written.
func (l *Log) Bytes() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var n int64
	for _, f := range l.old {
		n += f.size
	}
	for _, f := range l.files {
		n += f.size
	}
	return n
}
