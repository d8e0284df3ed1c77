package block

import (
	"encoding/hex"
	"strconv"

	"graven/record"
)

// A sealed block ends with a table of contents and a trailer (docs/format.md §5):
//
//	toc 2\n                             number of frames
//	<64 hex digits> 137 5\n             id, offset of the bytes, length; one line
//	<64 hex digits> 217 262144\n        a frame, in their order
//	end 0000000000262362 0000000002\n   offset of `toc`, number of frames; 32 bytes
//
// Frames follow each other without gaps, so each offset follows from the line
// before it, and the offset of `toc` from the last one. A reader checks that.

// TrailerSize is the length of the trailer in bytes.
const TrailerSize = 32

// maxCount is the greatest number of artifacts that a trailer can tell.
const maxCount = 9_999_999_999

// maxTOCLine is the greatest length of a line of the table in bytes.
const maxTOCLine = 64 + 1 + 16 + 1 + 16 + 1

// minTOCLine is the least length of a line of the table in bytes.
const minTOCLine = 64 + 1 + 1 + 1 + 1 + 1

// AppendTOC appends the table of contents to dst.
func AppendTOC(dst []byte, entries []Entry) []byte {
	dst = appendTOCHead(dst, uint64(len(entries)))
	for _, e := range entries {
		dst = appendTOCLine(dst, e)
	}
	return dst
}

func appendTOCHead(dst []byte, count uint64) []byte {
	dst = append(dst, "toc "...)
	return append(strconv.AppendUint(dst, count, 10), '\n')
}

func appendTOCLine(dst []byte, e Entry) []byte {
	dst = hex.AppendEncode(dst, e.ID[:])
	dst = strconv.AppendInt(append(dst, ' '), e.Offset, 10)
	dst = strconv.AppendInt(append(dst, ' '), e.Size, 10)
	return append(dst, '\n')
}

// ParseTOC reads a whole table of contents of a block whose header line has
// headerLen bytes. It refuses what AppendTOC does not write, entries whose
// frames do not follow each other from the header on, and an id that comes
// twice. The error matches ErrSyntax.
func ParseTOC(b []byte, headerLen int64) ([]Entry, error) {
	count, at, err := parseTOCHead(b)
	if err != nil {
		return nil, err
	}
	if most := uint64(len(b)) / minTOCLine; count > most {
		return nil, &syntaxError{what: "toc", offset: 4, wanted: "at most " + strconv.FormatUint(most, 10) + " lines", got: strconv.FormatUint(count, 10)}
	}
	chain := tocChain{next: headerLen}
	entries := make([]Entry, 0, count)
	seen := make(map[record.ID]struct{}, count)
	for range count {
		e, n, err := parseTOCLine(b[at:])
		if err == nil {
			err = chain.follow(e)
		}
		if err != nil {
			return nil, shiftSyntax(err, int64(at))
		}
		if _, ok := seen[e.ID]; ok {
			return nil, &syntaxError{what: "toc", offset: int64(at), wanted: "each id once", got: e.ID.String() + " again"}
		}
		seen[e.ID] = struct{}{}
		entries = append(entries, e)
		at += n
	}
	if at != len(b) {
		return nil, &syntaxError{what: "toc", offset: int64(at), wanted: "the end", got: quote(b[at:])}
	}
	return entries, nil
}

func parseTOCHead(b []byte) (count uint64, n int, err error) {
	c := cursor{what: "toc", b: b}
	c.text("toc ")
	count = c.number()
	if c.err == nil && count > maxCount {
		c.fail(4, "at most ten digits")
	}
	c.text("\n")
	return count, c.at, c.err
}

func parseTOCLine(b []byte) (e Entry, n int, err error) {
	c := cursor{what: "toc", b: b}
	c.hex(e.ID[:])
	c.text(" ")
	e.Offset = int64(c.number())
	c.text(" ")
	e.Size = int64(c.number())
	c.text("\n")
	return e, c.at, c.err
}

// tocChain checks that frames follow each other without gaps.
type tocChain struct {
	next int64 // where the next frame begins
}

func (t *tocChain) follow(e Entry) error {
	if want := t.next + frameHeaderLen(e.Size); e.Offset != want {
		return &syntaxError{what: "toc", offset: 65, wanted: "offset " + strconv.FormatInt(want, 10), got: strconv.FormatInt(e.Offset, 10)}
	}
	t.next = e.end() // no overflow: both are below 2^53
	return nil
}

// AppendTrailer appends the trailer to dst: 32 bytes.
func AppendTrailer(dst []byte, toc int64, count uint64) []byte {
	dst = appendPadded(append(dst, "end "...), uint64(toc), 16)
	dst = appendPadded(append(dst, ' '), count, 10)
	return append(dst, '\n')
}

// ParseTrailer reads a trailer: the offset of the table of contents and the
// number of artifacts. b has exactly 32 bytes. The error matches ErrSyntax.
func ParseTrailer(b []byte) (toc int64, count uint64, err error) {
	c := cursor{what: "trailer", b: b}
	c.text("end ")
	toc = int64(c.padded(16))
	c.text(" ")
	count = c.padded(10)
	c.text("\n")
	if c.err == nil && len(b) != TrailerSize {
		c.fail(TrailerSize, "the end")
	}
	if c.err != nil {
		return 0, 0, c.err
	}
	return toc, count, nil
}
