package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
)

// File is what a Reader reads. Reads are positional and may be concurrent.
type File interface {
	io.ReaderAt
	Size() (int64, error)
}

// Reader looks rows up in a file. It is safe for concurrent use, keeps nothing
// in memory but the footer and what the cache holds, and does not close the file.
//
// Every method that reads may return a [*DamageError], or the error of the disk.
type Reader struct {
	file   File
	name   string // for people
	header Header
	first  int64 // offset of the first page
	seed   seed
	foot   footer
	prefix int // see Filter
	cache  *Cache
	number uint64                 // of the file in the cache
	filter []atomic.Pointer[page] // those pages of it that are kept
}

// Open reads header and footer of a file, whose name is for errors. Want says
// which vault and place the file is to be of; its From and To do not count. The
// prefix is the Filter's. The error is ErrVersion, ErrForeign or ErrDamaged, or
// the disk's.
func Open(file File, name string, want Header, prefix int, cache *Cache) (*Reader, error) {
	size, err := file.Size()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	start := make([]byte, min(size, headerMax))
	if _, err := file.ReadAt(start, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	h, n, err := parseHeader(start, name, want)
	if err != nil {
		return nil, err
	}
	r := &Reader{
		file: file, name: name, header: h, first: int64(n), seed: newSeed(start[:n]),
		prefix: prefix, cache: cache, number: cache.files.Add(1),
	}
	if size < r.first+footerSize {
		return nil, &DamageError{name, size, fmt.Sprintf("at least %d bytes", r.first+footerSize), fmt.Sprintf("%d", size)}
	}
	end := make([]byte, footerSize)
	if _, err := file.ReadAt(end, size-footerSize); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if r.foot, err = parseFooter(end, r.first, size, r.seed); err != nil {
		return nil, &DamageError{name, size - footerSize, err.Error(), "another end of the file"}
	}
	r.filter = make([]atomic.Pointer[page], (r.foot.blocks+pageBlocks-1)/pageBlocks)
	return r, nil
}

// Release gives back what the Reader keeps of the cache's bound. Nobody uses it any more.
func (r *Reader) Release() {
	for i := range r.filter {
		if p := r.filter[i].Swap(nil); p != nil {
			r.cache.filters.Add(-p.cost())
		}
	}
}

// Header says what the file is about.
func (r *Reader) Header() Header { return r.header }

// Summary is what its maker put in.
func (r *Reader) Summary() Summary { return r.foot.summary }

// Rows returns how many rows there are.
func (r *Reader) Rows() uint64 { return r.foot.rows }

// Keys returns how many different keys, or prefixes of keys, went into the filter.
func (r *Reader) Keys() uint64 { return r.foot.keys }

// Name is the file's name.
func (r *Reader) Name() string { return r.name }

func (r *Reader) damage(off int64, want, got string) error {
	return &DamageError{File: r.name, Offset: off, Want: want, Got: got}
}

// filterHeight stands for pages of the filter, which have none.
const filterHeight = -1

// page returns a checked page: from the cache, or into it.
func (r *Reader) page(at place, height int) (*page, error) {
	key := cacheKey{r.number, at.off}
	if p := r.cache.get(key); p != nil {
		return p, nil
	}
	p, err := r.load(at, height)
	if err == nil {
		r.cache.put(key, p)
	}
	return p, err
}

// load reads and checks a page.
func (r *Reader) load(at place, height int) (*page, error) {
	data := make([]byte, at.size+sumSize)
	n, err := r.file.ReadAt(data, at.off)
	if n < len(data) {
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("reading %s at byte %d: %w", r.name, at.off, err)
		}
		return nil, r.damage(at.off+int64(n), fmt.Sprintf("a page up to byte %d", at.end()), "the end of the file")
	}
	data, stored := data[:at.size:at.size], data[at.size:]
	if want, got := binary.BigEndian.Uint64(stored), r.seed.sum(at.off, data); want != got {
		return nil, r.damage(at.off, fmt.Sprintf("a page with checksum %016x", want), fmt.Sprintf("%016x", got))
	}
	if height == filterHeight {
		return &page{data: data}, nil
	}
	p, err := parsePage(data, height, r.header.From, r.header.To)
	if err != nil {
		return nil, r.damage(at.off, err.Error(), "another page")
	}
	return p, nil
}

// below returns the place of a page that a row of the tree names.
func (r *Reader) below(parent place, value []byte) (place, error) {
	at := placeOf(value)
	if at.off < r.first || at.end() > parent.off {
		return place{}, r.damage(parent.off, "places of pages before this one", fmt.Sprintf("%d bytes at byte %d", at.size, at.off))
	}
	return at, nil
}

// May reports whether there may be rows with a key of this hash. False is
// certain; of absent keys about one in a hundred is true. For a file with a
// prefix it is the hash of the key's prefix.
func (r *Reader) May(h Hash) (bool, error) {
	if r.foot.blocks == 0 {
		return false, nil
	}
	block := h.block(r.foot.blocks)
	p, err := r.filterPage(block)
	if err != nil {
		return false, err
	}
	return marked(p.data[block%pageBlocks*blockSize:], h), nil
}

// filterPage returns the page of a block of the filter, and keeps it if there is room.
func (r *Reader) filterPage(block uint64) (*page, error) {
	kept, at := &r.filter[block/pageBlocks], r.foot.filterPlace(block)
	if p := kept.Load(); p != nil {
		return p, nil
	}
	cost := int64(at.size + entryCost)
	if !r.cache.keep(cost) {
		return r.page(at, filterHeight)
	}
	p, err := r.load(at, filterHeight)
	if err != nil || !kept.CompareAndSwap(nil, p) { // another reader was faster
		r.cache.filters.Add(-cost)
	}
	return p, err
}

// Floor returns the newest row of key with a seq at or below seq. Its value is
// shared and must not be changed; its Key is the one that was asked for. It does
// not ask the filter.
func (r *Reader) Floor(key []byte, seq uint64) (Row, bool, error) {
	if r.foot.rows == 0 {
		return Row{}, false, nil
	}
	at := r.foot.root
	for height := r.foot.height; ; height-- {
		p, err := r.page(at, height)
		if err != nil {
			return Row{}, false, err
		}
		h := p.search(key, seq)
		if height == 0 {
			if h.i == p.rows {
				break // what comes next is in another page
			}
			if !h.same {
				return Row{}, false, nil
			}
			_, _, code, value, _ := p.row(h.off)
			return Row{Key: key, Seq: p.seqOf(code), Value: value}, true, nil
		}
		off := h.off
		if !h.exact {
			if h.i == 0 {
				return r.floorBehind(key, seq)
			}
			off = h.prev
		}
		_, _, _, value, _ := p.row(off)
		if at, err = r.below(at, value); err != nil {
			return Row{}, false, err
		}
	}
	return r.floorBehind(key, seq)
}

// floorBehind is Floor where the row, if there is one, begins a page.
func (r *Reader) floorBehind(key []byte, seq uint64) (Row, bool, error) {
	it := r.Iter()
	if it.Seek(key, seq) && bytes.Equal(it.Row().Key, key) {
		return it.Row(), true, nil
	}
	return Row{}, false, it.Err()
}
