package fsxtest

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"graven/internal/fsx"
)

func testLink(t *testing.T, d fsx.Disk) {
	want(t, d.Mkdir("dir", false), nil)
	Put(t, d, "f", "one")
	Put(t, d, "taken", "two")
	want(t, d.Link("f", "dir/g"), nil)
	want(t, d.Link("f", "taken"), fs.ErrExist)
	want(t, d.Link("f", "f"), fs.ErrExist)
	want(t, d.Link("f", "dir"), fs.ErrExist)
	want(t, d.Link("none", "h"), fs.ErrNotExist)
	want(t, d.Link("f", "none/h"), fs.ErrNotExist)
	want(t, d.Link("dir", "h"), fsx.ErrNotRegular)
	if got := Get(t, d, "taken"); got != "two" {
		t.Errorf("a refused link changed its target: %q", got)
	}
	f := open(t, d, "f", fsx.ReadWrite)
	write(t, f, "ONE", 0)
	want(t, f.Close(), nil)
	want(t, d.Remove("f"), nil)
	if got := Get(t, d, "dir/g"); got != "ONE" {
		t.Errorf("the second name shows %q", got)
	}
}

func testRename(t *testing.T, d fsx.Disk) {
	for _, name := range []string{"a", "a/deep", "full", "empty"} {
		want(t, d.Mkdir(name, false), nil)
	}
	Put(t, d, "full/f", "kept")
	Put(t, d, "a/deep/f", "deep")
	Put(t, d, "f", "one")
	Put(t, d, "g", "two")

	want(t, d.Rename("f", "g"), nil)
	want(t, d.Rename("g", "a/h"), nil)
	if got := Get(t, d, "a/h"); got != "one" {
		t.Errorf("moved file holds %q", got)
	}
	missing(t, d, "f", "g")
	want(t, d.Rename("none", "x"), fs.ErrNotExist)
	want(t, d.Rename("a/h", "none/x"), fs.ErrNotExist)
	want(t, d.Rename("a/h", "a/h"), nil)
	want(t, d.Rename("a/h", "empty"), fs.ErrExist)
	want(t, d.Rename("empty", "a/h"), fsx.ErrNotFolder)
	want(t, d.Rename("a", "full"), fs.ErrExist)
	want(t, d.Rename("a", "empty"), fs.ErrExist)
	want(t, d.Rename("a", "a"), fs.ErrExist)
	if err := d.Rename("a", "a/deep/a"); err == nil {
		t.Error("a folder moved into itself")
	}
	want(t, d.Rename("a", "b"), nil)
	if got := Get(t, d, "b/deep/f"); got != "deep" {
		t.Errorf("file in a moved folder: %q", got)
	}
	// Two names of one file: nothing happens, POSIX says.
	want(t, d.Link("b/h", "b/i"), nil)
	want(t, d.Rename("b/h", "b/i"), nil)
	if Get(t, d, "b/h") != "one" || Get(t, d, "b/i") != "one" {
		t.Error("renaming one name of a file over another lost something")
	}
}

func testRemove(t *testing.T, d fsx.Disk) {
	want(t, d.Mkdir("dir", false), nil)
	Put(t, d, "dir/f", "x")
	want(t, d.Remove("dir"), fsx.ErrNotEmpty)
	want(t, d.Remove("dir/g"), fs.ErrNotExist)
	want(t, d.Remove("none/g"), fs.ErrNotExist)
	want(t, d.Remove("dir/f"), nil)
	missing(t, d, "dir/f")
	want(t, d.Remove("dir"), nil)
	missing(t, d, "dir")
	Put(t, d, "dir", "a file now")
}

func testFolders(t *testing.T, d fsx.Disk) {
	want(t, d.Mkdir("dir", false), nil)
	want(t, d.Mkdir("dir", false), fs.ErrExist)
	want(t, d.Mkdir("none/x", false), fs.ErrNotExist)
	Put(t, d, "dir/b", "")
	want(t, d.Mkdir("dir/b", false), fs.ErrExist)
	want(t, d.Mkdir("dir/b/c", false), fsx.ErrNotFolder)
	want(t, d.Mkdir("dir/c", false), nil)
	Put(t, d, "dir/a", "")
	Put(t, d, "dir/B", "")
	got, err := d.ReadDir("dir")
	want(t, err, nil)
	list := []fsx.Entry{{Name: "B", Regular: true}, {Name: "a", Regular: true}, {Name: "b", Regular: true}, {Name: "c", Dir: true}}
	if !slices.Equal(got, list) {
		t.Errorf("folder lists %v, want %v", got, list)
	}
	got, err = d.ReadDir("dir/c")
	if len(got) != 0 || err != nil {
		t.Errorf("empty folder lists %v, %v", got, err)
	}
	_, err = d.ReadDir("none")
	want(t, err, fs.ErrNotExist)
	_, err = d.ReadDir("dir/a")
	want(t, err, fsx.ErrNotFolder)
}

func testStat(t *testing.T, d fsx.Disk) {
	want(t, d.Mkdir("open", false), nil)
	want(t, d.Mkdir("closed", true), nil)
	Put(t, d, "open/f", "12345")
	f := open(t, d, "closed/f", fsx.CreatePrivate)
	write(t, f, "1", 6)
	want(t, f.Close(), nil)
	for name, info := range map[string]fsx.Info{
		"open":     {Dir: true},
		"closed":   {Dir: true, Private: true},
		"open/f":   {Size: 5, Regular: true},
		"closed/f": {Size: 7, Regular: true, Private: true},
	} {
		got, err := d.Stat(name)
		if got.Dir {
			got.Size = 0
		}
		if err != nil || got != info {
			t.Errorf("stat %s: %+v, %v; want %+v", name, got, err, info)
		}
	}
	missing(t, d, "none", "none/f")
	_, err := d.Stat("open/f/g")
	want(t, err, fsx.ErrNotFolder)
}

func testLock(t *testing.T, d fsx.Disk) {
	first, err := d.Lock("lock", "pid 1 on host a")
	want(t, err, nil)
	if got := Get(t, d, "lock"); got != "pid 1 on host a" {
		t.Errorf("lock file says %q", got)
	}
	for range 2 {
		_, err = d.Lock("lock", "pid 2 on host b")
		var locked *fsx.LockedError
		if !errors.Is(err, fsx.ErrLocked) || !errors.As(err, &locked) || locked.Owner != "pid 1 on host a" || !strings.HasSuffix(locked.Name, "lock") {
			t.Errorf("second lock: %v", err)
		}
	}
	_, err = d.LockShared("lock")
	want(t, err, fsx.ErrLocked)
	want(t, first.Close(), nil)
	if first.Close() == nil {
		t.Error("a lock was given back twice")
	}
	second, err := d.Lock("lock", "pid 3")
	want(t, err, nil)
	if got := Get(t, d, "lock"); got != "pid 3" {
		t.Errorf("lock file says %q", got)
	}
	want(t, d.Remove("lock"), nil)
	_, err = d.Lock("lock", "")
	want(t, err, fsx.ErrLocked) // the folder has one lock, whatever became of the file
	want(t, second.Close(), nil)
	want(t, d.Mkdir("dir", false), nil)
	_, err = d.Lock("dir", "")
	want(t, err, fsx.ErrNotRegular)
	_, err = d.Lock("none/lock", "")
	want(t, err, fs.ErrNotExist)
}

func testShared(t *testing.T, d fsx.Disk) {
	a, err := d.LockShared("lock")
	want(t, err, nil)
	b, err := d.LockShared("lock")
	want(t, err, nil)
	_, err = d.Lock("lock", "x")
	want(t, err, fsx.ErrLocked)
	want(t, a.Close(), nil)
	_, err = d.Lock("lock", "x")
	want(t, err, fsx.ErrLocked)
	want(t, b.Close(), nil)
	c, err := d.Lock("lock", "x")
	want(t, err, nil)
	want(t, c.Close(), nil)
}

// Put makes a file.
func Put(t testing.TB, d fsx.Disk, name, content string) {
	t.Helper()
	f := open(t, d, name, fsx.Create)
	write(t, f, content, 0)
	want(t, f.Close(), nil)
}

// Get returns a file's content.
func Get(t testing.TB, d fsx.Disk, name string) string {
	t.Helper()
	data, err := fsx.NewDir(d, nil).ReadFile(name, 1<<30)
	want(t, err, nil)
	return string(data)
}

func open(t testing.TB, d fsx.Disk, name string, mode fsx.Mode) fsx.File {
	t.Helper()
	f, err := d.Open(name, mode)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func write(t testing.TB, f fsx.File, data string, off int64) {
	t.Helper()
	if n, err := f.WriteAt([]byte(data), off); n != len(data) || err != nil {
		t.Fatalf("write %d+%d: %d, %v", off, len(data), n, err)
	}
}

func size(t testing.TB, f fsx.File, n int64) {
	t.Helper()
	if got, err := f.Size(); got != n || err != nil {
		t.Errorf("size %d, %v; want %d", got, err, n)
	}
}

func missing(t testing.TB, d fsx.Disk, names ...string) {
	t.Helper()
	for _, name := range names {
		_, err := d.Stat(name)
		want(t, err, fs.ErrNotExist)
	}
}

// want fails unless err is, or wraps, the wanted error; nil wants nil.
func want(t testing.TB, err, wanted error) {
	t.Helper()
	if !errors.Is(err, wanted) {
		t.Fatalf("error %v, want %v", err, wanted)
	}
}
