package record

import (
	"encoding/base64"
	"strconv"
	"unicode/utf8"

	"graven/merkle"
)

// The encoder's primitives. All append to dst and return it. Callers check
// values first; these cannot fail.

const hexDigits = "0123456789abcdef"

// strict refuses trailing bits that are not zero, so that bytes have one text.
var strict = base64.StdEncoding.Strict()

// AppendString appends s as a canonical JSON string, with its quotes. Only
// quotation marks, backslashes, U+0000-U+001F and U+007F-U+009F are escaped,
// as \u00xx with lower-case digits. s must be valid UTF-8.
func AppendString(dst []byte, s string) []byte { return appendText(dst, s) }

func appendText[T ~string | ~[]byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 0x20 && c < 0x7f && c != '"' && c != '\\':
			continue
		case c == 0xc2 && i+1 < len(s) && s[i+1] < 0xa0:
			// U+0080-U+009F are the two bytes c2 80 to c2 9f.
			dst = append(dst, s[start:i]...)
			i++
			c = s[i]
		case c >= 0x80:
			continue
		default:
			dst = append(dst, s[start:i]...)
		}
		dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0x0f])
		start = i + 1
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// escaped reports whether the encoding writes a code point as an escape.
func escaped(r rune) bool {
	return r < 0x20 || r == '"' || r == '\\' || r >= 0x7f && r <= 0x9f
}

// appendStringField appends a member; name is what stands before the value,
// with the comma and the colon. The same holds for the functions below.
func appendStringField(dst []byte, name, s string) []byte {
	return appendText(append(dst, name...), s)
}

func appendInt(dst []byte, name string, n uint64) []byte {
	return strconv.AppendUint(append(dst, name...), n, 10)
}

func appendID(dst []byte, name string, id *ID) []byte {
	dst = append(dst, name...)
	dst = append(dst, '"')
	dst = id.Append(dst)
	return append(dst, '"')
}

func appendHash(dst []byte, name string, h *merkle.Hash) []byte {
	dst = append(dst, name...)
	dst = append(dst, '"')
	dst = h.Append(dst)
	return append(dst, '"')
}

func appendBase64(dst []byte, name string, b []byte) []byte {
	dst = append(dst, name...)
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, b)
	return append(dst, '"')
}

// keyNames are the two names of a member that holds bytes, with the colon:
// one for valid UTF-8, one for all other bytes.
type keyNames struct{ text, base64 string }

// appendBytes appends bytes as a string if they are valid UTF-8, and as base64
// under the other name if not.
func appendBytes(dst []byte, names keyNames, b []byte) []byte {
	if utf8.Valid(b) {
		return appendText(append(dst, names.text...), b)
	}
	return appendBase64(dst, names.base64, b)
}

// appendStrings appends an array of strings.
func appendStrings(dst []byte, name string, list []string) []byte {
	dst = append(dst, name...)
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(dst, s)
	}
	return append(dst, ']')
}
