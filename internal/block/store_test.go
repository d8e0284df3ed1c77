package block

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"graven/internal/fsx"
	"graven/record"
)

var errNotExist = fs.ErrNotExist

func TestAppendAndRead(t *testing.T) {
	disk := fsx.NewMem()
	s := openOn(t, disk)
	if n, off, count := s.Tail("main"); n != 0 || off != 0 || count != 0 {
		t.Fatalf("the tail of an unknown class is %d %d %d", n, off, count)
	}
	a, b, empty := art("a", 100), art("b", 70_000), art("", 0)
	put(t, s, "main", a, b)
	put(t, s, "main", empty)
	put(t, s, "log", art("doc", 10))
	has(t, s, a, b, empty, art("doc", 10))

	file := content(t, disk, "blocks/open/main-00000000.blk")
	if _, off, count := s.Tail("main"); off != int64(len(file)) || count != 3 {
		t.Fatalf("tail at %d with %d artifacts, the file has %d bytes", off, count, len(file))
	}
	want := "graven-block 1 " + testVault.String() + " main 0\n" +
		a.ID.String() + " 100\n" + string(a.Bytes) + "\n" +
		b.ID.String() + " 70000\n" + string(b.Bytes) + "\n" +
		empty.ID.String() + " 0\n\n"
	if string(file) != want {
		t.Fatalf("the file is not as docs/format.md says:\n%q", file)
	}
	ref, _, _ := s.Lookup("main", b.ID)
	if got := file[ref.off : ref.off+ref.Size()]; string(got) != string(b.Bytes) {
		t.Fatal("the ref does not point at the bytes")
	}
	if mentioned(t, s, "log", a.ID) || !mentioned(t, s, "main", a.ID) {
		t.Fatal("classes are mixed up")
	}
}

func TestReadReturnsACopy(t *testing.T) {
	s := openOn(t, fsx.NewMem())
	a := art("a", 50)
	put(t, s, "main", a)
	ref, _, _ := s.LookupAny(a.ID)
	b, err := s.Read(ref, a.ID)
	must(t, err)
	b[0] ^= 1
	has(t, s, a)
}

func TestAppendRefuses(t *testing.T) {
	disk := fsx.NewMem()
	s := openOn(t, disk)
	a, b := art("a", 10), art("b", 10)
	put(t, s, "main", a)
	_, end, _ := s.Tail("main")
	h := Header{Vault: testVault, Class: "main"}
	frame := func(list ...Artifact) []byte { return EncodeSection(h, end, list) }
	whole := func(h Header, list ...Artifact) []byte { return EncodeSection(h, 0, list) }
	tests := []struct {
		name    string
		class   string
		number  uint64
		offset  int64
		section []byte
	}{
		{"not at the end", "main", 0, end - 1, frame(b)},
		{"behind the end", "main", 0, end + 1, frame(b)},
		{"over the start", "main", 0, 0, whole(h, b)},
		{"a block too far", "main", 2, 0, whole(Header{Vault: testVault, Class: "main", Number: 2}, b)},
		{"next block in its middle", "main", 1, end, frame(b)},
		{"the same again", "main", 0, end, frame(a)},
		{"twice in a section", "main", 0, end, frame(b, b)},
		{"no frame", "main", 0, end, []byte("junk")},
		{"cut frame", "main", 0, end, frame(b)[:20]},
		{"no newline", "main", 0, end, frame(b)[:len(frame(b))-1]},
		{"another vault", "x", 0, 0, whole(Header{Vault: otherVault, Class: "x"}, b)},
		{"another class", "x", 0, 0, whole(Header{Vault: testVault, Class: "y"}, b)},
		{"chunk block", "x", 0, 0, whole(Header{Vault: testVault, Class: "x", Chunks: true}, b)},
		{"header missing", "x", 0, 0, frame(b)},
		{"no class", "", 0, 0, whole(h, b)},
		{"path as class", "../x", 0, 0, whole(h, b)},
	}
	before := content(t, disk, "blocks/open/main-00000000.blk")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wants(t, s.Append(tt.class, tt.number, tt.offset, tt.section), ErrInvalid)
		})
	}
	if got := names(t, disk, "blocks/open"); len(got) != 1 || string(content(t, disk, "blocks/open/main-00000000.blk")) != string(before) {
		t.Fatalf("a refused append changed the disk: %v", got)
	}
	has(t, s, a)
	put(t, s, "main", b)
	has(t, s, b)
	must(t, s.Append("main", 0, 12345, nil)) // nothing goes anywhere
}

func TestAdvanceAndFull(t *testing.T) {
	s := openOn(t, fsx.NewMem())
	s.Advance("main")
	if s.Full("main", 0) {
		t.Fatal("a class without blocks is full")
	}
	put(t, s, "main", art("a", 1000))
	if s.Full("main", 5000) || !s.Full("main", 1000) {
		t.Fatal("full at the wrong threshold")
	}
	if len(s.FullBlocks()) != 0 {
		t.Fatal("the tail is not among the full blocks")
	}
	s.Advance("main")
	s.Advance("main") // an empty block does not advance
	if n, off, _ := s.Tail("main"); n != 1 || off != 0 {
		t.Fatalf("tail at %d, %d", n, off)
	}
	put(t, s, "main", art("b", 10))
	// A section for the next block advances by itself.
	must(t, s.Append("main", 2, 0, EncodeSection(Header{Vault: testVault, Class: "main", Number: 2}, 0, arts("c", 3))))
	if got, want := fmt.Sprint(s.FullBlocks()), fmt.Sprint([]OpenBlock{{"main", 0, 1}, {"main", 1, 1}}); got != want {
		t.Fatalf("full blocks %v, wanted %v", got, want)
	}
	wants(t, s.Append("main", 1, 200, []byte("sha256:")), ErrInvalid)
	has(t, s, append(arts("c", 3), art("a", 1000), art("b", 10))...)
}

func TestOpenRefusesForeignNames(t *testing.T) {
	for _, name := range []string{
		"junk", "main-1.blk", "main-000000001.blk", "Main-00000000.blk", "-00000000.blk", "main-0000000x.blk",
		"new-", "new-x", "new-1x", "up-12", "up-" + strings.Repeat("A", 64), "up-" + strings.Repeat("0", 63), "main_00000000.blk",
	} {
		disk := fsx.NewMem()
		must(t, disk.Mkdir("blocks", false))
		must(t, disk.Mkdir("blocks/open", false))
		write(t, disk, "blocks/open/"+name, nil)
		_, err := Open(blocksOf(disk), testVault)
		wants(t, err, ErrForeign)
		if !strings.Contains(err.Error(), "blocks/open/"+name) {
			t.Errorf("the error does not name the file: %v", err)
		}
	}
	disk := fsx.NewMem()
	must(t, disk.Mkdir("blocks", false))
	must(t, disk.Mkdir("blocks/open", false))
	must(t, disk.Mkdir("blocks/open/main-00000000.blk", false))
	_, err := Open(blocksOf(disk), testVault)
	wants(t, err, fsx.ErrNotRegular)
}

func TestOpenAcceptsOurNames(t *testing.T) {
	disk := fsx.NewMem()
	must(t, disk.Mkdir("blocks", false))
	must(t, disk.Mkdir("blocks/open", false))
	for _, name := range []string{"new-00000000.blk", "up-00000003.blk", "a-b.c_d-00000007.blk", "new-5", "up-" + strings.Repeat("0a", 32), ".new-0-up-x"} {
		write(t, disk, "blocks/open/"+name, nil)
	}
	s := openOn(t, disk)
	if got, want := fmt.Sprint(s.Found()), "[{a-b.c_d 7 0} {new 0 0} {up 3 0}]"; got != want {
		t.Fatalf("found %v, wanted %v", got, want)
	}
	if len(s.Waiting()) != 1 || s.uploads.name() != "open/new-6" {
		t.Fatal("names of uploads were not noted")
	}
}

func TestReserve(t *testing.T) {
	disk := fsx.NewMem()
	var reserved []string
	full := false
	s := openOn(t, fsx.Fault(disk, func(c fsx.Call) error {
		if c.Op == "reserve" {
			if full && c.Len != 5000 {
				return fsx.ErrNoSpace
			}
			reserved = append(reserved, fmt.Sprintf("%d+%d", c.Off, c.Len))
		}
		return nil
	}))
	must(t, s.Reserve("main", 0))
	must(t, s.Reserve("main", 100))
	put(t, s, "main", art("a", 50))
	must(t, s.Reserve("main", 1000)) // there is room already
	_, end, _ := s.Tail("main")
	must(t, s.Reserve("main", 1<<20))
	if got, want := fmt.Sprint(reserved), "[0+1048576 1048576+1048576]"; got != want {
		t.Fatalf("reserved %s, wanted %s", got, want)
	}
	full = true
	wants(t, s.Reserve("main", 3<<20), fsx.ErrNoSpace)
	must(t, s.Reserve("main", 2<<20-int(end)+5000)) // the exact rest still fits
	full = false
	must(t, s.Reserve("main", 3<<20))
	put(t, s, "main", art("b", 50)) // nothing is poisoned
	must(t, s.Close())
	info, err := disk.Stat("blocks/open/main-00000000.blk")
	must(t, err)
	if _, end, _ := s.Tail("main"); info.Size != end {
		t.Fatalf("the file has %d bytes, its artifacts end at %d", info.Size, end)
	}
	wants(t, s.Reserve("main", 1), ErrClosed)
	wants(t, s.Append("main", 0, 0, nil), ErrClosed)
	wants(t, s.Sync(), ErrClosed)
}

func TestSyncTouchesOnlyWhatWasWritten(t *testing.T) {
	var synced []string
	s := openOn(t, fsx.Fault(fsx.NewMem(), func(c fsx.Call) error {
		if c.Op == "sync" {
			synced = append(synced, c.Name)
		}
		return nil
	}))
	put(t, s, "b", art("1", 5))
	put(t, s, "a", art("2", 5))
	must(t, s.Sync())
	must(t, s.Sync())
	put(t, s, "b", art("3", 5))
	must(t, s.Sync())
	want := "[blocks/open/a-00000000.blk blocks/open/b-00000000.blk blocks/open/b-00000000.blk]"
	if got := fmt.Sprint(synced); got != want {
		t.Fatalf("synced %s, wanted %s", got, want)
	}
}

func TestHandlesAreBounded(t *testing.T) {
	disk := fsx.NewMem()
	s := openOn(t, disk)
	var all []Artifact
	for i := range 3 * maxHandles {
		a := art(fmt.Sprint("block ", i), 40)
		put(t, s, "main", a)
		must(t, s.Sealed(sealFull(t, s, "main")))
		all = append(all, a)
	}
	open := 0
	counting := fsx.Fault(disk, func(c fsx.Call) error {
		switch {
		case c.Op == "open" && strings.Contains(c.Name, "sealed/"):
			open++
		case c.Op == "close" && strings.Contains(c.Name, "sealed/"):
			open--
		}
		return nil
	})
	loaded, err := Open(blocksOf(counting), testVault)
	must(t, err)
	for n := range uint64(len(all)) {
		sealed, _ := s.sealedOf("main", n)
		must(t, loaded.LoadSealed(recordOf("main", n, sealed)))
	}
	for range 2 {
		has(t, loaded, all...)
		if open > maxHandles {
			t.Fatalf("%d files are open, at most %d should be", open, maxHandles)
		}
	}
	must(t, loaded.Close())
	if open != 0 {
		t.Fatalf("%d files stay open", open)
	}
	ref, _, _ := loaded.LookupAny(all[0].ID)
	_, err = loaded.Read(ref, all[0].ID)
	wants(t, err, ErrClosed)
}

func TestTooManyFilesClosesIdleOnes(t *testing.T) {
	disk := fsx.NewMem()
	s := openOn(t, disk)
	list := arts("x", 5)
	for _, a := range list {
		put(t, s, "main", a)
		must(t, s.Sealed(sealFull(t, s, "main")))
	}
	limit, open := 2, 0
	tight, err := Open(blocksOf(fsx.Fault(disk, func(c fsx.Call) error {
		switch c.Op {
		case "open":
			if open >= limit {
				return fsx.ErrTooManyFiles
			}
			open++
		case "close":
			open--
		}
		return nil
	})), testVault)
	must(t, err)
	for n := range uint64(len(list)) {
		sealed, _ := s.sealedOf("main", n)
		must(t, tight.LoadSealed(recordOf("main", n, sealed)))
	}
	has(t, tight, list...)
	limit = 0
	tight.files.evictAll()
	ref, _, _ := tight.LookupAny(list[0].ID)
	_, err = tight.Read(ref, list[0].ID)
	wants(t, err, fsx.ErrTooManyFiles)
	limit = 2
	has(t, tight, list...)
}

func TestManyClassesStats(t *testing.T) {
	disk := fsx.NewMem()
	s := openOn(t, disk)
	var size int
	for i, class := range []string{"c", "a", "b"} {
		put(t, s, class, arts(class, i+1)...)
		size += len(content(t, disk, fmt.Sprintf("blocks/open/%s-00000000.blk", class)))
	}
	if got := fmt.Sprint(s.Classes()); got != "[a b c]" {
		t.Fatalf("classes %s", got)
	}
	if n, bytes := s.Stats(); n != 6 || bytes != int64(size) {
		t.Fatalf("%d artifacts in %d bytes, wanted 6 in %d", n, bytes, size)
	}
	rec := sealFull(t, s, "b")
	must(t, s.Sealed(rec))
	if n, bytes := s.Stats(); n != 6 || bytes <= int64(size) {
		t.Fatalf("%d artifacts in %d bytes after sealing", n, bytes)
	}
	if _, ok, _ := s.Lookup("nowhere", record.ID{}); ok {
		t.Fatal("found what is not there")
	}
	if _, ok, _ := s.LookupAny(record.ID{}); ok {
		t.Fatal("found what is not there")
	}
}
