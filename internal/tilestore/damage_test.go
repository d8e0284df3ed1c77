package tilestore

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"graven/internal/fsx"
	"graven/merkle"
)

// damages are ways in which a tile's file can be wrong.
func damages(good, other []byte) map[string][]byte {
	edit := func(fn func([]byte) []byte) []byte { return fn(bytes.Clone(good)) }
	return map[string][]byte{
		"empty":             {},
		"short":             good[:len(good)-1],
		"long":              edit(func(b []byte) []byte { return append(b, '\n') }),
		"zeros":             make([]byte, len(good)),
		"another tile":      other,
		"binary form":       make([]byte, 8192),
		"two lines swapped": edit(func(b []byte) []byte { copy(b, good[45:90]); copy(b[45:], good[:45]); return b }),
		"a bit":             edit(func(b []byte) []byte { b[5000] ^= 1; return b }),
		"first byte":        edit(func(b []byte) []byte { b[0] ^= 1; return b }),
		"last hash":         edit(func(b []byte) []byte { b[len(b)-10] ^= 1; return b }),
	}
}

func TestDamagedTilesAreRefusedAndMended(t *testing.T) {
	testDamages(t, 1400, id(0, 3))
	testDamages(t, 66_000, id(1, 0))
}

func testDamages(t *testing.T, size int, tiles ...merkle.TileID) {
	tr := newTruth(size, 20)
	disk, _ := filled(t, tr)
	for _, tile := range tiles {
		good := text(t, disk, tile)
		bad := damages(good, text(t, disk, id(0, 4)))
		bad["missing"] = nil
		for name, data := range bad {
			if tile.Level > 0 && name != "missing" && name != "another tile" && name != "a bit" {
				continue // as slow as the tree is large
			}
			put(t, disk, tile, data)
			if name == "missing" {
				if err := tileDir(disk).Discard(tileName(tile)); err != nil {
					t.Fatal(err)
				}
			}
			s := mustOpen(t, disk)
			file := tile.Path()
			if name == "missing" { // it gets lost after it was listed
				s.onDisk[tile.Level].add(tile.Index)
			}
			s.Append(tr.leaves())
			r := s.Snapshot()
			_, err := r.Tile(tile, 256)
			var damage *DamageError
			if !errors.As(err, &damage) || damage.Tile != tile || damage.File != file || !strings.Contains(err.Error(), file) {
				t.Fatalf("%s, %s: got %v, want damage of it", file, name, err)
			}
			// A leaf below is not readable either if the tile above is damaged.
			if _, err := merkle.InclusionProof(3*256+7, uint64(size), r); !errors.As(err, &damage) || damage.Tile != tile {
				t.Fatalf("%s, %s: a proof through it: %v", file, name, err)
			}
			if err := s.Rebuild(damage.Tile, tr.read); err != nil {
				t.Fatalf("%s, %s: %v", file, name, err)
			}
			wantReader(t, r, tr, size) // the reader from before
			if !bytes.Equal(text(t, disk, tile), good) {
				t.Fatalf("%s, %s: rebuilt to something else", file, name)
			}
		}
	}
	wantFiles(t, disk, tr, size)
}

// No byte of a tile can change without being noticed.
func TestEveryByteOfATileIsChecked(t *testing.T) {
	tr := newTruth(256, 21)
	disk, _ := filled(t, tr)
	good := text(t, disk, id(0, 0))
	rng := rand.New(rand.NewPCG(21, 21))
	for at := rng.IntN(20); at < len(good); at += 1 + rng.IntN(40) {
		bad := bytes.Clone(good)
		bad[at] ^= 1 << rng.IntN(8)
		put(t, disk, id(0, 0), bad)
		s := reopen(t, disk, tr.leaves())
		if _, err := s.Snapshot().Tile(id(0, 0), 1); !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d: %v", at, err)
		}
	}
}

// A disk that fails is not damage: nothing needs mending.
func TestReadErrorsAreNotDamage(t *testing.T) {
	tr := newTruth(600, 22)
	disk, _ := filled(t, tr)
	fail := true
	s := mustOpen(t, fsx.Fault(disk, func(c fsx.Call) error {
		if c.Op == "read" && fail {
			return fsx.ErrIO
		}
		return nil
	}))
	s.Append(tr.leaves())
	r := s.Snapshot()
	_, err := r.Tile(id(0, 0), 1)
	if !errors.Is(err, fsx.ErrIO) || errors.Is(err, ErrDamaged) {
		t.Errorf("got %v, want ErrIO only", err)
	}
	if err := s.Rebuild(id(0, 0), tr.read); !errors.Is(err, fsx.ErrIO) {
		t.Errorf("Rebuild: got %v, want ErrIO", err)
	}
	fail = false
	wantReader(t, r, tr, 600)
}

func TestATileNamedFolder(t *testing.T) {
	tr := newTruth(600, 23)
	disk := fsx.NewMem()
	if err := tileDir(disk).PublishBytes("0/001/x", []byte("x")); err != nil {
		t.Fatal(err)
	}
	s := reopen(t, disk, tr.leaves())
	if err := s.Flush(); !errors.Is(err, ErrDamaged) {
		t.Fatalf("got %v, want ErrDamaged", err)
	}
	if err := s.Rebuild(id(0, 1), tr.read); err != nil {
		t.Fatal(err)
	}
	mustFlush(t, s)
	wantFiles(t, disk, tr, 600)
}

func TestRebuildOfManyDamagedTiles(t *testing.T) {
	const size = 66_000
	tr := newTruth(size, 24)
	for _, tt := range []struct {
		name string
		bad  []merkle.TileID
		data func(good []byte) []byte
	}{
		{"both levels garbage", []merkle.TileID{id(1, 0), id(0, 3), id(0, 200)}, func([]byte) []byte { return []byte("x") }},
		// The tiles below are whole and well-formed, but not the tree's.
		{"both levels deceive", []merkle.TileID{id(1, 0), id(0, 3)}, func(b []byte) []byte {
			return append(append([]byte{}, b[45:]...), b[:45]...)
		}},
	} {
		disk, _ := filled(t, tr)
		for _, tile := range tt.bad {
			put(t, disk, tile, tt.data(text(t, disk, tile)))
		}
		s := reopen(t, disk, tr.leaves())
		// The lowest first: what stands above is mended on the way.
		if err := s.Rebuild(id(0, 3), tr.read); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		for _, tile := range []merkle.TileID{id(0, 3), id(1, 0)} {
			if !bytes.Equal(text(t, disk, tile), merkle.TileText(tr.tile(tile, 256))) {
				t.Errorf("%s: %s is not mended", tt.name, tile.Path())
			}
		}
		for _, tile := range tt.bad {
			if err := s.Rebuild(tile, tr.read); err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
		}
		wantFiles(t, disk, tr, size)
		wantReader(t, s.Snapshot(), tr, size)
	}
}

func TestRebuildRefusesWrongLeaves(t *testing.T) {
	tr, other := newTruth(66_000, 25), newTruth(66_000, 26)
	disk, _ := filled(t, tr)
	for _, tile := range []merkle.TileID{id(0, 3), id(1, 0)} {
		good := text(t, disk, tile)
		put(t, disk, tile, []byte("x"))
		if tile.Level == 1 {
			put(t, disk, id(0, 9), []byte("y")) // or it could be made from the tiles below
		}
		s := reopen(t, disk, tr.leaves())
		if err := s.Rebuild(tile, other.read); !errors.Is(err, ErrLeaves) {
			t.Errorf("%s: got %v, want ErrLeaves", tile.Path(), err)
		}
		if !bytes.Equal(text(t, disk, tile), []byte("x")) {
			t.Errorf("%s was changed", tile.Path())
		}
		put(t, disk, tile, good)
	}
	s := reopen(t, disk, tr.leaves())
	cause := errors.New("the log is damaged")
	if err := s.Rebuild(id(0, 9), func(uint64, uint64) ([]merkle.Hash, error) { return nil, cause }); !errors.Is(err, cause) {
		t.Errorf("got %v, want the error of the leaves", err)
	}
	if err := s.Rebuild(id(0, 9), func(from, to uint64) ([]merkle.Hash, error) { return tr.leaves()[from : to-1], nil }); err == nil {
		t.Error("too few leaves are accepted")
	}
	for _, tile := range []merkle.TileID{id(0, 257), id(1, 1), id(2, 0), id(8, 0), id(255, 0)} {
		if err := s.Rebuild(tile, tr.read); !errors.Is(err, merkle.ErrRange) {
			t.Errorf("%s is not full: got %v, want ErrRange", tile.Path(), err)
		}
	}
}

func findings(t *testing.T, s *Store, leaves Leaves, mend bool) map[string]Finding {
	t.Helper()
	got := map[string]Finding{}
	err := s.Check(leaves, mend, func(f Finding) {
		if _, twice := got[f.File]; twice || f.Err == nil {
			t.Errorf("finding %+v, reported before: %v", f, twice)
		}
		got[f.File] = f
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestCheckFindsAndMendsEverything(t *testing.T) {
	const size = 66_000
	tr := newTruth(size, 27)
	disk, s := filled(t, tr)
	if got := findings(t, s, tr.read, false); len(got) != 0 {
		t.Fatalf("findings in a good folder: %v", got)
	}
	want := map[string]Kind{
		"tile/0/000": Damaged, "tile/0/255": Damaged, "tile/1/000": Damaged,
		"tile/0/300": Beyond, "tile/2/000": Beyond, "tile/7/x001/000": Beyond,
		"tile/README": Foreign, "tile/0/000.p": Foreign, "tile/9": Foreign, // whole folders
	}
	put(t, disk, id(0, 0), damages(text(t, disk, id(0, 0)), nil)["a bit"])
	if err := tileDir(disk).Discard("0/255"); err != nil {
		t.Fatal(err)
	}
	put(t, disk, id(1, 0), text(t, disk, id(0, 1)))
	for name, kind := range want {
		if kind != Damaged {
			name = strings.TrimPrefix(name, "tile/")
			if name == "9" || name == "0/000.p" {
				name += "/000"
			}
			if err := tileDir(disk).PublishBytes(name, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, mend := range []bool{false, true, false} {
		got := findings(t, s, tr.read, mend)
		for file, kind := range want {
			f, ok := got[file]
			if !ok || f.Kind != kind || f.Failed != nil || f.Mended != (mend && kind == Damaged) {
				t.Errorf("mend %v: %s: found %v: %+v", mend, file, ok, f)
			}
			if kind == Damaged && !errors.Is(f.Err, ErrDamaged) {
				t.Errorf("%s: %v", file, f.Err)
			}
			if mend && kind == Damaged {
				delete(want, file)
			}
		}
		if len(got) < len(want) || !mend && len(got) != len(want) {
			t.Errorf("mend %v: %d findings: %v", mend, len(got), got)
		}
	}
	for _, id := range fullTiles(size) {
		if !bytes.Equal(text(t, disk, id), merkle.TileText(tr.tile(id, 256))) {
			t.Errorf("%s is not mended", id.Path())
		}
	}
	again := mustOpen(t, disk)
	again.Append(tr.leaves())
	wantReader(t, again.Snapshot(), tr, size)
}

func TestCheckLeavesPendingTilesAlone(t *testing.T) {
	tr := newTruth(1100, 28)
	disk := fsx.NewMem()
	s := mustOpen(t, disk)
	s.Append(tr.leaves())
	for _, mend := range []bool{false, true} {
		if got := findings(t, s, tr.read, mend); len(got) != 0 {
			t.Errorf("findings before the first Flush: %v", got)
		}
	}
	// Something else has the name of a tile that waits.
	put(t, disk, id(0, 2), []byte("x"))
	got := findings(t, s, tr.read, true)
	if f := got["tile/0/002"]; len(got) != 1 || !f.Mended {
		t.Errorf("findings: %v", got)
	}
	mustFlush(t, s)
	wantFiles(t, disk, tr, 1100)
}

func TestCheckWithWrongLeavesChangesNothing(t *testing.T) {
	tr, other := newTruth(1100, 29), newTruth(1100, 30)
	disk, s := filled(t, tr)
	put(t, disk, id(0, 1), []byte("x"))
	err := s.Check(other.read, true, func(f Finding) { t.Errorf("reported: %+v", f) })
	if !errors.Is(err, ErrLeaves) {
		t.Errorf("got %v, want ErrLeaves", err)
	}
	cause := errors.New("cancelled")
	err = s.Check(func(uint64, uint64) ([]merkle.Hash, error) { return nil, cause }, true, func(Finding) {})
	if !errors.Is(err, cause) {
		t.Errorf("got %v, want the error of the leaves", err)
	}
	if !bytes.Equal(text(t, disk, id(0, 1)), []byte("x")) {
		t.Error("a tile was changed")
	}
}

func TestCheckSaysWhatItCouldNotMend(t *testing.T) {
	tr := newTruth(600, 31)
	disk, _ := filled(t, tr)
	put(t, disk, id(0, 1), []byte("x"))
	s := mustOpen(t, fsx.ReadOnly(disk))
	s.Append(tr.leaves())
	got := findings(t, s, tr.read, true)
	if f := got["tile/0/001"]; f.Mended || !errors.Is(f.Failed, fsx.ErrReadOnly) {
		t.Errorf("%+v", f)
	}
}

// A crash at any moment of Flush leaves a folder that is completed by the next
// open, and after Flush returned all tiles are there.
func TestCrashWhileFlushing(t *testing.T) {
	tr := newTruth(66_000, 32)
	for _, tt := range []struct{ before, after, states int }{{0, 1100, 128}, {65_400, 65_800, 3}} {
		disk := fsx.NewMem()
		s := mustOpen(t, disk)
		s.Append(tr.leaves()[:tt.before])
		mustFlush(t, s)
		disk.Record()
		s.Append(tr.leaves()[tt.before:tt.after])
		mustFlush(t, s)
		disk.Mark("flushed")
		states, flushed := 0, 0
		for state := range disk.CrashStates(fsx.CrashOptions{MaxPerPrefix: tt.states}) {
			states++
			flushed += len(state.Events)
			again := reopen(t, state.Disk, tr.leaves()[:tt.after])
			if n := again.Pending(); len(state.Events) > 0 && n != 0 {
				t.Fatalf("%s: %d tiles are gone after Flush returned", state.Desc, n)
			}
			mustFlush(t, again)
			for _, tile := range fullTiles(tt.after) {
				if tile.Index < uint64(tt.before)/256 && tile.Level == 0 {
					continue
				}
				if !bytes.Equal(text(t, state.Disk, tile), merkle.TileText(tr.tile(tile, 256))) {
					t.Fatalf("%s: %s is wrong", state.Desc, tile.Path())
				}
			}
			if _, err := merkle.InclusionProof(uint64(tt.after-300), uint64(tt.after), again.Snapshot()); err != nil {
				t.Fatalf("%s: %v", state.Desc, err)
			}
		}
		if states < 10 || flushed == 0 {
			t.Errorf("only %d crash states, %d after Flush", states, flushed)
		}
	}
}

// A crash while a tile is mended leaves the old one, none, or the new one.
func TestCrashWhileMending(t *testing.T) {
	tr := newTruth(600, 33)
	disk, _ := filled(t, tr)
	put(t, disk, id(0, 1), []byte("x"))
	s := reopen(t, disk, tr.leaves())
	disk.Record()
	if err := s.Rebuild(id(0, 1), tr.read); err != nil {
		t.Fatal(err)
	}
	disk.Mark("mended")
	for state := range disk.CrashStates(fsx.CrashOptions{}) {
		again := reopen(t, state.Disk, tr.leaves())
		err := again.Flush()
		if err == nil {
			_, err = again.Snapshot().Tile(id(0, 1), 256)
		}
		if err != nil {
			if len(state.Events) > 0 || !errors.Is(err, ErrDamaged) {
				t.Fatalf("%s: %v", state.Desc, err)
			}
			if err := again.Rebuild(id(0, 1), tr.read); err != nil {
				t.Fatalf("%s: %v", state.Desc, err)
			}
		}
		wantFiles(t, state.Disk, tr, 600)
	}
}

// A killed process leaves files that are whole to a reader and yet not durable.
// Flush and Rebuild claim them only after a sync.
func TestFilesThatWereNeverSynced(t *testing.T) {
	tr := newTruth(600, 37)
	for name, claim := range map[string]func(*Store) error{
		"Flush":   func(s *Store) error { return s.Flush() },
		"Rebuild": func(s *Store) error { return s.Rebuild(id(0, 1), tr.read) },
	} {
		disk := fsx.NewMem()
		if err := tileDir(disk).PublishBytes("0/000", merkle.TileText(tr.tile(id(0, 0), 256))); err != nil {
			t.Fatal(err)
		}
		s := mustOpen(t, disk)
		s.Append(tr.leaves())
		disk.Record()
		f, err := disk.Open("tile/0/001", fsx.Create)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(merkle.TileText(tr.tile(id(0, 1), 256)), 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if err := claim(s); err != nil {
			t.Fatal(err)
		}
		disk.Mark("claimed")
		claimed := 0
		for state := range disk.CrashStates(fsx.CrashOptions{}) {
			if len(state.Events) > 0 {
				claimed++
				wantFiles(t, state.Disk, tr, 600)
			}
		}
		if claimed == 0 {
			t.Errorf("%s: no crash states", name)
		}
	}
}

// Long random histories against the truth: growth, flushes, losses, damage,
// mending and reopening, with readers kept over all of it.
func TestHistories(t *testing.T) {
	const size = 140_000
	tr := newTruth(size, 34)
	for run := range uint64(4) {
		rng := rand.New(rand.NewPCG(run, 34))
		disk := fsx.NewMem()
		s := mustOpen(t, disk)
		at := 0
		readers := map[int]*Reader{}
		mended := func(err error) error {
			for tries := 0; errors.Is(err, ErrDamaged) && tries < 10; tries++ {
				var damage *DamageError
				errors.As(err, &damage)
				if err := s.Rebuild(damage.Tile, tr.read); err != nil {
					t.Fatal(err)
				}
				err = s.Flush()
			}
			return err
		}
		for range 60 {
			switch rng.IntN(9) {
			case 0, 1, 2:
				n := min(rng.IntN(6000), size-at)
				s.Append(tr.leaves()[at : at+n])
				at += n
			case 3, 4:
				if err := mended(s.Flush()); err != nil {
					t.Fatal(err)
				}
			case 5:
				readers[at] = s.Snapshot()
			case 6: // a tile is lost or damaged under the running store
				if full := merkle.FullTiles(0, uint64(at)); full > 0 {
					tile := id(uint8(rng.IntN(2)), rng.Uint64N(full))
					if tile.Width(uint64(at)) < 256 {
						continue
					}
					put(t, disk, tile, fmt.Append(nil, rng.Uint64()))
					if rng.IntN(2) == 0 {
						if err := tileDir(disk).Discard(tileName(tile)); err != nil {
							t.Fatal(err)
						}
					}
				}
			case 7:
				s = reopen(t, disk, tr.leaves()[:at])
				clear(readers)
			case 8:
				_ = findings(t, s, tr.read, rng.IntN(2) == 0)
			}
		}
		_ = findings(t, s, tr.read, true)
		if err := mended(s.Flush()); err != nil {
			t.Fatal(err)
		}
		wantFiles(t, disk, tr, at)
		readers[at] = s.Snapshot()
		for n, r := range readers {
			wantReader(t, r, tr, n)
		}
	}
}

// Whatever stands in a tile's file, a reader gives the truth or an error.
func FuzzTileFile(f *testing.F) {
	tr := newTruth(256, 35)
	good := merkle.TileText(tr.tile(id(0, 0), 256))
	f.Add(good)
	for _, data := range damages(good, merkle.TileText(newTruth(256, 36).leaves())) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		disk := fsx.NewMem()
		put(t, disk, id(0, 0), data)
		s := reopen(t, disk, tr.leaves())
		_, err := s.Snapshot().Tile(id(0, 0), 256)
		if isGood := bytes.Equal(data, good); isGood != (err == nil) || !isGood && !errors.Is(err, ErrDamaged) {
			t.Fatalf("good: %v; %v", isGood, err)
		}
	})
}
