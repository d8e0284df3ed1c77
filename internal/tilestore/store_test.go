package tilestore

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"graven/internal/fsx"
	"graven/merkle"
)

func TestTilesOfManySizes(t *testing.T) {
	tr := newTruth(70_000, 1)
	rng := rand.New(rand.NewPCG(1, 1))
	for _, size := range []int{0, 1, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 70_000} {
		disk := fsx.NewMem()
		s := mustOpen(t, disk)
		for at := 0; at < size; {
			n := min(1+rng.IntN(5000), size-at)
			s.Append(tr.leaves()[at : at+n])
			at += n
			if rng.IntN(4) == 0 {
				mustFlush(t, s)
			}
		}
		wantReader(t, s.Snapshot(), tr, size)
		mustFlush(t, s)
		wantFiles(t, disk, tr, size)
		wantReader(t, s.Snapshot(), tr, size)
		again := reopen(t, disk, tr.leaves()[:size])
		if n := again.Pending(); n != 0 {
			t.Errorf("size %d: %d tiles are pending after opening a complete folder", size, n)
		}
		wantReader(t, again.Snapshot(), tr, size)
	}
}

func TestTilesWithLongNames(t *testing.T) {
	const size = 256*1001 + 3 // tile/0/x001/000
	tr := newTruth(size, 2)
	disk, s := filled(t, tr)
	if !bytes.Equal(text(t, disk, id(0, 1000)), merkle.TileText(tr.tile(id(0, 1000), 256))) {
		t.Error("tile/0/x001/000 is wrong")
	}
	wantReader(t, s.Snapshot(), tr, size)
	if again := reopen(t, disk, tr.leaves()); again.Pending() != 0 {
		t.Error("tiles in deeper folders are not found at open")
	}
}

func TestReadersKeepTheirSize(t *testing.T) {
	tr := newTruth(3000, 3)
	s := mustOpen(t, fsx.NewMem())
	readers := map[int]*Reader{}
	for at := 0; at <= 3000; at += 125 {
		readers[at] = s.Snapshot()
		s.Append(tr.leaves()[at:min(at+125, 3000)])
		if at%500 == 0 {
			mustFlush(t, s)
		}
	}
	for size, r := range readers {
		wantReader(t, r, tr, size)
	}
}

// A reader may be made while the log is still being fed at open.
func TestReadersMadeWhileOpening(t *testing.T) {
	tr := newTruth(2000, 17)
	disk, _ := filled(t, tr)
	s := mustOpen(t, disk)
	readers := map[int]*Reader{}
	for at := 0; at < 2000; at += 50 {
		readers[at] = s.Snapshot()
		s.Append(tr.leaves()[at : at+50])
	}
	for size, r := range readers {
		wantReader(t, r, tr, size)
	}
}

func TestReadersRefuseWhatTheyDoNotHave(t *testing.T) {
	_, s := filled(t, newTruth(700, 4))
	r := s.Snapshot()
	for _, tt := range []struct {
		tile  merkle.TileID
		width int
	}{
		{id(0, 0), 0},
		{id(0, 0), -1},
		{id(0, 0), 257},
		{id(0, 2), 189},
		{id(0, 2), 256},
		{id(0, 3), 1},
		{id(1, 0), 3},
		{id(2, 0), 1},
		{id(7, 0), 1},
		{id(8, 0), 1},
		{id(255, 0), 1},
		{id(0, math.MaxUint64), 1},
	} {
		if _, err := r.Tile(tt.tile, tt.width); !errors.Is(err, merkle.ErrRange) {
			t.Errorf("%s of width %d: %v", tt.tile.Path(), tt.width, err)
		}
	}
	for _, node := range []merkle.NodeID{{Level: 0, Index: 700}, {Level: 9, Index: 1}, {Level: 63}, {Level: 64}, {Level: 255}} {
		if _, err := r.ReadHashes([]merkle.NodeID{node}); !errors.Is(err, merkle.ErrRange) {
			t.Errorf("node %v: %v", node, err)
		}
	}
}

// A returned slice cannot be grown into hashes of later sizes.
func TestTilesAreClipped(t *testing.T) {
	tr := newTruth(100, 5)
	s := mustOpen(t, fsx.NewMem())
	s.Append(tr.leaves()[:10])
	hashes, err := s.Snapshot().Tile(id(0, 0), 5)
	if err != nil {
		t.Fatal(err)
	}
	_ = append(hashes, merkle.Hash{1})
	wantReader(t, s.Snapshot(), tr, 10)
}

func TestConcurrentReaders(t *testing.T) {
	const size = 5000
	tr := newTruth(size, 6)
	s := mustOpen(t, fsx.NewMem())
	roots := make([]merkle.Hash, size+1)
	var tree merkle.Tree
	for n := range roots {
		roots[n] = tree.Root()
		if n < size {
			tree.Append(tr.leaves()[n])
		}
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	for g := range 3 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 6))
			for more := true; more; {
				select {
				case <-done:
					more = false
				default:
				}
				r := s.Snapshot()
				n := r.Size()
				if r.Root() != roots[n] {
					t.Errorf("wrong root at size %d", n)
				}
				if n == 0 {
					continue
				}
				index := rng.Uint64N(n)
				path, err := merkle.InclusionProof(index, n, r)
				if err == nil {
					err = merkle.VerifyInclusion(index, n, tr.leaves()[index], r.Root(), path)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		for more := true; more; {
			select {
			case <-done:
				more = false
			default:
			}
			if err := s.Flush(); err != nil {
				t.Error(err)
			}
		}
	})
	for at := 0; at < size; at += 50 {
		s.Append(tr.leaves()[at : at+50])
	}
	close(done)
	wg.Wait()
}

// Opening a complete folder reads directories only, each once, and Flush then
// touches nothing.
func TestOpenListsOnceAndReadsNothing(t *testing.T) {
	tr := newTruth(66_000, 7)
	disk, _ := filled(t, tr)
	calls := map[string]int{}
	counted := fsx.Fault(disk, func(c fsx.Call) error {
		calls[c.Op+" "+c.Name]++
		if c.Op != "readdir" {
			return errors.New("no such call is expected")
		}
		return nil
	})
	s := mustOpen(t, counted)
	s.Append(tr.leaves())
	if n := s.Pending(); n != 0 {
		t.Fatalf("%d tiles are pending", n)
	}
	mustFlush(t, s)
	if name := s.Beyond(); name != "" {
		t.Errorf("%s is beyond the end", name)
	}
	for call, n := range calls {
		if n != 1 {
			t.Errorf("%s: %d times", call, n)
		}
	}
	if len(calls) != 3 { // tile, tile/0, tile/1
		t.Errorf("calls: %v", calls)
	}
	for level := range s.edge {
		if n := len(s.edge[level].tiles); n > 1 {
			t.Errorf("level %d holds %d tiles in memory", level, n)
		}
	}
}

func TestOpenOfAMissingFolder(t *testing.T) {
	s := mustOpen(t, fsx.NewMem())
	mustFlush(t, s)
	if name := s.Beyond(); name != "" {
		t.Errorf("%s is beyond the end", name)
	}
	if s.Size() != 0 || s.Snapshot().Root() != merkle.EmptyRoot() {
		t.Error("an empty store is not empty")
	}
}

func TestOpenPassesOnAFailingDisk(t *testing.T) {
	disk, _ := filled(t, newTruth(300, 8))
	failing := fsx.Fault(disk, func(c fsx.Call) error {
		if c.Op == "readdir" {
			return fsx.ErrIO
		}
		return nil
	})
	if _, err := Open(tileDir(failing)); !errors.Is(err, fsx.ErrIO) {
		t.Errorf("got %v, want ErrIO", err)
	}
}

func TestMissingTilesAreWrittenAtOpen(t *testing.T) {
	const size = 66_000
	tr := newTruth(size, 9)
	for _, missing := range [][]merkle.TileID{
		{id(0, 0)},
		{id(0, 100), id(0, 101), id(0, 256)},
		{id(1, 0)},
		{id(0, 256), id(1, 0)},
		fullTiles(size),
	} {
		disk, _ := filled(t, tr)
		for _, id := range missing {
			if err := tileDir(disk).Discard(tileName(id)); err != nil {
				t.Fatal(err)
			}
		}
		s := reopen(t, disk, tr.leaves())
		if n := s.Pending(); n != len(missing) {
			t.Errorf("%d tiles are pending, want %d", n, len(missing))
		}
		wantReader(t, s.Snapshot(), tr, size)
		mustFlush(t, s)
		wantFiles(t, disk, tr, size)
		for level := range s.edge {
			if n := len(s.edge[level].tiles); n > 1 {
				t.Errorf("level %d holds %d tiles in memory after Flush", level, n)
			}
		}
	}
}

func TestTilesOfACutLogStay(t *testing.T) {
	tr := newTruth(66_000, 10)
	disk, _ := filled(t, tr)
	for _, kept := range []int{0, 255, 256, 700, 65_535, 65_536, 65_791} {
		s := mustOpen(t, disk)
		s.Append(tr.leaves()[:kept])
		if s.Beyond() == "" {
			t.Errorf("nothing is beyond %d records", kept)
		}
	}
	for _, kept := range []int{65_792, 65_900, 66_000} {
		reopen(t, disk, tr.leaves()[:kept])
	}
	wantFiles(t, disk, tr, 66_000)
}

func TestFlushAndFilesThatAreThereAlready(t *testing.T) {
	tr, other := newTruth(1100, 12), newTruth(1100, 13)
	disk := fsx.NewMem()
	s := mustOpen(t, disk)
	s.Append(tr.leaves())
	put(t, disk, id(0, 0), merkle.TileText(tr.tile(id(0, 0), 256))) // equal
	put(t, disk, id(0, 1), merkle.TileText(other.tile(id(0, 1), 256)))
	err := s.Flush()
	var damage *DamageError
	if !errors.Is(err, ErrDamaged) || !errors.As(err, &damage) || damage.Tile != id(0, 1) || damage.File != "tile/0/001" {
		t.Fatalf("got %v, want the damage of tile/0/001", err)
	}
	if n := s.Pending(); n != 1 {
		t.Errorf("%d tiles are pending, want the damaged one", n)
	}
	if !bytes.Equal(text(t, disk, id(0, 1)), merkle.TileText(other.tile(id(0, 1), 256))) {
		t.Error("Flush changed a file that was there")
	}
	wantReader(t, s.Snapshot(), tr, 1100) // from memory
	if err := s.Rebuild(id(0, 1), nil); err != nil {
		t.Fatal(err)
	}
	mustFlush(t, s)
	wantFiles(t, disk, tr, 1100)
	wantReader(t, s.Snapshot(), tr, 1100)
}

// Whatever single call fails, and however often from then on, nothing is lost.
func TestFlushSurvivesEveryFailingCall(t *testing.T) {
	tr := newTruth(1100, 14)
	for _, onwards := range []bool{false, true} {
		for n := 0; ; n++ {
			disk := fsx.NewMem()
			opened, calls, failed := false, 0, 0
			s := mustOpen(t, fsx.Fault(disk, func(c fsx.Call) error {
				if !opened {
					return nil
				}
				calls++
				if calls-1 != n && !(onwards && calls > n) {
					return nil
				}
				failed++
				return fsx.ErrNoSpace
			}))
			opened = true
			s.Append(tr.leaves())
			before := s.Snapshot()
			err := s.Flush()
			if failed == 0 {
				if n < 20 || err != nil {
					t.Fatalf("only %d calls were failed; %v", n, err)
				}
				break
			}
			if err == nil && s.Pending() > 0 || err != nil && !errors.Is(err, fsx.ErrNoSpace) {
				t.Fatalf("call %d: %v, %d pending", n, err, s.Pending())
			}
			wantReader(t, before, tr, 1100)
			if onwards {
				// The process ends here; another opens what is left.
				s = reopen(t, disk, tr.leaves())
			}
			mustFlush(t, s)
			wantFiles(t, disk, tr, 1100)
			wantReader(t, s.Snapshot(), tr, 1100)
		}
	}
}

// What a disk says it wrote and did not is found before memory is let go.
func TestFlushReadsBack(t *testing.T) {
	tr := newTruth(300, 15)
	disk := fsx.NewMem()
	s := mustOpen(t, lying{disk})
	s.Append(tr.leaves())
	if err := s.Flush(); !errors.Is(err, ErrDamaged) {
		t.Fatalf("got %v, want ErrDamaged", err)
	}
	if n := s.Pending(); n != 1 {
		t.Errorf("%d tiles are pending, want 1", n)
	}
}

// lying is a disk whose writes lose their last byte and say nothing.
type lying struct{ fsx.Disk }

func (l lying) Open(name string, mode fsx.Mode) (fsx.File, error) {
	f, err := l.Disk.Open(name, mode)
	return lyingFile{f}, err
}

type lyingFile struct{ fsx.File }

func (f lyingFile) WriteAt(p []byte, off int64) (int, error) {
	_, err := f.File.WriteAt(p[:len(p)-1], off)
	return len(p), err
}

func TestFlushOnAReadOnlyDisk(t *testing.T) {
	tr := newTruth(600, 16)
	s := mustOpen(t, fsx.ReadOnly(fsx.NewMem()))
	s.Append(tr.leaves())
	if err := s.Flush(); !errors.Is(err, fsx.ErrReadOnly) {
		t.Errorf("got %v, want ErrReadOnly", err)
	}
	wantReader(t, s.Snapshot(), tr, 600)
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache()
	for n := range uint64(3 * cacheTiles) {
		c.Put(id(0, n), new(tile), 1)
		c.Get(id(0, 0)) // stays because it is used
	}
	if n := c.Len(); n > cacheTiles || n < cacheTiles*9/10 {
		t.Errorf("%d tiles, want %d", n, cacheTiles)
	}
	for n, want := range map[uint64]bool{0: true, 3*cacheTiles - 1: true, 1: false} {
		if _, ok := c.Get(id(0, n)); ok != want {
			t.Errorf("tile %d is held: %v", n, ok)
		}
	}
}

func TestRunsAgainstASet(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for range 200 {
		var s runs
		set := map[uint64]bool{}
		for range 300 {
			n := rng.Uint64N(40)
			switch rng.IntN(8) {
			case 0, 1, 2:
				s.remove(n)
				delete(set, n)
			default:
				s.add(n)
				set[n] = true
			}
			for i := range uint64(41) {
				if s.has(i) != set[i] {
					t.Fatalf("has(%d) is %v: %v", i, s.has(i), s)
				}
			}
			for i, r := range s {
				if r.first >= r.end || i > 0 && s[i-1].end >= r.first {
					t.Fatalf("invariant broken: %v", s)
				}
			}
		}
	}
}

func TestWalkKnowsTilesFromOthers(t *testing.T) {
	disk := fsx.NewMem()
	dir := tileDir(disk)
	tiles := []string{"0/000", "0/999", "0/x001/000", "0/x001/x234/067", "7/000", "0/x018/x446/x744/x073/x709/x551/615"}
	others := []string{
		"README", "0/0", "0/0000", "0/000.p/1", "00/000", "8/000", "63/000", "0/x000/000", "0/x001/x000", "0/x1/000",
		"0/000x/000", "entries/000", "0/x018/x446/x744/x073/x709/x551/616", "0/x001/x001/x001/x001/x001/x001/x001/000",
	}
	for _, name := range slices.Concat(tiles, others) {
		if err := dir.PublishBytes(name, nil); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(name, err)
		}
	}
	got := map[string]bool{}
	err := walk(dir, func(f found) {
		got[f.name] = f.isTile && f.regular
		if f.isTile && f.regular && tileName(f.id) != f.name {
			t.Errorf("%s is taken for %s", f.name, f.id.Path())
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range tiles {
		if !got[name] {
			t.Errorf("%s is not taken for a tile", name)
		}
		delete(got, name)
	}
	for name, isTile := range got {
		if isTile {
			t.Errorf("%s is taken for a tile", name)
		}
	}
	if len(got) == 0 {
		t.Error("nothing else was found")
	}
}

func BenchmarkAppend(b *testing.B) {
	leaves := newTruth(4096, 1).leaves()
	s := mustOpen(b, fsx.NewMem())
	for b.Loop() {
		s.Append(leaves)
		if s.Size()%(1<<20) == 0 {
			b.StopTimer()
			s = mustOpen(b, fsx.NewMem())
			b.StartTimer()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(leaves)), "ns/leaf")
}

func BenchmarkSnapshot(b *testing.B) {
	_, s := filled(b, newTruth(66_003, 1))
	b.ReportAllocs()
	for b.Loop() {
		s.Snapshot()
	}
}

func BenchmarkInclusionProof(b *testing.B) {
	tr := newTruth(66_003, 1)
	for _, cached := range []bool{true, false} {
		b.Run(fmt.Sprintf("cached=%v", cached), func(b *testing.B) {
			disk, _ := filled(b, tr)
			s := reopen(b, disk, tr.leaves())
			r := s.Snapshot()
			b.ReportAllocs()
			for i := uint64(0); b.Loop(); i++ {
				if !cached {
					s.cache = newCache()
				}
				if _, err := merkle.InclusionProof(i%66_003, 66_003, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
