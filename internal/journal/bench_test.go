package journal

import (
	"bytes"
	"fmt"
	"testing"

	"graven/internal/fsx"
	"graven/internal/fsx/osfs"
)

var benchOptions = Options{FileRecords: 65536, FileBytes: 64 << 20}

func tempDisk(tb testing.TB) fsx.Disk {
	tb.Helper()
	d, err := osfs.Open(tb.TempDir())
	must(tb, err)
	tb.Cleanup(func() { must(tb, d.Close()) })
	return d
}

// benchLines are 16 lines of 500 bytes.
func benchLines() []byte {
	return bytes.Repeat(append(bytes.Repeat([]byte("x"), 499), '\n'), 16)
}

// BenchmarkAppend appends groups, without and with a sync after each.
func BenchmarkAppend(b *testing.B) {
	for _, sync := range []bool{false, true} {
		name := "append"
		if sync {
			name = "append+sync"
		}
		b.Run(name, func(b *testing.B) {
			l := open(b, tempDisk(b), benchOptions)
			defer l.Close()
			lines := benchLines()
			b.SetBytes(int64(len(lines)))
			b.ReportAllocs()
			for b.Loop() {
				must(b, l.Reserve(len(lines)))
				must(b, l.Append(lines, 16))
				l.EndGroup()
				if sync {
					must(b, l.Sync())
				}
			}
		})
	}
	b.Run("raw+sync", func(b *testing.B) {
		f, err := folder(tempDisk(b)).Append(Name(0), true)
		must(b, err)
		defer f.Close()
		lines := benchLines()
		b.SetBytes(int64(len(lines)))
		off := int64(0)
		for b.Loop() {
			_, err := f.WriteAt(lines, off)
			must(b, err)
			must(b, f.Sync())
			off += int64(len(lines))
		}
	})
}

// filled is a log of 64,000 lines on the real disk.
func filled(b *testing.B) *Log {
	l := open(b, tempDisk(b), Options{FileRecords: 10_000, FileBytes: 64 << 20})
	for range 4000 {
		must(b, l.Append(benchLines(), 16))
		l.EndGroup()
	}
	must(b, l.Sync())
	return l
}

func BenchmarkScan(b *testing.B) {
	l := filled(b)
	b.SetBytes(32_000_000)
	for b.Loop() {
		again, err := Open(l.dir, l.opts)
		must(b, err)
		_, err = again.Scan(nil)
		must(b, err)
	}
}

func BenchmarkLine(b *testing.B) {
	l := filled(b)
	b.ReportAllocs()
	n := uint64(0)
	for b.Loop() {
		n = (n*1103515245 + 12345) % 64_000
		_, err := l.Line(n)
		must(b, err)
	}
}

func BenchmarkLines256(b *testing.B) {
	l := filled(b)
	b.SetBytes(256 * 500)
	n := uint64(0)
	for b.Loop() {
		n = (n*1103515245 + 12345) % 63_000
		_, err := l.Lines(n, n+256)
		must(b, err)
	}
}

// gridOver is a grid of a log whose lines are all in the table.
func gridOver(b *testing.B, l *Log) Grid {
	var list []Pos
	must(b, l.Places(0, l.Next(), bundleLines, func(_ uint64, at Pos) { list = append(list, at) }))
	return func(seq uint64) (uint64, Pos, error) {
		return seq - seq%bundleLines, list[seq/bundleLines], nil
	}
}

// BenchmarkOpen scans the log from its start and from its last group.
func BenchmarkOpen(b *testing.B) {
	l := filled(b)
	last, err := l.Position(l.Next() - 16)
	must(b, err)
	for name, start := range map[string]Start{"start": {}, "end": {l.Next() - 16, last}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				again, err := Open(l.dir, l.opts)
				must(b, err)
				_, err = again.ScanFrom(start, nil)
				must(b, err)
				must(b, again.Close())
			}
		})
	}
}

// BenchmarkOld reads old lines: of bundles that are known, of others, and all in order.
func BenchmarkOld(b *testing.B) {
	l := filled(b)
	l.SetGrid(gridOver(b, l))
	l.Forget(l.Next())
	b.Run("known", func(b *testing.B) {
		for n := uint64(0); b.Loop(); n++ {
			must(b, second(l.Line(n*7919%64_000)))
		}
	})
	b.Run("cold", func(b *testing.B) {
		for n := uint64(0); b.Loop(); n++ {
			l.bundles.clear()
			must(b, second(l.Line(n*7919%64_000)))
		}
	})
	for _, cold := range []bool{true, false} {
		b.Run(fmt.Sprintf("stream/cold=%v", cold), func(b *testing.B) {
			b.SetBytes(1024 * 500)
			for n := uint64(0); b.Loop(); n++ {
				if cold {
					l.bundles.clear()
				}
				from := n % 62 * 1024
				must(b, second(l.Lines(from, from+1024)))
			}
		})
	}
}
