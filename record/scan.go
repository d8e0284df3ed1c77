package record

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf8"

	"graven/merkle"
)

// scanner reads canonical JSON by expecting it: the caller asks for each
// literal and value in the order of the format. There is no look-ahead but
// [scanner.has]. The first failure is kept and empties the input, so that all
// later calls fail at once and callers check only at the end.
type scanner struct {
	b   []byte // the input; empty after a failure
	i   int    // offset of the next byte
	err error  // the first failure
}

// gotLen is how many bytes of the input an error shows.
const gotLen = 24

// fail keeps the first failure: at offset at something else was wanted.
func (p *scanner) fail(at int, wanted string) {
	if p.err != nil {
		return
	}
	got := "the end"
	if at < len(p.b) {
		got = strconv.QuoteToASCII(string(p.b[at:min(at+gotLen, len(p.b))]))
	}
	p.err = fmt.Errorf("%w: byte %d: wanted %s, got %s", ErrSyntax, at, wanted, got)
	p.b, p.i = nil, 0
}

// refuse keeps a broken rule about a value that was read at offset at.
func (p *scanner) refuse(at int, e *FieldError) {
	if p.err != nil || e == nil {
		return
	}
	p.err = fmt.Errorf("%w: byte %d: %w", ErrSyntax, at, e)
	p.b, p.i = nil, 0
}

// lit reads exactly s.
func (p *scanner) lit(s string) {
	if !p.has(s) {
		p.fail(p.i, s)
	}
}

// has reads s if it is next and reports whether it was.
func (p *scanner) has(s string) bool {
	if len(p.b)-p.i >= len(s) && string(p.b[p.i:p.i+len(s)]) == s {
		p.i += len(s)
		return true
	}
	return false
}

// end fails unless all is read, and returns the first failure.
func (p *scanner) end() error {
	if p.i != len(p.b) {
		p.fail(p.i, "the end")
	}
	return p.err
}

// int reads an integer of 0 to MaxInt.
func (p *scanner) int(name string) uint64 {
	p.lit(name)
	v, n := scanInt(p.b[p.i:])
	if n == 0 {
		p.fail(p.i, "an integer, "+limitInt+" without leading zeros")
	}
	p.i += n
	return v
}

// scanInt reads the canonical integer that s begins with, and its length; 0
// if there is none. What follows is the caller's to check, so "01" is a 0
// before a surplus byte.
func scanInt[T ~string | ~[]byte](s T) (v uint64, n int) {
	for n < len(s) && s[n]-'0' < 10 {
		if v = v*10 + uint64(s[n]-'0'); v > MaxInt || n == 1 && s[0] == '0' {
			return 0, 0
		}
		n++
	}
	return v, n
}

// text reads a string and returns its bytes, which are part of the input
// unless the string has escapes.
func (p *scanner) text(name string) []byte {
	p.lit(name)
	if p.i >= len(p.b) || p.b[p.i] != '"' {
		p.fail(p.i, "a string")
		return nil
	}
	start := p.i + 1
	for i := start; i < len(p.b); i++ {
		c := p.b[i]
		if c == '"' {
			p.i = i + 1
			return p.b[start:i]
		}
		if c < 0x20 || c >= 0x7f || c == '\\' {
			return p.longText(start, i)
		}
	}
	p.fail(len(p.b), "the string's closing quotation mark")
	return nil
}

// longText reads on at i in a string that began at start, where the first
// byte is that is not plain ASCII.
func (p *scanner) longText(start, i int) []byte {
	var out []byte // nil until the first escape
	from := start  // bytes before it are in out
	for i < len(p.b) {
		c := p.b[i]
		switch {
		case c == '"':
			p.i = i + 1
			if out == nil {
				return p.b[start:i]
			}
			return append(out, p.b[from:i]...)
		case c == '\\':
			r, ok := unescape(p.b[i:])
			if !ok {
				p.fail(i, `an escape \u00xx, in lower case, of ", \, U+0000-U+001F or U+007F-U+009F`)
				return nil
			}
			out = append(out, p.b[from:i]...)
			out = utf8.AppendRune(out, r)
			i += escapeLen
			from = i
		case c < utf8.RuneSelf:
			if escaped(rune(c)) {
				p.fail(i, "an escape of a control character")
				return nil
			}
			i++
		default:
			r, n := utf8.DecodeRune(p.b[i:])
			if r == utf8.RuneError && n == 1 || escaped(r) {
				p.fail(i, "valid UTF-8 with U+0080-U+009F escaped")
				return nil
			}
			i += n
		}
	}
	p.fail(len(p.b), "the string's closing quotation mark")
	return nil
}

// escapeLen is the length of an escape: \u00xx.
const escapeLen = 6

// unescape reads the escape that b begins with.
func unescape(b []byte) (rune, bool) {
	var code [1]byte
	if len(b) < escapeLen || string(b[:4]) != `\u00` || !decodeHex(code[:], b[4:escapeLen]) {
		return 0, false
	}
	return rune(code[0]), escaped(rune(code[0]))
}

func (p *scanner) string(name string) string { return string(p.text(name)) }

// hex fills dst from a string of hex digits.
func (p *scanner) hex(name string, dst []byte) {
	p.lit(name)
	p.lit(`"`)
	n := 2 * len(dst)
	if len(p.b)-p.i < n || !decodeHex(dst, p.b[p.i:p.i+n]) {
		p.fail(p.i, strconv.Itoa(n)+" lower-case hex digits")
		return
	}
	p.i += n
	p.lit(`"`)
}

// id reads an artifact's id.
func (p *scanner) id(name string, dst *ID) {
	p.lit(name)
	p.lit(`"` + idPrefix)
	if len(p.b)-p.i < 2*idSize || !decodeHex(dst[:], p.b[p.i:p.i+2*idSize]) {
		p.fail(p.i, "64 lower-case hex digits")
		return
	}
	p.i += 2 * idSize
	p.lit(`"`)
}

// hashText is the length of a hash in base64.
const hashText = 44

// hash reads a tree hash.
func (p *scanner) hash(name string, dst *merkle.Hash) {
	p.lit(name)
	p.lit(`"`)
	var raw [hashText]byte
	if len(p.b)-p.i >= hashText {
		if n, ok := decodeBase64(raw[:], p.b[p.i:p.i+hashText]); ok && n == merkle.HashSize {
			copy(dst[:], raw[:n])
			p.i += hashText
			p.lit(`"`)
			return
		}
	}
	p.fail(p.i, "44 characters of base64")
}

// base64 reads bytes in base64; they are the caller's.
func (p *scanner) base64(name string) []byte {
	text := p.text(name)
	out := make([]byte, len(text)/4*3)
	n, ok := decodeBase64(out, text)
	if !ok {
		p.fail(p.i, "base64 with padding and zero trailing bits before this byte")
		return nil
	}
	return out[:n]
}

// decodeBase64 reports false for all but the one base64 of some bytes. The
// decoder would skip line breaks.
func decodeBase64(dst, text []byte) (int, bool) {
	for _, c := range text {
		if c < 0x20 {
			return 0, false
		}
	}
	n, err := strict.Decode(dst, text)
	return n, err == nil
}

// bytes reads bytes under one of two names if one of them is next. The bytes
// are the caller's.
func (p *scanner) bytes(names keyNames) ([]byte, bool) {
	if p.has(names.text) {
		return bytes.Clone(p.text("")), true
	}
	if !p.has(names.base64) {
		return nil, false
	}
	at := p.i
	b := p.base64("")
	if utf8.Valid(b) {
		p.fail(at, "bytes that are not valid UTF-8, or the member without 64")
	}
	return b, true
}

// strings reads an array of strings.
func (p *scanner) strings(name string) []string {
	p.lit(name)
	p.lit("[")
	if p.has("]") {
		return nil
	}
	var list []string
	for p.err == nil {
		list = append(list, p.string(""))
		if p.has("]") {
			break
		}
		p.lit(",")
	}
	return list
}
