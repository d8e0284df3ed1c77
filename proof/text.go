package proof

import (
	"bytes"
	"encoding/base64"
	"strconv"
)

// b64 is standard base64 with padding and zero trailing bits (RFC 4648 §4).
var b64 = base64.StdEncoding.Strict()

// decodeB64 decodes s, of which there is exactly one spelling. The standard
// decoder skips line breaks even when strict, so the length is compared as well.
func decodeB64(s []byte) ([]byte, bool) {
	out := make([]byte, b64.DecodedLen(len(s)))
	n, err := b64.Decode(out, s)
	if err != nil || b64.EncodedLen(n) != len(s) {
		return nil, false
	}
	return out[:n], true
}

// parseDecimal parses digits without leading zeros, at most limit.
func parseDecimal(s []byte, limit uint64) (uint64, bool) {
	if len(s) == 0 || len(s) > 20 || s[0] == '0' && len(s) > 1 {
		return 0, false
	}
	for _, c := range s {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseUint(string(s), 10, 64)
	return n, err == nil && n <= limit
}

// cutLine returns the bytes before the first line feed and those behind it.
// ok is false if there is no line feed: every line of every format here ends
// with one.
func cutLine(b []byte) (line, rest []byte, ok bool) {
	return bytes.Cut(b, []byte{'\n'})
}

// clip shortens foreign bytes for an error message.
func clip(b []byte) string {
	const most = 48
	if len(b) > most {
		return strconv.QuoteToASCII(string(b[:most])) + "…"
	}
	return strconv.QuoteToASCII(string(b))
}
