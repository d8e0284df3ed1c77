package segment

import (
	"bytes"
	"math"
)

// Iter walks the rows of a file in both directions. A new one stands nowhere.
// It is for one goroutine.
//
// Each move returns whether there is such a row; if not, Err says whether
// something failed, and the next move must be a Seek, First or Last.
type Iter struct {
	r      *Reader
	direct bool   // past the cache
	path   []way  // from the root to the page with the row
	key    []byte // that Skip leaves
	err    error
}

// way is a page on the way from the root and the row that the way takes.
type way struct {
	at place
	cursor
}

// Iter returns an iterator.
func (r *Reader) Iter() *Iter { return &Iter{r: r} }

// Err returns what failed in the last move.
func (it *Iter) Err() error { return it.err }

// Row is the row that the iterator stands on. Its Key is valid until the next
// move, its Value stays; neither may be changed.
func (it *Iter) Row() Row {
	c := &it.path[len(it.path)-1]
	return Row{Key: c.key, Seq: c.seq, Value: c.value}
}

// First moves to the first row.
func (it *Iter) First() bool { return it.reset() && it.down(func(*page) int { return 0 }) }

// Last moves to the last row.
func (it *Iter) Last() bool { return it.reset() && it.down(func(p *page) int { return p.rows - 1 }) }

// Seek moves to the first row at or behind (key, seq): the newest of key at or
// before seq or, if there is none, the first of a greater key.
func (it *Iter) Seek(key []byte, seq uint64) bool {
	if !it.reset() {
		return false
	}
	behind := false
	ok := it.down(func(p *page) int {
		h := p.search(key, seq)
		if p.data[0] == 0 {
			behind = h.i == p.rows
			return min(h.i, p.rows-1)
		}
		if !h.exact && h.i > 0 {
			return h.i - 1
		}
		return h.i
	})
	if ok && behind {
		return it.Next()
	}
	return ok
}

// SeekBefore moves to the last row before (key, seq).
func (it *Iter) SeekBefore(key []byte, seq uint64) bool {
	if it.Seek(key, seq) {
		return it.Prev()
	}
	return it.err == nil && it.Last()
}

// Skip moves behind all rows of the key that it stands on.
func (it *Iter) Skip() bool {
	it.key = append(it.key[:0], it.Row().Key...)
	for range markEvery { // mostly there are few
		if !it.Next() {
			return false
		}
		if !bytes.Equal(it.Row().Key, it.key) {
			return true
		}
	}
	return it.Seek(append(it.key, 0), math.MaxUint64)
}

// Next moves to the next row.
func (it *Iter) Next() bool {
	c := &it.path[len(it.path)-1]
	if c.i+1 < c.p.rows {
		c.step()
		return true
	}
	return it.turn(1, func(*page) int { return 0 })
}

// Prev moves to the row before.
func (it *Iter) Prev() bool {
	c := &it.path[len(it.path)-1]
	if c.i > 0 {
		c.to(c.i - 1)
		return true
	}
	return it.turn(-1, func(p *page) int { return p.rows - 1 })
}

// turn goes up until there is a way to the next page in a direction, and down it.
func (it *Iter) turn(step int, pick func(*page) int) bool {
	n := len(it.path) - 2
	for n >= 0 && (it.path[n].i+step < 0 || it.path[n].i+step >= it.path[n].p.rows) {
		n--
	}
	if n < 0 {
		return false
	}
	it.path = it.path[:n+1]
	c := &it.path[n]
	c.to(c.i + step)
	return it.down(pick)
}

func (it *Iter) reset() bool {
	it.path, it.err = it.path[:0], nil
	return it.r.foot.rows > 0
}

// down goes from the last page of the path, or from the root, to a row of the
// table; pick chooses the row of each page.
func (it *Iter) down(pick func(*page) int) bool {
	r := it.r
	for len(it.path) <= r.foot.height {
		at, height := r.foot.root, r.foot.height-len(it.path)
		if n := len(it.path); n > 0 {
			if at, it.err = r.below(it.path[n-1].at, it.path[n-1].value); it.err != nil {
				return false
			}
		}
		var p *page
		if it.direct {
			p, it.err = r.load(at, height)
		} else {
			p, it.err = r.page(at, height)
		}
		if it.err != nil {
			return false
		}
		if len(it.path) < cap(it.path) {
			it.path = it.path[:len(it.path)+1] // with the memory of an earlier key
		} else {
			it.path = append(it.path, way{})
		}
		c := &it.path[len(it.path)-1]
		c.at, c.p = at, p
		c.to(pick(p))
	}
	return true
}
