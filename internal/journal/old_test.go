package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"weak"

	"graven/internal/fsx"
)

// long are limits for logs of many bundles: files that end within bundles, at
// their edges, and one for all.
var long = []Options{
	{FileRecords: 300, FileBytes: 1 << 30},
	{FileRecords: 256, FileBytes: 1 << 30},
	{FileRecords: 1 << 20, FileBytes: 100_000},
	{FileRecords: 40, FileBytes: 1 << 30},
	{FileRecords: 1 << 20, FileBytes: 1 << 30},
}

// openFrom opens a log and scans it from a start on.
func openFrom(t testing.TB, d fsx.Disk, opts Options, start Start, grid Grid) *Log {
	t.Helper()
	l, err := Open(folder(d), opts)
	must(t, err)
	l.SetGrid(grid)
	next := start.Seq
	_, err = l.ScanFrom(start, func(seq uint64, line []byte, at Pos) error {
		if seq != next {
			return fmt.Errorf("seq %d, wanted %d", seq, next)
		}
		next++
		return check(seq, line, at)
	})
	must(t, err)
	return l
}

// sameLog compares what two logs say of themselves.
func sameLog(got, want *Log) error {
	if got.Tail() != want.Tail() || got.Next() != want.Next() || got.Cursor() != want.Cursor() || got.Bytes() != want.Bytes() {
		return fmt.Errorf("got %+v of %d bytes, wanted %+v of %d", got.Cursor(), got.Bytes(), want.Cursor(), want.Bytes())
	}
	return nil
}

// TestScanFrom starts at every border of small logs, in both ways to say it,
// reads everything, and appends.
func TestScanFrom(t *testing.T) {
	for _, opts := range limits {
		groups := makeGroups(opts, 30)
		full := written(t, opts, groups[:24])
		whole := open(t, full, opts)
		for i, g := range groups[:24] {
			for _, start := range []Start{g.start(), g.end()} {
				d := full.Clone()
				l := openFrom(t, d, opts, start, gridOf(groups, 4))
				must(t, sameLog(l, whole))
				must(t, readBack(l, groups[:24]))
				for _, g := range groups[24:] {
					must(t, l.appendGroup(g))
				}
				must(t, l.Sync())
				must(t, readBack(l, groups))
				must(t, l.Close())
				must(t, sameFiles(files(t, d), groups))
			}
			for k := i; k <= 24; k += 3 {
				l, err := Open(folder(full), opts)
				must(t, err)
				tail, err := l.ScanFromUntil(g.start(), groups[k].at, check)
				if err != nil || tail.Next != groups[k].first || tail.Pos != groups[k].at {
					t.Fatalf("from %d until %d: %+v %v", i, k, tail, err)
				}
				must(t, readBack(l, groups[:k])) // also without a grid
			}
		}
		// Tail is a start, whether the file is there yet or not.
		l := openFrom(t, full, opts, Start{whole.Next(), whole.Tail()}, nil)
		must(t, sameLog(l, whole))
		must(t, readBack(l, groups[:24]))
		// A log can be scanned again from elsewhere.
		for _, g := range []group{groups[3], groups[20], groups[0], groups[11]} {
			_, err := l.ScanFrom(g.start(), check)
			must(t, err)
			must(t, sameLog(l, whole))
			must(t, readBack(l, groups[:24]))
		}
	}
}

func TestScanFromRefuses(t *testing.T) {
	opts := Options{FileRecords: 9, FileBytes: 1 << 20}
	groups := makeGroups(opts, 24)
	d := written(t, opts, groups)
	i := 12
	for groups[i].at.Offset == 0 {
		i++
	}
	g := groups[i]
	size := int64(len(content(t, d, Name(g.at.File))))
	second := groups[0].at.File
	for _, g := range groups {
		if g.at.File > 0 {
			second = g.at.File
			break
		}
	}
	for name, c := range map[string]struct {
		start Start
		err   error
	}{
		"within a line":         {Start{g.first, Pos{g.at.File, g.at.Offset + 1}}, ErrPosition},
		"no such file":          {Start{g.first, Pos{g.at.File + 1, g.at.Offset}}, ErrPosition},
		"no such file, first":   {Start{g.at.File + 1, Pos{g.at.File + 1, 0}}, ErrPosition},
		"behind the file":       {Start{g.first, Pos{g.at.File, size + 1}}, ErrPosition},
		"before the file":       {Start{g.first, Pos{g.at.File, -1}}, ErrPosition},
		"seq below the file":    {Start{g.at.File - 1, g.at}, ErrPosition},
		"first of another file": {Start{g.first, Pos{g.at.File, 0}}, ErrPosition},
		"offset of the first":   {Start{g.at.File, g.at}, ErrPosition},
		"offset at seq 0":       {Start{0, Pos{0, 5}}, ErrPosition},
		"another seq":           {Start{g.first + 1, g.at}, ErrGap},
		"another seq at end":    {Start{second + 1, Pos{0, int64(len(content(t, d, Name(0))))}}, ErrGap},
	} {
		l, err := Open(folder(d), opts)
		must(t, err)
		if _, err := l.ScanFrom(c.start, nil); !errors.Is(err, c.err) || !strings.Contains(err.Error(), "log/log-") {
			t.Errorf("%s: %v", name, err)
		}
		if err := l.Append([]byte("a\n"), 1); !errors.Is(err, ErrNotReady) {
			t.Errorf("%s: append: %v", name, err)
		}
		_, err = l.Scan(check)
		must(t, err)
		must(t, readBack(l, groups))
	}
	for _, limit := range []Pos{groups[i-1].at, groups[0].at, {0, 5}} {
		l, err := Open(folder(d), opts)
		must(t, err)
		if _, err := l.ScanFromUntil(g.start(), limit, nil); !errors.Is(err, ErrPosition) {
			t.Errorf("limit %v before the start: %v", limit, err)
		}
	}
	empty, err := Open(folder(fsx.NewMem()), opts)
	must(t, err)
	for _, start := range []Start{{1, Pos{1, 0}}, {1, Pos{0, 9}}} {
		if _, err := empty.ScanFrom(start, nil); !errors.Is(err, ErrPosition) {
			t.Errorf("start %v in no log: %v", start, err)
		}
	}
}

// TestBeforeTheStart says that nothing can be written before it.
func TestBeforeTheStart(t *testing.T) {
	for _, opts := range limits {
		groups := makeGroups(opts, 20)
		full := written(t, opts, groups)
		for i, g := range groups {
			for k, h := range groups {
				d := full.Clone()
				l := openFrom(t, d, opts, g.start(), nil)
				err := l.Restore(h.at, h.lines, h.records)
				if _, errCut := l.Cut(h.at); k < i {
					if !errors.Is(err, ErrPosition) || !errors.Is(errCut, ErrPosition) || !strings.Contains(err.Error(), "before the start") {
						t.Fatalf("group %d of a log from %d: %v, %v", k, i, err, errCut)
					}
					continue
				}
				must(t, err)
			}
			l := openFrom(t, full.Clone(), opts, g.start(), nil)
			for _, h := range groups[i:] {
				must(t, l.Restore(h.at, h.lines, h.records))
				l.EndGroup()
			}
			must(t, readBack(l, groups))
		}
	}
}

// TestOldLines compares every line and many ranges with those of a full scan,
// through grids of all kinds, with a cold and a warm cache.
func TestOldLines(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, opts := range long {
		groups := makeGroups(opts, 1000)
		d := written(t, opts, groups)
		whole := open(t, d, opts)
		must(t, readBack(whole, groups))
		n := whole.Next()
		for name, grid := range map[string]Grid{"256": gridOf(groups, 256), "64": gridOf(groups, 64), "1000": gridOf(groups, 1000), "none": nil} {
			for _, i := range []int{1, 420, 999} {
				l := openFrom(t, d, opts, groups[i].start(), grid)
				for range 60 {
					from := rng.Uint64N(n)
					to := min(n, from+rng.Uint64N(1+uint64(rng.IntN(1200))))
					lines, err := l.Lines(from, to)
					if err != nil || uint64(len(lines)) != to-from {
						t.Fatalf("%v, grid %s, from %d: [%d, %d): %d lines, %v", opts, name, i, from, to, len(lines), err)
					}
					for k, got := range lines {
						if string(got)+"\n" != line(from+uint64(k)) {
							t.Fatalf("%v, grid %s, from %d: line %d is %.50q", opts, name, i, from+uint64(k), got)
						}
					}
				}
				must(t, readBack(l, groups))
			}
		}
	}
}

// TestCostOfOldLines counts reads: a few for the first line of a bundle, one of
// one line after that, and a long range is not read line by line, nor twice.
func TestCostOfOldLines(t *testing.T) {
	opts := Options{FileRecords: 1 << 20, FileBytes: 1 << 30}
	groups := makeGroups(opts, 1600)
	reads, bytesRead := 0, 0
	d := fsx.Fault(written(t, opts, groups), func(c fsx.Call) error {
		if c.Op == "read" {
			reads++
			bytesRead += c.Len
		}
		return nil
	})
	last := groups[len(groups)-1]
	l := openFrom(t, d, opts, last.start(), gridOf(groups, bundleLines))
	if reads > 2 || bytesRead > scanBytes {
		t.Errorf("opening at the last group: %d reads", reads)
	}
	reads = 0
	must(t, second(l.Line(3*256+5)))
	if reads > 3 {
		t.Errorf("a cold line: %d reads", reads)
	}
	reads, bytesRead = 0, 0
	must(t, second(l.Line(3*256+200)))
	if want := len(line(3*256 + 200)); reads != 1 || bytesRead != want {
		t.Errorf("a line of a known bundle: %d reads of %d bytes, wanted %d bytes", reads, bytesRead, want)
	}
	reads = 0
	must(t, second(l.Position(4*256-1)))
	if reads != 0 {
		t.Errorf("a known place: %d reads", reads)
	}
	reads = 0
	must(t, second(l.Lines(4*256, 12*256)))
	if reads > 8*2 {
		t.Errorf("8 cold bundles: %d reads", reads)
	}
	reads = 0
	must(t, second(l.Lines(4*256, 12*256)))
	if reads != 8 {
		t.Errorf("8 known bundles: %d reads", reads)
	}
}

func second[T any](_ T, err error) error { return err }

// TestBundlesAreBounded fills the cache.
func TestBundlesAreBounded(t *testing.T) {
	var c bundles
	for n := range uint64(3 * maxBundles) {
		c.put(bundle{first: n * 256, offsets: make([]uint32, 256)})
		c.get(stretch{first: 0, end: 256}) // stays because it is used
	}
	if len(c.byFirst) != maxBundles || c.order.Len() != maxBundles {
		t.Errorf("%d bundles, %d in order", len(c.byFirst), c.order.Len())
	}
	if _, ok := c.get(stretch{first: 0, end: 256}); !ok {
		t.Error("the wrong bundle went")
	}
	if _, ok := c.get(stretch{first: 256, end: 512}); ok {
		t.Error("an old bundle stayed")
	}
	c.put(bundle{first: 0, offsets: make([]uint32, 9)})
	if _, ok := c.get(stretch{first: 0, end: 10}); ok || len(c.byFirst) != maxBundles {
		t.Error("a bundle that is too short was given")
	}
}

// TestDamagedOldLines spoils files before the start: the open does not see it,
// the reader does, and says where.
func TestDamagedOldLines(t *testing.T) {
	opts := Options{FileRecords: 300, FileBytes: 1 << 30}
	groups := makeGroups(opts, 600)
	where := places(groups)
	const seq = 700
	name := Name(where[seq].File)
	at := int(where[seq].Offset)
	for what, c := range map[string]struct {
		spoil func(d *fsx.Mem, data []byte)
		err   error
	}{
		"emptied":     {func(d *fsx.Mem, _ []byte) { rewrite(t, d, name, nil) }, ErrDamaged},
		"cut":         {func(d *fsx.Mem, data []byte) { rewrite(t, d, name, data[:at+10]) }, ErrDamaged},
		"no newlines": {func(d *fsx.Mem, data []byte) { rewrite(t, d, name, bytes.ReplaceAll(data, []byte("\n"), []byte("x"))) }, ErrDamaged},
		"too long": {func(d *fsx.Mem, data []byte) {
			long := strings.Repeat("z", maxLine)
			rewrite(t, d, name, append(append(bytes.Clone(data[:at]), long...), data[at:]...))
		}, ErrDamaged},
		"missing": {func(d *fsx.Mem, _ []byte) { must(t, d.Remove("log/"+name)) }, fs.ErrNotExist},
	} {
		for _, early := range []bool{true, false} { // before the open, or after
			d := written(t, opts, groups)
			data := bytes.Clone(content(t, d, name))
			if early && what == "missing" {
				continue // Stat finds out
			}
			if early {
				c.spoil(d, data)
			}
			l := openFrom(t, d, opts, groups[500].start(), gridOf(groups, bundleLines))
			if !early {
				c.spoil(d, data)
			}
			for _, err := range []error{second(l.Line(seq)), second(l.Lines(seq-3, seq+3)), second(l.Position(seq)), second(l.Lines(0, l.Next()))} {
				if what == "no newlines" && errors.Is(err, ErrPosition) {
					continue // the grid's place is no more the beginning of a line
				}
				if !errors.Is(err, c.err) || !strings.Contains(err.Error(), name) {
					t.Fatalf("%s, early %v: %v", what, early, err)
				}
			}
			must(t, second(l.Line(100)))
			must(t, second(l.Line(1300)))
		}
	}
	// One line more or less than the names of the files allow.
	for _, spoil := range []func(data []byte) []byte{
		func(data []byte) []byte { return append(data, "x\n"...) },
		func(data []byte) []byte { return append([]byte("x\n"), data...) },
	} {
		d := written(t, opts, groups)
		rewrite(t, d, name, spoil(bytes.Clone(content(t, d, name))))
		l := openFrom(t, d, opts, groups[500].start(), nil)
		if _, err := l.Lines(0, l.Next()); !errors.Is(err, ErrDamaged) {
			t.Error(err)
		}
	}
}

// TestWrongGrid refuses places that cannot be, and passes errors on.
func TestWrongGrid(t *testing.T) {
	opts := Options{FileRecords: 700, FileBytes: 1 << 30}
	groups := makeGroups(opts, 600)
	d := written(t, opts, groups)
	where := places(groups)
	broken := errors.New("page is damaged")
	for name, c := range map[string]struct {
		grid Grid
		err  error
	}{
		"error":         {func(uint64) (uint64, Pos, error) { return 0, Pos{}, broken }, broken},
		"later":         {func(seq uint64) (uint64, Pos, error) { return seq + 1, where[seq+1], nil }, ErrPosition},
		"another file":  {func(seq uint64) (uint64, Pos, error) { return seq, Pos{0, where[seq].Offset}, nil }, ErrPosition},
		"within a line": {func(seq uint64) (uint64, Pos, error) { return seq, Pos{where[seq].File, where[seq].Offset + 1}, nil }, ErrPosition},
		"negative":      {func(seq uint64) (uint64, Pos, error) { return seq, Pos{where[seq].File, -1}, nil }, ErrPosition},
		"far":           {func(seq uint64) (uint64, Pos, error) { return seq, Pos{where[seq].File, 1 << 40}, nil }, ErrPosition},
	} {
		l := openFrom(t, d, opts, groups[590].start(), c.grid)
		for seq := where[1000].File + 100; seq < where[1000].File+600; seq += 100 {
			if _, err := l.Line(seq - seq%256 + 256); !errors.Is(err, c.err) {
				t.Errorf("%s: %v", name, err)
			}
		}
		must(t, second(l.Line(5))) // no grid is needed at a file's beginning
	}
	// A line too early is seen where the file ends.
	l := openFrom(t, d, opts, groups[590].start(), func(seq uint64) (uint64, Pos, error) { return seq, where[seq-1], nil })
	if _, err := l.Lines(0, l.Next()); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
}

// TestForget forgets in steps; every answer stays the same, and what is left in
// memory is the tail.
func TestForget(t *testing.T) {
	for _, opts := range append(long, limits...) {
		groups := makeGroups(opts, 500)
		d := written(t, opts, groups[:400])
		l := open(t, d, opts)
		l.SetGrid(gridOf(groups, bundleLines))
		size := l.Bytes()
		for _, before := range []uint64{0, 1, 2, 255, 256, 256, 100, 400, 511, 512, 513, 700} {
			l.Forget(before)
			must(t, readBack(l, groups[:400]))
			if l.Bytes() != size {
				t.Fatalf("%d bytes, wanted %d", l.Bytes(), size)
			}
		}
		if n, want := inTable(l), int(l.Next()-700); n != want {
			t.Errorf("%v: %d places in memory, wanted %d", opts, n, want)
		}
		for i, g := range groups[400:] {
			must(t, l.appendGroup(g))
			if i%3 == 0 {
				l.Forget(g.first + 1)
			}
			if i%40 == 0 {
				must(t, l.Sync())
				must(t, readBack(l, groups[:401+i]))
			}
		}
		l.Forget(1 << 60) // all
		if n := inTable(l); n != 0 {
			t.Errorf("%v: %d places in memory, wanted none", opts, n)
		}
		must(t, readBack(l, groups))
		must(t, l.Close())
		must(t, sameFiles(files(t, d), groups))
		must(t, readBack(open(t, d, opts), groups))
	}
}

// inTable counts the places in memory.
func inTable(l *Log) int {
	n := 0
	for _, f := range l.files {
		n += len(f.offsets)
	}
	return n
}

// TestForgetLetsMemoryGo asks the garbage collector.
func TestForgetLetsMemoryGo(t *testing.T) {
	opts := Options{FileRecords: 300, FileBytes: 1 << 30}
	l := open(t, written(t, opts, makeGroups(opts, 600)), opts)
	var tables []weak.Pointer[uint32]
	for _, f := range l.files {
		tables = append(tables, weak.Make(&f.offsets[0]))
	}
	l.Forget(l.Next() - 10)
	runtime.GC()
	for i, table := range tables {
		if table.Value() != nil {
			t.Errorf("the places of file %d of %d are in memory still", i, len(tables))
		}
	}
	runtime.KeepAlive(l)
}

// TestBundlesOfAnotherScan cuts, in a second scan, lines that were old in the
// first, and writes longer ones in their place.
func TestBundlesOfAnotherScan(t *testing.T) {
	opts := Options{FileRecords: 1000, FileBytes: 1 << 20}
	groups := makeGroups(opts, 20)
	l := openFrom(t, written(t, opts, groups), opts, groups[15].start(), nil)
	must(t, second(l.Line(3)))
	_, err := l.Scan(check)
	must(t, err)
	must(t, second(l.Cut(Pos{})))
	for seq := range uint64(groups[15].first) {
		must(t, l.Append([]byte("other "+line(seq)), 1))
	}
	l.Forget(l.Next())
	for seq := range l.Next() {
		if got, err := l.Line(seq); err != nil || string(got)+"\n" != "other "+line(seq) {
			t.Fatalf("line %d: %.40q, %v", seq, got, err)
		}
	}
}

func TestPlaces(t *testing.T) {
	for _, opts := range limits {
		groups := makeGroups(opts, 60)
		where := places(groups)
		d := written(t, opts, groups)
		l := openFrom(t, d, opts, groups[20].start(), nil)
		base, n := groups[20].first, l.Next()
		for _, every := range []uint64{1, 2, 7, 16, 1000} {
			for from := base; from <= n; from += 3 {
				for to := from; to <= n; to += 5 {
					want := from
					for want%every != 0 {
						want++
					}
					must(t, l.Places(from, to, every, func(seq uint64, at Pos) {
						if seq != want || at != where[seq] {
							t.Fatalf("seq %d at %v, wanted %d", seq, at, want)
						}
						want += every
					}))
					if want < to {
						t.Fatalf("[%d, %d) by %d ends before %d", from, to, every, want)
					}
				}
			}
		}
		for _, r := range [][2]uint64{{0, n}, {base - 1, n}, {base, n + 1}} {
			if err := l.Places(r[0], r[1], 1, func(uint64, Pos) {}); !errors.Is(err, ErrOutOfRange) {
				t.Errorf("%v: %v", r, err)
			}
		}
	}
}
