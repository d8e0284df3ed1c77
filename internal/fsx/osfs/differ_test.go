//go:build linux || darwin || freebsd

package osfs_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path"
	"testing"

	"graven/internal/fsx"
)

// The same calls on the system and in memory have the same outcome: what the
// crash tests show of a program in memory then holds for it on a real disk.
func TestSameAsMem(t *testing.T) {
	done := 0
	for round := range uint64(40) {
		r := rand.New(rand.NewPCG(round, 2))
		a, b := fsx.Disk(fsx.NewMem()), newDisk(t)
		var files [][2]fsx.File
		for range 120 {
			call, pair := randomCall(r, files)
			wantA, fileA := call(a, 0)
			wantB, fileB := call(b, 1)
			if wantA != wantB {
				t.Fatalf("round %d: in memory %s, on the system %s", round, wantA, wantB)
			}
			if fileA != nil {
				files = append(files, [2]fsx.File{fileA, fileB})
			}
			if pair != "" {
				done++
			}
		}
		if got, want := tree(t, b, "."), tree(t, a, "."); got != want {
			t.Fatalf("round %d: in memory %s, on the system %s", round, want, got)
		}
		for _, f := range files {
			f[0].Close()
			f[1].Close()
		}
	}
	if done < 4000 {
		t.Errorf("%d calls", done)
	}
}

// randomCall returns a call that runs on either disk (side 0 or 1) and prints
// its outcome.
func randomCall(r *rand.Rand, files [][2]fsx.File) (func(d fsx.Disk, side int) (string, fsx.File), string) {
	names := []string{"a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "a/x", "none/x"}
	x, y := names[r.IntN(len(names))], names[r.IntN(len(names))]
	off, n := int64(r.IntN(20)), r.IntN(12)
	plain := func(op string, call func(d fsx.Disk) error) (func(fsx.Disk, int) (string, fsx.File), string) {
		return func(d fsx.Disk, _ int) (string, fsx.File) {
			return fmt.Sprint(op, " ", x, " ", y, ": ", word(call(d))), nil
		}, op
	}
	if len(files) > 0 && r.IntN(2) == 0 {
		which := r.IntN(len(files))
		kind := r.IntN(5)
		return func(_ fsx.Disk, side int) (string, fsx.File) {
			f := files[which][side]
			switch kind {
			case 0:
				m, err := f.WriteAt([]byte("0123456789ab")[:n], off)
				return fmt.Sprintf("write %d+%d: %d %s", off, n, m, word(err)), nil
			case 1:
				p := make([]byte, n)
				m, err := f.ReadAt(p, off)
				return fmt.Sprintf("read %d+%d: %q %s", off, n, p[:m], word(err)), nil
			case 2:
				return fmt.Sprintf("truncate %d: %s", off, word(f.Truncate(off))), nil
			case 3:
				return fmt.Sprintf("sync: %s", word(f.Sync())), nil
			}
			m, err := f.Size()
			return fmt.Sprintf("size: %d %s", m, word(err)), nil
		}, "file"
	}
	switch r.IntN(9) {
	case 0, 1:
		mode := []fsx.Mode{fsx.ReadWrite, fsx.Create, fsx.CreatePrivate}[r.IntN(3)]
		return func(d fsx.Disk, _ int) (string, fsx.File) {
			f, err := d.Open(x, mode)
			return fmt.Sprint("open ", x, " ", mode, ": ", word(err)), f
		}, "open"
	case 2:
		return plain("link", func(d fsx.Disk) error { return d.Link(x, y) })
	case 3:
		return plain("rename", func(d fsx.Disk) error { return d.Rename(x, y) })
	case 4:
		return plain("remove", func(d fsx.Disk) error { return d.Remove(x) })
	case 5:
		return plain("mkdir", func(d fsx.Disk) error { return d.Mkdir(x, n%2 == 0) })
	case 6:
		return plain("syncdir", func(d fsx.Disk) error { return d.SyncDir(x) })
	case 7:
		return plain("stat", func(d fsx.Disk) error { _, err := d.Stat(x); return err })
	}
	return plain("readdir", func(d fsx.Disk) error { _, err := d.ReadDir(x); return err })
}

// word names an error by the words of the interface.
func word(err error) string {
	if err == nil || err == io.EOF {
		return fmt.Sprint(err)
	}
	for _, w := range []error{
		fsx.ErrNotRegular, fsx.ErrNotFolder, fsx.ErrNotEmpty, fsx.ErrReadOnly, fsx.ErrNoSpace,
		fs.ErrNotExist, fs.ErrExist, fs.ErrInvalid, fs.ErrClosed,
	} {
		if errors.Is(err, w) {
			return w.Error()
		}
	}
	return "other: " + err.Error()
}

// tree prints everything below a folder.
func tree(t *testing.T, d fsx.Disk, folder string) string {
	t.Helper()
	list, err := d.ReadDir(folder)
	check(t, err)
	s := ""
	for _, e := range list {
		name := path.Join(folder, e.Name)
		info, err := d.Stat(name)
		check(t, err)
		if e.Dir != info.Dir || e.Regular != info.Regular {
			t.Errorf("%s: listed %+v, stat %+v", name, e, info)
		}
		if e.Dir {
			s += fmt.Sprintf("%s %v {%s} ", e.Name, info.Private, tree(t, d, name))
			continue
		}
		data, err := fsx.NewDir(d, nil).ReadFile(name, 1<<20)
		check(t, err)
		s += fmt.Sprintf("%s %v %q ", e.Name, info.Private, data)
	}
	return s
}
