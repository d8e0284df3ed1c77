package wal

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// Group is what becomes durable together: the records after one commit line up
// to and with the next, and the artifacts that they mention first.
type Group struct {
	Height    uint64    // of its commit line
	First     uint64    // seq of its first record
	LogFile   uint64    // first seq of the log file that its lines belong to
	LogOffset int64     // bytes before them in that file
	Records   int       // number of lines, at least 1
	Lines     []byte    // the lines, each with its newline
	Sections  []Section // one per class touched, classes ascending by bytes
}

// Section is what a group appends to the open block of one class.
type Section struct {
	Class  string // retention class, 1-63 bytes
	Number uint64 // of the open block
	Offset int64  // where in it; at 0 the bytes begin with the block's header
	Count  int    // artifacts in it, at least 1
	Bytes  []byte // the block's bytes from Offset on, at least 1
}

// maxBody is the greatest length of a frame's body in bytes. A body is read
// into memory whole.
const maxBody = 1 << 30

// ErrInvalid says that a group is not one that can be written: a bug of the caller.
var ErrInvalid = errors.New("invalid group")

// A frame's body is the lines and then, for each section,
//
//	block <class> <number> <offset> <count> <length>\n
//	<length bytes>

const sectionMagic = "block "

// appendHeader appends the section's header line.
func (s *Section) appendHeader(dst []byte) []byte {
	dst = append(dst, sectionMagic...)
	dst = append(dst, s.Class...)
	for _, n := range [...]uint64{s.Number, uint64(s.Offset), uint64(s.Count), uint64(len(s.Bytes))} {
		dst = append(dst, ' ')
		dst = strconv.AppendUint(dst, n, 10)
	}
	return append(dst, '\n')
}

// maxSectionHeader bounds a section's header line.
const maxSectionHeader = len(sectionMagic) + 63 + 4*17 + 1

// BodyLen returns the bytes of the group's frame behind its header: what
// [WAL.Reserve] wants to know.
func (g *Group) BodyLen() int {
	n := len(g.Lines)
	var buf [maxSectionHeader]byte
	for i := range g.Sections {
		n += len(g.Sections[i].appendHeader(buf[:0])) + len(g.Sections[i].Bytes)
	}
	return n
}

// header returns the group's header without generation, salt and checksum.
func (g *Group) header() header {
	return header{
		height: g.Height, first: g.First, logFile: g.LogFile, logOffset: uint64(g.LogOffset),
		records: uint64(g.Records), lines: uint64(len(g.Lines)), sections: uint64(len(g.Sections)), body: uint64(g.BodyLen()),
	}
}

// appendFrame appends the group's frame under a generation. The header is
// complete but for the checksum, which is set here.
func (g *Group) appendFrame(dst []byte, h *header) []byte {
	start := len(dst)
	dst = h.appendPrefix(dst)
	split := len(dst)
	// The body goes first to where it will be nearly, so that it is hashed in
	// one piece; the gap for the checksum is filled last.
	dst = append(dst, "0000000000000000\n"...)
	body := len(dst)
	dst = append(dst, g.Lines...)
	for i := range g.Sections {
		dst = g.Sections[i].appendHeader(dst)
		dst = append(dst, g.Sections[i].Bytes...)
	}
	h.sum = checksum(dst[start:split], dst[body:])
	h.appendSum(dst[:split])
	return dst
}

// parseBody cuts a body into a group. The group's bytes are those of body.
func parseBody(h *header, body []byte) (Group, error) {
	g := Group{
		Height: h.height, First: h.first, LogFile: h.logFile, LogOffset: int64(h.logOffset),
		Records: int(h.records), Lines: body[:h.lines:h.lines],
	}
	rest := body[h.lines:]
	for n := uint64(0); n < h.sections; n++ {
		s, after, ok := cutSection(rest)
		if !ok {
			return Group{}, fmt.Errorf("section %d of %d, %d bytes before the frame's end: wanted `block <class> <number> <offset> <count> <length>` and as many bytes", n+1, h.sections, len(rest))
		}
		g.Sections = append(g.Sections, s)
		rest = after
	}
	if len(rest) > 0 {
		return Group{}, fmt.Errorf("%d bytes behind the last of %d sections", len(rest), h.sections)
	}
	return g, g.validate()
}

// cutSection reads the section that b begins with. It accepts exactly what
// appendHeader writes and as many bytes as that says.
func cutSection(b []byte) (s Section, rest []byte, ok bool) {
	head := b[:min(len(b), maxSectionHeader)]
	line, ok := bytes.CutPrefix(head, []byte(sectionMagic))
	if !ok {
		return s, nil, false
	}
	class, line, ok := bytes.Cut(line, []byte(" "))
	if !ok {
		return s, nil, false
	}
	var n [4]uint64
	for i, end := range [...]byte{' ', ' ', ' ', '\n'} {
		if n[i], line, ok = cutNumber(line, end); !ok {
			return s, nil, false
		}
	}
	start := len(head) - len(line)
	if n[3] > uint64(len(b)-start) {
		return s, nil, false
	}
	stop := start + int(n[3])
	return Section{Class: string(class), Number: n[0], Offset: int64(n[1]), Count: int(n[2]), Bytes: b[start:stop:stop]}, b[stop:], true
}

// validate says what is wrong with a group, wrapping ErrInvalid.
func (g *Group) validate() error {
	switch lines := bytes.Count(g.Lines, []byte("\n")); {
	case g.Height > maxNumber || g.First > maxNumber || g.LogFile > maxNumber:
		return fmt.Errorf("%w: height %d, first seq %d, log file %d: each must be below 2^53", ErrInvalid, g.Height, g.First, g.LogFile)
	case g.LogFile > g.First || g.LogOffset < 0 || g.LogOffset > maxNumber:
		return fmt.Errorf("%w: seq %d at offset %d of log file %d", ErrInvalid, g.First, g.LogOffset, g.LogFile)
	case g.BodyLen() > maxBody:
		return fmt.Errorf("%w: body of %d bytes, the limit is %d", ErrInvalid, g.BodyLen(), maxBody)
	case g.Records < 1 || g.Records != lines || g.Lines[len(g.Lines)-1] != '\n':
		return fmt.Errorf("%w: %d records, but %d whole lines in %d bytes", ErrInvalid, g.Records, lines, len(g.Lines))
	}
	for i := range g.Sections {
		s := &g.Sections[i]
		switch {
		case !validClass(s.Class):
			return fmt.Errorf("%w: class %q of section %d", ErrInvalid, s.Class, i+1)
		case i > 0 && s.Class <= g.Sections[i-1].Class:
			return fmt.Errorf("%w: class %q stands behind %q", ErrInvalid, s.Class, g.Sections[i-1].Class)
		case s.Number > maxNumber || s.Offset < 0 || s.Offset > maxNumber || s.Count < 1 || len(s.Bytes) == 0:
			return fmt.Errorf("%w: class %q: %d artifacts in %d bytes at offset %d of block %d", ErrInvalid, s.Class, s.Count, len(s.Bytes), s.Offset, s.Number)
		}
	}
	return nil
}

// validClass reports whether s is a class's name: [a-z0-9._-]{1,63}, a letter
// or digit first.
func validClass(s string) bool {
	if s == "" || len(s) > 63 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
		case i > 0 && (c == '.' || c == '_' || c == '-'):
		default:
			return false
		}
	}
	return true
}
