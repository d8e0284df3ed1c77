package state

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"

	"graven/merkle"
)

// SpaceLine is the tree of one space as the state root sees it.
//
//	6b 3q2+7wAA…AAA= 1000000 24
//	│  │             │       └─ height of the tree, 0 to MaxHeight
//	│  │             └───────── live keys, at most 2^height
//	│  └─────────────────────── hash of the tree's root node, base64
//	└────────────────────────── space, two hex digits
//
// One space between fields; decimal without leading zeros; the newline is part
// of what is hashed, and not of the line.
type SpaceLine struct {
	Space  byte
	Hash   merkle.Hash
	Live   uint64
	Height uint8
}

// Length of a line: the shortest has one digit per number, the longest 20 and 2.
const (
	hashText  = 44
	linePlain = 2 + 1 + hashText + 1
	minLine   = linePlain + 1 + 1 + 1
	maxLine   = linePlain + 20 + 1 + 2
)

// Append appends the line, without a newline, to dst.
func (s SpaceLine) Append(dst []byte) []byte {
	dst = hex.AppendEncode(dst, []byte{s.Space})
	dst = append(dst, ' ')
	dst = s.Hash.Append(dst)
	dst = append(dst, ' ')
	dst = strconv.AppendUint(dst, s.Live, 10)
	dst = append(dst, ' ')
	return strconv.AppendUint(dst, uint64(s.Height), 10)
}

// String returns the line without a newline.
func (s SpaceLine) String() string { return string(s.Append(nil)) }

// Check reports whether a tree can have such a line. The error wraps
// [ErrSyntax].
func (s SpaceLine) Check() error {
	if s.Height > MaxHeight {
		return fmt.Errorf("%w space line: height %d, wanted at most %d", ErrSyntax, s.Height, MaxHeight)
	}
	if tooMany(s.Live, s.Height) {
		return fmt.Errorf("%w space line: %d live keys in a tree of height %d", ErrSyntax, s.Live, s.Height)
	}
	return nil
}

// tooMany says whether a tree of that height has too few leaves for so many
// live ones: it has at most 2^height.
func tooMany(live uint64, height uint8) bool {
	return height < 64 && live > 1<<height
}

// ParseSpaceLine reads what [SpaceLine.Append] writes for a line that
// [SpaceLine.Check] accepts, and nothing else. The error wraps [ErrSyntax].
func ParseSpaceLine(line []byte) (SpaceLine, error) {
	var s SpaceLine
	if len(line) < minLine || len(line) > maxLine {
		return s, fmt.Errorf("%w space line: %d bytes, wanted %d to %d", ErrSyntax, len(line), minLine, maxLine)
	}
	space, ok := hexByte(line[0], line[1])
	if !ok {
		return s, fmt.Errorf("%w space line: space %q, wanted two lower-case hex digits", ErrSyntax, line[:2])
	}
	if line[2] != ' ' || line[linePlain-1] != ' ' {
		return s, fmt.Errorf("%w space line %q: wanted single spaces between fields", ErrSyntax, line)
	}
	hash, err := merkle.ParseHash(string(line[3 : 3+hashText]))
	if err != nil {
		return s, fmt.Errorf("%w space line: %w", ErrSyntax, err)
	}
	live, rest, ok := decimal(line[linePlain:])
	if !ok || len(rest) == 0 || rest[0] != ' ' {
		return s, fmt.Errorf("%w space line %q: wanted a live count and a space at offset %d", ErrSyntax, line, linePlain)
	}
	height, rest, ok := decimal(rest[1:])
	if !ok || len(rest) != 0 || height > MaxHeight {
		return s, fmt.Errorf("%w space line %q: wanted a height of 0 to %d at the end", ErrSyntax, line, MaxHeight)
	}
	s = SpaceLine{Space: space, Hash: hash, Live: live, Height: uint8(height)}
	if err := s.Check(); err != nil {
		return SpaceLine{}, err
	}
	return s, nil
}

// hexByte reads two lower-case hex digits.
func hexByte(hi, lo byte) (byte, bool) {
	h, ok1 := hexDigit(hi)
	l, ok2 := hexDigit(lo)
	return h<<4 | l, ok1 && ok2
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}

// decimal reads a number without leading zeros from the front of b.
func decimal(b []byte) (v uint64, rest []byte, ok bool) {
	i := 0
	for i < len(b) && '0' <= b[i] && b[i] <= '9' {
		i++
	}
	if i == 0 || i > 1 && b[0] == '0' {
		return 0, b, false
	}
	v, err := strconv.ParseUint(string(b[:i]), 10, 64)
	return v, b[i:], err == nil
}

// rootPrefix begins what is hashed to the state root.
const rootPrefix = "graven/state/v1\n"

// StateRoot returns the state root over the lines of all spaces that have keys.
// They stand in order of their spaces, none twice.
func StateRoot(lines []SpaceLine) merkle.Hash {
	buf := make([]byte, 0, 512)
	buf = append(buf, rootPrefix...)
	for i := range lines {
		buf = append(lines[i].Append(buf), '\n')
	}
	return sha256.Sum256(buf)
}
