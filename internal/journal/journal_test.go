package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strings"
	"testing"

	"graven/internal/fsx"
)

var limits = []Options{
	{FileRecords: 7, FileBytes: 1 << 20},
	{FileRecords: 1000, FileBytes: 2000},
	{FileRecords: 1, FileBytes: 1},
	{FileRecords: 1 << 20, FileBytes: 1 << 30},
}

func TestRoundTrip(t *testing.T) {
	for _, opts := range limits {
		for _, n := range []int{0, 1, 2, 60} {
			t.Run(fmt.Sprint(opts, n), func(t *testing.T) {
				groups := makeGroups(opts, n)
				d := fsx.NewMem()
				l := open(t, d, opts)
				for i, g := range groups {
					must(t, l.appendGroup(g))
					if i%11 == 0 {
						must(t, l.Sync())
						must(t, readBack(l, groups[:i+1]))
					}
				}
				must(t, readBack(l, groups))
				must(t, l.Close())
				must(t, sameFiles(files(t, d), groups))

				l = open(t, d, opts)
				must(t, readBack(l, groups))
				all, err := l.Lines(0, l.Next())
				must(t, err)
				for seq, got := range all {
					if string(got)+"\n" != line(uint64(seq)) {
						t.Fatalf("line %d: %q", seq, got)
					}
				}
				must(t, l.Close())
			})
		}
	}
}

// TestLives reopens the log after each group.
func TestLives(t *testing.T) {
	for _, opts := range limits {
		d := fsx.NewMem()
		groups := makeGroups(opts, 30)
		for i, g := range groups {
			l := open(t, d, opts)
			must(t, readBack(l, groups[:i]))
			must(t, l.appendGroup(g))
			must(t, l.Sync())
			must(t, l.Close())
		}
		must(t, sameFiles(files(t, d), groups))
	}
}

func TestRanges(t *testing.T) {
	opts := Options{FileRecords: 5, FileBytes: 1 << 20}
	groups := makeGroups(opts, 12)
	l := open(t, written(t, opts, groups), opts)
	n := l.Next()
	for from := range n + 3 {
		for to := range n + 3 {
			lines, err := l.Lines(from, to)
			if from > to || to > n {
				if !errors.Is(err, ErrOutOfRange) {
					t.Errorf("[%d, %d): %v", from, to, err)
				}
				continue
			}
			if err != nil || uint64(len(lines)) != to-from {
				t.Fatalf("[%d, %d): %d lines, %v", from, to, len(lines), err)
			}
			for i, got := range lines {
				if string(got)+"\n" != line(from+uint64(i)) {
					t.Fatalf("[%d, %d): line %d is %q", from, to, i, got)
				}
			}
		}
	}
	for _, seq := range []uint64{n, n + 1, math.MaxUint64} {
		if _, err := l.Line(seq); !errors.Is(err, ErrOutOfRange) {
			t.Errorf("line %d: %v", seq, err)
		}
	}
	if _, err := l.Position(n + 1); !errors.Is(err, ErrOutOfRange) {
		t.Error(err)
	}
}

// TestOneReadPerFile counts the reads of a long range.
func TestOneReadPerFile(t *testing.T) {
	opts := Options{FileRecords: 50, FileBytes: 1 << 20}
	groups := makeGroups(opts, 100)
	reads := 0
	d := fsx.Fault(written(t, opts, groups), func(c fsx.Call) error {
		if c.Op == "read" {
			reads++
		}
		return nil
	})
	l := open(t, d, opts)
	reads = 0
	if _, err := l.Lines(3, l.Next()-3); err != nil {
		t.Fatal(err)
	}
	if want := len(want(groups)); reads != want {
		t.Errorf("%d reads of %d files", reads, want)
	}
}

// TestManyFiles reads from more files than are kept open.
func TestManyFiles(t *testing.T) {
	opts := Options{FileRecords: 1, FileBytes: 1}
	groups := makeGroups(opts, 5*maxReaders)
	l := open(t, written(t, opts, groups), opts)
	for range 2 {
		must(t, readBack(l, groups))
	}
	if n := len(l.readers.open); n > maxReaders {
		t.Errorf("%d files open", n)
	}
	must(t, l.Close())
	if _, err := l.Line(0); !errors.Is(err, fs.ErrClosed) {
		t.Error(err)
	}
}

func TestScanStops(t *testing.T) {
	for _, opts := range limits {
		groups := makeGroups(opts, 20)
		d := written(t, opts, groups)
		for i, g := range groups {
			l, err := Open(folder(d), opts)
			must(t, err)
			tail, err := l.ScanUntil(g.at, check)
			if err != nil || tail.Next != g.first || tail.Pos != g.at || tail.Junk != 0 {
				t.Fatalf("group %d: %+v %v", i, tail, err)
			}
			must(t, readBack(l, groups[:i]))

			stop := errors.New("stop")
			tail, err = l.Scan(func(seq uint64, _ []byte, at Pos) error {
				if seq == g.first {
					if at != g.at {
						t.Errorf("seq %d at %v, wanted %v", seq, at, g.at)
					}
					return stop
				}
				return nil
			})
			if err != stop || tail.Next != g.first {
				t.Fatalf("group %d: %+v %v", i, tail, err)
			}
			// The rest comes back with Restore, as it is.
			for _, g := range groups[i:] {
				must(t, l.Restore(g.at, g.lines, g.records))
				l.EndGroup()
			}
			must(t, readBack(l, groups))
			must(t, l.Close())
		}
		must(t, sameFiles(files(t, d), groups))
	}
}

func TestScanUntilWithinLine(t *testing.T) {
	opts := limits[0]
	groups := makeGroups(opts, 20)
	d := written(t, opts, groups)
	l, err := Open(folder(d), opts)
	must(t, err)
	at := groups[9].at
	at.Offset += 5
	if _, err := l.ScanUntil(at, check); !errors.Is(err, ErrPosition) {
		t.Error(err)
	}
	tail, err := l.ScanUntil(Pos{File: at.File, Offset: 1 << 30}, check)
	if err != nil || tail.Pos.File != at.File && tail.Pos.Offset != 0 {
		t.Errorf("%+v %v", tail, err)
	}
}

// TestJunk leaves all kinds of bytes behind the last newline.
func TestJunk(t *testing.T) {
	opts := limits[0]
	groups := makeGroups(opts, 9)
	for _, junk := range []string{"x", "{\"v\":1", strings.Repeat("\x00", 3_000_000), strings.Repeat("y", maxLine+1)} {
		d := written(t, opts, groups)
		last := Name(groups[8].at.File)
		rewrite(t, d, last, append(content(t, d, last), junk...))
		l, err := Open(folder(d), opts)
		must(t, err)
		tail, err := l.Scan(check)
		if err != nil || tail.Junk != int64(len(junk)) || tail.Next != l.Next() {
			t.Fatalf("%.10q: %+v %v", junk, tail, err)
		}
		// Nothing is appended behind junk, and no file is begun.
		if err := l.Append([]byte(line(tail.Next)), 1); !errors.Is(err, ErrDamaged) {
			t.Errorf("%.10q: %v", junk, err)
		}
		cut, err := l.Cut(l.Tail())
		if err != nil || cut != int64(len(junk)) {
			t.Errorf("cut %d bytes, wanted %d: %v", cut, len(junk), err)
		}
		must(t, l.Append([]byte(line(tail.Next)), 1))
		must(t, l.Close())
	}
}

// TestDamage says file and offset of what cannot be right.
func TestDamage(t *testing.T) {
	opts := limits[0]
	groups := makeGroups(opts, 30)
	names := []string{Name(groups[0].at.File), Name(groups[10].at.File), Name(groups[29].at.File)}
	second := groups[10].at
	for name, c := range map[string]struct {
		spoil func(d *fsx.Mem)
		err   error
		parts []string
	}{
		"long line": {func(d *fsx.Mem) {
			data := content(t, d, names[1])
			long := strings.Repeat("z", maxLine+1) + "\n"
			rewrite(t, d, names[1], append(append(bytes.Clone(data[:second.Offset]), long...), data[second.Offset:]...))
		}, ErrDamaged, []string{"log/" + names[1], fmt.Sprint("offset ", second.Offset), "65536"}},
		"junk before another file": {func(d *fsx.Mem) {
			data := content(t, d, names[1])
			rewrite(t, d, names[1], data[:len(data)-3])
		}, ErrDamaged, []string{"log/" + names[1]}},
		"file missing":       {func(d *fsx.Mem) { must(t, d.Remove("log/"+names[1])) }, ErrGap, []string{"log/log-", " and log/log-"}},
		"first file missing": {func(d *fsx.Mem) { must(t, d.Remove("log/"+names[0])) }, ErrGap, []string{"log/" + names[0]}},
		"line missing at the end of a file": {func(d *fsx.Mem) {
			data := content(t, d, names[0])
			rewrite(t, d, names[0], data[:bytes.LastIndexByte(data[:len(data)-1], '\n')+1])
		}, ErrGap, []string{"log/" + names[0]}},
		"line changed": {func(d *fsx.Mem) {
			data := content(t, d, names[2])
			data[60]++
			rewrite(t, d, names[2], data)
		}, errBadLine, nil},
		"emptied": {func(d *fsx.Mem) { rewrite(t, d, names[1], nil) }, ErrGap, []string{"log/" + names[1]}},
		"folder": {func(d *fsx.Mem) {
			must(t, d.Remove("log/"+names[1]))
			must(t, d.Mkdir("log/"+names[1], false))
		}, fsx.ErrNotRegular, []string{"log/" + names[1]}},
	} {
		t.Run(name, func(t *testing.T) {
			d := written(t, opts, groups)
			c.spoil(d)
			l, err := Open(folder(d), opts)
			if err == nil {
				_, err = l.Scan(check)
			}
			if !errors.Is(err, c.err) {
				t.Fatalf("got %v, wanted %v", err, c.err)
			}
			for _, p := range c.parts {
				if !strings.Contains(err.Error(), p) {
					t.Errorf("%q does not say %q", err, p)
				}
			}
		})
	}
}

func TestForeignNames(t *testing.T) {
	opts := limits[0]
	for _, name := range []string{"x", "log-0.jsonl", "log-000000000000000A.jsonl", "log-0000000000000000.json", "log-0000000000000000.jsonl.bak", "log-0020000000000000.jsonl", "LOG-0000000000000001.jsonl"} {
		d := written(t, opts, makeGroups(opts, 3))
		_, err := d.Open("log/"+name, fsx.Create)
		must(t, err)
		if _, err := Open(folder(d), opts); !errors.Is(err, ErrForeignFile) || !strings.Contains(err.Error(), "log/"+name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRotten changes files behind an open log; a reader sees that a line is none.
func TestRotten(t *testing.T) {
	opts := limits[0]
	groups := makeGroups(opts, 9)
	d := written(t, opts, groups)
	l := open(t, d, opts)
	name := Name(0)
	data := content(t, d, name)
	end := len(line(0)) - 1
	for _, bad := range [][]byte{
		append(append(bytes.Clone(data[:end]), 'x'), data[end+1:]...), // no newline where the line ends
		append(append(bytes.Clone(data[:5]), '\n'), data[6:]...),      // one too early
		data[:end-2], // cut
	} {
		rewrite(t, d, name, bad)
		if got, err := l.Line(0); err == nil {
			t.Errorf("%q", got)
		}
	}
	must(t, d.Remove("log/"+Name(groups[8].at.File)))
	if _, err := l.Line(groups[8].first); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// TestHint loses and spoils log/current.
func TestHint(t *testing.T) {
	opts := limits[0]
	groups := makeGroups(opts, 20)
	d := written(t, opts, groups)
	if got := string(content(t, d, "current")); got != Name(groups[19].at.File)+"\n" {
		t.Errorf("current is %q", got)
	}
	for _, spoil := range []func(){
		func() { must(t, d.Remove("log/current")) },
		func() {
			must(t, d.Remove("log/current"))
			must(t, d.Mkdir("log/current", false))
			must(t, d.Mkdir("log/current/x", false)) // cannot be replaced
		},
	} {
		spoil()
		groups = makeGroups(opts, len(groups)+20)
		l := open(t, d, opts)
		for _, g := range groups[len(groups)-20:] {
			must(t, l.appendGroup(g))
		}
		must(t, l.Sync())
		must(t, readBack(l, groups))
		must(t, l.Close())
	}
}

func TestInvalidLines(t *testing.T) {
	d := fsx.NewMem()
	l := open(t, d, limits[0])
	for _, c := range []struct {
		lines   string
		records int
	}{
		{"", 0}, {"", 1}, {"a\n", 0}, {"a\n", -1}, {"a\n", 2}, {"a\nb\n", 1}, {"a", 1}, {"a\nb", 2}, {strings.Repeat("a", maxLine+1) + "\n", 1},
	} {
		for name, err := range map[string]error{"append": l.Append([]byte(c.lines), c.records), "restore": l.Restore(Pos{}, []byte(c.lines), c.records)} {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("%s: %.10q, %d: %v", name, c.lines, c.records, err)
			}
		}
	}
	if err := l.Reserve(-1); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	must(t, l.Append([]byte(strings.Repeat("a", maxLine)+"\n"), 1)) // the longest line
	if got, err := l.Line(0); err != nil || len(got) != maxLine {
		t.Error(len(got), err)
	}
	l2, err := Open(folder(d), limits[0])
	must(t, err)
	if tail, err := l2.Scan(nil); err != nil || tail.Next != 1 {
		t.Error(tail, err)
	}
}

func TestOrderOfCalls(t *testing.T) {
	d := fsx.NewMem()
	l, err := Open(folder(d), limits[0])
	must(t, err)
	for name, err := range map[string]error{
		"append": l.Append([]byte("a\n"), 1), "restore": l.Restore(Pos{}, []byte("a\n"), 1), "sync": l.Sync(), "reserve": l.Reserve(1),
	} {
		if !errors.Is(err, ErrNotReady) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = l.Scan(nil)
	must(t, err)
	must(t, l.Append([]byte("a\n"), 1))
	if _, err := l.Scan(nil); !errors.Is(err, ErrNotReady) {
		t.Error(err)
	}
	must(t, l.Close())
	if err := l.Append([]byte("a\n"), 1); !errors.Is(err, fs.ErrClosed) {
		t.Error(err)
	}
	for _, bad := range []Options{{}, {FileRecords: 1}, {FileBytes: 1}, {FileRecords: 1, FileBytes: 1<<31 + 1}} {
		if _, err := Open(folder(d), bad); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}

// TestReserve says in what steps room is taken and when it is given back.
func TestReserve(t *testing.T) {
	var calls []string
	m := fsx.NewMem()
	d := fsx.Fault(m, func(c fsx.Call) error {
		if c.Op == "reserve" || c.Op == "truncate" {
			calls = append(calls, fmt.Sprintf("%s %d+%d", c.Op, c.Off, c.Len))
		}
		return nil
	})
	opts := Options{FileRecords: 100, FileBytes: 3 << 20}
	l := open(t, d, opts)
	text := []byte(strings.Repeat(strings.Repeat("a", 59_999)+"\n", 20))
	for range 3 {
		must(t, l.Reserve(len(text)))
		must(t, l.Append(text, 20))
		l.EndGroup()
	}
	must(t, l.Reserve(10))
	must(t, l.Close())
	got := strings.Join(calls, ", ")
	if want := "reserve 0+2097152, reserve 1200000+1994304, reserve 2400000+1794304, truncate 3600000+0, reserve 0+1048576, truncate 0+0"; !strings.HasPrefix(got, "reserve 0+2097152, ") || !strings.HasSuffix(got, "truncate 3600000+0, reserve 0+1048576, truncate 0+0") {
		t.Errorf("got %s\nwanted like %s", got, want)
	}
}

// TestOnDisk writes, recovers and reads a log on a real file system.
func TestOnDisk(t *testing.T) {
	for _, opts := range limits {
		d := tempDisk(t)
		groups := makeGroups(opts, 24)
		l := open(t, d, opts)
		for _, g := range groups[:16] {
			must(t, l.appendGroup(g))
		}
		must(t, l.Sync())
		must(t, l.Close())
		l, err := recoverLog(d, opts, groups[:20], 9)
		must(t, err)
		for _, g := range groups[20:] {
			must(t, l.appendGroup(g))
		}
		must(t, l.Sync())
		must(t, readBack(l, groups))
		must(t, l.Close())
		must(t, sameFiles(files(t, d), groups))
	}
}
