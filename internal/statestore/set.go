package statestore

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"graven/merkle"
	"graven/record"
	"graven/state"
)

// A file of pages, version 2. The text begins where the last page ends.
//
//	graven state 2 <vault id, 32 hex> <number>\n
//	<page><xxHash64 of file number (4), offset (8) and page, big-endian (8)>     …
//	position <records that the state stands for>\n
//	root <state root, b64>\n
//	keys <keys that ever had a version>\n
//	file <number> <length> <its checksum, 16 hex>\n       each older file that may have pages of the set, ascending
//	space <line of the space> <file> <offset> <length> <oldest> <bytes>\n        each space, ascending
//	<offset of the text, 16 hex> <checksum: xxHash64 of header line and text, 16 hex>\n
//
// `<line of the space>` is that of the state root: space, hash, live keys,
// height. File, offset and length say where its root page lies, oldest is the
// least file of its pages, bytes their sum.
const (
	version     = 2
	headerWord  = "graven state "
	pageSumSize = 8
	trailerSize = 16 + 1 + 16 + 1
	// maxText is the longest text that is read: more than a million older files.
	maxText = 1 << 26
)

// header returns the first line of a file.
func header(vault record.VaultID, number uint32) string {
	return fmt.Sprintf("%s%d %v %d\n", headerWord, version, vault, number)
}

// checkHeader says what is wrong with the first bytes of a file.
func checkHeader(got []byte, vault record.VaultID, number uint32) error {
	if string(got) == header(vault, number) {
		return nil
	}
	line, _, _ := bytes.Cut(got, []byte("\n"))
	words := strings.Split(strings.TrimPrefix(string(line), headerWord), " ")
	switch {
	case !strings.HasPrefix(string(line), headerWord):
		return errors.New("it is no file of pages")
	case words[0] != strconv.Itoa(version):
		return fmt.Errorf("it has version %q, which is unknown", words[0])
	case len(words) > 1 && words[1] != vault.String():
		return fmt.Errorf("it is of vault %q, wanted %v", words[1], vault)
	}
	return fmt.Errorf("its header is %q, wanted %q", line, header(vault, number))
}

// pageSum is the checksum of a page. It covers the place, so that a page that
// was exchanged for another one is seen.
func pageSum(ref state.Ref, page []byte) uint64 {
	var place [12]byte
	binary.BigEndian.PutUint32(place[:], ref.File)
	binary.BigEndian.PutUint64(place[4:], ref.Off)
	d := xxhash.New()
	d.Write(place[:])
	d.Write(page)
	return d.Sum64()
}

// textSum is the checksum of a file, from header line and text.
func textSum(header string, text []byte) uint64 {
	d := xxhash.New()
	d.WriteString(header)
	d.Write(text)
	return d.Sum64()
}

// fileID says which file it is. The checksum is that in the trailer.
type fileID struct {
	number uint32
	length uint64
	sum    uint64
}

// contents is what the text of a file says.
type contents struct {
	position uint64
	root     state.Root
	older    []fileID // ascending
}

// text returns the text section.
func (c *contents) text() []byte {
	b := fmt.Appendf(nil, "position %d\nroot %v\nkeys %d\n", c.position, c.root.Root, c.root.Keys)
	for _, f := range c.older {
		b = fmt.Appendf(b, "file %d %d %016x\n", f.number, f.length, f.sum)
	}
	for _, s := range c.root.Spaces {
		b = fmt.Appendf(b, "space %v %d %d %d %d %d\n", s.SpaceLine, s.File, s.Off, s.Len, s.Oldest, s.Bytes)
	}
	return b
}

// parseText reads a text section, and refuses what would be written otherwise.
func parseText(b []byte) (*contents, error) {
	c := &contents{}
	for line := range strings.Lines(string(b)) {
		word, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if err := c.parseLine(word, rest); err != nil {
			return nil, fmt.Errorf("line %q: %w", line, err)
		}
	}
	if !bytes.Equal(c.text(), b) {
		return nil, errors.New("its text is not as it would be written")
	}
	return c, nil
}

// parseLine reads one line. What it does not refuse, parseText does.
func (c *contents) parseLine(word, rest string) (err error) {
	switch word {
	case "position":
		c.position, err = strconv.ParseUint(rest, 10, 64)
	case "root":
		c.root.Root, err = merkle.ParseHash(rest)
	case "keys":
		c.root.Keys, err = strconv.ParseUint(rest, 10, 64)
	case "file":
		var f fileID
		_, err = fmt.Sscanf(rest, "%d %d %x", &f.number, &f.length, &f.sum)
		if n := len(c.older); n > 0 && c.older[n-1].number >= f.number {
			return errors.New("files are not in order")
		}
		c.older = append(c.older, f)
	case "space":
		words := strings.SplitN(rest, " ", 5)
		if len(words) != 5 {
			return errors.New("too few fields")
		}
		var s state.SpacePlace
		if s.SpaceLine, err = state.ParseSpaceLine([]byte(strings.Join(words[:4], " "))); err != nil {
			return err
		}
		_, err = fmt.Sscanf(words[4], "%d %d %d %d %d", &s.File, &s.Off, &s.Len, &s.Oldest, &s.Bytes)
		c.root.Spaces = append(c.root.Spaces, s)
	default:
		return errors.New("unknown")
	}
	return err
}

// trailer returns the last line of a file.
func trailer(offset, sum uint64) string { return fmt.Sprintf("%016x %016x\n", offset, sum) }

// parseTrailer reads the last line of a file.
func parseTrailer(b []byte) (offset, sum uint64, err error) {
	var words [16]byte
	if len(b) == trailerSize {
		_, err1 := hex.Decode(words[:8], b[:16])
		_, err2 := hex.Decode(words[8:], b[17:33])
		offset, sum = binary.BigEndian.Uint64(words[:]), binary.BigEndian.Uint64(words[8:])
		if err1 == nil && err2 == nil && trailer(offset, sum) == string(b) {
			return offset, sum, nil
		}
	}
	return 0, 0, fmt.Errorf("it ends with %q, wanted a trailer of %d bytes", b, trailerSize)
}
