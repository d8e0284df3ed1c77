package journal

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"graven/internal/fsx"
)

// recoverLog does what a vault does after a crash: it knows the groups from a
// number on, and that those before are in the log.
func recoverLog(d fsx.Disk, opts Options, groups []group, from int) (*Log, error) {
	return recoverFrom(d, opts, groups, Start{}, from)
}

// recoverFrom is recoverLog that does not read what is before a start.
func recoverFrom(d fsx.Disk, opts Options, groups []group, start Start, from int) (*Log, error) {
	l, err := Open(folder(d), opts)
	if err != nil {
		return nil, err
	}
	l.SetGrid(gridOf(groups, bundleLines))
	c := NewCursor(opts)
	for _, g := range groups[:from] {
		c.Add(int64(len(g.lines)), g.records)
		c.EndGroup()
	}
	tail, err := l.ScanFromUntil(start, c.Pos(), check)
	if err != nil {
		return nil, err
	}
	if tail.Pos != c.Pos() || tail.Next != c.Next() {
		return nil, fmt.Errorf("log ends at %v, seq %d; wanted %v, seq %d", tail.Pos, tail.Next, c.Pos(), c.Next())
	}
	for _, g := range groups[from:] {
		if err := l.Restore(g.at, g.lines, g.records); err != nil {
			return nil, err
		}
		l.EndGroup()
	}
	if _, err := l.Cut(l.Tail()); err != nil {
		return nil, err
	}
	return l, l.Sync()
}

// TestRestoreOverRemains tears the log at every byte behind a group, fills the
// rest with zeros, garbage, nothing, and restores.
func TestRestoreOverRemains(t *testing.T) {
	opts := Options{FileRecords: 9, FileBytes: 1 << 20}
	groups := makeGroups(opts, 12)
	full := written(t, opts, groups)
	all := files(t, full)
	const from = 9
	last := Name(groups[11].at.File)
	for n := 0; n < len(all[last]); n += 5 {
		if groups[from].at.File == groups[11].at.File && int64(n) < groups[from].at.Offset {
			continue // this much is synced
		}
		half := n + (len(all[last])-n)/2
		for name, rest := range map[string]string{
			"cut": "", "zeros": strings.Repeat("\x00", len(all[last])-n), "too long": strings.Repeat("\x00", 3*len(all[last])),
			"garbage": strings.Repeat("\xa7\n", len(all[last])), "hole": strings.Repeat("\x00", half-n) + all[last][half:],
		} {
			d := full.Clone()
			rewrite(t, d, last, []byte(all[last][:n]+rest))
			l, err := recoverLog(d, opts, groups, from)
			if err != nil {
				t.Fatalf("%s at %d: %v", name, n, err)
			}
			if err := errors.Join(readBack(l, groups), sameFiles(files(t, d), groups)); err != nil {
				t.Fatalf("%s at %d: %v", name, n, err)
			}
		}
	}
}

// TestRestoreAgain restores any number of groups over a whole log, and over one
// that lacks its newest files.
func TestRestoreAgain(t *testing.T) {
	for _, opts := range limits {
		groups := makeGroups(opts, 24)
		full := written(t, opts, groups)
		for from := range groups {
			for have := from; have <= len(groups); have += 5 {
				d := full.Clone()
				if have < len(groups) {
					d = written(t, opts, groups[:have])
				}
				l, err := recoverLog(d, opts, groups, from)
				if err != nil {
					t.Fatalf("%d of %d groups, from %d: %v", have, len(groups), from, err)
				}
				if err := errors.Join(readBack(l, groups), sameFiles(files(t, d), groups)); err != nil {
					t.Fatalf("%d of %d groups, from %d: %v", have, len(groups), from, err)
				}
			}
		}
	}
}

// TestRestoreScanned restores over lines that a whole scan has accepted.
func TestRestoreScanned(t *testing.T) {
	for _, opts := range limits {
		groups := makeGroups(opts, 24)
		d := written(t, opts, groups)
		l := open(t, d, opts)
		for _, g := range groups[5:] {
			must(t, l.Restore(g.at, g.lines, g.records))
			l.EndGroup()
		}
		must(t, l.Sync())
		must(t, readBack(l, groups))
		must(t, sameFiles(files(t, d), groups))
		must(t, l.Close())
	}
}

// TestConflict refuses to write over a line of another history.
func TestConflict(t *testing.T) {
	opts := Options{FileRecords: 9, FileBytes: 1 << 20}
	groups := makeGroups(opts, 12)
	other := func(seq uint64) string {
		return strings.Replace(line(seq), `"fill":"`, `"fill":"other `, 1)
	}
	for i, g := range groups {
		for k := range g.records {
			for _, scanned := range []bool{true, false} {
				d := written(t, opts, groups[:i])
				name := Name(g.at.File)
				var data []byte
				if g.at.Offset > 0 {
					data = content(t, d, name)
				}
				for n := range g.records {
					s := line(g.first + uint64(n))
					if n == k {
						s = other(g.first + uint64(n))
					}
					data = append(data, s...)
				}
				rewrite(t, d, name, data)
				l, err := Open(folder(d), opts)
				must(t, err)
				if scanned {
					_, err = l.Scan(nil)
				} else {
					_, err = l.ScanUntil(g.at, check)
				}
				must(t, err)
				if err = l.Restore(g.at, g.lines, g.records); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "log/"+name) {
					t.Fatalf("group %d, record %d, scanned %v: %v", i, k, scanned, err)
				}
				if !bytes.Equal(content(t, d, name), data) {
					t.Fatal("the other line was changed")
				}
			}
		}
	}
}

func TestPositions(t *testing.T) {
	opts := Options{FileRecords: 9, FileBytes: 1 << 20}
	groups := makeGroups(opts, 12)
	d := written(t, opts, groups)
	before := files(t, d)
	l := open(t, d, opts)
	end := l.Tail()
	text := []byte(line(l.Next()))
	for _, at := range []Pos{
		{end.File, end.Offset + 1},
		{end.File, end.Offset - 1},
		{end.File, -1},
		{end.File + 1, 0},
		{end.File + 100, 0},
		{0, 1},
		{0, 1 << 40},
		{0, int64(len(before[Name(0)]))},
		{1, 0},
	} {
		if err := l.Restore(at, text, 1); !errors.Is(err, ErrPosition) {
			t.Errorf("restore at %v: %v", at, err)
		}
		if _, err := l.Cut(at); !errors.Is(err, ErrPosition) {
			t.Errorf("cut at %v: %v", at, err)
		}
	}
	// Lines that would reach into the next file.
	c := NewCursor(opts)
	var lines []byte
	for seq := range uint64(14) {
		lines = append(lines, line(seq)...)
	}
	if err := l.Restore(c.Pos(), lines, 14); !errors.Is(err, ErrConflict) {
		t.Error(err)
	}
	if err := sameFiles(files(t, d), groups); err != nil {
		t.Error(err)
	}
}

// TestCut cuts behind every group that can be the last.
func TestCut(t *testing.T) {
	for _, opts := range limits {
		groups := makeGroups(opts, 24)
		full := written(t, opts, groups)
		for keep := range len(groups) + 1 {
			d := full.Clone()
			l, err := Open(folder(d), opts)
			must(t, err)
			at, lost := groups[len(groups)-1].at, ""
			if keep < len(groups) {
				at = groups[keep].at
				for _, g := range groups[keep:] {
					lost += string(g.lines)
				}
			} else {
				_, err = l.Scan(check)
				must(t, err)
				at = l.Tail()
			}
			newest := groups[len(groups)-1].at.File
			_, err = l.ScanUntil(at, check)
			must(t, err)
			got, err := l.Cut(at)
			if at.File < newest {
				// More than one file would have to go, unless only the group at
				// its start does.
				if !errors.Is(err, ErrPosition) {
					t.Fatalf("%v, keep %d: %d bytes, %v", opts, keep, got, err)
				}
				continue
			}
			if err != nil || got != int64(len(lost)) {
				t.Fatalf("%v, keep %d: %d bytes, wanted %d: %v", opts, keep, got, len(lost), err)
			}
			must(t, readBack(l, groups[:keep]))
			must(t, l.Sync())
			must(t, sameFiles(files(t, d), groups[:keep]))
			for _, g := range groups[keep:] {
				must(t, l.appendGroup(g))
			}
			must(t, l.Sync())
			must(t, readBack(l, groups))
			must(t, sameFiles(files(t, d), groups))
			must(t, l.Close())
			must(t, readBack(open(t, d, opts), groups))
		}
	}
}

// TestCutAfterScan cuts whole lines that a scan has accepted: a group that never ended.
func TestCutAfterScan(t *testing.T) {
	for _, opts := range limits {
		groups := makeGroups(opts, 24)
		for keep := 1; keep < len(groups); keep++ {
			g := groups[keep]
			if g.records < 2 {
				continue
			}
			d := written(t, opts, groups[:keep])
			l := open(t, d, opts)
			must(t, l.Append(g.lines, g.records)) // no EndGroup: the commit line is missing
			must(t, l.Sync())
			must(t, l.Close())
			l = open(t, d, opts)
			cut, err := l.Cut(g.at)
			if err != nil || cut != int64(len(g.lines)) {
				t.Fatalf("%d bytes, %v", cut, err)
			}
			must(t, readBack(l, groups[:keep]))
			for _, g := range groups[keep:] {
				must(t, l.appendGroup(g))
			}
			must(t, sameFiles(files(t, d), groups))
		}
	}
}

// TestRestoreThenAppend goes from an early file to the last one; Sync must reach both.
func TestRestoreThenAppend(t *testing.T) {
	opts := Options{FileRecords: 9, FileBytes: 1 << 20}
	groups := makeGroups(opts, 12)
	d := written(t, opts, groups[:11])
	l := open(t, d, opts)
	d.Record()
	must(t, l.Restore(groups[0].at, groups[0].lines, groups[0].records))
	must(t, l.Append(groups[11].lines, groups[11].records))
	must(t, l.Sync())
	unsynced := map[string]bool{}
	writes := 0
	for _, op := range d.Ops() {
		switch op.Kind {
		case fsx.OpWrite:
			unsynced[op.Name] = true
			writes++
		case fsx.OpSync:
			delete(unsynced, op.Name)
		}
	}
	if len(unsynced) > 0 || writes != 2 {
		t.Errorf("%d writes, not synced: %v", writes, unsynced)
	}
	must(t, readBack(l, groups))
}

// TestNothingIsWrittenBeforeTheRest refuses to append while files follow that no
// scan has come to, and after damage.
func TestNothingIsWrittenBeforeTheRest(t *testing.T) {
	opts := Options{FileRecords: 9, FileBytes: 1 << 20}
	groups := makeGroups(opts, 30)
	d := written(t, opts, groups)
	for i, g := range groups {
		if g.at.File == groups[29].at.File && g.at.Offset > 0 {
			break // only the last file follows, and it has junk
		}
		l, err := Open(folder(d), opts)
		must(t, err)
		_, err = l.ScanUntil(g.at, check)
		must(t, err)
		if err := l.Append(g.lines, g.records); !errors.Is(err, ErrNotReady) && !errors.Is(err, ErrDamaged) {
			t.Errorf("append as group %d: %v", i, err)
		}
		if err := l.Reserve(1); !errors.Is(err, ErrNotReady) && !errors.Is(err, ErrDamaged) {
			t.Errorf("reserve as group %d: %v", i, err)
		}
	}
	must(t, d.Remove("log/"+Name(groups[15].at.File)))
	l, err := Open(folder(d), opts)
	must(t, err)
	if _, err := l.Scan(check); !errors.Is(err, ErrGap) {
		t.Fatal(err)
	}
	if err := l.Append([]byte(line(l.Next())), 1); !errors.Is(err, ErrNotReady) {
		t.Error(err)
	}
}
