package state

import (
	"bytes"
	"fmt"

	"graven/merkle"
)

// RangeResult is what a verified range proof shows.
type RangeResult struct {
	// Leaves are those of the range, in key order: with the aim All deletions too,
	// with Live the live ones. Empty if the aim was to count.
	Leaves []Leaf
	// Live is how many keys of the range are live.
	Live uint64
}

// Verify reports what the proof shows about a range under a state root. It
// trusts nothing in the proof, and refuses what is missing, surplus, out of
// place, or open where it should be closed. Unless the aim is to count, seq and
// created of a live leaf in the range stand in Tree, and those in Leaves do not
// count. The error wraps [ErrProof], [ErrSyntax] or [ErrLeaf]. Time and memory are
// proportional to the proof.
func (p RangeProof) Verify(r Range, aim Aim, root merkle.Hash) (RangeResult, error) {
	if len(r.From) == 0 || r.To != nil && (len(r.To) == 0 || r.To[0] != r.From[0]) {
		return RangeResult{}, fmt.Errorf("%w: range from %x to %x is not within one space", ErrProof, r.From, r.To)
	}
	space := r.From[0]
	own := int(space)
	if len(p.Tree) == 0 && aim.closes(r, least(space), nil, 0) {
		own = -1 // its line is given
	}
	if err := checkSpaces(p.Spaces, own); err != nil {
		return RangeResult{}, err
	}
	v := rangeVerifier{r: r, aim: aim, leaves: p.Leaves}
	lines := p.Spaces
	switch {
	case len(p.Tree) > 0:
		line, err := v.spaceLine(p.Tree)
		if err != nil {
			return RangeResult{}, err
		}
		lines = withLine(lines, line)
	case len(p.Leaves) > 0:
		return RangeResult{}, fmt.Errorf("%w: %d leaves without a tree", ErrProof, len(p.Leaves))
	default:
		for _, s := range lines {
			if s.Space != space {
				continue
			}
			if _, err := v.foldChild(nil, side{s.Hash, s.Live, s.Height}, least(space), nil); err != nil {
				return RangeResult{}, err
			}
		}
	}
	if got := StateRoot(lines); got != root {
		return RangeResult{}, fmt.Errorf("%w: it leads to state root %s, wanted %s", ErrProof, got, root)
	}
	return v.result, nil
}

// rangeVerifier reads the tree of a range proof and folds it.
type rangeVerifier struct {
	r      Range
	aim    Aim
	leaves []Leaf // not read yet
	read   pathReader
	result RangeResult
}

// rangePart is a part of the tree as it was read, and not verified.
type rangePart struct {
	leaf        *Leaf // nil: an inner node
	left, right *rangePart
	sides       [2]side // of the children that are closed
	route       []byte
	// before and after are the keys on both sides of the gap, first and last those
	// at the part's ends; nil where it is closed.
	before, after, first, last []byte
}

// spaceLine computes the line of the range's space.
func (v *rangeVerifier) spaceLine(tree []byte) (SpaceLine, error) {
	v.read = pathReader{what: "tree", rest: tree, size: len(tree)}
	part := v.part(0)
	if n := len(v.read.rest); n > 0 {
		v.read.fail("%d bytes are left", n)
	}
	if v.read.err != nil {
		return SpaceLine{}, v.read.err
	}
	if n := len(v.leaves); n > 0 {
		return SpaceLine{}, fmt.Errorf("%w: %d leaves that the tree has no place for", ErrProof, n)
	}
	space := v.r.From[0]
	s, err := v.foldChild(part, side{}, least(space), nil)
	if err != nil {
		return SpaceLine{}, err
	}
	return SpaceLine{Space: space, Hash: s.hash, Live: s.live, Height: s.height}, nil
}

// part reads the next part.
func (v *rangeVerifier) part(depth int) *rangePart {
	kind := v.read.take("a part", 1)
	switch {
	case v.read.err != nil:
		return nil
	case kind[0] > partClosed:
		v.read.fail("a part of kind %d", kind[0])
		return nil
	case kind[0] == partLeaf:
		return v.leaf()
	case depth == MaxHeight:
		v.read.fail("more than %d parts deep", MaxHeight)
		return nil
	}
	p := &rangePart{}
	if kind[0] == partLeftClosed || kind[0] == partClosed {
		p.sides[0] = v.read.side()
	} else if p.left = v.part(depth + 1); p.left != nil {
		p.first, p.before = p.left.first, p.left.last
	}
	if kind[0] == partRightClosed || kind[0] == partClosed {
		p.sides[1] = v.read.side()
	} else if p.right = v.part(depth + 1); p.right != nil {
		p.after, p.last = p.right.first, p.right.last
	}
	switch {
	case v.read.err != nil:
		return nil
	case p.before == nil || p.after == nil:
		p.route = v.read.route(v.r.From)
	case bytes.Compare(p.before, p.after) >= 0:
		v.read.fail("leaf %x stands before leaf %x", p.before, p.after)
	default:
		p.route = []byte(separator(string(p.before), string(p.after)))
	}
	return p
}

// leaf takes the next leaf.
func (v *rangeVerifier) leaf() *rangePart {
	if len(v.leaves) == 0 {
		v.read.fail("a leaf more than there are")
		return nil
	}
	l := v.leaves[0]
	v.leaves = v.leaves[1:]
	if v.aim.lists() && l.Live && v.r.Holds(l.Key) {
		l.Seq = v.read.varint("seq", MaxInt)
		if l.Created = l.Seq; l.N > 1 {
			l.Created = v.read.varint("created", MaxInt)
		}
	}
	return &rangePart{leaf: &l, first: l.Key, last: l.Key}
}

// fold verifies a part whose keys must lie in [lo, hi), collects what it shows,
// and computes what its parent's hash says of it.
func (v *rangeVerifier) fold(p *rangePart, lo, hi []byte) (side, error) {
	if p.leaf != nil {
		return v.foldLeaf(p.leaf, lo, hi)
	}
	if err := checkBetween(p.route, lo, hi); err != nil {
		return side{}, err
	}
	if p.before == nil && p.after != nil && !bytes.HasPrefix(p.after, p.route) {
		return side{}, fmt.Errorf("%w: routing key %x is not a prefix of the first key on its right, %x", ErrProof, p.route, p.after)
	}
	if p.after == nil && p.before != nil && bytes.Compare(p.route[:len(p.route)-1], p.before) > 0 {
		return side{}, fmt.Errorf("%w: routing key %x is longer than the last key on its left, %x, demands", ErrProof, p.route, p.before)
	}
	left, err := v.foldChild(p.left, p.sides[0], lo, p.route)
	if err != nil {
		return side{}, err
	}
	right, err := v.foldChild(p.right, p.sides[1], p.route, hi)
	if err != nil {
		return side{}, err
	}
	return join(left, right, p.route)
}

// foldChild is fold of a child that may be closed, or of the root. Whether it must
// be is known for sure only when it is folded: it may depend on how many live.
func (v *rangeVerifier) foldChild(p *rangePart, closed side, lo, hi []byte) (side, error) {
	s := closed
	if p != nil {
		var err error
		if s, err = v.fold(p, lo, hi); err != nil {
			return side{}, err
		}
	}
	if must := v.aim.closes(v.r, lo, hi, s.live); must != (p == nil) {
		return side{}, fmt.Errorf("%w: the keys from %x to %x, %d of them live, are closed: %v, wanted %v", ErrProof, lo, hi, s.live, p == nil, must)
	}
	if p == nil && v.r.covers(lo, hi) {
		v.result.Live += s.live // its sum is checked when the sides are joined
	}
	return s, nil
}

func (v *rangeVerifier) foldLeaf(l *Leaf, lo, hi []byte) (side, error) {
	if err := l.Check(); err != nil {
		return side{}, err
	}
	if bytes.Compare(l.Key, lo) < 0 || hi != nil && bytes.Compare(l.Key, hi) >= 0 {
		return side{}, fmt.Errorf("%w: leaf %x is not between %x and %x", ErrProof, l.Key, lo, hi)
	}
	s := side{hash: l.Hash()}
	if l.Live {
		s.live = 1
	}
	if v.r.Holds(l.Key) {
		v.result.Live += s.live
		if v.aim == All || v.aim == Live && l.Live {
			v.result.Leaves = append(v.result.Leaves, *l)
		}
	}
	return s, nil
}
