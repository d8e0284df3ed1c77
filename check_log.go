package graven

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"graven/internal/journal"
	"graven/merkle"
	"graven/record"
)

// logChecker reads the log files line by line and goes on behind damage. Who
// is right when two things disagree is decided by a third: a line and its tile
// by the hash over the group's lines in the commit; if that says the line is
// bad, the tile's leaf hash takes its place, and the roots of later commits show
// that it was the original one.
type logChecker struct {
	*checker
	cursor journal.Cursor // where the next line belongs
	astray bool           // a line stood elsewhere
	tree   merkle.Tree
	height uint64
	prev   merkle.Hash
	prevAt journal.Pos // of the commit line with leaf hash prev
	lost   bool        // the tree can no longer be followed

	doubt    *doubt      // the newest commit line that its tile contradicts
	group    []lineAt    // since the last commit
	sums     []hash.Hash // SHA-256 from the group's start, and from behind each suspect line
	size     uint64      // behind the last commit
	tile     []merkle.Hash
	tileOf   uint64
	tileRead bool
}

// lineAt is what is kept of a line until its commit comes.
type lineAt struct {
	at      journal.Pos
	leaf    merkle.Hash
	tile    merkle.Hash // what the tile says, if hasTile
	hasTile bool
}

func (c *checker) checkLog() error {
	l := &logChecker{checker: c, cursor: journal.NewCursor(journal.Options{FileRecords: c.genesis.FileRecords, FileBytes: c.genesis.FileBytes})}
	l.begin()
	if err := c.openTiles(); err != nil {
		return err
	}
	entries, err := c.dir.ReadDir("log")
	if err != nil {
		c.find("log", -1, "%v", err)
		return nil
	}
	for _, e := range entries {
		if e.Name == "current" {
			continue
		}
		first, ok := journal.ParseName(e.Name)
		if !ok || !e.Regular {
			c.find("log/"+e.Name, -1, "it is no log file")
			continue
		}
		if c.reached() {
			continue
		}
		if seq := c.lines; first != seq {
			c.find("log/"+e.Name, -1, "it begins with record %d, wanted %d: records are missing, or the file is not from here", first, seq)
			l.lost = true
			break
		}
		if err := l.file("log/"+e.Name, first); err != nil {
			return err
		}
	}
	l.finish()
	return nil
}

func (l *logChecker) begin() {
	l.group = l.group[:0]
	l.sums = []hash.Hash{sha256.New()}
}

// file reads one log file to its end.
func (l *logChecker) file(name string, first uint64) error {
	f, err := l.dir.Open(name)
	if err != nil {
		l.find(name, -1, "%v", err)
		return nil
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	r := bufio.NewReaderSize(io.NewSectionReader(f, 0, size), record.MaxLine+1)
	for off := int64(0); !l.reached(); {
		line, err := r.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			if len(line) > 0 {
				l.find(name, off, "%d bytes that do not end in a line feed", len(line))
			}
			return nil
		case errors.Is(err, bufio.ErrBufferFull):
			l.find(name, off, "a line of more than %d bytes; the rest of the file is not read", record.MaxLine)
			l.lost = true
			return nil
		case err != nil:
			l.find(name, off, "%v", err)
			l.lost = true
			return nil
		}
		l.line(line, journal.Pos{File: first, Offset: off})
		off += int64(len(line))
		if err := l.read(int64(len(line))); err != nil {
			return err
		}
	}
	return nil
}

// reached reports whether all records were read that can no longer change.
func (c *checker) reached() bool { return c.lines >= c.limit }

// line takes one line, with its line feed.
func (l *logChecker) line(text []byte, at journal.Pos) {
	line := text[:len(text)-1]
	seq := l.lines
	it := lineAt{at: at, leaf: merkle.LeafHash(line)}
	it.tile, it.hasTile = l.tileLeaf(seq)
	if want := l.cursor.Pos(); want != at && !l.astray && l.broken == noLimit {
		l.astray = true
		l.find(logName(at.File), at.Offset, "record %d: it belongs at offset %d of %s; files end with the group that fills them", seq, want.Offset, logName(want.File))
	}
	l.cursor.Add(int64(len(text)), 1)
	if seq%merkle.TileWidth == 0 {
		l.grid = append(l.grid, at)
	}
	l.lines++
	l.lastFile = at.File
	l.group = append(l.group, it)
	rec, err := record.Parse(line)
	if err == nil && rec.Seq != seq {
		err = fmt.Errorf("it says seq %d, wanted %d", rec.Seq, seq)
	}
	if err != nil {
		l.find(logName(at.File), at.Offset, "record %d: %v", seq, err)
		l.bad(seq)
	}
	if err == nil {
		if b, ok := rec.Body.(*record.Block); ok {
			l.blocks = append(l.blocks, *b)
		}
		if commit, ok := rec.Body.(*record.Commit); ok {
			l.commit(commit, seq, at)
			return
		}
	}
	for _, s := range l.sums {
		s.Write(text)
	}
	if err != nil || it.hasTile && it.tile != it.leaf {
		// It may have been the commit of the group before.
		l.sums = append(l.sums, sha256.New())
	}
}

// commit holds a commit line against its group and ends it.
func (l *logChecker) commit(c *record.Commit, seq uint64, at journal.Pos) {
	whole := false
	for _, s := range l.sums {
		whole = whole || record.ID(s.Sum(nil)) == c.Lines
	}
	l.cursor.EndGroup()
	last := len(l.group) - 1
	if !whole {
		l.badGroup(c, seq)
	}
	for i, it := range l.group[:last] {
		l.grow(it, !whole, seq-uint64(last-i))
	}
	name := logName(at.File)
	suspect := func(what string, args ...any) {
		l.find(name, at.Offset, "record %d: "+what, append([]any{seq}, args...)...)
		l.bad(seq)
	}
	if c.Height != l.height {
		suspect("commit of height %d, wanted %d", c.Height, l.height)
		l.height = c.Height
	}
	if c.Prev != nil && *c.Prev != l.prev && !l.lost && (l.doubt == nil || l.doubt.it.tile != *c.Prev) {
		suspect("it follows the commit with leaf hash %v, the log holds %v (%s, offset %d); one of the two is not what was written", *c.Prev, l.prev, logName(l.prevAt.File), l.prevAt.Offset)
	}
	rootWrong := !l.lost && l.tree.Root() != c.Root && !l.resolve(c)
	if rootWrong {
		suspect("the tree of the %d records before it has root %v, it says %v; later roots are not checked", seq, l.tree.Root(), c.Root)
		l.lost = true
	}
	// A commit line is not covered by its own sums: where it disagrees with its
	// tile and with the log before it, it is the one that changed.
	it := l.group[last]
	if !rootWrong {
		l.doubt = nil // the root has the line as it is
	}
	if it.hasTile && it.tile != it.leaf {
		l.doubt = &doubt{it: it, seq: seq, before: l.tree}
	}
	l.prev = l.grow(it, !whole || rootWrong, seq)
	l.prevAt = at
	l.height++
	l.size = seq + 1
	l.checker.commit(commitAt{seq: seq, at: at})
	l.begin()
}

// doubt is a commit line that its tile contradicts, until a later root decides.
type doubt struct {
	it     lineAt
	seq    uint64
	before merkle.Tree   // without it
	later  []merkle.Hash // leaves behind it
}

// resolve tries whether a root becomes right when a doubtful commit line is
// taken to be the one that its tile knows. If so it was the line that changed.
func (l *logChecker) resolve(c *record.Commit) bool {
	if l.doubt == nil {
		return false
	}
	d := *l.doubt
	l.doubt = nil
	tree := d.before
	tree.Append(d.it.tile)
	fixed := tree.Root()
	for _, leaf := range d.later {
		tree.Append(leaf)
	}
	if tree.Root() != c.Root {
		return false
	}
	l.patched[d.seq] = d.it.tile
	if d.seq+1 == l.head.Size {
		l.headRoot = fixed
	}
	l.tree = tree
	l.find(logName(d.it.at.File), d.it.at.Offset, "record %d: its line has leaf hash %v, the tree says %v", d.seq, d.it.leaf, d.it.tile)
	l.bad(d.seq)
	return true
}

// grow lets the tree take a leaf: the tile's if the line is bad and the tile
// has one. It returns the leaf.
func (l *logChecker) grow(it lineAt, bad bool, seq uint64) merkle.Hash {
	leaf := it.leaf
	if bad && it.hasTile && it.tile != it.leaf {
		leaf = it.tile
		l.find(logName(it.at.File), it.at.Offset, "record %d: its line has leaf hash %v, the tree says %v", seq, it.leaf, it.tile)
		l.bad(seq)
	}
	l.tree.Append(leaf)
	if l.doubt != nil && l.doubt.seq < seq {
		l.doubt.later = append(l.doubt.later, leaf)
	}
	if leaf != it.leaf {
		l.patched[seq] = leaf
	}
	if l.grown++; l.grown == l.head.Size {
		l.headRoot = l.tree.Root()
	}
	return leaf
}

// badGroup reports a group whose lines are not those of its commit. The lines
// themselves are named where tiles know them.
func (l *logChecker) badGroup(c *record.Commit, seq uint64) {
	first := l.group[0]
	l.find(logName(first.at.File), first.at.Offset, "records %d to %d: their lines do not have the SHA-256 %v that their commit says", l.size, seq-1, c.Lines)
	l.bad(l.size)
	for _, it := range l.group[:len(l.group)-1] {
		if !it.hasTile {
			l.lost = true // nothing says what the leaf was
		}
	}
}

// bad notes that a record is not what was committed.
func (l *logChecker) bad(seq uint64) { l.broken = min(l.broken, seq) }

// finish says what stands behind the last commit.
func (l *logChecker) finish() {
	// A published size ends with a commit line.
	if n := len(l.group); n > 0 && (l.limit == noLimit || l.lines == l.limit) {
		l.find(logName(l.group[0].at.File), l.group[0].at.Offset, "%d lines behind the last commit line; they are part of no commit", n)
	}
	l.report.Records = l.lines
	l.report.Size = l.size
	l.treeLost = l.lost
	if !l.lost {
		l.report.Root = l.tree.Root()
	}
}

// tileLeaf is what the level-0 tile on disk says of a record, if there is one that parses.
func (l *logChecker) tileLeaf(seq uint64) (merkle.Hash, bool) {
	n := seq / merkle.TileWidth
	if !l.tileRead || l.tileOf != n {
		l.tileRead, l.tileOf, l.tile = true, n, nil
		if text, err := l.dir.ReadFile(merkle.TileID{Level: 0, Index: n}.Path(), 1<<16); err == nil {
			l.tile, _ = merkle.ParseTileText(text)
		}
	}
	if i := seq % merkle.TileWidth; i < uint64(len(l.tile)) {
		return l.tile[i], true
	}
	return merkle.Hash{}, false
}
