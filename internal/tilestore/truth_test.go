package tilestore

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"graven/internal/fsx"
	"graven/merkle"
)

// truth is a log's leaf hashes and, computed by the definition of a tile, the
// hashes of every level.
type truth struct {
	levels [][]merkle.Hash
}

func newTruth(n int, salt uint64) *truth {
	leaves := make([]merkle.Hash, n)
	for i := range leaves {
		leaves[i] = merkle.LeafHash(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, salt), uint64(i)))
	}
	t := &truth{levels: [][]merkle.Hash{leaves}}
	for n /= merkle.TileWidth; n > 0; n /= merkle.TileWidth {
		below, level := t.levels[len(t.levels)-1], make([]merkle.Hash, n)
		for i := range level {
			level[i] = foldTile(below[i*merkle.TileWidth : (i+1)*merkle.TileWidth])
		}
		t.levels = append(t.levels, level)
	}
	return t
}

// foldTile hashes pairs until one is left.
func foldTile(hashes []merkle.Hash) merkle.Hash {
	for hashes = slices.Clone(hashes); len(hashes) > 1; hashes = hashes[:len(hashes)/2] {
		for i := range len(hashes) / 2 {
			hashes[i] = merkle.NodeHash(hashes[2*i], hashes[2*i+1])
		}
	}
	return hashes[0]
}

func (t *truth) leaves() []merkle.Hash { return t.levels[0] }

// tile returns the first width hashes of a tile.
func (t *truth) tile(id merkle.TileID, width int) []merkle.Hash {
	return t.levels[id.Level][id.Index*merkle.TileWidth:][:width]
}

// read is a Leaves function.
func (t *truth) read(from, to uint64) ([]merkle.Hash, error) {
	if to-from > MaxLeaves {
		return nil, errors.New("asked for too many leaves at once")
	}
	return t.leaves()[from:to], nil
}

// fullTiles lists the full tiles of a tree of the given size.
func fullTiles(size int) []merkle.TileID {
	var ids []merkle.TileID
	for level := range uint8(levels) {
		for n := range merkle.FullTiles(level, uint64(size)) {
			ids = append(ids, merkle.TileID{Level: level, Index: n})
		}
	}
	return ids
}

func id(level uint8, index uint64) merkle.TileID { return merkle.TileID{Level: level, Index: index} }

func tileDir(d fsx.Disk) fsx.Dir { return fsx.NewDir(d, fsx.VaultRules()).Sub("tile") }

func mustOpen(t testing.TB, d fsx.Disk) *Store {
	t.Helper()
	s, err := Open(tileDir(d))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustFlush(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if n := s.Pending(); n != 0 {
		t.Fatalf("%d tiles are pending after Flush", n)
	}
}

// filled returns a disk with the full tiles of the leaves, and the store.
func filled(t testing.TB, tr *truth) (*fsx.Mem, *Store) {
	t.Helper()
	disk := fsx.NewMem()
	s := mustOpen(t, disk)
	s.Append(tr.leaves())
	mustFlush(t, s)
	return disk, s
}

// reopen opens a store anew, with an empty cache, and feeds it the leaves.
func reopen(t testing.TB, d fsx.Disk, leaves []merkle.Hash) *Store {
	t.Helper()
	s := mustOpen(t, d)
	s.Append(leaves)
	if name := s.Beyond(); name != "" {
		t.Fatalf("%s is beyond the end", name)
	}
	return s
}

// put writes a file at a tile's place, whatever was there.
func put(t testing.TB, d fsx.Disk, id merkle.TileID, data []byte) {
	t.Helper()
	dir := tileDir(d)
	if err := dir.Discard(tileName(id)); err != nil {
		t.Fatal(err)
	}
	if err := dir.PublishBytes(tileName(id), data); err != nil {
		t.Fatal(err)
	}
}

func text(t testing.TB, d fsx.Disk, id merkle.TileID) []byte {
	t.Helper()
	data, err := tileDir(d).ReadFile(tileName(id), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// wantFiles checks that exactly the full tiles of size are on disk, right to
// the byte.
func wantFiles(t testing.TB, d fsx.Disk, tr *truth, size int) {
	t.Helper()
	want := map[string]merkle.TileID{}
	for _, id := range fullTiles(size) {
		want[tileName(id)] = id
	}
	err := walk(tileDir(d), func(f found) {
		id, ok := want[f.name]
		if !ok {
			t.Errorf("size %d: %s is on disk", size, f.name)
			return
		}
		delete(want, f.name)
		if string(text(t, d, id)) != string(merkle.TileText(tr.tile(id, merkle.TileWidth))) {
			t.Errorf("size %d: %s has the wrong content", size, f.name)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range want {
		t.Errorf("size %d: %s is not on disk", size, name)
	}
}

// wantReader checks root, tiles and proofs of a reader.
func wantReader(t testing.TB, r *Reader, tr *truth, size int) {
	t.Helper()
	leaves := tr.leaves()[:size]
	root := merkle.RootOf(leaves)
	if r.Size() != uint64(size) || r.Root() != root {
		t.Fatalf("reader of size %d has size %d, root %v, want %v", size, r.Size(), r.Root(), root)
	}
	if size == 0 {
		return
	}
	for _, index := range []int{0, size / 3, size / 2, size - 1} {
		path, err := merkle.InclusionProof(uint64(index), uint64(size), r)
		if err != nil {
			t.Fatalf("size %d: %v", size, err)
		}
		if err := merkle.VerifyInclusion(uint64(index), uint64(size), leaves[index], root, path); err != nil {
			t.Fatal(err)
		}
		old := uint64(index + 1)
		proof, err := merkle.ConsistencyProof(old, uint64(size), r)
		if err != nil {
			t.Fatalf("size %d: %v", size, err)
		}
		if err := merkle.VerifyConsistency(old, uint64(size), merkle.RootOf(leaves[:old]), root, proof); err != nil {
			t.Fatal(err)
		}
		for level := range tr.levels {
			tile := id(uint8(level), uint64(index)>>(8*level)/merkle.TileWidth)
			width := tile.Width(uint64(size))
			for _, w := range []int{1, width / 2, width - 1, width, width + 1} {
				got, err := r.Tile(tile, w)
				if w < 1 || w > width {
					if !errors.Is(err, merkle.ErrRange) {
						t.Fatalf("size %d: %s of width %d: %v", size, tile.Path(), w, err)
					}
					continue
				}
				if err != nil || !slices.Equal(got, tr.tile(tile, w)) {
					t.Fatalf("size %d: %s of width %d is wrong: %v", size, tile.Path(), w, err)
				}
			}
		}
	}
}
