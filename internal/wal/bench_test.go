package wal

import (
	"fmt"
	"testing"

	"graven/internal/fsx"
	"graven/internal/fsx/osfs"
)

// BenchmarkAppendSync makes groups durable on the real disk, beside the least
// that any log must do: write as many bytes into a file made before, and sync.
func BenchmarkAppendSync(b *testing.B) {
	for _, size := range []int{300, 4 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("wal/%d", size), func(b *testing.B) {
			w := start(b, folder(tempDisk(b)), options(DefaultFileBytes))
			defer w.Close()
			mustPut(b, w, makeGroup(0, size))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			h := uint64(0)
			for b.Loop() {
				h++
				g := benchGroup(h, size)
				if err := w.put(g); err != nil {
					b.Fatal(err)
				}
				w.Forget(h)
			}
		})
		b.Run(fmt.Sprintf("raw/%d", size), func(b *testing.B) {
			f, err := folder(tempDisk(b)).Append("wal-00000000", true)
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt(make([]byte, DefaultFileBytes), 0); err != nil {
				b.Fatal(err)
			}
			if err := f.Sync(); err != nil {
				b.Fatal(err)
			}
			data := make([]byte, size)
			b.SetBytes(int64(size))
			off := int64(0)
			for b.Loop() {
				if _, err := f.WriteAt(data, off); err != nil {
					b.Fatal(err)
				}
				if err := f.Sync(); err != nil {
					b.Fatal(err)
				}
				if off += int64(size); off+int64(size) > DefaultFileBytes {
					off = 0
				}
			}
		})
	}
}

// benchGroup is a group of one line of about size bytes.
func benchGroup(h uint64, size int) *Group {
	line := make([]byte, size)
	for i := range line {
		line[i] = 'x'
	}
	line[size-1] = '\n'
	return &Group{Height: h, First: 2 * h, Records: 2, Lines: append([]byte("x\n"), line[2:]...)}
}

func tempDisk(tb testing.TB) fsx.Disk {
	tb.Helper()
	d, err := osfs.Open(tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := d.Close(); err != nil {
			tb.Error(err)
		}
	})
	return d
}

// BenchmarkEncode is what appending costs besides the disk.
func BenchmarkEncode(b *testing.B) {
	g := benchGroup(1, 64<<10)
	h := g.header()
	var buf []byte
	b.SetBytes(64 << 10)
	b.ReportAllocs()
	for b.Loop() {
		buf = g.appendFrame(buf[:0], &h)
	}
}

// BenchmarkRead reads a full log of small groups.
func BenchmarkRead(b *testing.B) {
	d := fsx.NewMem()
	w := start(b, folder(d), options(1<<20))
	for h := range uint64(1000) {
		mustPut(b, w, benchGroup(h, 1000))
	}
	b.SetBytes(1_000_000)
	for b.Loop() {
		w, err := Open(folder(d), options(1<<20))
		if err != nil {
			b.Fatal(err)
		}
		if r, err := w.Read(func(Group) error { return nil }); err != nil || r.Groups != 1000 {
			b.Fatal(r, err)
		}
	}
}
