package block

import (
	"encoding/hex"
	"strconv"

	"graven/record"
)

// A block begins with one line (docs/format.md §5):
//
//	graven-block 1 8d5f0c3a91b24e6f8d5f0c3a91b24e6f main 3\n   a block of a class
//	graven-block 1 8d5f0c3a91b24e6f8d5f0c3a91b24e6f main\n     a chunk block
//
//	magic    graven-block
//	version  1; any other number is ErrUnknownVersion
//	vault    32 hex digits; a file of another vault is refused by it
//	class    1-63 bytes of [a-z0-9._-], the first a letter or a digit
//	number   0 to 2^53-1; absent in a chunk block, so that the same value
//	         gives the same file in every upload

const magicBlock = "graven-block"

// maxHeader is the greatest length of a header line in bytes.
const maxHeader = len(magicBlock) + 3 + 32 + 1 + maxClass + 1 + 16 + 1

// maxClass is the greatest length of a class name in bytes.
const maxClass = 63

// Header is the first line of a block.
type Header struct {
	Vault  record.VaultID
	Class  string
	Number uint64 // of the class's blocks, from 0; 0 in a chunk block
	Chunks bool   // a chunk block: it has no number
}

// AppendHeader appends the header line to dst. The class must be valid.
func AppendHeader(dst []byte, h Header) []byte {
	dst = append(dst, magicBlock+" 1 "...)
	dst = hex.AppendEncode(dst, h.Vault[:])
	dst = append(append(dst, ' '), h.Class...)
	if !h.Chunks {
		dst = strconv.AppendUint(append(dst, ' '), h.Number, 10)
	}
	return append(dst, '\n')
}

// ParseHeader reads the header line at the start of b and says how many bytes
// it takes. What AppendHeader writes, and only that, parses. The error matches
// ErrUnknownVersion or ErrSyntax.
func ParseHeader(b []byte) (h Header, n int, err error) {
	c := cursor{what: "header", b: b}
	c.version(magicBlock)
	c.hex(h.Vault[:])
	c.text(" ")
	h.Class = c.class()
	if c.err == nil && c.at < len(b) && b[c.at] == ' ' {
		c.text(" ")
		h.Number = c.number()
	} else {
		h.Chunks = true
	}
	c.text("\n")
	if c.err != nil {
		return Header{}, 0, c.err
	}
	return h, c.at, nil
}

// version reads the magic and ` 1 `.
func (c *cursor) version(magic string) {
	c.text(magic + " ")
	start := c.at
	v := c.number()
	if c.err == nil && v != 1 && c.at < len(c.b) && (c.b[c.at] == ' ' || c.b[c.at] == '\n') {
		c.err = versionError(magic, v)
	}
	if c.err == nil && v != 1 {
		c.fail(start, "version 1")
	}
	c.text(" ")
}

// class reads a class name.
func (c *cursor) class() string {
	if c.err != nil {
		return ""
	}
	end := c.at
	for end < len(c.b) && end-c.at < maxClass && isClassByte(c.b[end]) {
		end++
	}
	name := string(c.b[c.at:end])
	if !validClass(name) {
		c.fail(c.at, "a class")
		return ""
	}
	c.at = end
	return name
}

func isClassByte(c byte) bool {
	return c-'a' < 26 || c-'0' < 10 || c == '.' || c == '_' || c == '-'
}

func validClass(s string) bool {
	if len(s) == 0 || len(s) > maxClass || s[0]-'a' >= 26 && s[0]-'0' >= 10 {
		return false
	}
	for i := range len(s) {
		if !isClassByte(s[i]) {
			return false
		}
	}
	return true
}
