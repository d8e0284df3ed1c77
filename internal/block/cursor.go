package block

import (
	"encoding/hex"
	"strconv"

	"graven/record"
)

// cursor reads canonical text from the start of b. The first thing that does
// not fit sets err and stops it; later calls then return zero values.
type cursor struct {
	what string // the structure, for errors
	b    []byte
	at   int
	err  error
}

func (c *cursor) fail(at int, wanted string) {
	if c.err == nil {
		c.err = &syntaxError{what: c.what, offset: int64(at), wanted: wanted, got: quote(c.b[min(at, len(c.b)):])}
	}
}

// text reads exactly s.
func (c *cursor) text(s string) {
	if c.err != nil {
		return
	}
	if len(c.b)-c.at < len(s) || string(c.b[c.at:c.at+len(s)]) != s {
		c.fail(c.at, strconv.Quote(s))
		return
	}
	c.at += len(s)
}

// number reads a decimal without leading zeros, at most record.MaxInt.
func (c *cursor) number() uint64 {
	if c.err != nil {
		return 0
	}
	start, v := c.at, uint64(0)
	for c.at < len(c.b) && c.b[c.at]-'0' < 10 && c.at-start < 16 {
		v = v*10 + uint64(c.b[c.at]-'0')
		c.at++
	}
	if c.at == start || c.b[start] == '0' && c.at > start+1 || v > record.MaxInt {
		c.at = start
		c.fail(start, "a decimal up to 9007199254740991 without leading zeros")
		return 0
	}
	return v
}

// padded reads exactly width digits.
func (c *cursor) padded(width int) uint64 {
	if c.err != nil {
		return 0
	}
	v := uint64(0)
	for i := range width {
		if c.at+i >= len(c.b) || c.b[c.at+i]-'0' >= 10 {
			c.fail(c.at, strconv.Itoa(width)+" digits")
			return 0
		}
		v = v*10 + uint64(c.b[c.at+i]-'0')
	}
	if v > record.MaxInt {
		c.fail(c.at, "at most 9007199254740991")
		return 0
	}
	c.at += width
	return v
}

// hex fills dst from twice as many lower-case hex digits.
func (c *cursor) hex(dst []byte) {
	if c.err != nil {
		return
	}
	n := 2 * len(dst)
	if len(c.b)-c.at < n || !decodeHex(dst, c.b[c.at:c.at+n]) {
		c.fail(c.at, strconv.Itoa(n)+" lower-case hex digits")
		return
	}
	c.at += n
}

// id reads `sha256:` and 64 hex digits.
func (c *cursor) id() (id record.ID) {
	c.text("sha256:")
	c.hex(id[:])
	return id
}

// decodeHex is hex.Decode without capitals.
func decodeHex(dst, digits []byte) bool {
	for _, d := range digits {
		if d >= 'A' && d <= 'F' {
			return false
		}
	}
	n, err := hex.Decode(dst, digits)
	return err == nil && n == len(dst)
}

// appendPadded appends v in at least width digits.
func appendPadded(dst []byte, v uint64, width int) []byte {
	var tmp [20]byte
	digits := strconv.AppendUint(tmp[:0], v, 10)
	for range width - len(digits) {
		dst = append(dst, '0')
	}
	return append(dst, digits...)
}

// digits is the number of decimal digits of v.
func digits(v uint64) int {
	n := 1
	for v >= 10 {
		v /= 10
		n++
	}
	return n
}
