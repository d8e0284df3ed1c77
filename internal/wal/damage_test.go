package wal

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"graven/internal/fsx"
)

// fixture is a log at rest, and where its newest frame lies.
type fixture struct {
	name  string
	disk  *fsx.Mem
	opts  Options
	first uint64 // heights that count
	last  uint64
	file  string // of the newest frame
	from  int    // where it begins
	to    int    // and ends
	size  func(uint64) int
	want  map[uint64]string // the groups, encoded
	used  map[string]int    // how much of each file holds frames, of whatever generation
}

// build writes groups, forgetting some, and returns what is left.
func build(t testing.TB, name string, groups int, keep uint64, size func(uint64) int) *fixture {
	t.Helper()
	d := fsx.NewMem()
	opts := options(4096)
	w := start(t, folder(d), opts)
	for h := range uint64(groups) {
		mustPut(t, w, makeGroup(h, size(h)))
		if h >= keep {
			w.Forget(h - keep)
		}
	}
	if err := w.Reserve(3000); err != nil { // marks the next file, if one may be used again
		t.Fatal(err)
	}
	_, report, err := read(folder(d), opts)
	if err != nil || report.Torn != nil || report.Damage != nil {
		t.Fatal(report, err)
	}
	last := makeGroup(uint64(groups-1), size(uint64(groups-1)))
	frame := len(last.encode()) // generation and salt have fixed lengths; the vault's id too
	f := &fixture{name, d, opts, report.First, report.Last, w.cur.name, int(w.cur.end) - frame, int(w.cur.end), size, map[uint64]string{}, map[string]int{}}
	for h := range uint64(groups) {
		f.want[h] = makeGroup(h, size(h)).encode()
	}
	for _, name := range names(t, d) {
		f.used[name] = len(bytes.TrimRight(content(t, d, name), "\x00"))
	}
	return f
}

// fixtures covers: a file of which only the first frame was written; many frames
// in it; older generations behind the newest, before it, and in a free file.
func fixtures(t testing.TB) []*fixture {
	short := func(uint64) int { return 400 }
	mixed := func(h uint64) int { return 300 + int(h%4)*350 }
	return []*fixture{
		build(t, "one group", 1, 100, short),
		build(t, "one file", 3, 100, short),
		build(t, "three files, the newest with one frame", 9, 100, mixed),
		build(t, "three files", 10, 100, mixed),
		build(t, "used again", 23, 4, mixed),
		build(t, "used again, one frame", 21, 4, mixed),
	}
}

// check reads a damaged log and refuses every outcome that is not one of: an
// error that names the file; damage reported; so many of the newest groups torn,
// where they are what was damaged; nothing lost. Never a wrong group.
// Groups that were forgotten may come back, as long as they are the right ones.
func (f *fixture) check(d fsx.Disk, file string, torn int) (string, error) {
	groups, report, err := read(folder(d), f.opts)
	if err != nil {
		if !strings.Contains(err.Error(), "wal/"+file) {
			return "", fmt.Errorf("the error does not name %s: %w", file, err)
		}
		return "refused", nil
	}
	next := f.first
	if len(groups) > 0 {
		next = min(next, groups[0].Height)
	}
	for _, g := range groups {
		if g.Height < next || g.Height > f.last || g.encode() != f.want[g.Height] {
			return "", fmt.Errorf("group %d is a wrong one", g.Height)
		}
		if g.Height > next && report.Damage == nil {
			return "", fmt.Errorf("groups %d to %d vanished silently", next, g.Height-1)
		}
		next = g.Height + 1
	}
	switch {
	case report.Damage != nil:
		if report.Damage.File != "wal/"+file || report.Damage.Reason == "" {
			return "", fmt.Errorf("wanted damage in %s, got %+v", file, report.Damage)
		}
		return "damage", nil
	case next == f.last+1:
		return "harmless", nil
	case next+uint64(torn) >= f.last+1 && report.Torn != nil:
		return "torn", nil
	}
	return "", fmt.Errorf("groups from %d on vanished: %+v", next, report)
}

// TestEveryBit flips every bit of the frames of small logs; in larger ones, and
// in the zeros behind frames, one bit of each byte.
func TestEveryBit(t *testing.T) {
	for i, f := range fixtures(t) {
		t.Run(f.name, func(t *testing.T) {
			outcomes := map[string]int{}
			for _, name := range names(t, f.disk) {
				f.flipAll(t, name, i < 2, outcomes)
			}
			t.Log(outcomes)
			if outcomes["torn"] == 0 || outcomes["harmless"] == 0 {
				t.Errorf("not every outcome was met: %v", outcomes)
			}
		})
	}
}

// flipAll flips the bits of one file.
func (f *fixture) flipAll(t *testing.T, name string, all bool, outcomes map[string]int) {
	data := content(t, f.disk, name)
	d := f.disk.Clone()
	for i := range data {
		step := 8
		if all && i < f.used[name] {
			step = 1
		}
		inLast := name == f.file && i >= f.from && i < f.to
		for bit := i % step; bit < 8; bit += step {
			flip(t, d, name, data, i, byte(1)<<bit)
			got, err := f.check(d, name, count(inLast))
			if err != nil {
				t.Fatalf("%s: byte %d, bit %d: %v", name, i, bit, err)
			}
			outcomes[got]++
			if inLast && got == "harmless" {
				t.Fatalf("%s: byte %d, bit %d: the flip was not seen", name, i, bit)
			}
		}
		flip(t, d, name, data, i, 0)
	}
}

func count(one bool) int {
	if one {
		return 1
	}
	return 0
}

func flip(t *testing.T, d fsx.Disk, name string, data []byte, i int, mask byte) {
	f, err := d.Open("wal/"+name, fsx.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{data[i] ^ mask}, int64(i)); err != nil {
		t.Fatal(err)
	}
}

// TestEveryTruncation cuts every file at every length. One length only tells
// nothing: 0, for the file made last. A file is empty while it is being made.
func TestEveryTruncation(t *testing.T) {
	for _, f := range fixtures(t) {
		t.Run(f.name, func(t *testing.T) {
			list := names(t, f.disk)
			for k, name := range list {
				data := content(t, f.disk, name)
				for n := range data {
					if n == 0 && k == len(list)-1 {
						continue
					}
					d := f.disk.Clone()
					rewrite(t, d, name, data[:n])
					if got, err := f.check(d, name, 0); err != nil || got != "refused" && len(data)-n > markBytes {
						t.Fatalf("%s cut to %d: %s %v", name, n, got, err)
					}
				}
			}
		})
	}
}

// TestZeroedAndSmeared overwrites runs of sectors, as bad blocks do.
func TestZeroedAndSmeared(t *testing.T) {
	for _, f := range fixtures(t) {
		for _, name := range names(t, f.disk) {
			data := content(t, f.disk, name)
			for from := 0; from < len(data); from += 512 {
				for to := from + 512; to <= len(data); to += 512 {
					for _, fill := range []byte{0, 'x', 0xff} {
						bad := bytes.Clone(data)
						for i := from; i < to; i++ {
							bad[i] = fill
						}
						d := f.disk.Clone()
						rewrite(t, d, name, bad)
						if name == f.file && to > f.from && (fill == 0 || from < f.from) {
							// Where the newest frame begins with zeros it is as if it had
							// never been written; where the one before it is bad too,
							// nothing whole follows. Only the size that was signed tells.
							continue
						}
						if _, err := f.check(d, name, count(name == f.file && to > f.from)); err != nil {
							t.Fatalf("%s: %s [%d, %d) %#x: %v", f.name, name, from, to, fill, err)
						}
					}
				}
			}
		}
	}
}

// TestGroupsBehindDamage says that what is whole behind damage is read.
func TestGroupsBehindDamage(t *testing.T) {
	f := build(t, "", 10, 100, func(uint64) int { return 700 })
	name := names(t, f.disk)[1]
	data := content(t, f.disk, name)
	h, n, err := parseHeader(data)
	if err != nil {
		t.Fatal(err)
	}
	second := n + int(h.body)
	for _, off := range []int{200, second + 200} { // in the first and in the second frame's body
		d := f.disk.Clone()
		flip(t, d, name, data, off, 1)
		groups, report, err := read(folder(d), f.opts)
		if err != nil || report.Damage == nil || len(report.Damaged) != 1 {
			t.Fatalf("%+v %v", report, err)
		}
		dam := report.Damage
		if dam.Next != dam.Height+1 || report.Groups != 9 || len(groups) != 9 || report.Last != 9 {
			t.Errorf("%+v", report)
		}
		if dam.Offset != 0 && dam.Offset != int64(second) {
			t.Errorf("offset %d", dam.Offset)
		}
	}
}

// TestForeign says that what does not belong here is named.
func TestForeign(t *testing.T) {
	big := func(uint64) int { return 700 }
	check := func(name string, spoil func(d *fsx.Mem), target error, parts ...string) {
		t.Run(name, func(t *testing.T) {
			d := build(t, "", 10, 100, big).disk
			spoil(d)
			_, err := Open(folder(d), options(4096))
			if !errors.Is(err, target) {
				t.Fatalf("got %v, wanted %v", err, target)
			}
			for _, p := range parts {
				if !strings.Contains(err.Error(), p) {
					t.Errorf("%q does not say %q", err, p)
				}
			}
		})
	}
	check("file of another vault", func(d *fsx.Mem) {
		other := fsx.NewMem()
		opts := options(4096)
		opts.Vault = otherVault
		mustPut(t, start(t, folder(other), opts), makeGroup(0, 100))
		rewrite(t, d, "wal-00000001", content(t, other, "wal-00000000"))
	}, ErrForeignVault, "wal/wal-00000001", testVault.String(), otherVault.String())
	check("file missing", func(d *fsx.Mem) {
		if err := d.Remove("wal/wal-00000001"); err != nil {
			t.Fatal(err)
		}
	}, ErrMissing, "wal/wal-00000001")
	check("first file missing", func(d *fsx.Mem) {
		if err := d.Remove("wal/wal-00000000"); err != nil {
			t.Fatal(err)
		}
	}, ErrMissing, "wal/wal-00000000")
	check("folder instead of a file", func(d *fsx.Mem) {
		if err := errors.Join(d.Remove("wal/wal-00000001"), d.Mkdir("wal/wal-00000001", false)); err != nil {
			t.Fatal(err)
		}
	}, fsx.ErrNotRegular, "wal/wal-00000001")
	for _, name := range []string{"notes.txt", "wal-1", "wal-000000001", "wal-0000000x", "wal-00000000.bak", "WAL-00000009"} {
		check("foreign name "+name, func(d *fsx.Mem) {
			if _, err := d.Open("wal/"+name, fsx.Create); err != nil {
				t.Fatal(err)
			}
		}, ErrForeignFile, "wal/"+name)
	}
	check("copy of a file", func(d *fsx.Mem) {
		rewrite(t, d, "wal-00000000", content(t, d, "wal-00000001"))
	}, ErrTwins, "wal/wal-00000000", "wal/wal-00000001")
	check("another version", func(d *fsx.Mem) {
		data := content(t, d, "wal-00000000")
		rewrite(t, d, "wal-00000000", bytes.Replace(data, []byte("graven-wal 1 "), []byte("graven-wal 2 "), 1))
	}, ErrUnknownVersion, "wal/wal-00000000", "2")
	check("extended", func(d *fsx.Mem) {
		rewrite(t, d, "wal-00000000", append(content(t, d, "wal-00000000"), make([]byte, 100)...))
	}, ErrLength, "wal/wal-00000000")
}

// TestOlderCopy puts an older copy of a file in its place.
func TestOlderCopy(t *testing.T) {
	d := fsx.NewMem()
	opts := options(4096)
	w := start(t, folder(d), opts)
	var old []byte
	for h := range uint64(40) {
		mustPut(t, w, makeGroup(h, 900))
		if h >= 8 {
			w.Forget(h - 8)
		}
		if h == 6 {
			old = content(t, d, "wal-00000001")
		}
	}
	rewrite(t, d, "wal-00000001", old)
	_, report, err := read(folder(d), opts)
	if err == nil && report.Damage == nil {
		t.Errorf("%+v", report)
	}
}

// TestForgedFrame stores frames as values and tears the group that holds them.
// Nobody knows a generation's salt before it is used, and copies of older
// frames do not count.
func TestForgedFrame(t *testing.T) {
	d := fsx.NewMem()
	opts := options(4096)
	w := start(t, folder(d), opts)
	for h := range uint64(2) {
		mustPut(t, w, makeGroup(h, 300))
	}
	copied := content(t, d, "wal-00000000")[:w.cur.end]
	forged := makeGroup(3, 20)
	h := forged.header()
	h.vault, h.generation, h.salt = testVault, w.generation, w.cur.salt+1
	value := forged.appendFrame(bytes.Clone(copied), &h)
	g := makeGroup(2, 10)
	g.Sections = []Section{{Class: "main", Count: 1, Bytes: value}}
	off := int(w.cur.end)
	mustPut(t, w, g)
	data := content(t, d, "wal-00000000")
	for _, cut := range []int{off + 1, off + 100, off + 300} { // the header, its end, the body
		bad := bytes.Clone(data)
		bad[cut] ^= 1
		rewrite(t, d, "wal-00000000", bad)
		groups, report, err := read(folder(d), opts)
		if err != nil || report.Damage != nil || len(groups) != 2 || report.Torn == nil {
			t.Fatalf("%+v %v", report, err)
		}
		torn := report.Torn
		if torn.Offset != int64(off) || torn.Height != 2 || torn.File != "wal/wal-00000000" {
			t.Errorf("torn %s %d %d", torn.File, torn.Offset, torn.Height)
		}
		if !bytes.HasPrefix(bad[off:], torn.Bytes) || len(torn.Bytes) < len(value) {
			t.Errorf("torn: %d bytes", len(torn.Bytes))
		}
	}
}

// TestGreatNumbers puts great lengths into headers; memory must not follow them.
func TestGreatNumbers(t *testing.T) {
	f := build(t, "", 3, 100, func(uint64) int { return 400 })
	data := content(t, f.disk, f.file)
	h, n, err := parseHeader(data[f.from:])
	if err != nil {
		t.Fatal(err)
	}
	h.lines, h.body, h.records, h.sections = maxNumber, maxNumber, maxNumber, maxNumber
	bad := bytes.Clone(data)
	copy(bad[f.from:], append(h.append(nil), data[f.from+n:f.to]...))
	d := f.disk.Clone()
	rewrite(t, d, f.file, bad)
	allocated := testing.AllocsPerRun(1, func() {
		if got, err := f.check(d, f.file, 1); got != "torn" || err != nil {
			t.Fatal(got, err)
		}
	})
	if allocated > 1000 {
		t.Errorf("%v allocations", allocated)
	}
}
