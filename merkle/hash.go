package merkle

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
)

// HashSize is the length of a hash in bytes.
const HashSize = 32

// textSize is the length of a hash in base64, with its one padding character.
const textSize = 44

// ErrSyntax says that a hash, a tile or a tile's path is not in its one
// canonical form.
var ErrSyntax = errors.New("merkle: malformed")

// strict refuses trailing bits that are not zero, so that a hash has one text.
var strict = base64.StdEncoding.Strict()

// Hash is a SHA-256 of a leaf or of an inner node.
type Hash [HashSize]byte

// String returns the hash in standard base64 with padding: 44 characters.
func (h Hash) String() string { return base64.StdEncoding.EncodeToString(h[:]) }

// Append appends the 44 characters of [Hash.String] to dst.
func (h Hash) Append(dst []byte) []byte { return base64.StdEncoding.AppendEncode(dst, h[:]) }

// ParseHash reads what [Hash.String] writes and nothing else. Its error wraps
// [ErrSyntax].
func ParseHash(s string) (Hash, error) {
	if len(s) != textSize {
		return Hash{}, fmt.Errorf("%w: a hash of %d characters, wanted %d", ErrSyntax, len(s), textSize)
	}
	var text [textSize]byte
	copy(text[:], s)
	return parseHash(text[:])
}

// parseHash reads a hash from exactly textSize bytes. The decoder skips line
// breaks, but then fewer than 32 bytes come out of 44.
func parseHash(text []byte) (Hash, error) {
	var raw [HashSize + 1]byte // the decoder wants room for a padded quantum
	n, err := strict.Decode(raw[:], text)
	if err != nil || n != HashSize {
		return Hash{}, fmt.Errorf("%w: %q is not the base64 of %d bytes", ErrSyntax, text, HashSize)
	}
	return Hash(raw[:HashSize]), nil
}

// shortLeaf is the length up to which a leaf is hashed in one piece from the
// stack. Most lines of a log are shorter.
const shortLeaf = 1023

// LeafHash returns SHA-256(0x00 ‖ data), RFC 6962 section 2.1.
func LeafHash(data []byte) Hash {
	if len(data) <= shortLeaf {
		var buf [1 + shortLeaf]byte
		return sha256.Sum256(buf[:1+copy(buf[1:], data)])
	}
	d := sha256.New()
	d.Write([]byte{0x00})
	d.Write(data)
	var h Hash
	d.Sum(h[:0])
	return h
}

// NodeHash returns SHA-256(0x01 ‖ left ‖ right), RFC 6962 section 2.1.
func NodeHash(left, right Hash) Hash {
	var buf [1 + 2*HashSize]byte
	buf[0] = 0x01
	copy(buf[1:], left[:])
	copy(buf[1+HashSize:], right[:])
	return sha256.Sum256(buf[:])
}

// EmptyRoot returns the root of the tree without leaves, SHA-256 of nothing.
func EmptyRoot() Hash { return sha256.Sum256(nil) }
