package tilestore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"graven/internal/fsx"
	"graven/internal/fsx/osfs"
	"graven/merkle"
)

// resume opens a store and resumes it like a careful caller: an error also if
// the root is not the one it knows.
func resume(d fsx.Disk, tr *truth, size int, root merkle.Hash) (*Store, error) {
	s, err := Open(tileDir(d))
	if err != nil {
		return nil, err
	}
	if err := s.Resume(uint64(size), tr.leaves()[size-size%256:size]); err != nil {
		return nil, err
	}
	if tree := s.Tree(); tree.Root() != root {
		return nil, errRoot
	}
	return s, nil
}

var errRoot = errors.New("wrong root")

// resumeSizes are 0 to max in steps that become wider, and all edges.
func resumeSizes(maximum int) []int {
	sizes := []int{0, 1, 2, 254, 255, 256, 257, 511, 512, 513, 65_279, 65_280, 65_281, 65_535, 65_536, 65_537, 65_791, 65_792, 65_793, 65_920}
	for n := 3; n < maximum; n += 1 + n/7 {
		sizes = append(sizes, n)
	}
	return append(sizes, maximum)
}

func TestResumeIsAppendFromTheStart(t *testing.T) {
	const total = 70_000
	tr := newTruth(total, 31)
	disk, _ := filled(t, tr)
	roots := rootsOf(tr)
	rng := rand.New(rand.NewPCG(31, 31))
	for _, size := range resumeSizes(total) {
		s, err := resume(disk, tr, size, roots[size])
		if err != nil {
			t.Fatalf("size %d: %v", size, err)
		}
		want := mustOpen(t, disk)
		want.Append(tr.leaves()[:size])
		compareStores(t, s, want, rng)
		if id, ok := s.Missing(); ok {
			t.Errorf("size %d: %s is missing", size, id.Path())
		}
		if (s.Beyond() == "") != (want.Beyond() == "") {
			t.Errorf("size %d: beyond is %q", size, s.Beyond())
		}
		// A reader keeps its size while both go on.
		before := s.Snapshot()
		more := min(total, size+1+rng.IntN(1000))
		s.Append(tr.leaves()[size:more])
		want.Append(tr.leaves()[size:more])
		compareStores(t, s, want, rng)
		if before.Root() != roots[size] || before.Size() != uint64(size) {
			t.Errorf("size %d: a reader changed", size)
		}
	}
}

// compareStores compares trees and random hashes, more of them near the edge.
func compareStores(t *testing.T, got, want *Store, rng *rand.Rand) {
	t.Helper()
	size := want.Size()
	a, b := got.Tree(), want.Tree()
	if a.Root() != b.Root() || a.Size() != b.Size() {
		t.Fatalf("size %d: got root %v of size %d, want %v", size, a.Root(), a.Size(), b.Root())
	}
	if got.Pending() != want.Pending() {
		t.Errorf("size %d: %d tiles pending, want %d", size, got.Pending(), want.Pending())
	}
	r, q := got.Snapshot(), want.Snapshot()
	if size == 0 {
		return
	}
	ids := make([]merkle.NodeID, 20)
	for i := range ids {
		level := uint8(rng.IntN(17))
		for size>>level == 0 {
			level--
		}
		ids[i] = merkle.NodeID{Level: level, Index: rng.Uint64N(size >> level)}
		if i%2 == 0 { // near the edge
			ids[i].Index = size>>level - 1 - rng.Uint64N(min(5, size>>level))
		}
	}
	have, err := r.ReadHashes(ids)
	wanted, err2 := q.ReadHashes(ids)
	if err != nil || err2 != nil {
		t.Fatalf("size %d: %v, %v", size, err, err2)
	}
	for i := range ids {
		if have[i] != wanted[i] {
			t.Errorf("size %d: node %v differs", size, ids[i])
		}
	}
}

// rootsOf returns the root of every size.
func rootsOf(tr *truth) []merkle.Hash {
	var tree merkle.Tree
	roots := []merkle.Hash{tree.Root()}
	for _, leaf := range tr.leaves() {
		tree.Append(leaf)
		roots = append(roots, tree.Root())
	}
	return roots
}

// TestResumeThenFlush resumes at what is on disk, appends, and writes the files
// that appending from the start writes.
func TestResumeThenFlush(t *testing.T) {
	const total = 66_100
	tr := newTruth(total, 32)
	roots := rootsOf(tr)
	for _, size := range []int{0, 1, 255, 256, 300, 65_279, 65_536, 65_537, 65_800} {
		disk := fsx.NewMem()
		s := mustOpen(t, disk)
		s.Append(tr.leaves()[:size])
		mustFlush(t, s)
		s, err := resume(disk, tr, size, roots[size])
		if err != nil {
			t.Fatalf("size %d: %v", size, err)
		}
		wantReader(t, s.Snapshot(), tr, size)
		for at := size; at < total; {
			n := min(1+at/3, total-at)
			s.Append(tr.leaves()[at : at+n])
			if at += n; at%2 == 0 {
				mustFlush(t, s)
			}
		}
		wantReader(t, s.Snapshot(), tr, total)
		mustFlush(t, s)
		wantFiles(t, disk, tr, total)
		if again, err := resume(disk, tr, total, roots[total]); err != nil || again.Pending() != 0 {
			t.Errorf("size %d: resumed again: %v", size, err)
		}
	}
}

// TestResumeFindsDamage loses and spoils each tile that is needed, and says
// that only these are read.
func TestResumeFindsDamage(t *testing.T) {
	const size = 256*256 + 3*256 + 40
	tr := newTruth(size, 33)
	root := merkle.RootOf(tr.leaves())
	disk, _ := filled(t, tr)
	needed := ResumeTiles(size)
	if len(needed) != 3+1 {
		t.Fatalf("needed: %v", needed)
	}
	for _, tile := range needed {
		good := text(t, disk, tile)
		for name, bad := range damages(good, text(t, disk, id(0, 7))) {
			put(t, disk, tile, bad)
			wantNoResume(t, disk, tr, root, tile, name)
		}
		if err := tileDir(disk).Discard(tileName(tile)); err != nil {
			t.Fatal(err)
		}
		wantNoResume(t, disk, tr, root, tile, "missing")
		put(t, disk, tile, good)
	}
	if _, err := resume(disk, tr, size, root); err != nil {
		t.Fatal(err)
	}
}

// wantNoResume resumes, which must fail, appends from the start, and mends as
// ResumeTiles says.
func wantNoResume(t *testing.T, disk *fsx.Mem, tr *truth, root merkle.Hash, bad merkle.TileID, name string) {
	t.Helper()
	size := uint64(len(tr.leaves()))
	s := mustOpen(t, disk)
	err := s.Resume(size, tr.leaves()[size-size%256:])
	tree := s.Tree()
	switch {
	case err != nil:
		var damage *DamageError
		if !errors.As(err, &damage) || damage.Tile != bad || s.Size() != 0 {
			t.Fatalf("%s, %s: size %d, %v", bad.Path(), name, s.Size(), err)
		}
	case tree.Root() == root:
		t.Fatalf("%s, %s: not noticed", bad.Path(), name)
	default:
		if s.cache.Len() > 0 {
			t.Errorf("%s, %s: tiles that nobody verified are in the cache", bad.Path(), name)
		}
		s = mustOpen(t, disk)
	}
	s.Append(tr.leaves())
	r := s.Snapshot()
	mended := 0
	for _, tile := range ResumeTiles(size) {
		var damage *DamageError
		if _, err := r.Tile(tile, 256); errors.As(err, &damage) {
			mended++
			err = s.Rebuild(damage.Tile, tr.read)
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if name != "missing" && mended != 1 { // a missing one is in memory still
		t.Errorf("%s, %s: %d tiles were mended", bad.Path(), name, mended)
	}
	mustFlush(t, s)
	if _, err := resume(disk, tr, int(size), root); err != nil {
		t.Errorf("%s, %s: mended, then %v", bad.Path(), name, err)
	}
}

// TestDamageLeftOfTheEdge is found when it is read, and mended, as ever.
func TestDamageLeftOfTheEdge(t *testing.T) {
	const size = 256*256 + 3*256 + 40
	tr := newTruth(size, 34)
	disk, _ := filled(t, tr)
	root := merkle.RootOf(tr.leaves())
	bad := text(t, disk, id(0, 9))
	bad[1000] ^= 1
	put(t, disk, id(0, 9), bad)
	for _, lost := range []merkle.TileID{id(0, 20), id(0, 100)} {
		if err := tileDir(disk).Discard(tileName(lost)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := resume(disk, tr, size, root)
	if err != nil {
		t.Fatal(err)
	}
	var damage *DamageError
	for _, tile := range []merkle.TileID{id(0, 9), id(0, 20)} {
		if _, err := s.Snapshot().Tile(tile, 256); !errors.As(err, &damage) || damage.Tile != tile {
			t.Errorf("%s: %v", tile.Path(), err)
		}
	}
	if err := s.Rebuild(id(0, 9), tr.read); err != nil {
		t.Fatal(err)
	}
	var missing []merkle.TileID
	for tile, ok := s.Missing(); ok; tile, ok = s.Missing() {
		missing = append(missing, tile)
		if err := s.Rebuild(tile, tr.read); err != nil {
			t.Fatal(err)
		}
	}
	if fmt.Sprint(missing) != fmt.Sprint([]merkle.TileID{id(0, 20), id(0, 100)}) {
		t.Errorf("missing: %v", missing)
	}
	wantFiles(t, disk, tr, size)
}

// TestMissingBesideTheEdge loses the last full tile where none above is partial.
func TestMissingBesideTheEdge(t *testing.T) {
	const size = 65_536 + 10
	tr := newTruth(size, 37)
	disk, _ := filled(t, tr)
	if err := tileDir(disk).Discard(tileName(id(0, 255))); err != nil {
		t.Fatal(err)
	}
	s, err := resume(disk, tr, size, merkle.RootOf(tr.leaves()))
	if err != nil {
		t.Fatal(err)
	}
	if tile, ok := s.Missing(); !ok || tile != id(0, 255) {
		t.Errorf("missing: %v %v", tile, ok)
	}
}

func TestResumeRefusals(t *testing.T) {
	tr := newTruth(700, 35)
	disk, _ := filled(t, tr)
	s := mustOpen(t, disk)
	for _, n := range []int{0, 1, 187, 189, 700} {
		if err := s.Resume(700, tr.leaves()[700-n:]); !errors.Is(err, ErrResume) {
			t.Errorf("%d leaves: %v", n, err)
		}
	}
	for _, size := range []uint64{1 << 20, 1<<63 + 77<<8, 1<<64 - 256} { // no such tiles
		if err := s.Resume(size, nil); !errors.Is(err, ErrDamaged) {
			t.Errorf("size %d: %v", size, err)
		}
	}
	failing := mustOpen(t, fsx.Fault(disk, func(c fsx.Call) error {
		if c.Op == "read" {
			return fsx.ErrIO
		}
		return nil
	}))
	if err := failing.Resume(700, tr.leaves()[512:]); !errors.Is(err, fsx.ErrIO) || errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
	s.Append(tr.leaves()[:1])
	if err := s.Resume(700, tr.leaves()[512:]); !errors.Is(err, ErrResume) {
		t.Error(err)
	}
	s.Append(tr.leaves()[1:])
	wantReader(t, s.Snapshot(), tr, 700)
}

// BenchmarkResume reads the most that two levels can ask for, on a real disk.
func BenchmarkResume(b *testing.B) {
	const size = 256*255 + 255
	tr := newTruth(size, 36)
	disk, err := osfs.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer disk.Close()
	s := mustOpen(b, disk)
	s.Append(tr.leaves())
	mustFlush(b, s)
	root := merkle.RootOf(tr.leaves())
	for b.Loop() {
		if _, err := resume(disk, tr, size, root); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(ResumeTiles(size))), "tiles")
	b.ReportMetric(float64(len(ResumeTiles(20_000_000))), "tiles-at-20M")
}
