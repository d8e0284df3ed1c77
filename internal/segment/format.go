package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"graven/record"
)

// Errors of a file that cannot be used. None of them is a failing disk.
var (
	// ErrDamaged says that a file does not hold what was written. The error is a
	// [*DamageError].
	ErrDamaged = errors.New("damaged index file")
	// ErrVersion says that a file is of a format version that this program does
	// not know. Nothing else is known of it, so it is not damage.
	ErrVersion = errors.New("unknown version of the index format")
	// ErrForeign says that a file belongs to another vault or to another place.
	ErrForeign = errors.New("index file of another place")
)

// DamageError says where a file is damaged and how. It matches [ErrDamaged].
type DamageError struct {
	File   string // relative to the vault's folder
	Offset int64  // in the file, in bytes
	Want   string
	Got    string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("%v %s: at byte %d: wanted %s, got %s", ErrDamaged, e.File, e.Offset, e.Want, e.Got)
}

// Is reports whether target is ErrDamaged.
func (e *DamageError) Is(target error) bool { return target == ErrDamaged }

// Version is the version of the format that this package writes and reads.
const Version = 1

// Header says what a file is about. It is the file's first line:
//
//	graven index 1 <vault id> <table> <level> <number> <from> <to>\n
//
// with numbers in decimal without leading zeros.
type Header struct {
	Vault         record.VaultID
	Table         string // 1-63 bytes without space or control characters
	Level, Number uint64 // the segment's
	From, To      uint64 // the records [From, To) are what the rows are about
}

// prefix begins the header of every version.
const prefix = "graven index "

// headerMax is more than the longest header has.
const headerMax = 256

// append appends the header's line.
func (h Header) append(dst []byte) []byte {
	dst = fmt.Appendf(dst, "%s%d %v %s", prefix, Version, h.Vault, h.Table)
	for _, n := range []uint64{h.Level, h.Number, h.From, h.To} {
		dst = strconv.AppendUint(append(dst, ' '), n, 10)
	}
	return append(dst, '\n')
}

// parseHeader reads the line that start begins with and holds it against the
// vault and place that are wanted, whose From and To are not looked at.
func parseHeader(start []byte, file string, want Header) (Header, int, error) {
	end := bytes.IndexByte(start, '\n')
	rest, ok := strings.CutPrefix(string(start[:max(end, 0)]), prefix)
	fields := strings.Split(rest, " ")
	if !ok {
		return Header{}, 0, &DamageError{file, 0, "a line that begins with " + strings.TrimSpace(prefix), "none"}
	}
	if v, err := strconv.ParseUint(fields[0], 10, 64); err == nil && v != Version && fields[0] == strconv.FormatUint(v, 10) {
		return Header{}, 0, fmt.Errorf("%s: %w: %d, this program knows %d", file, ErrVersion, v, Version)
	}
	if len(fields) != 7 {
		return Header{}, 0, &DamageError{file, 0, "a header of 9 words", fmt.Sprintf("%d words", len(fields)+2)}
	}
	got := want
	var err1, err2 error
	got.From, err1 = strconv.ParseUint(fields[5], 10, 64)
	got.To, err2 = strconv.ParseUint(fields[6], 10, 64)
	if line := got.append(nil); err1 != nil || err2 != nil || !bytes.Equal(line, start[:end+1]) {
		// It may be whole, but it is not what its name says.
		return Header{}, 0, fmt.Errorf("%s: %w: wanted %q, got %q", file, ErrForeign, line[:len(line)-1], start[:end])
	}
	if got.From >= got.To {
		return Header{}, 0, &DamageError{file, 0, "records [from, to)", fmt.Sprintf("[%d, %d)", got.From, got.To)}
	}
	return got, end + 1, nil
}

// seed is what the checksums of a file begin with, so that a page of another
// vault, table, level or number does not pass for one of this file.
type seed uint64

func newSeed(header []byte) seed { return seed(xxhash.Sum64(header)) }

// sum is the checksum of what stands at an offset.
func (s seed) sum(off int64, data []byte) uint64 {
	var d xxhash.Digest
	d.ResetWithSeed(uint64(s) + uint64(off))
	_, _ = d.Write(data) // never fails
	return d.Sum64()
}

// sumSize is the length of a checksum: it stands behind its bytes, big-endian.
const sumSize = 8

// place is where a page lies: its offset, and its length without the checksum.
type place struct {
	off  int64
	size int
}

func (p place) end() int64 { return p.off + int64(p.size) + sumSize }

// Summary is what the maker of a file wants to find again without reading rows.
type Summary struct {
	Txs      uint64 // transactions in the records [0, To)
	Versions uint64 // versions of keys in the records [0, To)
}

// footer is the end of a file: nine numbers of 8 bytes, big-endian, and their
// checksum.
//
//	root offset │ root size │ root height │ filter offset │ filter blocks │ rows │ keys │ txs │ versions │ sum
//
// A file without rows has no root: its three numbers are 0.
type footer struct {
	root    place
	height  int   // of the root; 0: it is a data page
	filter  int64 // offset of the filter, which is behind the root
	blocks  uint64
	rows    uint64
	keys    uint64 // different keys, or prefixes of keys, that went into the filter
	summary Summary
}

const (
	footerNumbers = 9
	footerSize    = footerNumbers*8 + sumSize
	maxHeight     = 16 // a tree of 2^64 rows has less
)

func (f *footer) append(dst []byte, off int64, s seed) []byte {
	start := len(dst)
	for _, n := range [footerNumbers]uint64{
		uint64(f.root.off), uint64(f.root.size), uint64(f.height), uint64(f.filter), f.blocks,
		f.rows, f.keys, f.summary.Txs, f.summary.Versions,
	} {
		dst = binary.BigEndian.AppendUint64(dst, n)
	}
	return binary.BigEndian.AppendUint64(dst, s.sum(off, dst[start:]))
}

// parseFooter reads the footer of a file of size bytes whose pages begin at first.
func parseFooter(data []byte, first, size int64, s seed) (footer, error) {
	off := size - footerSize
	numbers := data[:footerSize-sumSize]
	if got, want := binary.BigEndian.Uint64(data[len(numbers):]), s.sum(off, numbers); got != want {
		return footer{}, fmt.Errorf("checksum %016x of the footer, got %016x", want, got)
	}
	var n [footerNumbers]uint64
	for i := range n {
		n[i] = binary.BigEndian.Uint64(numbers[8*i:])
	}
	// Nothing of this is expected to fail: the checksum is good.
	if max(n[0], n[3], n[4]) > uint64(size) || n[1] > maxPage || n[2] > maxHeight {
		return footer{}, fmt.Errorf("places within the file, a root of height at most %d and %d bytes at most, got %d", maxHeight, maxPage, n[:5])
	}
	f := footer{
		root: place{int64(n[0]), int(n[1])}, height: int(n[2]), filter: int64(n[3]), blocks: n[4],
		rows: n[5], keys: n[6], summary: Summary{n[7], n[8]},
	}
	switch {
	case f.filter+filterSize(f.blocks) != off:
		return footer{}, errors.New("a filter that ends where the footer begins")
	case f.keys > f.rows || (f.keys == 0) != (f.rows == 0) || (f.blocks == 0) != (f.rows == 0):
		return footer{}, fmt.Errorf("keys and a filter for rows, got %d rows, %d keys, %d blocks", f.rows, f.keys, f.blocks)
	case f.rows > 0 && (f.root.off < first || f.root.end() != f.filter):
		return footer{}, errors.New("a root that ends where the filter begins")
	case f.rows == 0 && (f.root != place{} || f.height != 0 || f.filter != first):
		return footer{}, errors.New("no pages in a file without rows")
	}
	return f, nil
}
