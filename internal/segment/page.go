package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Row is one entry of a file. In a page:
//
//	shared │ rest │ rest of the key │ seq │ length │ value
//
// The numbers are varints (LEB128, as in encoding/binary, in the shortest form).
// The key begins with the first shared bytes of the key before it, and shared is
// as great as it can be; every 16th row of a page, from the first on, has shared
// 0 instead. For seq stands 0 if it is 0, otherwise seq - from + 1.
type Row struct {
	Key   []byte
	Seq   uint64 // 0, or a record of [From, To)
	Value []byte
}

// A page's payload begins with its height, one byte, and its number of rows, a
// varint. Rows of height 0 are those of the table. In a row of a higher page key
// and seq say where a page below begins in the order of rows: at or before its
// first row, behind the last row of the page before it; the value is the offset
// and the size of that page.
const (
	// pageSize is the payload that a page is filled to; a row that alone is longer
	// makes a longer page.
	pageSize = 4096
	// markEvery is how often a row has its whole key. Lookups search among these,
	// then walk.
	markEvery = 16
	// MaxKey and MaxValue bound a row, so that places in a page fit 16 bits.
	MaxKey   = 4096
	MaxValue = 16384
	maxPage  = 2*MaxKey + MaxValue + pageSize
	// rowMax is about what the numbers of a row take, placeMax what a place takes at most.
	rowMax   = 16
	placeMax = 12
)

// compare orders (key, seq): by key, then newest first.
func compare(aKey []byte, aSeq uint64, bKey []byte, bSeq uint64) int {
	if c := bytes.Compare(aKey, bKey); c != 0 {
		return c
	}
	switch {
	case aSeq > bSeq:
		return -1
	case aSeq < bSeq:
		return 1
	}
	return 0
}

// common returns how many bytes a and b have in common at their start.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// pageBuilder collects the rows of a page.
type pageBuilder struct {
	from uint64 // the file's first record
	rows int
	body []byte // the rows
	key  []byte // of the last row
}

// fits reports whether a row whose key and value have so many bytes may be added: every page takes one row, and one of
// the tree two, or the tree would not get narrower.
func (b *pageBuilder) fits(height, size int) bool {
	if b.rows == 0 || height > 0 && b.rows == 1 {
		return true
	}
	return len(b.body)+size+rowMax <= pageSize
}

func (b *pageBuilder) add(key []byte, seq uint64, value []byte) {
	shared := 0
	if b.rows%markEvery != 0 {
		shared = common(b.key, key)
	}
	code := uint64(0)
	if seq > 0 {
		code = seq - b.from + 1
	}
	b.body = binary.AppendUvarint(b.body, uint64(shared))
	b.body = binary.AppendUvarint(b.body, uint64(len(key)-shared))
	b.body = append(b.body, key[shared:]...)
	b.body = binary.AppendUvarint(b.body, code)
	b.body = binary.AppendUvarint(b.body, uint64(len(value)))
	b.body = append(b.body, value...)
	b.key = append(b.key[:0], key...)
	b.rows++
}

// appendTo appends the payload to dst and empties the builder.
func (b *pageBuilder) appendTo(dst []byte, height int) []byte {
	dst = binary.AppendUvarint(append(dst, byte(height)), uint64(b.rows))
	dst = append(dst, b.body...)
	b.rows, b.body = 0, b.body[:0]
	return dst
}

// page is a page in memory, known to be well-formed. It never changes.
type page struct {
	data  []byte   // the payload
	from  uint64   // the file's first record
	rows  int      // at least 1
	marks []uint16 // offsets of the rows 0, 16, 32, …
}

var errShort = errors.New("a whole row, got the end of the page")

// parsePage holds a payload against the whole form of a page of this height.
// The error says what was wanted and what is there.
func parsePage(data []byte, height int, from, to uint64) (*page, error) {
	if len(data) > maxPage {
		return nil, fmt.Errorf("a page of %d bytes at most, got %d", maxPage, len(data))
	}
	if len(data) == 0 || int(data[0]) != height {
		return nil, fmt.Errorf("a page of height %d", height)
	}
	count, n := strictUvarint(data[1:])
	if n == 0 || count == 0 || count > uint64(len(data)) {
		return nil, errors.New("a number of rows")
	}
	p := &page{data: data, from: from, rows: int(count), marks: make([]uint16, 0, (count+markEvery-1)/markEvery)}
	off := 1 + n
	key := make([]byte, 0, 64)
	last := uint64(0)
	for i := range p.rows {
		if i%markEvery == 0 {
			p.marks = append(p.marks, uint16(off))
		}
		shared, rest, code, value, next, err := checkRow(data, off)
		if err != nil {
			return nil, err
		}
		switch {
		case code != 0 && code-1 >= to-from:
			return nil, fmt.Errorf("a seq in [%d, %d), got %d", from, to, code-1+from)
		case shared > len(key) || i%markEvery == 0 && shared != 0 || shared+len(rest) == 0 || shared+len(rest) > MaxKey:
			return nil, fmt.Errorf("row %d with a key, got %d shared bytes and %d others", i, shared, len(rest))
		case height > 0 && !isPlace(value):
			return nil, fmt.Errorf("row %d with the place of a page", i)
		case i > 0 && !follows(key, last, shared, rest, code, i%markEvery == 0):
			return nil, fmt.Errorf("row %d behind the one before it", i)
		}
		key = append(key[:shared], rest...)
		last, off = code, next
	}
	if off != len(data) {
		return nil, fmt.Errorf("%d bytes for %d rows, got %d", off, p.rows, len(data))
	}
	return p, nil
}

// follows reports whether a row stands behind the one before it, and shares with
// it as much as it can.
func follows(key []byte, last uint64, shared int, rest []byte, code uint64, mark bool) bool {
	switch {
	case mark:
		c := bytes.Compare(key, rest)
		return c < 0 || c == 0 && code < last
	case shared == len(key):
		return len(rest) > 0 || code < last
	}
	return len(rest) > 0 && rest[0] > key[shared]
}

// checkRow reads a row that may be malformed.
func checkRow(data []byte, off int) (shared int, rest []byte, code uint64, value []byte, next int, err error) {
	n, off, ok1 := number(data, off)
	rest, off, ok2 := piece(data, off)
	code, off, ok3 := number(data, off)
	value, off, ok4 := piece(data, off)
	switch {
	case !ok1 || !ok2 || !ok3 || !ok4:
		err = errShort
	case n > MaxKey:
		err = fmt.Errorf("at most %d shared bytes, got %d", MaxKey, n)
	}
	return int(min(n, MaxKey+1)), rest, code, value, off, err
}

// number reads a varint. If there is none, next is the end.
func number(data []byte, off int) (v uint64, next int, ok bool) {
	v, size := strictUvarint(data[off:])
	if size == 0 {
		return 0, len(data), false
	}
	return v, off + size, true
}

// piece reads a length and so many bytes.
func piece(data []byte, off int) (p []byte, next int, ok bool) {
	n, off, ok := number(data, off)
	if !ok || n > uint64(len(data)-off) {
		return nil, len(data), false
	}
	return data[off : off+int(n)], off + int(n), true
}

// strictUvarint reads a varint in its shortest form; 0 bytes: there is none.
func strictUvarint(b []byte) (v uint64, size int) {
	v, size = binary.Uvarint(b)
	if size <= 0 || size > 1 && b[size-1] == 0 {
		return 0, 0
	}
	return v, size
}

// isPlace reports whether a value is the place of a page.
func isPlace(value []byte) bool {
	off, n := strictUvarint(value)
	size, m := strictUvarint(value[n:])
	return n > 0 && m > 0 && n+m == len(value) && off < 1<<62 && size <= maxPage
}

// placeOf reads the value of a row of the tree, which was checked.
func placeOf(value []byte) place {
	off, n := binary.Uvarint(value)
	size, _ := binary.Uvarint(value[n:])
	return place{int64(off), int(size)}
}

func appendPlace(dst []byte, p place) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(dst, uint64(p.off)), uint64(p.size))
}

// row reads the row at an offset. The page was checked, so nothing can fail.
func (p *page) row(off int) (shared int, rest []byte, code uint64, value []byte, next int) {
	d := p.data
	s, off := uvarint(d, off)
	n, off := uvarint(d, off)
	rest = d[off : off+int(n)]
	code, off = uvarint(d, off+int(n))
	n, off = uvarint(d, off)
	next = off + int(n)
	return int(s), rest, code, d[off:next:next], next
}

// uvarint is binary.Uvarint with the common case first.
func uvarint(d []byte, off int) (v uint64, next int) {
	if b := d[off]; b < 0x80 {
		return uint64(b), off + 1
	}
	v, n := binary.Uvarint(d[off:])
	return v, off + n
}

// seqOf is the seq that a code stands for.
func (p *page) seqOf(code uint64) uint64 {
	if code == 0 {
		return 0
	}
	return code - 1 + p.from
}

// hit is where a search ended.
type hit struct {
	i     int  // the first row at or behind what was searched; rows: there is none
	off   int  // its offset
	prev  int  // offset of the row before it; undefined if i is 0
	same  bool // row i has the key that was searched
	exact bool // and the seq
}

// search finds the first row at or behind (key, seq).
func (p *page) search(key []byte, seq uint64) hit {
	// marks[:lo] are at or before (key, seq), marks[hi:] behind it.
	lo, hi := 0, len(p.marks)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		_, k, code, _, _ := p.row(int(p.marks[mid]))
		if compare(k, p.seqOf(code), key, seq) <= 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == 0 {
		_, k, _, _, _ := p.row(int(p.marks[0]))
		return hit{off: int(p.marks[0]), same: bytes.Equal(k, key)}
	}
	return p.walk((lo-1)*markEvery, key, seq)
}

// walk is search among the rows from a mark at or before (key, seq) up to the
// next mark, which is behind it or the end. No key is put together: it is enough
// to know how far each row agrees with the key.
func (p *page) walk(i int, key []byte, seq uint64) hit {
	prev, off, agree := 0, int(p.marks[i/markEvery]), 0
	end := min(i+markEvery, p.rows)
	for ; i < end; i++ {
		shared, rest, code, _, next := p.row(off)
		switch {
		case shared < agree: // where the row before had the key's byte, this one has a greater one
			return hit{i: i, off: off, prev: prev}
		case shared == agree:
			n := common(rest, key[agree:])
			agree += n
			switch {
			case n < len(rest) && (agree == len(key) || rest[n] > key[agree]):
				return hit{i: i, off: off, prev: prev}
			case n == len(rest) && agree == len(key) && p.seqOf(code) <= seq:
				return hit{i: i, off: off, prev: prev, same: true, exact: p.seqOf(code) == seq}
			}
		} // shared > agree: before the key, as the row before was
		prev, off = off, next
	}
	h := hit{i: i, off: off, prev: prev}
	if i < p.rows {
		_, k, _, _, _ := p.row(off) // a mark, with its whole key
		h.same = bytes.Equal(k, key)
	}
	return h
}

// cursor stands on a row of a page.
type cursor struct {
	p     *page
	i     int
	next  int // offset of the row behind
	key   []byte
	seq   uint64
	value []byte
}

// to moves to row i.
func (c *cursor) to(i int) {
	mark := i / markEvery
	c.next = int(c.p.marks[mark])
	for c.i = mark*markEvery - 1; c.i < i; {
		c.step()
	}
}

// step moves to the next row, which must exist.
func (c *cursor) step() {
	shared, rest, code, value, next := c.p.row(c.next)
	c.key = append(c.key[:shared], rest...)
	c.seq, c.value, c.next = c.p.seqOf(code), value, next
	c.i++
}
