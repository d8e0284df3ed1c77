package state

import (
	"fmt"

	"graven/merkle"
)

// PageWriter takes pages, one after another. It is declared here, by its
// consumer.
type PageWriter interface {
	// WritePage writes a page and says where it lies: in a file whose number is
	// greater than those of all files so far. It keeps no reference to payload.
	WritePage(payload []byte) (Ref, error)
}

// Root is a [Map] that stands on written pages: what a file says of it.
type Root struct {
	Spaces []SpacePlace // those that have keys, in order
	Keys   uint64       // as Map.Len
	Root   merkle.Hash  // as Map.Root
}

// SpacePlace is the tree of one space, and where its root page lies.
type SpacePlace struct {
	SpaceLine
	Place
}

// Bytes returns the bytes of all pages.
func (r Root) Bytes() uint64 {
	var n uint64
	for i := range r.Spaces {
		n += r.Spaces[i].Bytes
	}
	return n
}

// Oldest returns the least number of a file in which a page lies; false if
// there is no page.
func (r Root) Oldest() (uint32, bool) {
	oldest := uint32(NoFile)
	for i := range r.Spaces {
		oldest = min(oldest, r.Spaces[i].Oldest)
	}
	return oldest, len(r.Spaces) > 0
}

// Open returns the map that stands on written pages, in constant time: nothing
// is read. A nil cache gives it one of its own. The error wraps [ErrPage] if the
// lines are impossible or do not give the state root.
func Open(root Root, src Source, cache *Cache) (Map, error) {
	if cache == nil {
		cache = NewCache(0)
	}
	v := &version{size: root.Keys, root: root.Root, pages: &pages{src, cache}}
	lines := make([]SpaceLine, len(root.Spaces))
	for i, s := range root.Spaces {
		lines[i] = s.SpaceLine
		if s.Live > maxLive || s.Len == 0 || s.Len > MaxPage || s.Oldest > s.File || s.File == NoFile || s.Bytes < uint64(s.Len) {
			return Map{}, fmt.Errorf("%w: space %02x: %d live keys on a %v, %d bytes from file %d on", ErrPage, s.Space, s.Live, s.Ref, s.Bytes, s.Oldest)
		}
		tree := child{node: &stub{s.Place}, hash: s.Hash, meta: s.Live<<liveShift | uint64(s.Height)}
		v.roots = append(v.roots, spaceRoot{s.Space, tree})
	}
	if err := checkSpaces(lines, -1); err != nil {
		return Map{}, fmt.Errorf("%w: %w", ErrPage, err)
	}
	if got := StateRoot(lines); got != root.Root {
		return Map{}, fmt.Errorf("%w: the spaces give state root %s, wanted %s", ErrPage, got, root.Root)
	}
	return Map{v}, nil
}

// Source returns what the map's pages are read from; nil if it was never opened
// on any. A map has the Source of the one that it was made from.
func (m Map) Source() Source {
	if p := m.pages(); p != nil {
		return p.src
	}
	return nil
}

// NoFile is greater than the number of any file.
const NoFile = 1<<32 - 1

// Again says which pages that lie in a file [Map.Write] writes again, so that the file
// can go.
type Again struct {
	Below uint32 // all in files with a lesser number
	Along uint32 // those of leaves in files with a lesser number, if the page right above is written
	From  uint32 // all in files with this number or a greater one; NoFile: none
}

// Write writes all pages of the map that do not lie in a file, and others again. Of
// those that stay it reads only what lies above one that does not. The Root is for
// [Open], the Moves are for maps that were made from this one meanwhile.
//
// It may run beside readers and Edits of the map. After an error, that of w or
// of the Source, what was written is worth nothing.
func (m Map) Write(w PageWriter, again Again) (Root, *Moves, error) {
	root := Root{Keys: m.Len(), Root: m.Root()}
	mw := mapWriter{pages: m.pages(), to: w, again: again, moves: newMoves(m)}
	lines := m.Spaces()
	for i := range lines {
		place, err := mw.page(&m.v.roots[i].tree)
		if err != nil {
			return Root{}, nil, err
		}
		root.Spaces = append(root.Spaces, SpacePlace{lines[i], place})
	}
	return root, mw.moves, nil
}

// mapWriter is one run of Write.
type mapWriter struct {
	pages *pages // nil: the map has none
	to    PageWriter
	again Again
	moves *Moves
	spare []*pageText // to be used again
	raw   []byte      // room for a page that is moved
	// passed is the page of each band that was passed last: what is packed beside a way
	// lies on one and the same, with pages of lower bands between.
	passed [MaxHeight/bandHeights + 1]struct {
		ref   Ref
		page  *page
		spare page // its memory, if it was not in the cache
	}
}

// page writes the page of which c is the root, after those below it, and says
// where it lies. A subtree that may stay where it is is not looked at; in any
// other, at least its root page is written: it lies in the newest file of the
// subtree, and says where what is below it lies.
func (w *mapWriter) page(c *child) (Place, error) {
	if at, i, away := c.place(); away && i == 0 {
		leaves := floorOf(c.height()) == 0
		if at.Oldest >= w.again.Below && at.File < w.again.From && (!leaves || at.File >= w.again.Along) {
			return at, nil
		}
		if leaves {
			return w.moved(at)
		}
	}
	t := new(pageText)
	if n := len(w.spare); n > 0 {
		t, w.spare = w.spare[n-1], w.spare[:n-1]
	}
	defer func() { w.spare = append(w.spare, t) }()
	t.begin(c.height())
	w.moves.page(t)
	if err := w.part(t, c); err != nil {
		return Place{}, err
	}
	text := t.finish()
	ref, err := w.to.WritePage(text)
	if err != nil {
		return Place{}, err
	}
	t.at.Place = Place{ref, min(ref.File, t.oldest), t.bytes + uint64(ref.Len)}
	return t.at.Place, nil
}

// moved writes a page of leaves again: all is the same but its place.
func (w *mapWriter) moved(old Place) (Place, error) {
	text, err := w.pages.src.ReadPage(old.Ref, w.raw[:0])
	if err != nil {
		return Place{}, fmt.Errorf("state: %v: %w", old.Ref, err)
	}
	w.raw = text
	ref, err := w.to.WritePage(text)
	if err != nil {
		return Place{}, err
	}
	now := Place{ref, ref.File, uint64(ref.Len)}
	w.moves.whole(old.Ref, now)
	return now, nil
}

// part adds the node of c to the page t. A page may have come to lie in the
// middle of the band: then its nodes become part of this one. What is packed is
// copied.
func (w *mapWriter) part(t *pageText, c *child) error {
	switch n := c.node.(type) {
	case *leaf:
		t.leaf(n)
		t.nodes++
	case *pair:
		w.moves.node(&n.written, t)
		t.leaf(&n.a)
		t.leaf(&n.b)
		t.nodes++
	case *inner:
		w.moves.node(&n.written, t)
		t.lean(n.left.height(), n.right.height())
		t.nodes++
		if err := w.child(t, &n.left); err != nil {
			return err
		}
		if t.floor > 0 {
			t.words = n.route.appendTo(t.words)
			t.endWord()
		}
		return w.child(t, &n.right)
	default:
		at, i, _ := c.place()
		last := &w.passed[t.floor/bandHeights]
		if last.page == nil || last.ref != at.Ref {
			last.page = nil // its memory may be written to
			p, err := w.pages.peek(at.Ref, &last.spare)
			if err != nil {
				return err
			}
			last.ref, last.page = at.Ref, p
		}
		p := last.page
		if err := p.has(c, i, at.Ref); err != nil {
			return err
		}
		first := t.nodes
		err := w.copy(t, p, i)
		w.moves.subtree(at.Ref, i, t, first)
		return err
	}
	return nil
}

// copy adds node i of a page in memory to the page t.
func (w *mapWriter) copy(t *pageText, p *page, i uint8) error {
	s := &p.spots[i]
	t.nodes++
	if s.height < 2 {
		t.packed(p, i)
		return nil
	}
	left, right := p.child(i+1), p.child(s.right)
	t.lean(left.height(), right.height())
	if err := w.copied(t, p, i+1, &left); err != nil {
		return err
	}
	if t.floor > 0 {
		t.words = p.appendWord(t.words, s.word)
		t.endWord()
	}
	return w.copied(t, p, s.right, &right)
}

// copied adds node i of a page in memory, which is c, as a child to the page t.
func (w *mapWriter) copied(t *pageText, p *page, i uint8, c *child) error {
	if c.height() < t.floor {
		return w.child(t, c)
	}
	return w.copy(t, p, i)
}

// child adds a child to the page t: its node, or where that lies.
func (w *mapWriter) child(t *pageText, c *child) error {
	if c.height() >= t.floor {
		return w.part(t, c)
	}
	t.nodes++
	p, err := w.page(c)
	if err == nil {
		t.below(c, p)
	}
	return err
}
