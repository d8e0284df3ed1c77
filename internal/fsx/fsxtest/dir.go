package fsxtest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"

	"graven/internal/fsx"
)

// Dir runs the tests of fsx.Dir over a disk. Each gets a new, empty disk.
func Dir(t *testing.T, newDisk func(t *testing.T) fsx.Disk) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, disk fsx.Disk, d fsx.Dir)
	}{
		{"append", testAppend},
		{"publish", testPublish},
		{"publish fails", testPublishFails},
		{"publish all", testPublishAll},
		{"publish link", testPublishLink},
		{"publish folder", testPublishFolder},
		{"replace", testReplace},
		{"discard", testDiscard},
		{"discard all", testDiscardAll},
		{"leftovers", testLeftovers},
		{"private", testPrivate},
		{"read", testRead},
		{"sub", testSub},
		{"rules are kept", testRulesKept},
		{"concurrent publish", testConcurrentPublish},
	} {
		t.Run(c.name, func(t *testing.T) {
			disk := newDisk(t)
			c.test(t, disk, fsx.NewDir(disk, fsx.VaultRules()))
		})
	}
}

func testAppend(t *testing.T, disk fsx.Disk, d fsx.Dir) {
	_, err := d.Append("wal/wal-00000001", false)
	want(t, err, fs.ErrNotExist)
	missing(t, disk, "wal")
	f, err := d.Append("wal/wal-00000001", true)
	want(t, err, nil)
	write(t, f, "abc", 0)
	want(t, f.Close(), nil)
	for _, create := range []bool{true, false} {
		f, err = d.Append("wal/wal-00000001", create)
		want(t, err, nil)
		size(t, f, 3)
		want(t, f.Close(), nil)
	}
	want(t, disk.Mkdir("log", false), nil)
	want(t, disk.Mkdir("log/log-0.jsonl", false), nil)
	_, err = d.Append("log/log-0.jsonl", true)
	want(t, err, fsx.ErrNotRegular)
}

func testPublish(t *testing.T, disk fsx.Disk, d fsx.Dir) {
	want(t, d.Publish("tile/0/x001/000", func(w io.Writer) error {
		for i := range 3 {
			fmt.Fprintf(w, "line %d\n", i)
		}
		return nil
	}), nil)
	if got := Get(t, disk, "tile/0/x001/000"); got != "line 0\nline 1\nline 2\n" {
		t.Errorf("published %q", got)
	}
	want(t, d.PublishBytes("tile/0/x001/000", []byte("other")), fs.ErrExist)
	if got := Get(t, disk, "tile/0/x001/000"); got != "line 0\nline 1\nline 2\n" {
		t.Errorf("publishing over a file changed it: %q", got)
	}
	only(t, disk, "tile/0/x001", "000")
	want(t, d.PublishBytes("tile/empty", nil), nil)
	if got := Get(t, disk, "tile/empty"); got != "" {
		t.Errorf("empty file holds %q", got)
	}
	want(t, d.PublishBytes("tile/empty/under", nil), fsx.ErrNotFolder)
	big := strings.Repeat("0123456789", 100_000)
	want(t, d.Publish("tile/big", func(w io.Writer) error {
		_, err := io.Copy(w, strings.NewReader(big))
		return err
	}), nil)
	if Get(t, disk, "tile/big") != big {
		t.Error("a long file came back different")
	}
}

func testPublishFails(t *testing.T, disk fsx.Disk, d fsx.Dir) {
	failure := errors.New("no more input")
	want(t, d.Publish("tile/0/000", func(w io.Writer) error {
		fmt.Fprint(w, strings.Repeat("half", 100_000))
		return failure
	}), failure)
	only(t, disk, "tile/0")
	want(t, d.PublishBytes("tile/0/000", []byte("x")), nil)
	only(t, disk, "tile/0", "000")
}

func testPublishAll(t *testing.T, disk fsx.Disk, d fsx.Dir) {
	want(t, d.PublishBytes("tile/0/001", []byte("first")), nil)
	taken, err := d.PublishAll([]fsx.Item{
		{Name: "tile/0/000", Data: []byte("0")},
		{Name: "tile/0/001", Data: []byte("1")},
		{Name: "tile/1/000", Data: []byte("2")},
		{Name: "tile/1/000", Data: []byte("3")},
	})
	if err != nil || !slices.Equal(taken, []string{"tile/0/001", "tile/1/000"}) {
		t.Errorf("taken %v, %v", taken, err)
	}
	for name, content := range map[string]string{"tile/0/000": "0", "tile/0/001": "first", "tile/1/000": "2"} {
		if got := Get(t, disk, name); got != content {
			t.Errorf("%s holds %q, want %q", name, got, content)
		}
	}
	only(t, disk, "tile/0", "000", "001")
	only(t, disk, "tile/1", "000")
	_, err = d.PublishAll([]fsx.Item{{Name: "tile/2/000"}, {Name: "checkpoint"}})
	want(t, err, fsx.ErrRule)
}

func testPublishLink(t *testing.T, disk fsx.Disk, d fsx.Dir) {
	f, err := d.Append("blocks/open/main-00000000.blk", true)
	want(t, err, nil)
	write(t, f, "sealed", 0)
	want(t, f.Close(), nil)
	const sealed = "blocks/sealed/ab/abcd.blk"
	want(t, d.PublishLink("blocks/open/none.blk", sealed), fs.ErrNotExist)
	want(t, d.PublishLink("blocks/open/main-00000000.blk", sealed), nil)
	want(t, d.PublishLink("blocks/open/main-00000000.blk", sealed), fs.ErrExist)
	want(t, d.PublishLink("blocks/open/main-00000000.blk", "blocks/open/x.blk"), fsx.ErrRule)
	want(t, d.PublishLink(sealed, "blocks/sealed/cd/cdef.blk"), fsx.ErrRule)
	want(t, d.Discard("blocks/open/main-00000000.blk"), nil)
	if got := Get(t, disk, sealed); got != "sealed" {
		t.Errorf("sealed file holds %q", got)
	}
}

func testPublishFolder(t *testing.T, disk fsx.Disk, _ fsx.Dir) {
	store := fsx.NewDir(disk, fsx.StoreRules())
	failure := errors.New("cannot build")
	want(t, store.PublishFolder("vaults/a", func(d fsx.Disk) error {
		return errors.Join(fsx.NewDir(d, fsx.VaultRules()).PublishBytes("tile/0/000", nil), failure)
	}), failure)
	only(t, disk, "vaults")
	build := func(content string) func(d fsx.Disk) error {
		return func(d fsx.Disk) error {
			missing(t, disk, "vaults/a")
			return fsx.NewDir(d, fsx.VaultRules()).PublishBytes("tile/0/000", []byte(content))
		}
	}
	// What a crash left is not in the way, and not taken over.
	want(t, disk.Mkdir("vaults/.new-0-a", false), nil)
	Put(t, disk, "vaults/.new-0-a/checkpoint", "old")
	want(t, store.PublishFolder("vaults/a", build("one")), nil)
	only(t, disk, "vaults", "a")
	only(t, disk, "vaults/a", "tile")
	want(t, store.PublishFolder("vaults/a", func(fsx.Disk) error {
		t.Error("building a folder whose name is taken")
		return nil
	}), fs.ErrExist)
	if got := Get(t, disk, "vaults/a/tile/0/000"); got != "one" {
		t.Errorf("file in the folder holds %q", got)
	}
	want(t, store.PublishFolder("other", nil), fsx.ErrRule)
	want(t, store.Discard("vaults/a"), fsx.ErrRule)
	want(t, store.DiscardAll("vaults"), fsx.ErrRule)
	want(t, disk.Mkdir("vaults/.new-0-b", false), nil)
	Put(t, disk, "vaults/.new-0-b/x", "")
	want(t, store.Sweep("vaults"), nil)
	only(t, disk, "vaults", "a")
}

func testReplace(t *testing.T, disk fsx.Disk, d fsx.Dir) {
	for _, content := range []string{"one", "a longer second", ""} {
		want(t, d.Replace("meta/host/clean", []byte(content)), nil)
		if got := Get(t, disk, "meta/host/clean"); got != content {
			t.Errorf("replaced by %q, holds %q", content, got)
		}
		only(t, disk, "meta/host", "clean")
	}
	want(t, d.Replace("checkpoint", []byte("x")), nil)
	want(t, disk.Remove("meta/host/clean"), nil)
	want(t, disk.Mkdir("meta/host/clean", false), nil)
	Put(t, disk, "meta/host/clean/x", "in the way")
	want(t, d.Replace("meta/host/clean", []byte("open\n")), fsx.ErrFolder)
	want(t, d.Replace("meta/host/clean", []byte("open\n")), fsx.ErrNotRegular)
}

func testDiscard(t *testing.T, disk fsx.Disk, d fsx.Dir) {
	want(t, d.Discard("tile/0/000"), nil)
	want(t, d.PublishBytes("tile/0/000", nil), nil)
	want(t, d.Discard("tile/0/000"), nil)
	missing(t, disk, "tile/0/000")
	want(t, d.PublishBytes("tile/0/000", []byte("again")), nil)
	want(t, d.PublishBytes("tile/0/001", nil), nil)
	want(t, d.Discard("tile/0"), fsx.ErrNotEmpty)
	want(t, d.Discard("tile/0/000"), nil)
	want(t, d.Discard("tile/0/001"), nil)
	want(t, d.Discard("tile/0"), nil)
	want(t, d.PublishBytes("tile/0/000", nil), nil) // makes the folder again
}

func testDiscardAll(t *testing.T, disk fsx.Disk, d fsx.Dir) {
	want(t, d.DiscardAll("tmp"), nil)
	want(t, d.MakeFolder("tmp/scratch/deep"), nil)
	Put(t, disk, "tmp/scratch/deep/f", "x")
	Put(t, disk, "tmp/f", "x")
	want(t, d.DiscardAll("tmp"), nil)
	only(t, disk, "tmp")
	want(t, d.MakeFolder("tmp/scratch"), nil) // it must not be taken for known
	only(t, disk, "tmp", "scratch")

	want(t, d.PublishBytes("blocks/sealed/ab/cd.blk", nil), nil)
	want(t, d.DiscardAll("blocks"), fsx.ErrRule)
	want(t, d.DiscardAll("."), fsx.ErrRule)
	only(t, disk, "blocks/sealed/ab", "cd.blk")
}

func testLeftovers(t *testing.T, disk fsx.Disk, d fsx.Dir) {
	want(t, d.PublishBytes("tile/0/000", []byte("kept")), nil)
	// A crash between link and remove: the leftover is the published file.
	want(t, disk.Link("tile/0/000", "tile/0/.new-0-001"), nil)
	Put(t, disk, "tile/0/.new-0-002", "half")
	Put(t, disk, "tile/0/.new-7-003", "half")
	Put(t, disk, "tile/0/.new-x", "not ours")
	list, err := d.ReadDir("tile/0")
	want(t, err, nil)
	if len(list) != 1 || list[0].Name != "000" {
		t.Errorf("folder with leftovers lists %v", list)
	}
	want(t, d.PublishBytes("tile/0/001", []byte("one")), nil)
	want(t, d.PublishBytes("tile/0/002", []byte("two")), nil)
	for name, content := range map[string]string{"000": "kept", "001": "one", "002": "two"} {
		if got := Get(t, disk, "tile/0/"+name); got != content {
			t.Errorf("%s holds %q, want %q", name, got, content)
		}
	}
	only(t, disk, "tile/0", ".new-7-003", ".new-x", "000", "001", "002")
	want(t, d.Sweep("tile/0"), nil)
	want(t, d.Sweep("none"), nil)
	only(t, disk, "tile/0", ".new-x", "000", "001", "002")
	want(t, d.PublishBytes("tile/0/.new-0-009", nil), fsx.ErrRule)
	want(t, d.PublishBytes("tile/0/.new-x", nil), fsx.ErrRule)
	want(t, d.Discard("tile/0/.new-x"), fsx.ErrRule)
}

func testPrivate(t *testing.T, disk fsx.Disk, d fsx.Dir) {
	want(t, d.PublishBytes("meta/keys/priv/log.skey", []byte("secret")), nil)
	want(t, d.PublishBytes("meta/keys/pub/log.vkey", []byte("public")), nil)
	for name, private := range map[string]bool{
		"meta/keys/priv/log.skey": true, "meta/keys/priv": true, "meta/keys/pub/log.vkey": false, "meta/keys/pub": false, "meta/keys": false,
	} {
		info, err := disk.Stat(name)
		if err != nil || info.Private != private {
			t.Errorf("%s: private %v, %v; want %v", name, info.Private, err, private)
		}
	}
}

func testRead(t *testing.T, disk fsx.Disk, d fsx.Dir) {
	want(t, d.PublishBytes("README.txt", []byte("12345")), nil)
	for max, wanted := range map[int64]error{4: fsx.ErrTooLarge, 5: nil, 6: nil} {
		data, err := d.ReadFile("README.txt", max)
		want(t, err, wanted)
		if err == nil && string(data) != "12345" {
			t.Errorf("read %q", data)
		}
	}
	_, err := d.ReadFile("none", 1)
	want(t, err, fs.ErrNotExist)
	for name, there := range map[string]bool{"README.txt": true, ".": true, "none": false} {
		got, err := d.Exists(name)
		if got != there || err != nil {
			t.Errorf("%s exists: %v, %v", name, got, err)
		}
	}
	_, err = d.Exists("../x")
	want(t, err, fs.ErrInvalid)
	f, err := d.Open("README.txt")
	want(t, err, nil)
	defer f.Close()
	if _, err := f.WriteAt([]byte("x"), 0); err == nil {
		t.Error("a file opened for reading was written")
	}
	want(t, d.Sync("README.txt"), nil)
	want(t, d.Sync("none"), fs.ErrNotExist)
	_, err = d.Sub("none").ReadDir(".")
	want(t, err, fs.ErrNotExist)
}

func testSub(t *testing.T, disk fsx.Disk, d fsx.Dir) {
	s := d.Sub("blocks").Sub("sealed/ab")
	if s.Path() != "blocks/sealed/ab" || d.Path() != "." {
		t.Errorf("paths %q, %q", s.Path(), d.Path())
	}
	want(t, s.PublishBytes("cd.blk", []byte("x")), nil)
	if got := Get(t, disk, "blocks/sealed/ab/cd.blk"); got != "x" {
		t.Errorf("published through a sub: %q", got)
	}
	var rule *fsx.RuleError
	if err := s.Discard("cd.blk"); !errors.As(err, &rule) || rule.Path != "blocks/sealed/ab/cd.blk" || rule.Verb != fsx.Discard {
		t.Errorf("discarding a sealed block: %v", err)
	}
	want(t, s.PublishBytes("../ab/ef.blk", nil), fs.ErrInvalid)
	want(t, d.Sub("../..").PublishBytes("checkpoint", nil), fs.ErrInvalid)
	_, err := d.Sub("../..").ReadDir(".")
	want(t, err, fs.ErrInvalid)
}

// testRulesKept tries every verb on files that must not change by it.
func testRulesKept(t *testing.T, disk fsx.Disk, d fsx.Dir) {
	for _, folder := range []string{"log", "blocks", "blocks/sealed", "blocks/sealed/ab", "blocks/open", "blocks/healed", "blocks/healed/ab", "meta", "meta/keys", "other"} {
		want(t, disk.Mkdir(folder, false), nil)
	}
	verbs := map[string]func(string) error{
		"append":  func(n string) error { _, err := d.Append(n, true); return err },
		"publish": func(n string) error { return d.PublishBytes(n, []byte("changed")) },
		"stream":  func(n string) error { return d.Publish(n, func(io.Writer) error { return nil }) },
		"all":     func(n string) error { _, err := d.PublishAll([]fsx.Item{{Name: n}}); return err },
		"linkto":  func(n string) error { return d.PublishLink("blocks/open/x.blk", n) },
		"link":    func(n string) error { return d.PublishLink(n, "blocks/sealed/ab/new.blk") },
		"replace": func(n string) error { return d.Replace(n, []byte("changed")) },
		"discard": func(n string) error { return d.Discard(n) },
	}
	for name, allowed := range map[string]string{
		"log/log-0000000000000000.jsonl": "append",
		"blocks/sealed/ab/cd.blk":        "publish stream all linkto",
		"blocks/healed/ab/cd":            "publish stream all linkto",
		"meta/keys/k":                    "publish stream all linkto",
		"other/f":                        "",
		"lock":                           "",
	} {
		Put(t, disk, name, "original")
		for verb, call := range verbs {
			err := call(name)
			if strings.Contains(" "+allowed+" ", " "+verb+" ") {
				if errors.Is(err, fsx.ErrRule) {
					t.Errorf("%s %s: %v", verb, name, err)
				}
				continue
			}
			if !errors.Is(err, fsx.ErrRule) || !strings.Contains(err.Error(), name) {
				t.Errorf("%s %s: %v, want ErrRule", verb, name, err)
			}
		}
		if got := Get(t, disk, name); got != "original" {
			t.Errorf("%s holds %q", name, got)
		}
	}
}

func testConcurrentPublish(t *testing.T, disk fsx.Disk, d fsx.Dir) {
	const writers, files = 8, 10
	won := make([][writers]bool, files)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range files {
				name := fmt.Sprintf("tile/%d/%03d", i%3, i)
				err := d.PublishBytes(name, []byte(fmt.Sprint(w)))
				won[i][w] = err == nil
				if err != nil && !errors.Is(err, fs.ErrExist) {
					t.Error(err)
				}
				if err := d.Replace("checkpoint", []byte(fmt.Sprint(w))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for i := range files {
		got := Get(t, disk, fmt.Sprintf("tile/%d/%03d", i%3, i))
		for w, ok := range won[i] {
			if ok != (got == fmt.Sprint(w)) {
				t.Errorf("file %d holds %q; writer %d won: %v", i, got, w, ok)
			}
		}
	}
	only(t, disk, "tile/0", "000", "003", "006", "009")
	only(t, disk, ".", "checkpoint", "tile")
}

// only fails unless the folder holds exactly these names.
func only(t testing.TB, d fsx.Disk, folder string, names ...string) {
	t.Helper()
	list, err := d.ReadDir(folder)
	want(t, err, nil)
	var got []string
	for _, e := range list {
		got = append(got, e.Name)
	}
	if !slices.Equal(got, names) {
		t.Errorf("%s holds %v, want %v", folder, got, names)
	}
}
