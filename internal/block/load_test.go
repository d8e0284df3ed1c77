package block

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"graven/internal/fsx"
	"graven/record"
)

const openMain0 = "blocks/open/main-00000000.blk"

// oneBlock is a disk with block 0 of class main that holds these artifacts.
func oneBlock(t testing.TB, list ...Artifact) *fsx.Mem {
	t.Helper()
	disk := fsx.NewMem()
	s := openOn(t, disk)
	put(t, s, "main", list...)
	must(t, s.Sync())
	must(t, s.Close())
	return disk
}

func TestLoadOpenCounts(t *testing.T) {
	list := arts("v", 5)
	for count := range 8 {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			disk := oneBlock(t, list...)
			whole := content(t, disk, openMain0)
			s := openOn(t, disk)
			got, err := s.LoadOpen("main", 0, count)
			must(t, err)
			n := min(count, 5)
			if got.Count != n || got.Broken != nil || n > 0 && got.Behind != int64(len(whole))-got.End {
				t.Fatalf("loaded %+v", got)
			}
			has(t, s, list[:n]...)
			for _, a := range list[n:] {
				if mentioned(t, s, "main", a.ID) {
					t.Fatal("an artifact behind the count was registered")
				}
			}
			if string(content(t, disk, openMain0)) != string(whole) {
				t.Fatal("loading changed the file")
			}
			if n > 0 && n < 5 {
				number, offset, _ := s.Tail("main")
				wants(t, s.Append("main", number, offset, s.Encode("main", arts("w", 1))), ErrInvalid)
			}
			var kept string
			must(t, s.CutOpen(func(b Behind) error {
				kept = fmt.Sprint(b)
				return nil
			}))
			if n < 5 && kept != fmt.Sprint(Behind{openMain0, got.End, int64(len(whole)) - got.End}) || n == 5 && kept != "" {
				t.Fatalf("kept %q", kept)
			}
			if exists(t, disk, openMain0) != (n > 0) {
				t.Fatal("a block without artifacts keeps its file, or one with artifacts lost it")
			}
			put(t, s, "main", arts("w", 2)...)
			must(t, s.Sync())
			has(t, s, append(arts("w", 2), list[:n]...)...)
			noDamage(t, s, sealFull(t, s, "main"))
		})
	}
}

// Whatever stands behind the frames that the log mentions, and however short
// the file is, loading neither fails nor registers what is not whole.
func TestLoadOpenEveryTruncation(t *testing.T) {
	list := arts("v", 3)
	whole := content(t, oneBlock(t, list...), openMain0)
	ends := []int64{int64(len(AppendHeader(nil, Header{Vault: testVault, Class: "main"})))}
	for _, a := range list {
		ends = append(ends, ends[len(ends)-1]+frameHeaderLen(int64(len(a.Bytes)))+int64(len(a.Bytes))+1)
	}
	for size := range len(whole) {
		for _, junk := range []string{"", "\x00\x00\x00\x00", "sha256:"} {
			disk := oneBlock(t, list...)
			write(t, disk, openMain0, []byte(string(whole[:size])+junk))
			s := openOn(t, disk)
			got, err := s.LoadOpen("main", 0, 3)
			must(t, err)
			n := 0
			for n < 3 && ends[n+1] <= int64(size) {
				n++
			}
			if got.Count != n {
				t.Fatalf("cut at %d with %q behind: loaded %d artifacts, %d are whole", size, junk, got.Count, n)
			}
			clean := size == int(ends[n]) && junk == ""
			if clean != (got.Broken == nil) {
				t.Fatalf("cut at %d with %q behind: broken is %v", size, junk, got.Broken)
			}
			has(t, s, list[:n]...)
			must(t, s.Restore("main", 0, 0, EncodeSection(Header{Vault: testVault, Class: "main"}, 0, list)))
			must(t, s.CutOpen(nil))
			if got := content(t, disk, openMain0); string(got) != string(whole) {
				t.Fatalf("cut at %d with %q behind: restored as %q", size, junk, got)
			}
			has(t, s, list...)
		}
	}
}

func TestLoadOpenMissing(t *testing.T) {
	s := openOn(t, fsx.NewMem())
	got, err := s.LoadOpen("main", 3, 2)
	must(t, err)
	wants(t, got.Broken, ErrMissing)
	if !strings.Contains(got.Broken.Error(), "blocks/open/main-00000003.blk") {
		t.Fatalf("the file is not named: %v", got.Broken)
	}
	got, err = s.LoadOpen("main", 4, 0)
	must(t, err)
	wants(t, errors.Join(got.Broken, ErrMissing), ErrMissing)
	if got != (Loaded{}) {
		t.Fatalf("loaded %+v", got)
	}
	must(t, s.CutOpen(nil))
}

func TestLoadOpenRefuses(t *testing.T) {
	list := arts("v", 2)
	section := func(h Header) string { return string(EncodeSection(h, 0, list)) }
	good := Header{Vault: testVault, Class: "main"}
	tests := []struct {
		name string
		file string
		want error
	}{
		{"another vault", section(Header{Vault: otherVault, Class: "main"}), ErrWrongVault},
		{"another class", section(Header{Vault: testVault, Class: "log"}), ErrDamaged},
		{"another number", section(Header{Vault: testVault, Class: "main", Number: 1}), ErrDamaged},
		{"a chunk block", section(Header{Vault: testVault, Class: "main", Chunks: true}), ErrDamaged},
		{"a later version", strings.Replace(section(good), "block 1", "block 2", 1), ErrUnknownVersion},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			disk := oneBlock(t, list...)
			write(t, disk, openMain0, []byte(tt.file))
			s := openOn(t, disk)
			_, err := s.LoadOpen("main", 0, 2)
			wants(t, err, tt.want)
			if !strings.Contains(err.Error(), openMain0) {
				t.Errorf("the file is not named: %v", err)
			}
			if tt.want == ErrWrongVault && (!strings.Contains(err.Error(), testVault.String()) || !strings.Contains(err.Error(), otherVault.String())) {
				t.Errorf("not both vaults are named: %v", err)
			}
			if tt.want == ErrUnknownVersion && errors.Is(err, ErrDamaged) {
				t.Error("an unknown version is called damaged")
			}
			if mentioned(t, s, "main", list[0].ID) {
				t.Error("something was registered")
			}
			wants(t, s.Restore("main", 0, 0, []byte(section(good))), ErrConflict)
			if string(content(t, disk, openMain0)) != tt.file {
				t.Error("the file was changed")
			}
		})
	}
	s := openOn(t, fsx.NewMem())
	for _, class := range []string{"", "A", "a/b"} {
		_, err := s.LoadOpen(class, 0, 1)
		wants(t, err, ErrInvalid)
	}
	_, err := s.LoadOpen("main", maxNumber+1, 1)
	wants(t, err, ErrInvalid)
}

// A file of another vault, or of a later version, is never cut away.
func TestCutOpenLeavesWhatIsNotOurs(t *testing.T) {
	for _, tt := range []struct {
		file string
		want error
	}{
		{string(EncodeSection(Header{Vault: otherVault, Class: "main"}, 0, arts("v", 1))), ErrWrongVault},
		{"graven-block 2 something else\n", ErrUnknownVersion},
	} {
		for _, load := range []bool{false, true} {
			disk := oneBlock(t, arts("v", 1)...)
			write(t, disk, openMain0, []byte(tt.file))
			s := openOn(t, disk)
			if load {
				wants(t, s.LoadFound(), tt.want)
			}
			wants(t, s.CutOpen(nil), tt.want)
			if string(content(t, disk, openMain0)) != tt.file {
				t.Fatal("the file was changed")
			}
		}
	}
}

// A block that was begun by groups that the log does not have is taken back.
func TestTailGoesBack(t *testing.T) {
	for _, second := range [][]Artifact{nil, arts("w", 2)} {
		list := arts("v", 2)
		disk := oneBlock(t, list...)
		write(t, disk, "blocks/open/main-00000001.blk", EncodeSection(Header{Vault: testVault, Class: "main", Number: 1}, 0, second))
		s := openOn(t, disk)
		must(t, s.LoadFound())
		_, err := s.Seal("main", 0, 2)
		wants(t, err, ErrInvalid) // not before CutOpen
		o := NewOrder(s, Mark{})
		for _, a := range list {
			must(t, o.Mention("main", a.ID))
		}
		must(t, o.Finish())
		must(t, s.CutOpen(nil))
		if n, off, count := s.Tail("main"); n != 0 || count != 2 || off == 0 {
			t.Fatalf("the class goes on at block %d, offset %d", n, off)
		}
		put(t, s, "main", arts("w", 2)...)
		s.Advance("main")
		put(t, s, "main", arts("x", 2)...)
		has(t, s, append(append(list, arts("w", 2)...), arts("x", 2)...)...)
	}
}

func TestLoadOpenAnArtifactTwice(t *testing.T) {
	list := arts("v", 2)
	disk := oneBlock(t, list...)
	write(t, disk, openMain0, EncodeSection(Header{Vault: testVault, Class: "main"}, 0, []Artifact{list[0], list[1], list[0]}))
	s := openOn(t, disk)
	got, err := s.LoadOpen("main", 0, 3)
	must(t, err)
	wants(t, got.Broken, ErrDamaged)
	if got.Count != 2 {
		t.Fatalf("loaded %d", got.Count)
	}
}

func TestLoadOpenAgain(t *testing.T) {
	list := arts("v", 4)
	s := openOn(t, oneBlock(t, list...))
	for _, n := range []int{4, 2, 0, 3, 4} {
		got, err := s.LoadOpen("main", 0, n)
		must(t, err)
		if stored, _ := s.Stats(); got.Count != n || stored != uint64(n) {
			t.Fatalf("loaded %d, known are %d, wanted %d", got.Count, stored, n)
		}
		has(t, s, list[:n]...)
	}
}

// The state after a crash between Seal and its record: the open file is the
// sealed one, under both names.
func TestPublishedTwinIsLeftAlone(t *testing.T) {
	disk := fsx.NewMem()
	s := openOn(t, disk)
	list := arts("v", 3)
	put(t, s, "main", list...)
	rec := sealFull(t, s, "main")
	must(t, s.Close())
	sealed := string(content(t, disk, "blocks/"+sealedName(rec.ID)))

	s = openOn(t, disk)
	section := EncodeSection(Header{Vault: testVault, Class: "main"}, 0, list)
	if _, err := s.LoadOpen("main", 0, 2); err != nil {
		t.Fatal(err)
	}
	wants(t, s.CutOpen(nil), ErrConflict) // sealed with 3, mentioned are 2: nothing is cut
	var writes int
	counted, err := Open(blocksOf(fsx.Fault(disk, func(c fsx.Call) error {
		if c.Op == "write" || c.Op == "truncate" {
			writes++
		}
		return nil
	})), testVault)
	must(t, err)
	_, err = counted.LoadOpen("main", 0, 3)
	must(t, err)
	must(t, counted.Restore("main", 0, 0, section))
	must(t, counted.CutOpen(nil))
	if writes != 0 {
		t.Fatalf("a published file was written %d times", writes)
	}
	if n, off, _ := counted.Tail("main"); n != 1 || off != 0 {
		t.Fatalf("the class goes on at block %d offset %d", n, off)
	}
	put(t, counted, "main", arts("w", 1)...)
	if got := fmt.Sprint(counted.FullBlocks()); got != "[{main 0 3}]" {
		t.Fatalf("full blocks: %v", got)
	}
	again, err := counted.Seal("main", 0, 3)
	must(t, err)
	if again.ID != rec.ID {
		t.Fatal("sealed again it is another block")
	}
	must(t, counted.Sealed(again))
	has(t, counted, append(list, arts("w", 1)...)...)
	if string(content(t, disk, "blocks/"+sealedName(rec.ID))) != sealed {
		t.Fatal("the published file changed")
	}
	must(t, counted.Close())
}

// A crash within Seal in place leaves a part of the table; it is cut or
// written again, and the result is the same block.
func TestSealAfterAPartialTable(t *testing.T) {
	list := arts("v", 3)
	disk := oneBlock(t, list...)
	frames := content(t, disk, openMain0)
	s := openOn(t, disk)
	_, err := s.LoadOpen("main", 0, 3)
	must(t, err)
	must(t, s.CutOpen(nil))
	rec := sealFull(t, s, "main")
	sealed := content(t, disk, "blocks/"+sealedName(rec.ID))
	for size := len(frames); size <= len(sealed); size++ {
		disk := oneBlock(t, list...)
		write(t, disk, openMain0, sealed[:size])
		s := openOn(t, disk)
		got, err := s.LoadOpen("main", 0, math.MaxInt)
		must(t, err)
		if got.Count != 3 {
			t.Fatalf("table cut at %d: loaded %d", size, got.Count)
		}
		must(t, s.CutOpen(nil))
		again := sealFull(t, s, "main")
		if again.ID != rec.ID {
			t.Fatalf("table cut at %d: sealed as %v, before as %v", size, again.ID, rec.ID)
		}
		must(t, s.Sealed(again))
		has(t, s, list...)
	}
}

func TestLoadSealed(t *testing.T) {
	disk := fsx.NewMem()
	s := openOn(t, disk)
	var all []Artifact
	var recs []record.Block
	for i := range 4 {
		list := arts(fmt.Sprint("block ", i), 1+10*i)
		put(t, s, "main", list...)
		recs = append(recs, sealFull(t, s, "main"))
		must(t, s.Sealed(recs[i]))
		all = append(all, list...)
	}
	must(t, s.Close())
	s = openOn(t, disk)
	for _, rec := range recs {
		must(t, s.LoadSealed(rec))
		wants(t, s.LoadSealed(rec), ErrInvalid)
		_, err := s.LoadOpen("main", *rec.Number, 1)
		wants(t, err, ErrInvalid)
	}
	has(t, s, all...)
	if n, _, _ := s.Tail("main"); n != 4 {
		t.Fatalf("the class goes on at block %d", n)
	}
}

func TestLoadSealedRefuses(t *testing.T) {
	disk := fsx.NewMem()
	s := openOn(t, disk)
	list := arts("v", 3)
	put(t, s, "main", list...)
	rec := sealFull(t, s, "main")
	must(t, s.Sealed(rec))
	other := fsx.NewMem()
	os, err := Open(blocksOf(other), otherVault)
	must(t, err)
	must(t, os.Append("main", 0, 0, os.Encode("main", list)))
	os.Advance("main")
	foreign, err := os.Seal("main", 0, 3)
	must(t, err)

	load := func(disk fsx.Disk, rec record.Block) error {
		return openOn(t, disk).LoadSealed(rec)
	}
	err = load(other, foreign)
	wants(t, err, ErrWrongVault)
	if !strings.Contains(err.Error(), sealedName(foreign.ID)) {
		t.Errorf("the file is not named: %v", err)
	}
	wants(t, load(other, rec), ErrMissing)
	changed := func(change func(*record.Block)) record.Block {
		r, n := rec, *rec.Number
		r.Number = &n
		change(&r)
		return r
	}
	wants(t, load(disk, changed(func(r *record.Block) { *r.Number = 1 })), ErrDamaged)
	wants(t, load(disk, changed(func(r *record.Block) { r.Class = "log" })), ErrDamaged)
	wants(t, load(disk, changed(func(r *record.Block) { r.Number = nil })), ErrDamaged)
	wants(t, load(disk, changed(func(r *record.Block) { r.Count++ })), ErrDamaged)
	wants(t, load(disk, changed(func(r *record.Block) { r.Count = record.MaxInt })), ErrDamaged)
	wants(t, load(disk, changed(func(r *record.Block) { r.Size-- })), ErrDamaged)
	wants(t, load(disk, changed(func(r *record.Block) { r.Size = record.MaxInt })), ErrDamaged)
	wants(t, load(disk, changed(func(r *record.Block) { r.Size = 0 })), ErrDamaged)
	wants(t, load(disk, changed(func(r *record.Block) { r.Class = "" })), ErrInvalid)
	must(t, load(disk, rec))
}

// With a damaged table, trailer or length the artifacts are still found by
// their frames, and verified.
func TestLoadSealedSalvages(t *testing.T) {
	disk := fsx.NewMem()
	s := openOn(t, disk)
	list := arts("v", 3)
	put(t, s, "main", list...)
	rec := sealFull(t, s, "main")
	must(t, s.Sealed(rec))
	name := "blocks/" + sealedName(rec.ID)
	whole := content(t, disk, name)
	toc := strings.Index(string(whole), "toc 3\n")
	for _, cut := range []int{len(whole) - 1, len(whole) - 40, toc + 3} {
		write(t, disk, name, whole[:cut])
		s := openOn(t, disk)
		wants(t, s.LoadSealed(rec), ErrDamaged)
		has(t, s, list...)
	}
	write(t, disk, name, append(whole, "more"...))
	s = openOn(t, disk)
	wants(t, s.LoadSealed(rec), ErrDamaged)
	has(t, s, list...)
}
