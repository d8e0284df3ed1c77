package journal

import (
	"container/list"
	"fmt"
	"sort"
	"sync"
)

// Grid names, for a record that is not in the table, one at or before it whose
// place is known, the nearest if it can: the journal reads on from there. It may
// be called by any goroutine, and no lock is held meanwhile. Its errors are
// returned to who asked for the line.
type Grid func(seq uint64) (at uint64, pos Pos, err error)

// SetGrid says where old lines are found from. Without a grid, or with nil, it
// is the beginning of their file.
func (l *Log) SetGrid(g Grid) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.grid = g
}

// bundleLines is how many old lines are counted at once. Bundles begin at its
// multiples, where the grid is expected to know a place, and where files begin.
const bundleLines = 256

// bundleBytes is how much of a file is read at once to count lines: most
// bundles, and the longest line.
const bundleBytes = 128 << 10

// bundle is where old lines begin that follow each other in one file.
type bundle struct {
	first   uint64 // seq of the first
	offsets []uint32
	end     int64 // where the last one ends
}

// stretch is the records [first, end), old ones of one file: a bundle's, if it
// was read.
type stretch struct {
	file  uint64
	first uint64
	end   uint64
	until uint64 // the first record after them that is in the table, or in another file
	limit int64  // where the last line before it ends
	grid  Grid
}

// stretchOf returns the stretch of an old record. The caller holds mu.
func (l *Log) stretchOf(seq uint64) stretch {
	f := l.files[0]
	s := stretch{file: f.first, until: f.base, limit: f.place(f.base), grid: l.grid}
	if seq < f.first {
		i := sort.Search(len(l.old), func(i int) bool { return l.old[i].first > seq })
		if i < len(l.old) {
			s.until = l.old[i].first
		} else {
			s.until = f.first
		}
		s.file, s.limit = l.old[i-1].first, l.old[i-1].size
	}
	s.first = max(seq-seq%bundleLines, s.file)
	s.end = min(seq-seq%bundleLines+bundleLines, s.until)
	return s
}

// oldPart returns the part of the records [from, to) that is in a stretch; from
// is in it. The lines come with it if all of the stretch was read.
func (l *Log) oldPart(s stretch, from, to uint64) (part, error) {
	to = min(to, s.end)
	b, ok := l.bundles.get(s)
	var data []byte
	if !ok {
		var err error
		if b, data, err = l.count(s, from == s.first && to == s.end); err != nil {
			return part{}, err
		}
		l.bundles.put(b)
	}
	i, n := from-b.first, to-b.first
	p := part{first: s.file, offsets: b.offsets[i:n:n], end: b.end, data: data}
	if n < uint64(len(b.offsets)) {
		p.end = int64(b.offsets[n])
	}
	return p, nil
}

// count reads the lines of a stretch. With keep it returns them too.
func (l *Log) count(s stretch, keep bool) (b bundle, data []byte, err error) {
	at, off, err := l.known(s)
	if err != nil {
		return bundle{}, nil, err
	}
	h, err := l.readers.get(s.file)
	if err != nil {
		return bundle{}, nil, err
	}
	defer l.readers.put(h)
	r := liner{f: h.f, off: off, end: s.limit, buf: make([]byte, min(bundleBytes, max(0, s.limit-off)))}
	b = bundle{first: s.first, offsets: make([]uint32, 0, s.end-s.first)}
	if keep {
		data = make([]byte, 0, len(r.buf))
	}
	for seq := at; seq < s.end; seq++ {
		off := r.off
		line, ok, err := r.next()
		if err != nil {
			return bundle{}, nil, l.readError(s.file, off, err)
		}
		if !ok {
			return bundle{}, nil, l.damage(s.file, off, fmt.Sprintf("the line of record %d, of at most %d bytes", seq, maxLine), fmt.Sprintf("%d bytes without a newline", len(r.have)))
		}
		if seq < s.first {
			continue
		}
		b.offsets = append(b.offsets, uint32(off))
		if keep {
			data = append(append(data, line...), '\n')
		}
	}
	b.end = r.off
	if s.end == s.until && b.end != s.limit {
		return bundle{}, nil, l.damage(s.file, b.end, fmt.Sprintf("no line between that of record %d and offset %d", s.end-1, s.limit), fmt.Sprintf("%d bytes", s.limit-b.end))
	}
	return b, data, nil
}

// known returns a record at or before the first of a stretch, in its file, and
// where its line begins.
func (l *Log) known(s stretch) (at uint64, off int64, err error) {
	if s.grid == nil || s.first == s.file {
		return s.file, 0, nil
	}
	at, pos, err := s.grid(s.first)
	if err != nil {
		return 0, 0, fmt.Errorf("the place of record %d: %w", s.first, err)
	}
	if at <= s.file {
		return s.file, 0, nil // the file begins between
	}
	wrong := at > s.first || pos.File != s.file || pos.Offset < 1 || pos.Offset > s.limit
	if !wrong {
		ends, err := l.lineEnds(pos)
		if err != nil {
			return 0, 0, err
		}
		wrong = !ends
	}
	if wrong {
		return 0, 0, fmt.Errorf("%s: offset %d: %w: the grid says that record %d begins there, the nearest at or before record %d", l.path(Name(pos.File)), pos.Offset, ErrPosition, at, s.first)
	}
	return at, pos.Offset, nil
}

// maxBundles bounds the cache: a little more than 1 KiB each, 3 MiB together.
const maxBundles = 2560

// bundles is a cache, the least recently used bundle of which goes first. Old
// lines stay where they are, so what it says is never out of date.
type bundles struct {
	mu      sync.Mutex // guards what follows
	byFirst map[uint64]*list.Element
	order   list.List // of bundle, the most recently used in front
}

// get returns the bundle of a stretch.
func (c *bundles) get(s stretch) (bundle, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byFirst[s.first]
	if !ok {
		return bundle{}, false
	}
	b := e.Value.(bundle)
	if b.first+uint64(len(b.offsets)) < s.end {
		return bundle{}, false // more lines of it are old now
	}
	c.order.MoveToFront(e)
	return b, true
}

// clear empties the cache.
func (c *bundles) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byFirst = nil
	c.order.Init()
}

// put takes a bundle in, in place of a shorter one.
func (c *bundles) put(b bundle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byFirst == nil {
		c.byFirst = make(map[uint64]*list.Element)
	}
	if e, ok := c.byFirst[b.first]; ok {
		c.order.Remove(e)
	}
	c.byFirst[b.first] = c.order.PushFront(b)
	if c.order.Len() > maxBundles {
		oldest := c.order.Remove(c.order.Back()).(bundle)
		delete(c.byFirst, oldest.first)
	}
}
