package record

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// idPrefix names the hash of an artifact in its id.
const idPrefix = "sha256:"

const (
	idSize    = sha256.Size
	idText    = len(idPrefix) + 2*idSize
	vaultSize = 16
)

// ID names an artifact: the SHA-256 of its bytes.
type ID [idSize]byte

// IDOf returns the id of an artifact with these bytes.
func IDOf(artifact []byte) ID { return sha256.Sum256(artifact) }

// String returns `sha256:` and 64 lower-case hex digits.
func (id ID) String() string { return string(id.Append(nil)) }

// Hex returns the 64 hex digits alone, as `sha256sum` prints them.
func (id ID) Hex() string { return hex.EncodeToString(id[:]) }

// Append appends the 71 characters of [ID.String] to dst.
func (id ID) Append(dst []byte) []byte {
	return hex.AppendEncode(append(dst, idPrefix...), id[:])
}

// ParseID reads what [ID.String] writes and nothing else. Its error wraps
// [ErrSyntax].
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != idText || s[:len(idPrefix)] != idPrefix || !decodeHex(id[:], s[len(idPrefix):]) {
		return ID{}, fmt.Errorf("%w: id %s, wanted sha256: and 64 lower-case hex digits", ErrSyntax, short(s))
	}
	return id, nil
}

// VaultID names a vault: 128 random bits, fixed by its genesis.
type VaultID [vaultSize]byte

// String returns 32 lower-case hex digits.
func (v VaultID) String() string { return hex.EncodeToString(v[:]) }

// ParseVaultID reads what [VaultID.String] writes and nothing else. Its error
// wraps [ErrSyntax].
func ParseVaultID(s string) (VaultID, error) {
	var v VaultID
	if len(s) != 2*vaultSize || !decodeHex(v[:], s) {
		return VaultID{}, fmt.Errorf("%w: vault id %s, wanted 32 lower-case hex digits", ErrSyntax, short(s))
	}
	return v, nil
}

// decodeHex fills dst from twice as many lower-case hex digits and reports
// whether they were. The decoder of encoding/hex takes capitals too.
func decodeHex[T ~string | ~[]byte](dst []byte, digits T) bool {
	if len(digits) != 2*len(dst) {
		return false
	}
	var bad byte
	for i := range dst {
		hi, lo := nibble(digits[2*i]), nibble(digits[2*i+1])
		bad |= hi | lo
		dst[i] = hi<<4 | lo&0x0f
	}
	return bad < 0x10
}

// nibble returns the value of a lower-case hex digit, or 0xff.
func nibble(c byte) byte { return nibbles[c] }

// nibbles holds the value of each lower-case hex digit at its place. It is a
// constant, where a table would be a variable.
const nibbles = no16 + no16 + no16 + "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09" + no6 +
	no16 + no16 + "\xff\x0a\x0b\x0c\x0d\x0e\x0f" + no6 + "\xff\xff\xff" +
	no16 + no16 + no16 + no16 + no16 + no16 + no16 + no16 + no16

const (
	no6  = "\xff\xff\xff\xff\xff\xff"
	no16 = no6 + no6 + "\xff\xff\xff\xff"
)
