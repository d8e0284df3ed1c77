package graven

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"graven/internal/block"
	"graven/internal/index"
	"graven/internal/journal"
	"graven/internal/statestore"
	"graven/internal/tilestore"
	"graven/merkle"
	"graven/record"
)

// station is a part of a vault that a scrubber goes through.
type station struct {
	name, next string
	// walk goes on behind what was done of it. The error is ctx's.
	walk func(s *scrubber, ctx context.Context, after string) error
}

// stations are all parts, in order. What no station reads: wal/, which holds what log
// and blocks hold too as soon as it is published; README.txt and rescue.sh, which other
// versions of the program write differently; pages of the state that are no longer
// part of the newest set, which nothing reads. A check looks at the texts.
func stations() []station {
	return []station{
		{"log", "tile", (*scrubber).log},
		{"tile", "sealed", (*scrubber).tile},
		{"sealed", "open", (*scrubber).sealed},
		{"open", "index", (*scrubber).open},
		{"index", "state", (*scrubber).index},
		{"state", "meta", (*scrubber).pages},
		{"meta", "", (*scrubber).meta},
	}
}

// log holds the lines of the log against the tree: 256 at a time, which are one tile,
// and that tile against them. All that the log says hangs on the tree's root, which is
// signed: chain of commits, their hashes and roots are as they were when the lines are.
func (s *scrubber) log(ctx context.Context, after string) error {
	from, _ := strconv.ParseUint(after, 10, 64)
	for {
		size := s.v.published.Load()
		if from >= size {
			return nil
		}
		to := min(from-from%merkle.TileWidth+merkle.TileWidth, size)
		n := s.stretch(from, to)
		from = to
		s.did(strconv.FormatUint(from, 10))
		if err := s.spend(ctx, n); err != nil {
			return err
		}
	}
}

// stretch looks at the records [from, to) of one tile, and returns the bytes read.
func (s *scrubber) stretch(from, to uint64) (n int) {
	v := s.v
	lines, err := v.journal.Lines(from, to)
	if err != nil {
		s.readError(err)
		return 0
	}
	leaves := make([]merkle.Hash, len(lines))
	for i, line := range lines {
		leaves[i] = merkle.LeafHash(line)
		n += len(line) + 1
	}
	tree := treeHashes{v.View()}
	if to-from < merkle.TileWidth {
		s.compareLeaves(tree, from, leaves)
		return n
	}
	id := merkle.TileID{Level: 0, Index: from / merkle.TileWidth}
	top, err := tree.ReadHashes([]merkle.NodeID{{Level: merkle.TileHeight, Index: id.Index}})
	if err != nil {
		s.readError(err)
		return n
	}
	if merkle.RootOf(leaves) != top[0] {
		s.compareLeaves(tree, from, leaves)
		return n
	}
	s.compareTile(id, leaves)
	return n + merkle.TileTextSize
}

// compareLeaves names the lines that are not what the tree says.
func (s *scrubber) compareLeaves(tree treeHashes, from uint64, leaves []merkle.Hash) {
	ids := make([]merkle.NodeID, len(leaves))
	for i := range ids {
		ids[i].Index = from + uint64(i)
	}
	want, err := tree.ReadHashes(ids)
	if err != nil {
		first, _ := s.v.journal.Position(from)
		s.find(Finding{File: logName(first.File), Offset: first.Offset, What: fmt.Sprintf(
			"records %d to %d: one or more of them, and the tile that would say which, are not what the tree says: %v", from, from+uint64(len(leaves))-1, err)})
		return
	}
	for i, leaf := range leaves {
		if leaf != want[i] {
			at, _ := s.v.journal.Position(from + uint64(i))
			s.find(Finding{File: logName(at.File), Offset: at.Offset, What: fmt.Sprintf(
				"record %d: its line has leaf hash %v, the tree says %v; bring the file back from a copy", from+uint64(i), leaf, want[i])})
		}
	}
}

// compareTile holds a tile's file against its hashes, which are good, and makes it
// again if it differs.
func (s *scrubber) compareTile(id merkle.TileID, hashes []merkle.Hash) {
	v := s.v
	text, err := v.dir.ReadFile(id.Path(), merkle.TileTextSize)
	if err == nil && bytes.Equal(text, merkle.TileText(hashes)) {
		return
	}
	f := Finding{File: id.Path(), Offset: -1, What: "it is not what the log gives"}
	if errors.Is(err, fs.ErrNotExist) {
		f.What = "it is missing"
	} else if err != nil {
		f.What = err.Error()
	}
	if err := v.tiles.Rebuild(id, v.leaves); err != nil {
		f.What += "; it could not be made again: " + err.Error()
	} else {
		f.Mended = true
	}
	s.find(f)
}

// tile holds the tiles above those of the log's lines against the tree.
func (s *scrubber) tile(ctx context.Context, after string) error {
	for level := uint8(1); merkle.FullTiles(level, s.v.published.Load()) > 0; level++ {
		for n := range merkle.FullTiles(level, s.v.published.Load()) {
			id := merkle.TileID{Level: level, Index: n}
			name := fmt.Sprintf("%02d/%016d", level, n)
			if name <= after {
				continue
			}
			ids := make([]merkle.NodeID, merkle.TileWidth)
			for i := range ids {
				ids[i] = merkle.NodeID{Level: level * merkle.TileHeight, Index: n*merkle.TileWidth + uint64(i)}
			}
			hashes, err := treeHashes{s.v.View()}.ReadHashes(ids)
			if err != nil {
				s.readError(err)
			} else {
				s.compareTile(id, hashes)
			}
			s.did(name)
			if err := s.spend(ctx, merkle.TileTextSize); err != nil {
				return err
			}
		}
	}
	return nil
}

// sealed hashes the sealed blocks: each has its hash for a name.
func (s *scrubber) sealed(ctx context.Context, after string) error {
	return s.each(ctx, s.v.blocks.SealedNames(), after, func(name string) (found []Finding) {
		got, err := s.hash(ctx, name)
		want, isID := record.ParseID("sha256:" + strings.TrimSuffix(path.Base(name), ".blk"))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return []Finding{{File: name, Offset: -1, What: "it is missing; bring it back from a copy"}}
		case err != nil:
			return []Finding{{File: name, Offset: -1, What: err.Error()}}
		case got == want && isID == nil:
			return nil
		}
		err = s.v.blocks.CheckNamed(want, func(d *block.Damage) {
			found = append(found, Finding{File: d.File, Offset: d.Offset, What: damageText(d)})
		})
		if err != nil || len(found) == 0 {
			found = append(found, Finding{File: name, Offset: -1, What: fmt.Sprintf("its SHA-256 is %v, which is not its name; bring it back from a copy", got)})
		}
		return found
	})
}

// hash is the SHA-256 of a file.
func (s *scrubber) hash(ctx context.Context, name string) (id record.ID, err error) {
	f, err := s.v.dir.Open(name)
	if err != nil {
		return id, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return id, err
	}
	h := sha256.New()
	_, err = io.CopyBuffer(h, io.NewSectionReader(throttledReader{f, s, ctx}, 0, size), make([]byte, scrubQuantum))
	return record.ID(h.Sum(nil)), err
}

// open hashes the artifacts of open blocks, and the second copies that healing made.
func (s *scrubber) open(ctx context.Context, after string) error {
	blocks := map[string]block.OpenBlock{}
	for _, b := range s.v.blocks.OpenBlocks() {
		blocks[fmt.Sprintf("blocks/open/%s-%08d.blk", b.Class, b.Number)] = b
	}
	names := []string{"blocks/healed"}
	for name := range blocks {
		names = append(names, name)
	}
	slices.Sort(names)
	return s.each(ctx, names, after, func(name string) (found []Finding) {
		report := func(d *block.Damage) {
			found = append(found, Finding{File: d.File, Offset: d.Offset, What: damageText(d)})
		}
		if name == "blocks/healed" {
			s.v.blocks.CheckHealed(report)
			return found
		}
		b := blocks[name]
		s.v.blocks.CheckOpenThrough(b.Class, b.Number, b.Count, func(r io.ReaderAt) io.ReaderAt {
			return throttledReader{r, s, ctx}
		}, report)
		still := slices.ContainsFunc(s.v.blocks.OpenBlocks(), func(o block.OpenBlock) bool { return o.Class == b.Class && o.Number == b.Number })
		if !still {
			return nil // it was sealed meanwhile, and verified for that
		}
		return found
	})
}

// throttledReader are reads, waited for.
type throttledReader struct {
	io.ReaderAt
	s   *scrubber
	ctx context.Context // of one station
}

// ReadAt implements [io.ReaderAt].
func (t throttledReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := t.ReaderAt.ReadAt(p, off)
	if cut := t.s.spend(t.ctx, n); cut != nil {
		return n, cut
	}
	return n, err
}

// index reads the segments of the index.
func (s *scrubber) index(ctx context.Context, after string) error {
	names, err := s.v.index.Files(noLimit)
	if err != nil {
		s.readError(err)
		return ctx.Err()
	}
	return s.each(ctx, names, after, func(name string) (found []Finding) {
		var damage error
		err := s.v.index.CheckFile(name, func(f index.File) index.File { return throttledFile{throttledReader{f, s, ctx}, f} },
			func(err error) error {
				if damage == nil {
					damage = err // one is enough to make it again
				}
				return nil
			})
		if damage != nil {
			return []Finding{s.mend(damage)}
		}
		if err != nil {
			return []Finding{{File: name, Offset: -1, What: err.Error()}}
		}
		return nil
	})
}

// throttledFile is a file of the index whose reads are waited for.
type throttledFile struct {
	throttledReader
	f index.File
}

// Size implements [index.File].
func (t throttledFile) Size() (int64, error) { return t.f.Size() }

// mend condemns a derived file that is damaged, and says what becomes of it.
func (s *scrubber) mend(damage error) Finding {
	f := Finding{Offset: -1, What: damage.Error()}
	var x *index.DamageError
	var p *statestore.DamageError
	switch {
	case errors.As(damage, &x):
		f.File, f.Offset, f.What = x.File, x.Offset, fmt.Sprintf("wanted %s, got %s", x.Want, x.Got)
	case errors.As(damage, &p):
		f.File, f.Offset, f.What = p.File, int64(p.Offset), fmt.Sprintf("wanted %s, got %s", p.Wanted, p.Got)
	}
	if x != nil && s.v.mendIndex(x) {
		f.Mended = true
		return f
	}
	s.v.condemn(damage)
	f.What += "; it is derived, and the next open for writing makes it again"
	return f
}

// pages reads the newest set of pages of the state.
func (s *scrubber) pages(ctx context.Context, _ string) error {
	found := s.v.pages.CheckThrough(ctx, func(n int) { _ = s.spend(ctx, n) })
	if ctx.Err() != nil {
		return ctx.Err() // half of it says nothing
	}
	for _, err := range found {
		s.find(s.mend(err))
	}
	return nil
}

// each looks at the files behind what was done, in order.
func (s *scrubber) each(ctx context.Context, names []string, after string, look func(name string) []Finding) error {
	for _, name := range names {
		if name <= after {
			continue
		}
		found := look(name)
		if ctx.Err() != nil {
			return ctx.Err() // what was cut off says nothing
		}
		for _, f := range found {
			s.find(f)
		}
		s.did(name)
	}
	return nil
}

// readError makes a finding of an error that reading lines or hashes gave.
func (s *scrubber) readError(err error) {
	f := Finding{Offset: -1, What: err.Error()}
	var j *journal.DamageError
	var t *tilestore.DamageError
	var x *index.DamageError
	switch {
	case errors.As(err, &x):
		f = s.mend(err)
	case errors.As(err, &j):
		f.File, f.Offset, f.What = j.File, j.Offset, fmt.Sprintf("wanted %s, got %s; bring the file back from a copy", j.Want, j.Got)
	case errors.As(err, &t):
		f.File, f.Offset, f.What = t.File, t.Offset, fmt.Sprintf("wanted %s, got %s", t.Wanted, t.Got)
	}
	s.find(f)
}
