package block

import (
	"errors"
	"strconv"

	"graven/record"
)

// An artifact stands in a frame (docs/format.md §5):
//
//	sha256:<64 hex digits> <length>\n
//	<length bytes>\n
//
// Nothing is compressed, so that `tail -c +$((offset+1)) FILE | head -c length |
// sha256sum` prints the id, where offset is that of the first of those bytes.

// maxFrameHeader is the greatest length of a frame's first line in bytes.
const maxFrameHeader = 7 + 64 + 1 + 16 + 1

// maxArtifact is the greatest artifact that a Store takes: 4 GiB less one, the
// widest length that a Ref holds. The format allows more.
const maxArtifact = 1<<32 - 1

// Artifact is immutable bytes and their id, which is the SHA-256 of the bytes.
type Artifact struct {
	ID    record.ID
	Bytes []byte
}

// Entry says where an artifact's bytes lie in a block.
type Entry struct {
	ID     record.ID
	Offset int64 // of the first byte of the artifact, behind its frame's first line
	Size   int64 // in bytes
}

// end is the offset behind the entry's frame.
func (e Entry) end() int64 { return e.Offset + e.Size + 1 }

// start is the offset of the entry's frame.
func (e Entry) start() int64 { return e.Offset - frameHeaderLen(e.Size) }

// AppendFrame appends the frame of an artifact to dst.
func AppendFrame(dst []byte, a Artifact) []byte {
	dst = AppendFrameHeader(dst, a.ID, int64(len(a.Bytes)))
	dst = append(dst, a.Bytes...)
	return append(dst, '\n')
}

// AppendFrameHeader appends a frame's first line to dst.
func AppendFrameHeader(dst []byte, id record.ID, size int64) []byte {
	dst = id.Append(dst)
	dst = strconv.AppendInt(append(dst, ' '), size, 10)
	return append(dst, '\n')
}

// ParseFrameHeader reads a frame's first line at the start of b and says how
// many bytes it takes. The error matches ErrSyntax.
func ParseFrameHeader(b []byte) (id record.ID, size int64, n int, err error) {
	c := cursor{what: "frame", b: b}
	id = c.id()
	c.text(" ")
	v := c.number()
	c.text("\n")
	if c.err != nil {
		return record.ID{}, 0, 0, c.err
	}
	return id, int64(v), c.at, nil
}

// frameHeaderLen is the length of the first line of a frame around size bytes.
func frameHeaderLen(size int64) int64 { return 7 + 64 + 1 + int64(digits(uint64(size))) + 1 }

// appendFrames appends a section: the bytes that take artifacts into an open
// block at an offset, with the block's header line if the offset is 0.
func appendFrames(dst []byte, h Header, offset int64, arts []Artifact) []byte {
	if offset == 0 && len(arts) > 0 {
		dst = AppendHeader(dst, h)
	}
	for _, a := range arts {
		dst = AppendFrame(dst, a)
	}
	return dst
}

// parseSection reads a section back. Offsets of the entries count from the
// start of the block. The error matches ErrSyntax, ErrUnknownVersion or ErrTooLarge.
func parseSection(section []byte, offset int64) (h *Header, entries []Entry, err error) {
	at := 0
	if offset == 0 {
		parsed, n, err := ParseHeader(section)
		if err != nil {
			return nil, nil, err
		}
		h, at = &parsed, n
	}
	for at < len(section) {
		id, size, n, err := ParseFrameHeader(section[at:])
		if err != nil {
			return nil, nil, shiftSyntax(err, int64(at))
		}
		at += n
		if size > maxArtifact {
			return nil, nil, tooLarge("artifact "+id.String(), size, maxArtifact)
		}
		if rest := int64(len(section) - at); size >= rest {
			return nil, nil, &syntaxError{what: "frame", offset: int64(at), wanted: strconv.FormatInt(size+1, 10) + " bytes", got: strconv.FormatInt(rest, 10)}
		}
		entries = append(entries, Entry{ID: id, Offset: offset + int64(at), Size: size})
		at += int(size)
		if section[at] != '\n' {
			return nil, nil, &syntaxError{what: "frame", offset: int64(at), wanted: `"\n"`, got: quote(section[at:])}
		}
		at++
	}
	return h, entries, nil
}

// shiftSyntax moves the offset of a codec's error.
func shiftSyntax(err error, by int64) error {
	var s *syntaxError
	if errors.As(err, &s) {
		moved := *s
		moved.offset += by
		return &moved
	}
	return err
}
