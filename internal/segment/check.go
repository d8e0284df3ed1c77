package segment

import (
	"errors"
	"fmt"
)

// Check reads the whole file, past the cache, and holds every page against its
// checksum and its form, all rows against their order, their number and the tree
// above them, and every key against the filter. Damage is reported, and what does
// not hang on it is checked all the same. The error is the disk's, or one that
// fn returned: that ends the check.
func (r *Reader) Check(fn func(error) error) error {
	c := &checker{r: r, fn: fn, off: r.first, rotten: map[int64]bool{}}
	if r.foot.rows > 0 {
		if err := c.page(r.foot.root, r.foot.height, nil, 0); err != nil {
			return err
		}
		if !c.damaged {
			err := c.compare("rows", r.foot.rows, c.rows, "keys", r.foot.keys, c.keys)
			if err != nil {
				return err
			}
		}
	}
	for b := uint64(0); b < r.foot.blocks; b += pageBlocks {
		at := r.foot.filterPlace(b)
		if _, err := r.load(at, filterHeight); err != nil {
			if err := c.reportFilter(at, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// checker is one run of Check.
type checker struct {
	r       *Reader
	fn      func(error) error
	damaged bool  // counts and places are no longer known
	off     int64 // where the next page must begin: they are met in the order of the file
	rows    uint64
	keys    uint64
	last    []byte // key and seq of the row before
	seq     uint64
	rotten  map[int64]bool // offsets of pages of the filter that were reported
}

// report passes damage on; other errors end the check.
func (c *checker) report(err error) error {
	if !errors.Is(err, ErrDamaged) {
		return err
	}
	c.damaged = true
	return c.fn(err)
}

func (c *checker) compare(what1 string, want1, got1 uint64, what2 string, want2, got2 uint64) error {
	if want1 == got1 && want2 == got2 {
		return nil
	}
	return c.report(c.r.damage(c.r.foot.filter+filterSize(c.r.foot.blocks),
		fmt.Sprintf("%d %s, %d %s", got1, what1, got2, what2), fmt.Sprintf("%d and %d", want1, want2)))
}

// page checks a page and all below it. No row of them may be before (key, seq).
func (c *checker) page(at place, height int, key []byte, seq uint64) error {
	p, err := c.r.load(at, height)
	if err != nil {
		return c.report(err)
	}
	w := cursor{p: p, i: -1, next: int(p.marks[0])}
	for range p.rows {
		w.step()
		if w.i == 0 && compare(w.key, w.seq, key, seq) < 0 && key != nil {
			if err := c.report(c.r.damage(at.off, "rows behind what the page above says", "others")); err != nil {
				return err
			}
		}
		if height == 0 {
			err = c.row(at, &w)
		} else {
			err = c.child(at, height, &w)
		}
		if err != nil {
			return err
		}
	}
	if !c.damaged && at.off != c.off {
		return c.report(c.r.damage(c.off, "a page of the tree", fmt.Sprintf("the next at byte %d", at.off)))
	}
	c.off = at.end()
	return nil
}

// child checks the page that a row of the tree names.
func (c *checker) child(at place, height int, w *cursor) error {
	if c.rows > 0 && compare(c.last, c.seq, w.key, w.seq) >= 0 {
		if err := c.report(c.r.damage(at.off, "pages below in order", "others")); err != nil {
			return err
		}
	}
	below, err := c.r.below(at, w.value)
	if err != nil {
		return c.report(err)
	}
	return c.page(below, height-1, w.key, w.seq)
}

// row counts a row and holds it against the one before and the filter.
func (c *checker) row(at place, w *cursor) error {
	f := Filter{Prefix: c.r.prefix}
	part := f.Part(w.key)
	fresh := c.rows == 0 || string(part) != string(f.Part(c.last))
	if c.rows > 0 && compare(c.last, c.seq, w.key, w.seq) >= 0 {
		if err := c.report(c.r.damage(at.off, "rows in order", "others")); err != nil {
			return err
		}
	}
	c.rows++
	c.last, c.seq = append(c.last[:0], w.key...), w.seq
	if !fresh {
		return nil
	}
	c.keys++
	if c.r.foot.blocks == 0 {
		return nil
	}
	h := HashOf(part)
	block := h.block(c.r.foot.blocks)
	where := c.r.foot.filterPlace(block)
	p, err := c.r.page(where, filterHeight)
	switch {
	case err != nil:
		return c.reportFilter(where, err)
	case marked(p.data[block%pageBlocks*blockSize:], h):
		return nil
	}
	return c.report(c.r.damage(where.off, fmt.Sprintf("a filter that lets key %x pass", part), "one that does not"))
}

// reportFilter reports that a page of the filter cannot be read, once.
func (c *checker) reportFilter(at place, err error) error {
	if c.rotten[at.off] {
		return nil
	}
	c.rotten[at.off] = true
	return c.report(err)
}
