package state

import "graven/merkle"

// Map is one version of the state: all keys of all spaces. The zero value is
// empty. A Map is a small value that pins its version: copying it is cheap, and
// it never changes. It is safe for concurrent use.
//
// A Map stands in memory or, since [Open], on pages. What has to read a page
// returns an error if that fails: the one of the [Source], or one that wraps
// [ErrPage].
type Map struct {
	v *version // nil: empty
}

// version is what a Map pins. It never changes.
type version struct {
	roots []spaceRoot // spaces that have keys, in order
	size  uint64      // leaves, deleted ones too
	root  merkle.Hash // the state root
	pages *pages      // that its nodes may lie on; nil: there are none
	load              // what it has beside them
}

// spaceRoot is the tree of one space.
type spaceRoot struct {
	space byte
	tree  child
}

// pages returns what the map's pages are read through; nil if it has none.
func (m Map) pages() *pages {
	if m.v == nil {
		return nil
	}
	return m.v.pages
}

// load returns what the map has that is on no page yet.
func (m Map) load() load {
	if m.v == nil {
		return load{}
	}
	return m.v.load
}

// Weight estimates, rather too high, the bytes of memory that the map holds and
// a map opened on pages would not: nodes made since then.
func (m Map) Weight() int64 { return m.load().weight }

// Puts is how many puts made the map out of one that was opened on pages, or out of
// the empty one.
func (m Map) Puts() int { return m.load().puts }

func (m Map) roots() []spaceRoot {
	if m.v == nil {
		return nil
	}
	return m.v.roots
}

// find returns the tree of a space, or nil.
func find(roots []spaceRoot, space byte) *child {
	for i := range roots {
		if roots[i].space == space {
			return &roots[i].tree
		}
	}
	return nil
}

// Root returns the state root.
func (m Map) Root() merkle.Hash {
	if m.v == nil {
		return StateRoot(nil)
	}
	return m.v.root
}

// Len returns the number of keys that ever had a version.
func (m Map) Len() uint64 {
	if m.v == nil {
		return 0
	}
	return m.v.size
}

// Live returns the number of keys whose newest version is live.
func (m Map) Live() uint64 {
	var n uint64
	for _, r := range m.roots() {
		n += r.tree.live()
	}
	return n
}

// Get returns the newest version of a stored key; false if it never had one.
// The caller owns the leaf. An error says that a page could not be read.
func (m Map) Get(key []byte) (Leaf, bool, error) { return m.pages().find(m.roots(), key) }

func (p *pages) find(roots []spaceRoot, key []byte) (Leaf, bool, error) {
	if len(key) == 0 {
		return Leaf{}, false, nil
	}
	tree := find(roots, key[0])
	if tree == nil {
		return Leaf{}, false, nil
	}
	return p.get(tree, key)
}

// Spaces returns the lines of the spaces that have keys, in order. The caller
// owns them.
func (m Map) Spaces() []SpaceLine {
	return spaceLines(m.roots(), -1)
}

// spaceLines returns the lines of all spaces except one; -1: of all.
func spaceLines(roots []spaceRoot, except int) []SpaceLine {
	var lines []SpaceLine
	for i := range roots {
		if r := &roots[i]; int(r.space) != except {
			lines = append(lines, SpaceLine{Space: r.space, Hash: r.tree.hash, Live: r.tree.live(), Height: r.tree.height()})
		}
	}
	return lines
}
