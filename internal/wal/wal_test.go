package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"testing"

	"graven/internal/fsx"
)

const small = 64 << 10

func TestRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 50} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			d := fsx.NewMem()
			w := start(t, folder(d), options(small))
			size := func(uint64) int { return 700 }
			for h := range uint64(n) {
				mustPut(t, w, makeGroup(h, 700))
			}
			if groups, _ := w.Pending(); groups != n {
				t.Errorf("pending %d, wanted %d", groups, n)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			groups, report, err := read(folder(d), options(small))
			if err != nil || report.Torn != nil || report.Damage != nil {
				t.Fatal(report, err)
			}
			if err := same(groups, size); err != nil || len(groups) != n || report.Groups != n {
				t.Fatalf("%d groups, wanted %d: %v", len(groups), n, err)
			}
			if n > 0 && (report.First != 0 || report.Last != uint64(n-1)) {
				t.Errorf("first %d, last %d", report.First, report.Last)
			}
		})
	}
}

// TestReuse runs over many generations of few files, with groups of all sizes,
// and reads everything that is not forgotten after each group.
func TestReuse(t *testing.T) {
	d := fsx.NewMem()
	opts := options(8192)
	size := func(h uint64) int { return int(h*h*37) % 3000 }
	w := start(t, folder(d), opts)
	for h := range uint64(300) {
		mustPut(t, w, makeGroup(h, size(h)))
		if h >= 6 {
			w.Forget(h - 6)
		}
		groups, report, err := read(folder(d), opts)
		if err != nil || report.Torn != nil || report.Damage != nil {
			t.Fatalf("after %d: %+v %v", h, report, err)
		}
		if err := same(groups, size); err != nil {
			t.Fatalf("after %d: %v", h, err)
		}
		if report.Last != h || h >= 6 && report.First > h-5 {
			t.Fatalf("after %d: groups %d-%d", h, report.First, report.Last)
		}
		if n, _ := w.Pending(); n > 6 {
			t.Fatalf("after %d: %d pending", h, n)
		}
	}
	if n := len(names(t, d)); n < 2 || n > 4 {
		t.Errorf("%d files", n)
	}
	if w.generation < 50 {
		t.Errorf("only %d generations", w.generation)
	}
}

// TestUnforgotten keeps adding files while nothing is forgotten.
func TestUnforgotten(t *testing.T) {
	d := fsx.NewMem()
	w := start(t, folder(d), options(4096))
	for h := range uint64(40) {
		mustPut(t, w, makeGroup(h, 1000))
	}
	files := len(names(t, d))
	if files < 10 || w.Size() != int64(files)*4096 {
		t.Errorf("%d files, size %d", files, w.Size())
	}
	groups, bytes := w.Pending()
	if groups != 40 || bytes < 40_000 {
		t.Errorf("pending %d, %d bytes", groups, bytes)
	}
	w.Forget(38)
	for h := range uint64(200) {
		w.Forget(38 + h)
		mustPut(t, w, makeGroup(40+h, 1000))
	}
	if n := len(names(t, d)); n != files {
		t.Errorf("%d files, wanted the same %d again", n, files)
	}
	if groups, bytes := w.Pending(); groups != 2 || bytes > 4000 {
		t.Errorf("pending %d, %d bytes", groups, bytes)
	}
}

func TestGroupLongerThanFile(t *testing.T) {
	d := fsx.NewMem()
	opts := options(4096)
	sizes := []int{100, 50_000, 100, 100, 4096, 120_000, 3000, 9000, 10}
	size := func(h uint64) int { return sizes[h] }
	w := start(t, folder(d), opts)
	for h, n := range sizes {
		mustPut(t, w, makeGroup(uint64(h), n))
	}
	groups, report, err := read(folder(d), opts)
	if err != nil || report.Torn != nil || report.Damage != nil || len(groups) != len(sizes) {
		t.Fatalf("%+v %v", report, err)
	}
	if err := same(groups, size); err != nil {
		t.Fatal(err)
	}
	for _, name := range names(t, d) {
		if n := len(content(t, d, name)) % pageBytes; n > markBytes {
			t.Errorf("%s: %d bytes over", name, n)
		}
	}
	// A file that was lengthened is as good as any other.
	w.Forget(8)
	for h := range 30 {
		sizes = append(sizes, 2000)
		w.Forget(uint64(8 + h))
		mustPut(t, w, makeGroup(uint64(9+h), 2000))
	}
	groups, report, err = read(folder(d), opts)
	if err != nil || report.Torn != nil || report.Damage != nil || report.Last != 38 {
		t.Fatalf("%+v %v", report, err)
	}
	if err := same(groups, size); err != nil {
		t.Fatal(err)
	}
}

// TestLives opens the log again and again; what was there is superseded by
// what comes after Reset, whatever its height.
func TestLives(t *testing.T) {
	d := fsx.NewMem()
	opts := options(4096)
	height := uint64(0)
	for life := range 30 {
		w := start(t, folder(d), opts)
		height += uint64(life % 3) // a recovery may take groups from elsewhere
		first := height
		for range life % 5 {
			mustPut(t, w, makeGroup(height, 900))
			height++
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		groups, report, err := read(folder(d), opts)
		if err != nil || report.Torn != nil || report.Damage != nil {
			t.Fatalf("life %d: %+v %v", life, report, err)
		}
		if life%5 > 0 && (report.First != first || report.Last != height-1) {
			t.Fatalf("life %d: groups %d-%d, wanted %d-%d", life, report.First, report.Last, first, height-1)
		}
		if err := same(groups, func(uint64) int { return 900 }); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNewestSurvivesReset says that Reset and what follows never leave the log
// without its newest group.
func TestNewestSurvivesReset(t *testing.T) {
	d := fsx.NewMem()
	w := start(t, folder(d), options(4096))
	mustPut(t, w, makeGroup(0, 100))
	w.Close()
	w = start(t, folder(d), options(4096))
	if err := w.Reserve(3000); err != nil {
		t.Fatal(err)
	}
	_, report, err := read(folder(d), options(4096))
	if err != nil || report.Groups != 1 {
		t.Fatalf("%+v %v", report, err)
	}
}

func TestOrderOfCalls(t *testing.T) {
	d := fsx.NewMem()
	w, err := Open(folder(d), options(4096))
	if err != nil {
		t.Fatal(err)
	}
	want := func(err, target error) {
		t.Helper()
		if !errors.Is(err, target) {
			t.Errorf("got %v, wanted %v", err, target)
		}
	}
	want(w.Append(makeGroup(0, 10)), ErrNotReady)
	want(w.Reserve(10), ErrNotReady)
	want(w.Reset(), ErrNotReady)
	if _, err := w.Read(nil); err != nil {
		t.Fatal(err)
	}
	want(w.Append(makeGroup(0, 10)), ErrNotReady)
	if err := w.Reset(); err != nil {
		t.Fatal(err)
	}
	want(w.Reserve(-1), ErrInvalid)
	want(w.Sync(), nil)
	want(w.Append(makeGroup(7, 10)), nil)
	want(w.Append(makeGroup(8, 10)), ErrUnsynced)
	want(w.Reserve(10), ErrUnsynced)
	want(w.Reset(), ErrUnsynced)
	want(w.Sync(), nil)
	want(w.Append(makeGroup(7, 10)), ErrOrder)
	want(w.Append(makeGroup(9, 10)), ErrOrder)
	g := makeGroup(8, 10)
	g.First++
	want(w.Append(g), ErrOrder)
	want(w.put(makeGroup(8, 10)), nil)
	want(w.Close(), nil)
	want(w.Append(makeGroup(9, 10)), fs.ErrClosed)
	want(w.Sync(), fs.ErrClosed)
	want(w.Close(), nil)
}

func TestInvalidGroups(t *testing.T) {
	d := fsx.NewMem()
	w := start(t, folder(d), options(4096))
	for name, spoil := range map[string]func(*Group){
		"no lines":         func(g *Group) { g.Lines, g.Records = nil, 0 },
		"no last newline":  func(g *Group) { g.Lines = append(g.Lines, 'x') },
		"records":          func(g *Group) { g.Records++ },
		"height":           func(g *Group) { g.Height = 1 << 53 },
		"first":            func(g *Group) { g.First = 1 << 53 },
		"file behind":      func(g *Group) { g.LogFile = g.First + 1 },
		"offset":           func(g *Group) { g.LogOffset = -1 },
		"class":            func(g *Group) { g.Sections[0].Class = "Log" },
		"class with space": func(g *Group) { g.Sections[0].Class = "a b" },
		"no class":         func(g *Group) { g.Sections[0].Class = "" },
		"class order":      func(g *Group) { g.Sections[0].Class = "zzz" },
		"class twice":      func(g *Group) { g.Sections[0].Class = "main" },
		"count":            func(g *Group) { g.Sections[1].Count = 0 },
		"no bytes":         func(g *Group) { g.Sections[1].Bytes = nil },
		"block offset":     func(g *Group) { g.Sections[1].Offset = -1 },
		"block number":     func(g *Group) { g.Sections[1].Number = 1 << 53 },
	} {
		g := makeGroup(2, 500)
		spoil(g)
		if err := w.Append(g); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	mustPut(t, w, makeGroup(2, 500)) // nothing was poisoned
}

func TestReadCallback(t *testing.T) {
	d := fsx.NewMem()
	w := start(t, folder(d), options(4096))
	for h := range uint64(5) {
		mustPut(t, w, makeGroup(h, 10))
	}
	w.Close()
	w, err := Open(folder(d), options(4096))
	if err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	report, err := w.Read(func(g Group) error {
		if g.Height == 2 {
			return stop
		}
		return nil
	})
	if err != stop || report.Groups != 3 {
		t.Fatal(report, err)
	}
	if err := w.Reset(); !errors.Is(err, ErrNotReady) {
		t.Errorf("reset after a Read that did not end: %v", err)
	}
}

func TestNoRandomness(t *testing.T) {
	d := fsx.NewMem()
	opts := options(4096)
	opts.Rand = nil
	w := start(t, folder(d), opts)
	if err := w.put(makeGroup(0, 10)); err == nil {
		t.Error("a generation without salt")
	}
	opts.Rand = io.LimitReader(newRandom(1), 7)
	w = start(t, folder(d), opts)
	if err := w.put(makeGroup(0, 10)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a generation with half a salt: %v", err)
	}
}

func TestReadOnlyDisk(t *testing.T) {
	d := fsx.NewMem()
	w := start(t, folder(d), options(4096))
	mustPut(t, w, makeGroup(0, 10))
	w.Close()
	ro := fsx.ReadOnly(d)
	if groups, _, err := read(folder(ro), options(4096)); err != nil || len(groups) != 1 {
		t.Fatal(groups, err)
	}
	w, err := Open(folder(ro), options(4096))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Read(func(Group) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := w.Reset(); !errors.Is(err, fsx.ErrReadOnly) {
		t.Error(err)
	}
}

// TestOtherGroupOfSameHeight drops a torn group and writes another one of the
// same height; the first must not come back when the second is torn in its turn.
func TestOtherGroupOfSameHeight(t *testing.T) {
	d := fsx.NewMem()
	opts := options(4096)
	w := start(t, folder(d), opts)
	for h := range uint64(4) {
		mustPut(t, w, makeGroup(h, 500))
	}
	end := w.cur.end
	w.Close()
	tear := func(name string, at int64) {
		data := content(t, d, name)
		data[at] ^= 1
		rewrite(t, d, name, data)
	}
	tear("wal-00000000", end-1) // group 3 is torn; the recovery drops it
	w = start(t, folder(d), opts)
	for h := uint64(3); h < 6; h++ {
		mustPut(t, w, makeGroup(h, 900))
	}
	name, end := w.cur.name, w.cur.end
	w.Close()
	tear("wal-00000000", end-1) // what was group 3 is as it was
	groups, report, err := read(folder(d), opts)
	if err != nil || report.Torn != nil || report.Damage != nil || report.First != 3 || report.Last != 5 {
		t.Fatalf("%+v %v", report, err)
	}
	if err := same(groups, func(uint64) int { return 900 }); err != nil {
		t.Fatal(err)
	}
	tear(name, end-1)
	if groups, report, err = read(folder(d), opts); err != nil || report.Torn == nil || report.Torn.Height != 5 || report.Last != 4 {
		t.Fatalf("%+v %v", report, err)
	}
	if err := same(groups, func(uint64) int { return 900 }); err != nil {
		t.Fatal(err)
	}
}

// TestOnDisk runs a few lives of a log on a real file system.
func TestOnDisk(t *testing.T) {
	d := tempDisk(t)
	opts := options(8192)
	size := func(h uint64) int { return 40 + int(h%5)*900 }
	for life := range uint64(4) {
		w := start(t, folder(d), opts)
		for i := range uint64(12) {
			h := 12*life + i
			mustPut(t, w, makeGroup(h, size(h)))
			if i > 3 {
				w.Forget(h - 3)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		groups, report, err := read(folder(d), opts)
		if err != nil || report.Torn != nil || report.Damage != nil || report.Last != 12*life+11 || report.First > 12*life+9 {
			t.Fatalf("%+v %v", report, err)
		}
		if err := same(groups, size); err != nil {
			t.Fatal(err)
		}
	}
}
