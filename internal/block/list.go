package block

import (
	"fmt"
	"strconv"

	"graven/record"
)

// A value that is too large for one artifact is cut into chunks. Their list is
// an artifact of text (docs/format.md §5.3):
//
//	graven-chunks 1 sha256:<64 hex digits> 20000000 8388608\n   id of the whole, its size, the chunk size
//	sha256:<64 hex digits> 8388608\n                            one line a chunk
//	sha256:<64 hex digits> 8388608\n
//	sha256:<64 hex digits> 3222784\n                            only the last may be shorter
//
//	version  1; any other number is ErrUnknownVersion
//	sizes    at least 1; the lengths follow from size and chunk size

const magicChunks = "graven-chunks"

// MaxList is the greatest length of a list that is written or read, in bytes.
// With chunks of 8 MiB it suffices for values of 6 TB.
const MaxList = 64 << 20

// List says of which chunks a value consists.
type List struct {
	Whole  record.ID   // SHA-256 of the whole value
	Size   uint64      // of the value in bytes, at least 1
	Chunk  uint64      // length of each chunk but the last, at least 1
	Chunks []record.ID // ids of the chunks in order; the same one may come often
}

// count is the number of chunks that size and chunk size call for.
func (l *List) count() uint64 { return (l.Size-1)/l.Chunk + 1 }

// length is the length of chunk i in bytes.
func (l *List) length(i uint64) uint64 { return min(l.Chunk, l.Size-i*l.Chunk) }

// AppendList appends the text of a list to dst. Size and Chunk are at least 1
// and Chunks has as many ids as they call for.
func AppendList(dst []byte, l List) []byte {
	dst = append(dst, magicChunks+" 1 "...)
	dst = l.Whole.Append(dst)
	dst = strconv.AppendUint(append(dst, ' '), l.Size, 10)
	dst = strconv.AppendUint(append(dst, ' '), l.Chunk, 10)
	dst = append(dst, '\n')
	for i, id := range l.Chunks {
		dst = AppendFrameHeader(dst, id, int64(l.length(uint64(i))))
	}
	return dst
}

// ParseList reads a whole list. What AppendList writes, and only that, parses.
// The error matches ErrUnknownVersion or ErrSyntax.
func ParseList(b []byte) (List, error) {
	var l List
	c := cursor{what: "list", b: b}
	c.version(magicChunks)
	l.Whole = c.id()
	c.text(" ")
	l.Size = c.positive()
	c.text(" ")
	l.Chunk = c.positive()
	c.text("\n")
	if c.err != nil {
		return List{}, c.err
	}
	const line = 7 + 64 + 1 + 1 + 1 // the shortest
	if most := uint64(len(b)-c.at) / line; l.count() > most {
		c.fail(c.at, strconv.FormatUint(l.count(), 10)+" chunks")
		return List{}, c.err
	}
	l.Chunks = make([]record.ID, 0, l.count())
	for i := range l.count() {
		l.Chunks = append(l.Chunks, c.id())
		c.text(" " + strconv.FormatUint(l.length(i), 10) + "\n")
		if c.err != nil {
			return List{}, c.err
		}
	}
	if c.at != len(b) {
		c.fail(c.at, "the end")
		return List{}, c.err
	}
	return l, nil
}

// positive reads a decimal that is at least 1.
func (c *cursor) positive() uint64 {
	start := c.at
	v := c.number()
	if c.err == nil && v == 0 {
		c.fail(start, "at least 1")
	}
	return v
}

func tooLarge(what string, size, most int64) error {
	return fmt.Errorf("%w: %s has %d bytes, at most %d", ErrTooLarge, what, size, most)
}
