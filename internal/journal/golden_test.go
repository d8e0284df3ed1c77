package journal

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"graven/internal/fsx"
)

var update = flag.Bool("update", false, "write the golden files")

const golden = "../../testdata/format/journal"

// TestGolden compares a small log, file by file, with the one in the
// repository, and opens that one. Four records or 400 bytes fill a file.
func TestGolden(t *testing.T) {
	opts := Options{FileRecords: 4, FileBytes: 400}
	groups := makeGroups(opts, 6)
	d := written(t, opts, groups)
	made := files(t, d)
	made[currentName] = string(content(t, d, currentName))
	if *update {
		must(t, os.MkdirAll(golden, 0o755))
		for name, data := range made {
			must(t, os.WriteFile(filepath.Join(golden, name), []byte(data), 0o644))
		}
	}
	entries, err := os.ReadDir(golden)
	must(t, err)
	if len(entries) != len(made) || len(made) < 4 {
		t.Fatalf("%d golden files, %d made", len(entries), len(made))
	}
	kept := fsx.NewMem()
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(golden, e.Name()))
		must(t, err)
		if made[e.Name()] != string(data) {
			t.Errorf("%s differs:\n%q\nwanted\n%q", e.Name(), made[e.Name()], data)
		}
		if e.Name() != currentName {
			rewrite(t, kept, e.Name(), data)
		}
	}
	must(t, readBack(open(t, kept, opts), groups))
}

// FuzzScan reads two files of any bytes. It must not panic; the lines and the
// junk that it reports are the bytes of the files, and the table finds each line
// again. So does a scan that begins at any of the lines.
func FuzzScan(f *testing.F) {
	f.Add([]byte(line(0)+line(1)), []byte(line(2)))
	f.Add([]byte("a\n\n\x00\n"), []byte("b\nc"))
	f.Add([]byte("a"), []byte{})
	f.Add(bytes.Repeat([]byte("x"), maxLine+1), []byte("\n"))
	f.Add(append(bytes.Repeat([]byte("x"), maxLine+1), '\n'), []byte("\n"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		opts := Options{FileRecords: 3, FileBytes: 1 << 20}
		d := fsx.NewMem()
		rewrite(t, d, Name(0), a)
		lines := uint64(bytes.Count(a, []byte("\n")))
		if lines > 0 {
			rewrite(t, d, Name(lines), b)
		}
		l, err := Open(folder(d), opts)
		must(t, err)
		var all []byte
		var starts []Start
		tail, err := l.Scan(func(seq uint64, line []byte, at Pos) error {
			if len(starts) < 20 {
				starts = append(starts, Start{seq, at})
			}
			if len(line) > maxLine {
				t.Errorf("line %d has %d bytes", seq, len(line))
			}
			all = append(append(all, line...), '\n')
			return nil
		})
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrGap) {
				t.Error(err)
			}
			return
		}
		want := a
		if lines > 0 {
			want = append(bytes.Clone(a), b...)
		}
		if !bytes.Equal(want[:len(want)-int(tail.Junk)], all) || bytes.IndexByte(want[len(all):], '\n') >= 0 {
			t.Errorf("%q and %d bytes of junk, wanted %q", all, tail.Junk, want)
		}
		got, err := l.Lines(0, tail.Next)
		must(t, err)
		if back := append(bytes.Join(got, []byte("\n")), '\n'); tail.Next > 0 && !bytes.Equal(back, all) {
			t.Errorf("%q is read back as %q", all, back)
		}
		for _, start := range starts {
			again, err := l.ScanFrom(start, nil)
			if err != nil || again != tail {
				t.Fatalf("from %v: %+v, wanted %+v: %v", start, again, tail, err)
			}
			lines, err := l.Lines(0, tail.Next)
			must(t, err)
			if !slices.EqualFunc(lines, got, bytes.Equal) {
				t.Errorf("from %v: %q is read back as %q", start, got, lines)
			}
		}
	})
}
