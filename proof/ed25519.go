package proof

import (
	"encoding/hex"
	"errors"
)

// An Ed25519 public key is a point: 255 bits of y, little-endian, and the sign of
// x in the top bit. Eight points of the curve have an order that divides 8. Under
// such a key anybody can make a signature for some messages, so a log with such a
// key proves nothing (RFC 8032 leaves the check to the application). The standard
// library does not refuse them.
//
// smallOrder lists their y, in both forms of sign: 0 (order 4), 1 (order 1),
// p-1 (order 2) and the two y of order 8.
const smallOrder = "" +
	"0000000000000000000000000000000000000000000000000000000000000000" +
	"0100000000000000000000000000000000000000000000000000000000000000" +
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f" +
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05" +
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"

var (
	errSmallOrder   = errors.New("a point of small order, under which anybody can sign")
	errNotCanonical = errors.New("y is not below 2^255-19")
)

// checkEd25519 refuses the public keys (32 bytes) that no honest signer has:
// points of small order and encodings of y at or above p = 2^255-19.
func checkEd25519(public []byte) error {
	y := [32]byte(public)
	y[31] &= 0x7f
	if y[31] == 0x7f && y[0] >= 0xed {
		full := true
		for _, b := range y[1:31] {
			full = full && b == 0xff
		}
		if full {
			return errNotCanonical
		}
	}
	text := hex.EncodeToString(y[:])
	for i := 0; i < len(smallOrder); i += 64 {
		if smallOrder[i:i+64] == text {
			return errSmallOrder
		}
	}
	return nil
}
