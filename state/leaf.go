package state

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"graven/merkle"
)

const (
	// MinKey and MaxKey are the bounds of a stored key's length in bytes: the
	// space byte and 1 to 1,024 bytes of key.
	MinKey = 2
	MaxKey = 1025

	// MaxInt is the greatest seq, created and version number: every integer of
	// a record is at most 2^53-1.
	MaxInt = 1<<53 - 1
)

var (
	// ErrLeaf says that a leaf cannot be the newest version of any key.
	ErrLeaf = errors.New("state: impossible leaf")

	// ErrSyntax says that bytes or text are not in their one canonical form.
	ErrSyntax = errors.New("state: malformed")

	// ErrProof says that a proof does not show what it was asked for under the
	// given root.
	ErrProof = errors.New("state: proof does not verify")
)

// Leaf is the newest version of a stored key.
type Leaf struct {
	Key     []byte      // stored key: space byte and key, MinKey to MaxKey bytes
	Digest  merkle.Hash // RFC 6962 leaf hash of the op line that wrote the version
	Seq     uint64      // position of the record that holds the op; 1 to MaxInt
	N       uint64      // number of the version, from 1
	Created uint64      // seq of version 1; at most Seq
	Live    bool        // false: the version is a deletion
}

// A leaf's bytes, integers big-endian:
//
//	0      1            3          3+k         35+k   43+k   51+k       59+k
//	┌──────┬────────────┬──────────┬───────────┬──────┬──────┬──────────┬──────┐
//	│ 0x10 │ k: length  │ key      │ op digest │ seq  │ n    │ created  │ live │
//	│  (1) │ of key (2) │ (k)      │ (32)      │ (8)  │ (8)  │ (8)      │ (1)  │
//	└──────┴────────────┴──────────┴───────────┴──────┴──────┴──────────┴──────┘
const (
	leafTag  = 0x10
	leafHead = 1 + 2
	leafTail = merkle.HashSize + 8 + 8 + 8 + 1
)

// Bytes returns the leaf's bytes as they are hashed. Bytes of a leaf that
// [Leaf.Check] refuses do not parse.
func (l Leaf) Bytes() []byte {
	return appendLeaf(make([]byte, 0, leafHead+len(l.Key)+leafTail), l.Key, &l.Digest, l.Seq, l.N, l.Created, l.Live)
}

// Hash returns the SHA-256 of the leaf's bytes.
func (l Leaf) Hash() merkle.Hash {
	return hashLeaf(l.Key, &l.Digest, l.Seq, l.N, l.Created, l.Live)
}

// appendLeaf appends a leaf's bytes to dst. The tree keeps keys as strings.
func appendLeaf[K string | []byte](dst []byte, key K, digest *merkle.Hash, seq, n, created uint64, live bool) []byte {
	dst = append(dst, leafTag)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(key)))
	dst = append(dst, key...)
	dst = append(dst, digest[:]...)
	dst = binary.BigEndian.AppendUint64(dst, seq)
	dst = binary.BigEndian.AppendUint64(dst, n)
	dst = binary.BigEndian.AppendUint64(dst, created)
	if live {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// hashBuffer is the size of the buffer, on the stack, from which nodes are
// hashed. Those with longer keys go through the heap.
const hashBuffer = 192

func hashLeaf[K string | []byte](key K, digest *merkle.Hash, seq, n, created uint64, live bool) merkle.Hash {
	var buf [hashBuffer]byte
	return sha256.Sum256(appendLeaf(buf[:0], key, digest, seq, n, created, live))
}

// Check reports whether the leaf can be the newest version of a key: a key of
// a legal length, 1 <= n, and n versions in distinct records from created to
// seq. The error wraps [ErrLeaf] and names field, value and limit.
func (l Leaf) Check() error {
	if len(l.Key) < MinKey || len(l.Key) > MaxKey {
		return fmt.Errorf("%w: stored key of %d bytes, wanted %d to %d", ErrLeaf, len(l.Key), MinKey, MaxKey)
	}
	return checkVersion(l.Seq, l.N, l.Created)
}

// checkVersion is [Leaf.Check] without the key.
func checkVersion(seq, n, created uint64) error {
	switch {
	case seq < 1 || seq > MaxInt:
		return fmt.Errorf("%w: seq %d, wanted 1 to %d", ErrLeaf, seq, uint64(MaxInt))
	case created < 1 || created > seq:
		return fmt.Errorf("%w: created %d, wanted 1 to seq %d", ErrLeaf, created, seq)
	case n < 1 || n > seq-created+1:
		return fmt.Errorf("%w: version number %d for records %d to %d", ErrLeaf, n, created, seq)
	case n == 1 && created != seq:
		return fmt.Errorf("%w: version 1 at seq %d, created at %d", ErrLeaf, seq, created)
	}
	return nil
}

// ParseLeaf reads what [Leaf.Bytes] writes for a leaf that [Leaf.Check]
// accepts, and nothing else. The leaf owns its key. The error wraps
// [ErrSyntax] or [ErrLeaf].
func ParseLeaf(data []byte) (Leaf, error) {
	if len(data) < leafHead+MinKey+leafTail {
		return Leaf{}, fmt.Errorf("%w leaf: %d bytes, wanted at least %d", ErrSyntax, len(data), leafHead+MinKey+leafTail)
	}
	if data[0] != leafTag {
		return Leaf{}, fmt.Errorf("%w leaf: first byte 0x%02x, wanted 0x%02x", ErrSyntax, data[0], leafTag)
	}
	k := int(binary.BigEndian.Uint16(data[1:]))
	if k < MinKey || k > MaxKey {
		return Leaf{}, fmt.Errorf("%w leaf: key length %d, wanted %d to %d", ErrSyntax, k, MinKey, MaxKey)
	}
	if len(data) != leafHead+k+leafTail {
		return Leaf{}, fmt.Errorf("%w leaf: %d bytes, wanted %d for a key of %d", ErrSyntax, len(data), leafHead+k+leafTail, k)
	}
	tail := data[leafHead+k:]
	live := tail[leafTail-1]
	if live > 1 {
		return Leaf{}, fmt.Errorf("%w leaf: live byte 0x%02x, wanted 0 or 1", ErrSyntax, live)
	}
	l := Leaf{
		Key:     append([]byte(nil), data[leafHead:leafHead+k]...),
		Digest:  merkle.Hash(tail[:merkle.HashSize]),
		Seq:     binary.BigEndian.Uint64(tail[32:]),
		N:       binary.BigEndian.Uint64(tail[40:]),
		Created: binary.BigEndian.Uint64(tail[48:]),
		Live:    live == 1,
	}
	if err := l.Check(); err != nil {
		return Leaf{}, err
	}
	return l, nil
}
