// Package fsxtest holds the tests that every fsx.Disk must pass, and those of
// fsx.Dir over any of them.
package fsxtest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"testing"

	"graven/internal/fsx"
)

// Disk runs the conformance tests. Each gets a new, empty disk.
func Disk(t *testing.T, newDisk func(t *testing.T) fsx.Disk) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, d fsx.Disk)
	}{
		{"names", testNames},
		{"open", testOpen},
		{"read and write", testReadWrite},
		{"truncate", testTruncate},
		{"reserve", testReserve},
		{"closed files", testClosed},
		{"link", testLink},
		{"rename", testRename},
		{"remove", testRemove},
		{"folders", testFolders},
		{"stat", testStat},
		{"sync", testSync},
		{"files outlive names", testOutlive},
		{"lock", testLock},
		{"shared lock", testShared},
		{"concurrent use", testConcurrent},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, newDisk(t)) })
	}
}

func testNames(t *testing.T, d fsx.Disk) {
	Put(t, d, "f", "x")
	for _, name := range []string{"", "/", "/f", "f/", "./f", "..", "../f", "a/../f", "a//f", "f\x00", "\xff"} {
		for call, err := range calls(d, name, "f") {
			if !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("%s %q: %v, want fs.ErrInvalid", call, name, err)
			}
		}
	}
	for call, err := range calls(d, ".", "f") {
		switch call {
		case "readdir", "stat", "syncdir":
			want(t, err, nil)
		default:
			if err == nil {
				t.Errorf("%s of the folder itself was allowed", call)
			}
		}
	}
	if got := Get(t, d, "f"); got != "x" {
		t.Errorf("after refused calls the file holds %q", got)
	}
}

// calls makes every call of a disk with a bad name.
func calls(d fsx.Disk, name, good string) map[string]error {
	errs := map[string]error{}
	for call, mode := range map[string]fsx.Mode{"read": fsx.Read, "readwrite": fsx.ReadWrite, "create": fsx.Create, "private": fsx.CreatePrivate} {
		_, errs[call] = d.Open(name, mode)
	}
	errs["link from"] = d.Link(name, "new")
	errs["link to"] = d.Link(good, name)
	errs["rename from"] = d.Rename(name, "new")
	errs["rename to"] = d.Rename(good, name)
	errs["remove"] = d.Remove(name)
	errs["mkdir"] = d.Mkdir(name, false)
	_, errs["readdir"] = d.ReadDir(name)
	_, errs["stat"] = d.Stat(name)
	errs["syncdir"] = d.SyncDir(name)
	_, errs["lock"] = d.Lock(name, "")
	_, errs["lockshared"] = d.LockShared(name)
	return errs
}

func testOpen(t *testing.T, d fsx.Disk) {
	want(t, d.Mkdir("dir", false), nil)
	Put(t, d, "dir/f", "content")
	for _, c := range []struct {
		name string
		mode fsx.Mode
		want error
	}{
		{"dir/f", fsx.Read, nil},
		{"dir/f", fsx.ReadWrite, nil},
		{"dir/f", fsx.Create, fs.ErrExist},
		{"dir/f", fsx.CreatePrivate, fs.ErrExist},
		{"dir/g", fsx.Read, fs.ErrNotExist},
		{"dir/g", fsx.ReadWrite, fs.ErrNotExist},
		{"no/g", fsx.Create, fs.ErrNotExist},
		{"dir", fsx.Read, fsx.ErrNotRegular},
		{"dir", fsx.ReadWrite, fsx.ErrNotRegular},
		{"dir", fsx.Create, fs.ErrExist},
		{".", fsx.Read, fsx.ErrNotRegular},
		{"dir/f/g", fsx.Read, fsx.ErrNotFolder},
		{"dir/f/g", fsx.Create, fsx.ErrNotFolder},
	} {
		f, err := d.Open(c.name, c.mode)
		if !errors.Is(err, c.want) {
			t.Errorf("open %s with mode %d: %v, want %v", c.name, c.mode, err, c.want)
		}
		if err == nil {
			want(t, f.Close(), nil)
		} else if c.name != "." && !strings.Contains(err.Error(), c.name) {
			t.Errorf("error does not name %s: %v", c.name, err)
		}
	}
	if got := Get(t, d, "dir/f"); got != "content" {
		t.Errorf("opening changed the file: %q", got)
	}
	f := open(t, d, "dir/f", fsx.Read)
	defer f.Close()
	if _, err := f.WriteAt([]byte("x"), 0); err == nil {
		t.Error("write through a file opened for reading")
	}
	if err := f.Truncate(0); err == nil {
		t.Error("truncate through a file opened for reading")
	}
}

func testReadWrite(t *testing.T, d fsx.Disk) {
	f := open(t, d, "f", fsx.Create)
	defer f.Close()
	write(t, f, "abc", 0)
	write(t, f, "", 100) // nothing: must not extend
	size(t, f, 3)
	write(t, f, "XY", 1)
	write(t, f, "end", 6)
	if got := Get(t, d, "f"); got != "aXY\x00\x00\x00end" {
		t.Fatalf("content %q", got)
	}
	for _, c := range []struct {
		off, n int
		want   string
		err    error
	}{
		{0, 3, "aXY", nil}, {6, 3, "end", nil}, {7, 3, "nd", io.EOF}, {9, 1, "", io.EOF}, {100, 1, "", io.EOF}, {0, 0, "", nil},
	} {
		p := make([]byte, c.n)
		n, err := f.ReadAt(p, int64(c.off))
		if string(p[:n]) != c.want || err != c.err { // io.EOF itself, as io.ReaderAt wants
			t.Errorf("read %d+%d: %q, %v; want %q, %v", c.off, c.n, p[:n], err, c.want, c.err)
		}
	}
	if _, err := f.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("read before the start")
	}
	if _, err := f.WriteAt([]byte("x"), -1); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("write before the start: %v", err)
	}
	big := bytes.Repeat([]byte("0123456789abcdef"), 20000)
	if n, err := f.WriteAt(big, 5); n != len(big) || err != nil {
		t.Fatalf("long write: %d, %v", n, err)
	}
	if got := Get(t, d, "f"); got != "aXY\x00\x00"+string(big) {
		t.Error("a long write came back different")
	}
	p := []byte("mine")
	write(t, f, string(p), 0)
	p[0] = 'X' // the disk must have copied
	if got := Get(t, d, "f"); got[:4] != "mine" {
		t.Errorf("the disk kept the caller's slice: %q", got[:4])
	}
}

func testTruncate(t *testing.T, d fsx.Disk) {
	f := open(t, d, "f", fsx.Create)
	defer f.Close()
	write(t, f, "0123456789", 0)
	want(t, f.Truncate(4), nil)
	size(t, f, 4)
	want(t, f.Truncate(7), nil)
	if got := Get(t, d, "f"); got != "0123\x00\x00\x00" {
		t.Errorf("cut and extended: %q", got)
	}
	want(t, f.Truncate(2), nil)
	write(t, f, "x", 5) // what the cut took away must not come back
	if got := Get(t, d, "f"); got != "01\x00\x00\x00x" {
		t.Errorf("cut and written behind: %q", got)
	}
	if err := f.Truncate(-1); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("negative length: %v", err)
	}
	want(t, f.Truncate(0), nil)
	size(t, f, 0)
}

func testReserve(t *testing.T, d fsx.Disk) {
	f := open(t, d, "f", fsx.Create)
	defer f.Close()
	write(t, f, "abc", 0)
	want(t, f.Reserve(0, 1<<16), nil)
	want(t, f.Reserve(3, 100), nil)
	want(t, f.Reserve(50, 0), nil)
	size(t, f, 3)
	write(t, f, "d", 5)
	if got := Get(t, d, "f"); got != "abc\x00\x00d" {
		t.Errorf("content after reserve: %q", got)
	}
	for _, c := range [][2]int64{{-1, 1}, {0, -1}, {1 << 62, 1 << 62}} {
		if err := f.Reserve(c[0], c[1]); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("reserve %d+%d: %v", c[0], c[1], err)
		}
	}
}

func testClosed(t *testing.T, d fsx.Disk) {
	f := open(t, d, "f", fsx.Create)
	want(t, f.Close(), nil)
	_, read := f.ReadAt(make([]byte, 1), 0)
	_, written := f.WriteAt([]byte("x"), 0)
	_, sized := f.Size()
	for call, err := range map[string]error{
		"read": read, "write": written, "size": sized, "truncate": f.Truncate(1),
		"sync": f.Sync(), "reserve": f.Reserve(0, 1), "close": f.Close(),
	} {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s on a closed file: %v", call, err)
		}
	}
}

func testSync(t *testing.T, d fsx.Disk) {
	Put(t, d, "f", "x")
	f := open(t, d, "f", fsx.Read)
	want(t, f.Sync(), nil) // recovery syncs what it only reads
	want(t, f.Close(), nil)
	want(t, d.Mkdir("dir", false), nil)
	want(t, d.SyncDir("dir"), nil)
	want(t, d.SyncDir("none"), fs.ErrNotExist)
	want(t, d.SyncDir("f"), fsx.ErrNotFolder)
}

func testOutlive(t *testing.T, d fsx.Disk) {
	f := open(t, d, "f", fsx.Create)
	defer f.Close()
	write(t, f, "one", 0)
	want(t, d.Rename("f", "g"), nil)
	write(t, f, "two", 3)
	if got := Get(t, d, "g"); got != "onetwo" {
		t.Errorf("through a renamed file: %q", got)
	}
	want(t, d.Remove("g"), nil)
	write(t, f, "three", 6)
	p := make([]byte, 11)
	if _, err := f.ReadAt(p, 0); err != nil || string(p) != "onetwothree" {
		t.Errorf("read of a file without a name: %q, %v", p, err)
	}
	Put(t, d, "g", "new")
	size(t, f, 11)
}

func testConcurrent(t *testing.T, d fsx.Disk) {
	f := open(t, d, "f", fsx.Create)
	defer f.Close()
	const workers, rounds = 8, 20
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			own := strconv.Itoa(w)
			for i := range rounds {
				if _, err := f.WriteAt([]byte(own), int64(i*workers+w)); err != nil {
					t.Error(err)
				}
				name := "t" + own
				if g, err := d.Open(name, fsx.Create); err != nil {
					t.Error(err)
				} else {
					g.Close()
				}
				if _, err := d.ReadDir("."); err != nil {
					t.Error(err)
				}
				if err := d.Rename(name, name+"x"); err != nil {
					t.Error(err)
				}
				if err := d.Remove(name + "x"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := Get(t, d, "f"); got != strings.Repeat("01234567", rounds) {
		t.Errorf("content after concurrent writes: %q", got)
	}
}
