package state

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"graven/merkle"
)

// The encoding of a path, from the root of the subject's space down to the leaf
// at which the search ends. `│` separates, varints are LEB128 in shortest form.
//
//	only if the leaf has the subject's key (its other fields stand in the op):
//	    seq (varint) │ created (varint)
//	one step a node:
//	    sibling hash (32) │ sibling live (varint) │ sibling height (1) │
//	    c (varint) │ s (varint) │ s bytes
//
// The routing key is the first c bytes of the subject's stored key and the s
// bytes; c is the length of the longest common prefix of the two.

// AppendPath appends the path of the proof for key to dst. A proof of a space
// without keys has no path, and nothing is appended; nor is anything for a
// space of one leaf with another key, but that one has an empty path.
func (p Proof) AppendPath(dst, key []byte) []byte {
	if p.Leaf == nil {
		return dst
	}
	if bytes.Equal(p.Leaf.Key, key) {
		dst = binary.AppendUvarint(dst, p.Leaf.Seq)
		dst = binary.AppendUvarint(dst, p.Leaf.Created)
	}
	for i := range p.Steps {
		s := &p.Steps[i]
		c := common(s.Route, key)
		dst = append(dst, s.Hash[:]...)
		dst = binary.AppendUvarint(dst, s.Live)
		dst = append(dst, s.Height)
		dst = binary.AppendUvarint(dst, uint64(c))
		dst = binary.AppendUvarint(dst, uint64(len(s.Route)-c))
		dst = append(dst, s.Route[c:]...)
	}
	return dst
}

// common returns the length of the longest common prefix.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// ParsePath reads the path of a proof for key, all of path and nothing behind
// it. leaf is the leaf at which the search ends, as the reader knows it from
// elsewhere: of another key, all of it; of the key itself, digest, n and live
// of its op, and the path adds seq and created. The proof comes without the
// other spaces, and keeps no reference to path or key. It is not verified.
// The error wraps [ErrSyntax] and names offset or step.
func ParsePath(path, key []byte, leaf Leaf) (Proof, error) {
	if len(key) < MinKey || len(key) > MaxKey {
		return Proof{}, fmt.Errorf("%w path: stored key of %d bytes, wanted %d to %d", ErrSyntax, len(key), MinKey, MaxKey)
	}
	r := pathReader{what: "path", rest: path, size: len(path)}
	if bytes.Equal(leaf.Key, key) {
		leaf.Seq = r.varint("seq", MaxInt)
		leaf.Created = r.varint("created", MaxInt)
	}
	var steps []Step
	for len(r.rest) > 0 && r.err == nil {
		if len(steps) == MaxHeight {
			return Proof{}, fmt.Errorf("%w path: more than %d steps", ErrSyntax, MaxHeight)
		}
		steps = append(steps, r.step(key))
	}
	if r.err != nil {
		return Proof{}, r.err
	}
	return Proof{Leaf: &leaf, Steps: steps}, nil
}

// pathReader reads from the front of rest and keeps the first error. After an
// error it returns zeros.
type pathReader struct {
	what string // is read: a path, a tree
	rest []byte
	size int // of the whole, for offsets
	err  error
}

func (r *pathReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w %s: offset %d: %s", ErrSyntax, r.what, r.size-len(r.rest), fmt.Sprintf(format, args...))
		r.rest = nil
	}
}

// take returns the next n bytes.
func (r *pathReader) take(what string, n int) []byte {
	if len(r.rest) < n {
		r.fail("%d bytes are left, wanted %d for %s", len(r.rest), n, what)
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

// varint returns the next varint, of at most limit and in shortest form.
func (r *pathReader) varint(what string, limit uint64) uint64 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Uvarint(r.rest)
	switch {
	case n <= 0:
		r.fail("no varint of 64 bits for %s", what)
		return 0
	case n > 1 && r.rest[n-1] == 0:
		r.fail("%s: varint of %d bytes is not the shortest", what, n)
		return 0
	case v > limit:
		r.fail("%s %d, wanted at most %d", what, v, limit)
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// step returns the next step.
func (r *pathReader) step(key []byte) Step {
	sibling := r.side()
	return Step{Hash: sibling.hash, Live: sibling.live, Height: sibling.height, Route: r.route(key)}
}

// side returns what stands for a closed node.
func (r *pathReader) side() (s side) {
	copy(s.hash[:], r.take("a sibling's hash", merkle.HashSize))
	s.live = r.varint("live count", 1<<64-1)
	if b := r.take("a sibling's height", 1); b != nil {
		s.height = b[0]
	}
	return s
}

// route returns the next routing key, of which a part may be taken from a key.
func (r *pathReader) route(key []byte) []byte {
	c := int(r.varint("common length", uint64(len(key))))
	more := r.take("a routing key", int(r.varint("rest length", uint64(MaxKey-c))))
	if r.err != nil {
		return nil
	}
	if n := c + len(more); n < MinKey {
		r.fail("routing key of %d bytes, wanted %d to %d", n, MinKey, MaxKey)
		return nil
	}
	if len(more) > 0 && c < len(key) && more[0] == key[c] {
		r.fail("common length %d is not the longest", c)
		return nil
	}
	return append(append(make([]byte, 0, c+len(more)), key[:c]...), more...)
}
