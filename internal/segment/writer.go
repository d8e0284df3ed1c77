package segment

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"iter"

	"graven/record"
)

// Filter says what the filter of a file is made of.
type Filter struct {
	// Keys is how many different keys there are, or at least that many: the
	// filter's size follows from it.
	Keys uint64
	// Prefix is how many bytes of a key count; 0: all of them. Rows whose keys
	// begin with the same Prefix bytes are one key to the filter.
	Prefix int
}

// Part returns what of a key goes into the filter.
func (f Filter) Part(key []byte) []byte {
	if f.Prefix > 0 && len(key) > f.Prefix {
		return key[:f.Prefix]
	}
	return key
}

// Rows can be read again and again and always yields the same rows in order, or
// an error. A row is valid until the next.
type Rows func() iter.Seq2[Row, error]

// filterWindow is how many blocks of a filter are held while a file is written:
// 64 MiB, for 48 million keys. For a longer filter the rows are read once more a
// window, so that memory stays bounded.
const filterWindow = 1 << 21

// Write writes a file and returns its SHA-256. The rows must come in order.
// Errors are those of w and of rows, or say which row cannot be.
func Write(w io.Writer, h Header, sum Summary, filter Filter, rows Rows) (record.ID, error) {
	return write(w, h, sum, filter, rows, filterWindow)
}

func write(w io.Writer, h Header, sum Summary, filter Filter, rows Rows, window uint64) (record.ID, error) {
	f := &writer{
		sha: sha256.New(), header: h, filter: filter, window: window,
		levels: []*level{{b: pageBuilder{from: h.From}}},
	}
	f.w = bufio.NewWriterSize(io.MultiWriter(f.sha, w), 1<<16)
	f.foot.blocks = blocksFor(filter.Keys)
	f.foot.summary = sum
	line := h.append(nil)
	f.seed = newSeed(line)
	err := f.put(line)
	if err == nil {
		err = f.table(rows())
	}
	if err == nil {
		err = f.writeFilter(rows)
	}
	if err == nil {
		err = f.put(f.foot.append(nil, f.off, f.seed))
	}
	if err == nil {
		err = f.w.Flush()
	}
	if err != nil {
		return record.ID{}, fmt.Errorf("writing index table %s %d-%d: %w", h.Table, h.Level, h.Number, err)
	}
	return record.ID(f.sha.Sum(nil)), nil
}

// writer writes one file.
type writer struct {
	w      *bufio.Writer
	sha    hash.Hash
	header Header
	seed   seed
	filter Filter
	window uint64 // blocks of the filter in memory at most
	off    int64  // bytes written so far
	buf    []byte // of the page being put together

	levels []*level // of the tree, by height
	foot   footer
	last   []byte // key and seq of the last row
	seq    uint64
	bits   []byte // the first window of the filter
}

// level is the pages of one height.
type level struct {
	b        pageBuilder
	pages    int    // finished
	firstKey []byte // where the page in the making begins
	firstSeq uint64
	root     place // of the last finished page
}

func (f *writer) put(data []byte) error {
	n, err := f.w.Write(data)
	f.off += int64(n)
	return err
}

// page writes a payload with its checksum.
func (f *writer) page(payload []byte) (place, error) {
	at := place{f.off, len(payload)}
	payload = binary.BigEndian.AppendUint64(payload, f.seed.sum(f.off, payload))
	f.buf = payload[:0]
	return at, f.put(payload)
}

// table writes the pages of rows and of the tree above them.
func (f *writer) table(rows iter.Seq2[Row, error]) error {
	f.bits = make([]byte, min(f.foot.blocks, f.window)*blockSize)
	for row, err := range rows {
		if err == nil {
			err = f.row(row)
		}
		if err != nil {
			return err
		}
	}
	if f.foot.keys > f.filter.Keys {
		return fmt.Errorf("%d keys, the filter is for %d", f.foot.keys, f.filter.Keys)
	}
	if f.foot.rows == 0 {
		f.foot.blocks = 0
		return nil
	}
	for height := 0; ; height++ {
		if err := f.finish(height); err != nil {
			return err
		}
		if l := f.levels[height]; l.pages == 1 {
			f.foot.root, f.foot.height = l.root, height
			return nil
		}
	}
}

// row adds a row of the table.
func (f *writer) row(r Row) error {
	first := f.foot.rows == 0
	switch {
	case len(r.Key) == 0 || len(r.Key) > MaxKey || len(r.Value) > MaxValue:
		return fmt.Errorf("row %d: a key of %d bytes and a value of %d", f.foot.rows, len(r.Key), len(r.Value))
	case r.Seq != 0 && (r.Seq < f.header.From || r.Seq >= f.header.To):
		return fmt.Errorf("row %d: seq %d is not in [%d, %d)", f.foot.rows, r.Seq, f.header.From, f.header.To)
	case !first && compare(f.last, f.seq, r.Key, r.Seq) >= 0:
		return fmt.Errorf("row %d: key %x at seq %d does not follow key %x at seq %d", f.foot.rows, r.Key, r.Seq, f.last, f.seq)
	}
	part := f.filter.Part(r.Key)
	if first || string(part) != string(f.filter.Part(f.last)) {
		f.foot.keys++
		f.mark(HashOf(part), 0)
	}
	l := f.levels[0]
	if !first && !l.b.fits(0, len(r.Key)+len(r.Value)) {
		if err := f.finish(0); err != nil {
			return err
		}
	}
	if l.b.rows == 0 {
		key, seq := separate(nil, f.last, r.Key, r.Seq)
		if err := f.begin(0, key, seq); err != nil {
			return err
		}
	}
	l.b.add(r.Key, r.Seq, r.Value)
	f.last, f.seq = append(f.last[:0], r.Key...), r.Seq
	f.foot.rows++
	return nil
}

// separate returns the shortest key, with its seq, that is behind the last row
// and not behind the row (key, seq); the key is appended to dst.
func separate(dst, last, key []byte, seq uint64) ([]byte, uint64) {
	n := common(last, key)
	if n+1 < len(key) {
		return append(dst, key[:n+1]...), 0 // a part of the key is before all of its rows
	}
	return append(dst, key...), seq
}

// begin starts a page, whose rows are at or behind (key, seq). If the page above
// has no room for it, that one is finished first: a page of the tree comes right
// behind the last page below it.
func (f *writer) begin(height int, key []byte, seq uint64) error {
	l := f.levels[height]
	l.firstKey, l.firstSeq = append(l.firstKey[:0], key...), seq
	if len(f.levels) == height+1 || f.levels[height+1].b.fits(height+1, len(key)+placeMax) {
		return nil
	}
	if err := f.finish(height + 1); err != nil {
		return err
	}
	return f.begin(height+1, key, seq)
}

// finish writes the page in the making of a height and tells the page above.
func (f *writer) finish(height int) error {
	l := f.levels[height]
	at, err := f.page(l.b.appendTo(f.buf[:0], height))
	if err != nil {
		return err
	}
	l.pages++
	l.root = at
	if len(f.levels) == height+1 {
		up := &level{b: pageBuilder{from: f.header.From}}
		up.firstKey, up.firstSeq = append(up.firstKey, l.firstKey...), l.firstSeq
		f.levels = append(f.levels, up)
	}
	f.levels[height+1].b.add(l.firstKey, l.firstSeq, appendPlace(make([]byte, 0, placeMax), at))
	return nil
}

// mark puts a key into the window of the filter that begins with block first,
// if it belongs there.
func (f *writer) mark(h Hash, first uint64) {
	if b := h.block(f.foot.blocks); b >= first && b-first < uint64(len(f.bits))/blockSize {
		mark(f.bits[(b-first)*blockSize:], h)
	}
}

// writeFilter writes the first window, which is filled, and then each other.
func (f *writer) writeFilter(rows Rows) error {
	f.foot.filter = f.off
	for first := uint64(0); first < f.foot.blocks; first += f.window {
		if first > 0 {
			f.bits = f.bits[:min(f.foot.blocks-first, f.window)*blockSize]
			clear(f.bits)
			for row, err := range rows() {
				if err != nil {
					return err
				}
				f.mark(HashOf(f.filter.Part(row.Key)), first)
			}
		}
		for rest := f.bits; len(rest) > 0; {
			n := min(len(rest), pageBlocks*blockSize)
			if _, err := f.page(append(f.buf[:0], rest[:n]...)); err != nil {
				return err
			}
			rest = rest[n:]
		}
	}
	return nil
}
