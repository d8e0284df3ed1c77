package state

import (
	"bytes"
	"fmt"
	"math/bits"
	"slices"

	"graven/merkle"
)

// Result is what a verified proof shows about a key. Its leaves are those of
// the proof.
type Result struct {
	// Present: the key's newest version is live.
	Present bool

	// Leaf is the key's newest version; if Present is false, a deletion. nil:
	// the key never had a version.
	Leaf *Leaf

	// Neighbour is, for a key that never had a version, the leaf of another key
	// at which the search ends; nil if the whole space has no keys.
	Neighbour *Leaf
}

// Verify reports what the proof shows about a stored key under a state root.
// It trusts nothing in the proof: every direction, interval, height and count
// is computed. The error wraps [ErrProof], [ErrSyntax] or [ErrLeaf] and says
// what was wanted and found. Verify runs in time and memory proportional to the
// proof, and is safe for concurrent use.
//
// What it shows is relative to the root. That the root follows from the log is
// shown by replaying the log.
func (p Proof) Verify(key []byte, root merkle.Hash) (Result, error) {
	line, err := p.SpaceLine(key)
	if err != nil {
		return Result{}, err
	}
	if err := checkSpaces(p.Spaces, int(key[0])); err != nil {
		return Result{}, err
	}
	lines := p.Spaces
	if line != nil {
		lines = withLine(lines, *line)
	}
	if got := StateRoot(lines); got != root {
		return Result{}, fmt.Errorf("%w: it leads to state root %s, wanted %s", ErrProof, got, root)
	}
	if p.Leaf == nil {
		return Result{}, nil
	}
	if !bytes.Equal(p.Leaf.Key, key) {
		return Result{Neighbour: p.Leaf}, nil
	}
	return Result{Present: p.Leaf.Live, Leaf: p.Leaf}, nil
}

// checkSpaces refuses lines that are impossible, out of order, or of the
// subject's own space if that one is computed; -1: it is not.
func checkSpaces(lines []SpaceLine, own int) error {
	for i, s := range lines {
		if err := s.Check(); err != nil {
			return err
		}
		if int(s.Space) == own {
			return fmt.Errorf("%w: a line for the subject's own space %02x", ErrProof, own)
		}
		if i > 0 && lines[i-1].Space >= s.Space {
			return fmt.Errorf("%w: the line of space %02x after that of %02x", ErrProof, s.Space, lines[i-1].Space)
		}
	}
	return nil
}

// withLine returns the lines with one more, in order.
func withLine(lines []SpaceLine, line SpaceLine) []SpaceLine {
	i := 0
	for i < len(lines) && lines[i].Space < line.Space {
		i++
	}
	return slices.Insert(slices.Clip(lines), i, line)
}

// SpaceLine computes the line of the key's space from leaf and path; nil if the
// proof says that the space has no keys. It refuses everything that can be
// refused without the state root; with errors as from [Proof.Verify].
func (p Proof) SpaceLine(key []byte) (*SpaceLine, error) {
	if len(key) < MinKey || len(key) > MaxKey {
		return nil, fmt.Errorf("%w: stored key of %d bytes, wanted %d to %d", ErrProof, len(key), MinKey, MaxKey)
	}
	if p.Leaf == nil {
		if len(p.Steps) != 0 {
			return nil, fmt.Errorf("%w: a path of %d steps to no leaf", ErrProof, len(p.Steps))
		}
		return nil, nil
	}
	if err := p.Leaf.Check(); err != nil {
		return nil, err
	}
	if len(p.Steps) > MaxHeight {
		return nil, fmt.Errorf("%w: a path of %d steps, wanted at most %d", ErrProof, len(p.Steps), MaxHeight)
	}
	if err := p.descend(key); err != nil {
		return nil, err
	}
	s, err := p.fold(key)
	if err != nil {
		return nil, err
	}
	return &SpaceLine{Space: key[0], Hash: s.hash, Live: s.live, Height: s.height}, nil
}

// descend follows the search for key from the root and narrows the interval
// [lo, hi) of keys that may stand below. Every routing key lies inside, with
// room for a key on both sides, and so does the leaf.
//
// Of the rule that a routing key is the shortest, two cases show in a path. The
// last one taken to the right is the gap just before the leaf, so it is a
// prefix of the leaf's key. The last one taken to the left is the gap just
// after the leaf, so what is one byte shorter is not greater than the leaf's
// key. The others stand in gaps between keys that the proof does not show.
func (p *Proof) descend(key []byte) error {
	lo := []byte{key[0], 0} // the least stored key of the space
	var hi []byte           // nil: the end of the space
	right := false
	for i, s := range p.Steps {
		if err := checkBetween(s.Route, lo, hi); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
		if bytes.Compare(key, s.Route) < 0 {
			hi = s.Route
		} else {
			lo, right = s.Route, true
		}
	}
	k := p.Leaf.Key
	if k[0] != key[0] || bytes.Compare(k, lo) < 0 || hi != nil && bytes.Compare(k, hi) >= 0 {
		return fmt.Errorf("%w: leaf %x is not in the interval from %x to %x that the path leaves", ErrProof, k, lo, hi)
	}
	if right && !bytes.HasPrefix(k, lo) {
		return fmt.Errorf("%w: routing key %x is not a prefix of the first key on its right, %x", ErrProof, lo, k)
	}
	if hi != nil && bytes.Compare(hi[:len(hi)-1], k) > 0 {
		return fmt.Errorf("%w: routing key %x is longer than the last key on its left, %x, demands", ErrProof, hi, k)
	}
	return nil
}

// fold computes the root node from the leaf up.
func (p *Proof) fold(key []byte) (side, error) {
	at := side{hash: p.Leaf.Hash()}
	if p.Leaf.Live {
		at.live = 1
	}
	for i := len(p.Steps) - 1; i >= 0; i-- {
		s := &p.Steps[i]
		left, right := at, side{s.Hash, s.Live, s.Height}
		if bytes.Compare(key, s.Route) >= 0 {
			left, right = right, left
		}
		var err error
		if at, err = join(left, right, s.Route); err != nil {
			return side{}, fmt.Errorf("step %d: %w", i, err)
		}
	}
	return at, nil
}

// checkBetween refuses a routing key that does not lie between lo and hi with room
// for a key on both sides.
func checkBetween(route, lo, hi []byte) error {
	if len(route) < MinKey || len(route) > MaxKey || route[0] != lo[0] {
		return fmt.Errorf("%w: routing key %x is not of space %02x and %d to %d bytes", ErrProof, route, lo[0], MinKey, MaxKey)
	}
	if bytes.Compare(route, lo) <= 0 || hi != nil && bytes.Compare(route, hi) >= 0 {
		return fmt.Errorf("%w: routing key %x is not between %x and %x", ErrProof, route, lo, hi)
	}
	return nil
}

// join computes an inner node from its children, which must be in balance.
func join(left, right side, route []byte) (side, error) {
	for _, s := range []side{left, right} {
		if tooMany(s.live, s.height) {
			return side{}, fmt.Errorf("%w: %d live keys below a node of height %d", ErrProof, s.live, s.height)
		}
	}
	low, high := min(left.height, right.height), max(left.height, right.height)
	if high-low > 1 {
		return side{}, fmt.Errorf("%w: heights %d and %d of siblings differ by more than 1", ErrProof, left.height, right.height)
	}
	if high >= MaxHeight {
		return side{}, fmt.Errorf("%w: height %d, wanted at most %d", ErrProof, int(high)+1, MaxHeight)
	}
	live, carry := bits.Add64(left.live, right.live, 0)
	if carry != 0 {
		return side{}, fmt.Errorf("%w: live counts %d and %d overflow", ErrProof, left.live, right.live)
	}
	return side{hashInner(&left, &right, route), live, high + 1}, nil
}
