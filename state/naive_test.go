package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"sort"
)

// The naive map: the text of the format, section 9, taken literally. Nothing is
// kept but the shape. Heights, counts, routing keys and hashes are computed
// from the leaves below each time they are asked for.

type naiveTree struct {
	leaf        *Leaf
	left, right *naiveTree
}

func (t *naiveTree) height() int {
	if t.leaf != nil {
		return 0
	}
	return 1 + max(t.left.height(), t.right.height())
}

func (t *naiveTree) leaves() []*Leaf {
	if t.leaf != nil {
		return []*Leaf{t.leaf}
	}
	return append(t.left.leaves(), t.right.leaves()...)
}

func (t *naiveTree) live() (n uint64) {
	for _, l := range t.leaves() {
		if l.Live {
			n++
		}
	}
	return n
}

// route tries the prefixes of the right subtree's first key, shortest first.
func (t *naiveTree) route() []byte {
	left, right := t.left.leaves(), t.right.leaves()
	last, first := left[len(left)-1].Key, right[0].Key
	for n := 0; n <= len(first); n++ {
		if bytes.Compare(first[:n], last) > 0 {
			return first[:n]
		}
	}
	panic("no prefix separates")
}

func bigEndian(n uint64, width int) []byte {
	b := make([]byte, width)
	for i := width - 1; i >= 0; i-- {
		b[i] = byte(n % 256)
		n /= 256
	}
	return b
}

func naiveLeafBytes(l *Leaf) []byte {
	live := byte(0)
	if l.Live {
		live = 1
	}
	return bytes.Join([][]byte{
		{0x10},
		bigEndian(uint64(len(l.Key)), 2), l.Key, l.Digest[:],
		bigEndian(l.Seq, 8), bigEndian(l.N, 8), bigEndian(l.Created, 8),
		{live},
	}, nil)
}

func naiveInnerBytes(lh []byte, ll uint64, lt int, rh []byte, rl uint64, rt int, route []byte) []byte {
	return bytes.Join([][]byte{
		{0x11},
		lh, bigEndian(ll, 8), bigEndian(uint64(lt), 1), rh, bigEndian(rl, 8), bigEndian(uint64(rt), 1),
		bigEndian(uint64(len(route)), 2), route,
	}, nil)
}

func (t *naiveTree) hash() []byte {
	var h [32]byte
	if t.leaf != nil {
		h = sha256.Sum256(naiveLeafBytes(t.leaf))
	} else {
		h = sha256.Sum256(naiveInnerBytes(
			t.left.hash(), t.left.live(), t.left.height(), t.right.hash(), t.right.live(), t.right.height(), t.route()))
	}
	return h[:]
}

func naiveNode(left, right *naiveTree) *naiveTree { return &naiveTree{left: left, right: right} }

// put returns the tree with l in it.
func (t *naiveTree) put(l Leaf) *naiveTree {
	if t == nil {
		return &naiveTree{leaf: &l}
	}
	if t.leaf != nil {
		here := &naiveTree{leaf: &l}
		switch bytes.Compare(l.Key, t.leaf.Key) {
		case -1:
			return naiveNode(here, t)
		case 1:
			return naiveNode(t, here)
		}
		return here
	}
	if bytes.Compare(l.Key, t.route()) < 0 {
		t = naiveNode(t.left.put(l), t.right)
	} else {
		t = naiveNode(t.left, t.right.put(l))
	}
	// Towards the lighter side; a heavy child that leans inwards is first
	// rotated outwards.
	if h := t.left; h.height() == t.right.height()+2 {
		if h.right.height() > h.left.height() {
			h = naiveNode(naiveNode(h.left, h.right.left), h.right.right)
		}
		return naiveNode(h.left, naiveNode(h.right, t.right))
	}
	if h := t.right; h.height() == t.left.height()+2 {
		if h.left.height() > h.right.height() {
			h = naiveNode(h.left.left, naiveNode(h.left.right, h.right))
		}
		return naiveNode(naiveNode(t.left, h.left), h.right)
	}
	return t
}

// naiveMap is a tree per space.
type naiveMap map[byte]*naiveTree

func (m naiveMap) put(l Leaf) {
	l.Key = bytes.Clone(l.Key)
	m[l.Key[0]] = m[l.Key[0]].put(l)
}

func (m naiveMap) root() []byte {
	text := "graven/state/v1\n"
	for s := range 256 {
		if t := m[byte(s)]; t != nil {
			text += fmt.Sprintf("%02x %s %d %d\n", s, base64.StdEncoding.EncodeToString(t.hash()), t.live(), t.height())
		}
	}
	h := sha256.Sum256([]byte(text))
	return h[:]
}

// model is the flat truth: the newest version of each key.
type model map[string]Leaf

func (m model) keys() []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// write returns the next version of a key, as a log would hold it, and keeps
// it.
func (m model) write(key []byte, seq uint64, live bool) Leaf {
	old, ok := m[string(key)]
	l := Leaf{Key: bytes.Clone(key), Seq: seq, N: old.N + 1, Created: old.Created, Live: live}
	if !ok {
		l.Created = seq
	}
	l.Digest = sha256.Sum256(fmt.Appendf(nil, "%x %d %t", key, seq, live))
	m[string(key)] = l
	return l
}
