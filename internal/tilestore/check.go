package tilestore

import (
	"errors"
	"fmt"
	"path"

	"graven/merkle"
)

// Kind says what a finding of Check is about.
type Kind uint8

const (
	// Damaged: a full tile's file is missing or is not what the leaves give.
	Damaged Kind = iota
	// Beyond: a tile's file that the tree is too small for.
	Beyond
	// Foreign: something in the folder that is no tile. It is never touched.
	Foreign
)

func (k Kind) String() string {
	switch k {
	case Damaged:
		return "damaged"
	case Beyond:
		return "beyond"
	case Foreign:
		return "foreign"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

var (
	errBeyond  = errors.New("a tile beyond the end of the tree")
	errForeign = errors.New("not a tile")
)

// Finding is something that is not as it should be.
type Finding struct {
	Kind   Kind
	File   string        // relative to the vault's folder
	Tile   merkle.TileID // unless the kind is Foreign
	Err    error         // what is wrong
	Mended bool          // it was put right; false if Check only looks
	Failed error         // why it could not be put right
}

// Check compares every file in the folder with the tree of the present size,
// computed anew from all its leaf hashes, and reports each difference. Tiles
// that wait for Flush are no findings. With mend it writes damaged tiles again; a
// finding is then reported after the attempt. Those beyond stay: they are what
// is left of a longer log.
//
// The error says why not everything could be checked: [ErrLeaves] if the leaf
// hashes are not those appended, which makes all findings void (with mend,
// nothing was changed), or the error of leaves or of the disk.
//
// Flush and Rebuild wait meanwhile; appending and reading do not.
func (s *Store) Check(leaves Leaves, mend bool, report func(Finding)) error {
	s.disk.Lock()
	defer s.disk.Unlock()
	c := &checker{store: s, r: s.Snapshot(), mend: mend, report: report}
	if err := c.compareAll(leaves); err != nil {
		return err
	}
	if err := c.strangers(); err != nil {
		return err
	}
	for level := range c.bad { // lower levels first: higher ones are made from them
		for _, b := range c.bad[level] {
			if err := c.mendTile(b, leaves); err != nil {
				return err
			}
		}
	}
	return nil
}

// checker is one run of Check.
type checker struct {
	store  *Store
	r      *Reader
	mend   bool
	report func(Finding)
	bad    [levels][]badTile // to mend
}

// badTile is a tile to mend, and what it must fold to.
type badTile struct {
	id   merkle.TileID
	root merkle.Hash
}

// compareAll grows the tree from its leaves and holds each tile that becomes
// full against its file.
func (c *checker) compareAll(leaves Leaves) error {
	var tree merkle.Tree
	var edge [levels][merkle.TileWidth]merkle.Hash // the last tile of each level
	var failed error
	add := func(id merkle.NodeID, h merkle.Hash) {
		level := id.Level / merkle.TileHeight
		if id.Level%merkle.TileHeight != 0 {
			return
		}
		edge[level][id.Index%merkle.TileWidth] = h
		if level > 0 && failed == nil { // a tile of the level below is full, and folds to h
			below := merkle.TileID{Level: level - 1, Index: id.Index}
			failed = c.compareTile(below, edge[level-1][:], h)
		}
	}
	for from := uint64(0); from < c.r.size; from += MaxLeaves {
		hashes, err := leaves.read(from, min(from+MaxLeaves, c.r.size))
		if err != nil {
			return err
		}
		for _, h := range hashes {
			tree.AppendNodes(h, add)
		}
		if failed != nil {
			return failed
		}
	}
	if got := tree.Root(); got != c.r.root {
		return fmt.Errorf("%w: size %d: got %v, wanted %v", ErrLeaves, c.r.size, got, c.r.root)
	}
	return nil
}

// compareTile looks at one file. Damage is noted, an unreadable disk returned.
func (c *checker) compareTile(id merkle.TileID, hashes []merkle.Hash, root merkle.Hash) error {
	s := c.store
	s.mu.Lock()
	known := s.onDisk[id.Level].has(id.Index)
	s.mu.Unlock()
	if !known {
		// It waits for Flush, unless something else has its name.
		if there, err := s.dir.Exists(tileName(id)); err != nil || !there {
			return err
		}
	}
	err := s.compare(id, merkle.TileText(hashes))
	if err == nil || !errors.Is(err, ErrDamaged) {
		return err
	}
	if c.mend {
		c.bad[id.Level] = append(c.bad[id.Level], badTile{id, root})
	} else {
		c.report(Finding{Kind: Damaged, File: s.file(id), Tile: id, Err: err})
	}
	return nil
}

// mendTile writes a damaged tile again.
func (c *checker) mendTile(b badTile, leaves Leaves) error {
	s := c.store
	t := c.r.inMemory(b.id)
	if t == nil {
		var err error
		if t, err = s.remake(b.id, b.root, leaves); err != nil {
			return err
		}
	}
	damage := s.compare(b.id, merkle.TileText(t.hashes()))
	if damage == nil {
		return nil // a tile above or below brought it back
	}
	failed := s.mend(b.id, t)
	c.report(Finding{
		Kind: Damaged, File: s.file(b.id), Tile: b.id,
		Err: damage, Mended: failed == nil, Failed: failed,
	})
	return nil
}

// strangers reports what has no place in the folder.
func (c *checker) strangers() error {
	s := c.store
	return walk(s.dir, func(f found) {
		switch {
		case !f.isTile:
			c.report(Finding{Kind: Foreign, File: path.Join(s.dir.Path(), f.name), Err: errForeign})
		case f.id.Width(c.r.size) < merkle.TileWidth:
			c.report(Finding{Kind: Beyond, File: s.file(f.id), Tile: f.id, Err: errBeyond})
		}
	})
}
