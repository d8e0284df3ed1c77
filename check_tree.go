package graven

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"graven/internal/journal"
	"graven/internal/tilestore"
	"graven/merkle"
	"graven/record"
)

// A check does not keep the leaves of the tree: for the tiles it reads the log once
// more, and takes the place of lines that are not what was committed from what the
// first reading found.

// openTiles prepares for what the first reading finds.
func (c *checker) openTiles() (err error) {
	c.patched = map[uint64]merkle.Hash{}
	if c.tiles, err = tilestore.Open(c.dir.Sub("tile")); err != nil {
		c.find("tile", -1, "%v", err)
		c.tiles, err = nil, nil
	}
	return err
}

func (c *checker) closeTiles() { c.tiles = nil }

// growTiles makes the tree of all leaves in a tilestore of its own.
func (c *checker) growTiles() error {
	if c.tiles == nil {
		return errors.New("the folder cannot be read")
	}
	for from := uint64(0); from < c.report.Size; from += tilestore.MaxLeaves {
		leaves, err := c.leaves(from, min(from+tilestore.MaxLeaves, c.report.Size))
		if err != nil {
			return err
		}
		c.tiles.Append(leaves)
	}
	return nil
}

// leaves are the leaves of the records [from, to) as the tree has them.
func (c *checker) leaves(from, to uint64) ([]merkle.Hash, error) {
	hashes := make([]merkle.Hash, 0, to-from)
	seq := from - from%merkle.TileWidth
	for seq < to {
		n, err := c.linesFrom(seq, min(to, seq-seq%merkle.TileWidth+merkle.TileWidth)-seq, func(i uint64, line []byte) {
			if seq+i < from {
				return
			}
			leaf, ok := c.patched[seq+i]
			if !ok {
				leaf = merkle.LeafHash(line)
			}
			hashes = append(hashes, leaf)
		})
		if err != nil {
			return nil, err
		}
		seq += n
	}
	return hashes, c.ctx.Err()
}

// linesFrom reads so many lines from one of the grid on; a file that ends before them
// is followed by the next.
func (c *checker) linesFrom(seq, count uint64, fn func(i uint64, line []byte)) (n uint64, err error) {
	at := c.grid[seq/merkle.TileWidth]
	for {
		before := n
		if n, err = c.linesOf(at, n, count, fn); err != nil || n == count {
			return n, err
		}
		if n == before && at.Offset == 0 {
			return n, fmt.Errorf("%w: %s: it has fewer lines than it had", ErrDamaged, logName(at.File))
		}
		at = journal.Pos{File: seq + n}
	}
}

// linesOf reads lines of one file, to its end or up to a count.
func (c *checker) linesOf(at journal.Pos, n, count uint64, fn func(i uint64, line []byte)) (uint64, error) {
	f, err := c.dir.Open(logName(at.File))
	if err != nil {
		return n, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return n, err
	}
	r := bufio.NewReaderSize(io.NewSectionReader(f, at.Offset, size-at.Offset), record.MaxLine+1)
	for n < count {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		fn(n, line[:len(line)-1])
		n++
	}
	return n, nil
}
