package wal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"github.com/cespare/xxhash/v2"

	"graven/record"
)

// A frame's header is one line:
//
//	graven-wal 1 <vault> <generation> <salt> <height> <first> <log file> <log offset> <records> <lines> <sections> <body> <checksum>\n
//
//	field        form                   meaning
//	1            decimal                version of the frame
//	vault        32 hex digits          the vault that wrote it
//	generation   20 digits              of the file's use, greater than all before
//	salt         16 hex digits          random, one per generation
//	height       0 … 2^53-1             of the group's commit
//	first        0 … 2^53-1             seq of the group's first record
//	log file     0 … 2^53-1             first seq of the log file that the lines belong to
//	log offset   0 … 2^53-1             where in it
//	records      1 … 2^53-1             number of lines
//	lines        1 … 2^53-1             their bytes
//	sections     0 … 2^53-1             number of sections behind the lines
//	body         1 … 2^53-1             bytes behind the header
//	checksum     16 hex digits          xxHash64 of the header before it, with the space, and the body
//
// Vault, generation and salt stand at fixed offsets, so that one search for
// these bytes finds every later frame of a generation.
type header struct {
	vault      record.VaultID
	generation uint64
	salt       uint64
	height     uint64
	first      uint64
	logFile    uint64
	logOffset  uint64
	records    uint64
	lines      uint64
	sections   uint64
	body       uint64
	sum        uint64
}

const (
	magic     = "graven-wal "
	version   = 1
	sumLength = 16 // hex digits of the checksum

	// maxNumber is the greatest number of a record, and of a header.
	maxNumber = 1<<53 - 1
	// maxHeader bounds a header of this version: its fixed fields and eight
	// numbers of at most 16 digits.
	maxHeader = len(magic) + 2 + 33 + 21 + 17 + 8*17 + sumLength + 1
)

var (
	// errNotHeader says that bytes are no header line of any version.
	errNotHeader = errors.New("not a header line")

	// ErrUnknownVersion says that a frame was written by a program with
	// another format. It is not damage: open the vault with that program.
	ErrUnknownVersion = errors.New("unknown version of the write-ahead log")
)

// appendKey appends what all frames of one generation begin with.
func (h *header) appendKey(dst []byte) []byte {
	dst = append(dst, magic...)
	dst = strconv.AppendUint(dst, version, 10)
	dst = append(dst, ' ')
	dst = hex.AppendEncode(dst, h.vault[:])
	dst = fmt.Appendf(dst, " %020d %016x ", h.generation, h.salt)
	return dst
}

// numbers returns the decimal fields in their order.
func (h *header) numbers() [8]*uint64 {
	return [...]*uint64{&h.height, &h.first, &h.logFile, &h.logOffset, &h.records, &h.lines, &h.sections, &h.body}
}

// appendPrefix appends what the checksum covers: all before it, with the space.
func (h *header) appendPrefix(dst []byte) []byte {
	dst = h.appendKey(dst)
	for _, n := range h.numbers() {
		dst = strconv.AppendUint(dst, *n, 10)
		dst = append(dst, ' ')
	}
	return dst
}

// appendSum appends the checksum and the newline.
func (h *header) appendSum(dst []byte) []byte {
	return fmt.Appendf(dst, "%016x\n", h.sum)
}

// append appends the whole line.
func (h *header) append(dst []byte) []byte { return h.appendSum(h.appendPrefix(dst)) }

// checksum computes a frame's checksum. The vault's id and the generation's salt
// are in the prefix, so a frame moved to another vault or left over from an
// older use of the file does not fit.
func checksum(prefix []byte, body ...[]byte) uint64 {
	d := xxhash.New()
	d.Write(prefix)
	for _, b := range body {
		d.Write(b)
	}
	return d.Sum64()
}

// parseHeader reads the header line that b begins with and returns its length
// with the newline. It accepts exactly what append writes. Anything else is
// errNotHeader, or ErrUnknownVersion for a header of another version.
func parseHeader(b []byte) (header, int, error) {
	var h header
	rest, ok := bytes.CutPrefix(b, []byte(magic))
	if !ok {
		return h, 0, errNotHeader
	}
	v, rest, ok := cutNumber(rest, ' ')
	if !ok || v == 0 {
		return h, 0, errNotHeader
	}
	if v != version {
		return h, 0, fmt.Errorf("%w: %d, this program knows %d", ErrUnknownVersion, v, version)
	}
	end := bytes.IndexByte(b[:min(len(b), maxHeader)], '\n') + 1
	if end == 0 {
		return h, 0, errNotHeader
	}
	rest = rest[:end-(len(b)-len(rest))]
	if !h.parseFields(rest) || !bytes.Equal(h.append(make([]byte, 0, maxHeader)), b[:end]) {
		return header{}, 0, errNotHeader
	}
	return h, end, nil
}

// parseFields reads what stands behind the version. It is lenient where
// encoding again shows the difference.
func (h *header) parseFields(rest []byte) bool {
	vault, rest, ok := bytes.Cut(rest, []byte(" "))
	if !ok || len(vault) != hex.EncodedLen(len(h.vault)) {
		return false
	}
	if _, err := hex.Decode(h.vault[:], vault); err != nil {
		return false
	}
	generation, rest, ok := bytes.Cut(rest, []byte(" "))
	var err error
	if h.generation, err = strconv.ParseUint(string(generation), 10, 64); !ok || err != nil {
		return false
	}
	salt, rest, ok := bytes.Cut(rest, []byte(" "))
	if h.salt, err = strconv.ParseUint(string(salt), 16, 64); !ok || err != nil {
		return false
	}
	for _, n := range h.numbers() {
		if *n, rest, ok = cutNumber(rest, ' '); !ok {
			return false
		}
	}
	sum, _, ok := bytes.Cut(rest, []byte("\n"))
	h.sum, err = strconv.ParseUint(string(sum), 16, 64)
	return ok && err == nil && h.records > 0 && h.lines > 0 && h.body >= h.lines
}

// cutNumber reads a decimal number of at most maxNumber and the byte that ends it.
func cutNumber(b []byte, end byte) (n uint64, rest []byte, ok bool) {
	digits := 0
	for digits < len(b) && b[digits] >= '0' && b[digits] <= '9' {
		if n = n*10 + uint64(b[digits]-'0'); n > maxNumber {
			return 0, nil, false
		}
		digits++
	}
	if digits == 0 || digits > 1 && b[0] == '0' || digits == len(b) || b[digits] != end {
		return 0, nil, false
	}
	return n, b[digits+1:], true
}
