package wal

import (
	"bytes"
	"fmt"
	"math"
	"slices"
)

// Report says what a log holds and how it ends.
//
//	Torn and Damage nil   whole: every frame that was ever synced is there
//	Torn                  the newest frame is bad and nothing whole follows: it was never
//	                      synced, or it rotted, which cannot be told apart
//	Damage                a frame is bad that was synced: a later one is whole, or its
//	                      place says so. Groups behind it are read all the same
type Report struct {
	Files  int // files of the log
	Groups int // groups that were read
	// First and Last are the heights of the first and the last of them; both 0 if there are none.
	First, Last uint64
	Torn        *Torn
	Damage      *Damage  // the first of Damaged
	Damaged     []Damage // in the order of the groups
}

// Torn is a frame that does not count.
type Torn struct {
	File   string // relative to the vault
	Offset int64
	Height uint64 // what it would have had, or what its header says; 0 if nothing was read before it
	Reason string // what is wrong with it: wanted and got
	// Bytes are the frame's, as far as they are there, at most MaxTorn; for a
	// person to look at. They are the caller's.
	Bytes []byte
}

// MaxTorn bounds Torn.Bytes.
const MaxTorn = 16 << 20

// Damage is a place where groups were and are not any more.
type Damage struct {
	File   string // relative to the vault
	Offset int64
	Height uint64 // of the first group that is missing
	// Next is the height of the first whole group behind it; the groups
	// Height … Next-1 are missing. 0: none is known to follow, and how many are
	// missing is unknown.
	Next   uint64
	Reason string // wanted and got
}

// reader is the state of one Read.
type reader struct {
	w      *WAL
	fn     func(Group) error
	report Report

	any    bool   // a group was read
	height uint64 // that the next group must have
	first  uint64 // and its first seq

	at   place     // where the last run of groups ended
	lost []*source // files that count but have no frame to be trusted, not yet in the report
	torn *torn     // the newest torn frame so far
}

// place is where something else than the next frame was found.
type place struct {
	file   string
	off    int64
	reason string
}

// torn is a bad frame that may be the newest.
type torn struct {
	s          *source
	off        int64
	frame      frame
	generation uint64
	height     uint64
}

// Read calls fn with each whole group in order of height, and says how the log
// ends. It changes nothing and may be called again.
//
// A group's bytes are valid until fn returns. An error of fn ends the reading
// and is returned as it is. Behind damage the heights that fn sees have a gap;
// who must know before uses the report of a first Read. Other errors are those
// of Open, and of reading files.
func (w *WAL) Read(fn func(Group) error) (Report, error) {
	if err := w.usable(); err != nil {
		return Report{}, err
	}
	if fn == nil {
		fn = func(Group) error { return nil } // only the report is wanted
	}
	sources, err := w.survey()
	if err != nil {
		return Report{}, err
	}
	defer closeAll(sources) // only read: nothing can be lost
	r := &reader{w: w, fn: fn, report: Report{Files: len(sources)}}
	counted, err := r.choose(sources)
	if err != nil {
		return r.report, err
	}
	limit := uint64(math.MaxUint64)
	limits := make([]uint64, len(counted))
	for i := len(counted) - 1; i >= 0; i-- {
		limits[i] = limit
		limit = min(limit, counted[i].height)
	}
	for i, s := range counted {
		if err := r.file(s, limits[i], i+1 == len(counted)); err != nil {
			return r.report, err
		}
	}
	for len(r.lost) > 0 {
		r.damage(r.height, 0)
	}
	if err := r.keepTorn(); err != nil {
		return r.report, err
	}
	w.note(sources)
	return r.report, nil
}

// choose sorts the files out and returns those that count, in order of
// generation.
func (r *reader) choose(sources []*source) (counted []*source, err error) {
	var free []*source
	newest := uint64(0)
	for _, s := range sources {
		switch {
		case s.free && s.first.status == end:
			continue // never used
		case s.free:
			free = append(free, s)
			if s.first.status != whole {
				continue
			}
		case s.first.status == whole:
			counted = append(counted, s)
		default:
			ok, err := r.behindFirst(s)
			if err != nil {
				return nil, err
			}
			if !ok {
				r.lost = append(r.lost, s)
				continue
			}
			counted = append(counted, s)
		}
		newest = max(newest, s.first.header.generation)
	}
	for _, s := range free {
		h := &s.first.header
		switch {
		case s.first.status == whole && h.generation == newest:
			counted = append(counted, s) // the first frame of a new use, or what Reset marked last
		case s.first.status == bad && h.generation > newest:
			r.tear(torn{s, 0, s.first, h.generation, h.height})
		case s.first.status == bad:
			r.tear(torn{s, 0, s.first, newest + 1, 0}) // its header cannot be read, or is wrong
		}
	}
	slices.SortFunc(counted, byGeneration)
	return counted, nil
}

// behindFirst looks, in a file that should begin with a whole frame and does
// not, for whole ones behind it. Only the salt of a header tells them from what
// a value may hold, so without a header there is nothing to look for.
func (r *reader) behindFirst(s *source) (bool, error) {
	if s.first.status == end {
		s.first.reason = "wanted a frame, got zeros"
	}
	h := &s.first.header
	if !s.first.parsed || h.vault != r.w.opts.Vault {
		return false, nil
	}
	var err error
	s.start, s.height, err = r.w.search(s, 1, h, 0)
	return s.start > 0, err
}

// file reads the frames of one file, below the height with which a newer file begins.
func (r *reader) file(s *source, limit uint64, newest bool) error {
	like := s.first.header
	off := s.start
	if off > 0 {
		r.at = place{s.name, 0, s.first.reason}
		if !r.any {
			r.any, r.height = true, min(like.height, s.height-1)
		}
	}
	for {
		fr, err := r.w.frameAt(s, off)
		if err != nil {
			return err
		}
		h := &fr.header
		if fr.status == whole && (h.vault != like.vault || h.generation != like.generation || h.salt != like.salt) {
			fr.status = end
			fr.reason = fmt.Sprintf("wanted a frame of generation %d, got one of generation %d", like.generation, h.generation)
		}
		if fr.status == whole {
			if h.height >= limit {
				return nil // superseded
			}
			if err := r.group(s, off, &fr); err != nil {
				return err
			}
			off += fr.length
			continue
		}
		if fr.reason == "" {
			fr.reason = "wanted a frame, got zeros or the file's end"
		}
		r.at = place{s.name, off, fr.reason}
		later, _, err := r.w.search(s, off+1, &like, r.height)
		if err != nil {
			return err
		}
		if later < 0 {
			if newest && fr.status == bad {
				r.tear(torn{s, off, fr, like.generation, r.height})
			}
			return nil
		}
		off = later
	}
}

// group passes a whole frame's group on, after a look at what should come.
func (r *reader) group(s *source, off int64, fr *frame) error {
	h := &fr.header
	switch {
	case r.any && h.height > r.height:
		r.damage(r.height, h.height)
	case r.any && (h.height < r.height || h.first != r.first):
		// Nobody but a broken writer leaves this behind a good checksum.
		return fmt.Errorf("%s: offset %d: %w: wanted height %d from seq %d, got height %d from seq %d", s.name, off, ErrOrder, r.height, r.first, h.height, h.first)
	}
	if r.report.Groups == 0 {
		r.report.First = h.height
	}
	r.report.Groups++
	r.report.Last = h.height
	r.any, r.height, r.first = true, h.height+1, h.first+h.records
	return r.fn(fr.group)
}

// damage reports that groups are missing: in a file that is lost, if there is
// one, otherwise where the last run of groups ended.
func (r *reader) damage(height, next uint64) {
	at := r.at
	if len(r.lost) > 0 {
		s := r.lost[0]
		r.lost = r.lost[1:]
		at = place{s.name, 0, s.first.reason}
		if !r.any && s.first.parsed {
			height = s.first.header.height
		}
	}
	r.report.Damaged = append(r.report.Damaged, Damage{File: at.file, Offset: at.off, Height: height, Next: next, Reason: at.reason})
	r.report.Damage = &r.report.Damaged[0]
}

// tear notes a torn frame. The newest counts: an older one was there before the
// last recovery, which has seen it.
func (r *reader) tear(t torn) {
	if r.torn == nil || t.generation >= r.torn.generation {
		r.torn = &t
	}
}

// keepTorn puts the newest torn frame into the report, with its bytes.
func (r *reader) keepTorn() error {
	t := r.torn
	if t == nil {
		return nil
	}
	n := t.s.size - t.off
	if t.frame.parsed {
		n = min(n, t.frame.length)
	}
	data := make([]byte, min(n, MaxTorn))
	if err := readFull(t.s.f, data, t.off); err != nil {
		return err
	}
	if t.height == 0 {
		t.height = r.height
	}
	r.report.Torn = &Torn{
		File: t.s.name, Offset: t.off, Height: t.height, Reason: t.frame.reason,
		Bytes: slices.Clip(bytes.TrimRight(data, "\x00")),
	}
	return nil
}

// note keeps what Reset needs to know.
func (w *WAL) note(sources []*source) {
	if w.ready {
		return
	}
	w.read = true
	w.files = nil
	for _, s := range sources {
		f := &file{name: s.base, size: s.size, free: s.free, bad: s.first.status == bad}
		if s.first.status == whole || s.start > 0 {
			f.generation = s.first.header.generation
			f.filled = s.size == w.opts.FileBytes
			w.newest = max(w.newest, f.generation)
		}
		w.files = append(w.files, f)
		// A number that no checksum covers may be any; one that could be the
		// last of all numbers is not worth believing.
		if g := s.first.header.generation; g < 1<<63 {
			w.generation = max(w.generation, g)
		}
	}
}
