package block

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"graven/internal/fsx"
	"graven/record"
)

func TestSealedFileIsAsSpecified(t *testing.T) {
	disk := fsx.NewMem()
	s := openOn(t, disk)
	list := arts("v", 3)
	put(t, s, "main", list...)
	open := string(content(t, disk, "blocks/open/main-00000000.blk"))
	rec := sealFull(t, s, "main")

	want := open + "toc 3\n"
	for _, a := range list {
		want += fmt.Sprintf("%x %d %d\n", a.ID[:], strings.Index(open, string(a.Bytes)), len(a.Bytes))
	}
	want += fmt.Sprintf("end %016d %010d\n", len(open), 3)
	if rec.ID != sha256.Sum256([]byte(want)) || rec.Size != uint64(len(want)) || rec.Count != 3 || rec.Class != "main" || *rec.Number != 0 {
		t.Fatalf("record %+v does not describe the specified file", rec)
	}
	name := "blocks/sealed/" + rec.ID.Hex()[:2] + "/" + rec.ID.Hex() + ".blk"
	if got := string(content(t, disk, name)); got != want {
		t.Fatalf("sealed file:\n%q\nwanted:\n%q", got, want)
	}
	has(t, s, list...)
	must(t, s.Sealed(rec))
	must(t, s.Sealed(rec)) // again is fine
	has(t, s, list...)
	if left := names(t, disk, "blocks/open"); len(left) != 0 {
		t.Fatalf("left open: %v", left)
	}
	noDamage(t, s, rec)
}

// The same artifacts give the same file, whatever way they came and were sealed.
func TestSealEquality(t *testing.T) {
	list := arts("v", 10)
	ways := map[string]func(t *testing.T, s *Store) record.Block{
		"one section, in place": func(t *testing.T, s *Store) record.Block {
			put(t, s, "main", list...)
			return sealFull(t, s, "main")
		},
		"ten sections, in place": func(t *testing.T, s *Store) record.Block {
			for _, a := range list {
				put(t, s, "main", a)
			}
			return sealFull(t, s, "main")
		},
		"a copy, as the class is still there": func(t *testing.T, s *Store) record.Block {
			put(t, s, "main", list...)
			rec, err := s.Seal("main", 0, len(list))
			must(t, err)
			return rec
		},
		"a copy, more behind": func(t *testing.T, s *Store) record.Block {
			put(t, s, "main", list...)
			put(t, s, "main", arts("more", 5)...)
			rec, err := s.Seal("main", 0, len(list))
			must(t, err)
			return rec
		},
		"restored": func(t *testing.T, s *Store) record.Block {
			must(t, s.Restore("main", 0, 0, EncodeSection(Header{Vault: testVault, Class: "main"}, 0, list)))
			return sealFull(t, s, "main")
		},
		"reserved before": func(t *testing.T, s *Store) record.Block {
			must(t, s.Reserve("main", 5000))
			put(t, s, "main", list...)
			return sealFull(t, s, "main")
		},
	}
	var first *record.Block
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			disk := fsx.NewMem()
			s := openOn(t, disk)
			rec := way(t, s)
			if first == nil {
				first = &rec
			}
			if rec.ID != first.ID || rec.Size != first.Size || rec.Count != first.Count {
				t.Fatalf("sealed as %v, another way gave %v", rec, *first)
			}
			if got := record.IDOf(content(t, disk, "blocks/"+sealedName(rec.ID))); got != rec.ID {
				t.Fatalf("the file's hash is %v, its name %v", got, rec.ID)
			}
			again, err := s.Seal("main", 0, len(list))
			must(t, err)
			if again.ID != rec.ID {
				t.Fatal("sealed again it is another block")
			}
			must(t, s.Sealed(rec))
			has(t, s, list...)
			for _, n := range names(t, disk, "blocks/open") {
				if strings.HasPrefix(n, "new-") {
					t.Fatalf("left behind: %s", n)
				}
			}
		})
	}
}

func TestSealWithRest(t *testing.T) {
	disk := fsx.NewMem()
	s := openOn(t, disk)
	first, rest := arts("first", 4), arts("rest", 3)
	put(t, s, "main", first...)
	put(t, s, "main", rest[:1]...)
	rec, err := s.Seal("main", 0, 4)
	must(t, err)
	put(t, s, "main", rest[1:]...) // the writer goes on meanwhile
	oldRef, _, _ := s.LookupAny(rest[2].ID)
	number, offset, _ := s.Tail("main")
	must(t, s.Sealed(rec))
	has(t, s, append(first, rest...)...)
	if b, err := s.Read(oldRef, rest[2].ID); err != nil || string(b) != string(rest[2].Bytes) {
		t.Fatalf("a ref taken before the artifact moved: %v", err)
	}
	want := string(EncodeSection(Header{Vault: testVault, Class: "main", Number: 1}, 0, rest))
	if got := string(content(t, disk, "blocks/open/main-00000001.blk")); got != want {
		t.Fatalf("block 1 is %q, wanted %q", got, want)
	}
	if exists(t, disk, "blocks/open/main-00000000.blk") {
		t.Fatal("the open file is still there")
	}
	if n, off, count := s.Tail("main"); n != 1 || count != 3 || off != int64(len(want)) {
		t.Fatalf("tail %d %d %d", n, off, count)
	}
	// A section that was meant for the end of block 0 goes behind its rest.
	late := arts("late", 2)
	must(t, s.Append("main", number, offset, EncodeSection(Header{}, offset, late)))
	has(t, s, late...)
	rec2 := sealFull(t, s, "main")
	must(t, s.Sealed(rec2))
	if rec2.Count != 5 {
		t.Fatalf("block 1 has %d artifacts", rec2.Count)
	}
	has(t, s, append(append(first, rest...), late...)...)

	again := openOn(t, disk)
	must(t, again.LoadSealed(rec))
	must(t, again.LoadSealed(rec2))
	has(t, again, append(append(first, rest...), late...)...)
	if n, off, _ := again.Tail("main"); n != 2 || off != 0 {
		t.Fatalf("tail %d %d", n, off)
	}
}

// A section for a block sealed whole begins the next block, with its header.
func TestAppendBehindASealOfTheTail(t *testing.T) {
	disk := fsx.NewMem()
	s := openOn(t, disk)
	put(t, s, "main", arts("a", 2)...)
	rec, err := s.Seal("main", 0, 2)
	must(t, err)
	number, offset, _ := s.Tail("main")
	section := s.Encode("main", arts("b", 2))
	must(t, s.Sealed(rec))
	must(t, s.Append("main", number, offset, section))
	want := EncodeSection(Header{Vault: testVault, Class: "main", Number: 1}, 0, arts("b", 2))
	if got := content(t, disk, "blocks/open/main-00000001.blk"); string(got) != string(want) {
		t.Fatalf("block 1 is %q", got)
	}
	has(t, s, append(arts("a", 2), arts("b", 2)...)...)
}

// A block that was sealed in part stays the tail until its record: what stands
// behind the seal must come first in the next block.
func TestNoAdvanceOverARest(t *testing.T) {
	s := openOn(t, fsx.NewMem())
	put(t, s, "main", arts("a", 3)...)
	rec, err := s.Seal("main", 0, 3)
	must(t, err)
	put(t, s, "main", arts("b", 2)...)
	s.Advance("main")
	wants(t, s.Append("main", 1, 0, EncodeSection(Header{Vault: testVault, Class: "main", Number: 1}, 0, arts("c", 1))), ErrInvalid)
	put(t, s, "main", arts("c", 1)...)
	if n, _, count := s.Tail("main"); n != 0 || count != 6 {
		t.Fatalf("tail at block %d with %d artifacts", n, count)
	}
	must(t, s.Sealed(rec))
	if n, _, count := s.Tail("main"); n != 1 || count != 3 {
		t.Fatalf("tail at block %d with %d artifacts", n, count)
	}
	has(t, s, append(append(arts("a", 3), arts("b", 2)...), arts("c", 1)...)...)

	// Sealed as it is, without anything behind, it may advance.
	rec, err = s.Seal("main", 1, 3)
	must(t, err)
	s.Advance("main")
	put(t, s, "main", arts("d", 1)...)
	must(t, s.Sealed(rec))
	has(t, s, append(arts("b", 2), arts("d", 1)...)...)
}

// The published file may be the open one under its other name, hurt together
// with it behind its frames: sealing again mends it.
func TestSealMendsASharedTwin(t *testing.T) {
	disk := fsx.NewMem()
	s := openOn(t, disk)
	put(t, s, "main", arts("a", 2)...)
	_, end, _ := s.Tail("main")
	rec := sealFull(t, s, "main")
	must(t, s.Close())
	flip(t, disk, openMain0, 8*(end+10))
	s = openOn(t, disk)
	must(t, s.LoadFound())
	must(t, s.CutOpen(nil))
	s.Advance("main")
	again, err := s.Seal("main", 0, 2)
	must(t, err)
	if again.ID != rec.ID {
		t.Fatal("sealed again it is another block")
	}
	noDamage(t, s, rec)
	must(t, s.Sealed(again))
	has(t, s, arts("a", 2)...)
}

func TestSealRefuses(t *testing.T) {
	s := openOn(t, fsx.NewMem())
	put(t, s, "main", arts("a", 3)...)
	s.Advance("main")
	put(t, s, "main", arts("b", 3)...)
	for _, tt := range []struct {
		class  string
		number uint64
		count  int
	}{{"none", 0, 1}, {"main", 2, 1}, {"main", 0, 0}, {"main", 0, 4}, {"main", 0, 2}, {"main", 1, -1}} {
		_, err := s.Seal(tt.class, tt.number, tt.count)
		wants(t, err, ErrInvalid)
	}
	rec, err := s.Seal("main", 0, 3)
	must(t, err)
	wants(t, s.Sealed(record.Block{ID: rec.ID, Class: "main"}), ErrInvalid)
	wrong := rec
	wrong.ID = record.ID{1}
	wants(t, s.Sealed(wrong), ErrMissing)
	wrong = rec
	wrong.Count = 2
	wants(t, s.Sealed(wrong), ErrDamaged)
	must(t, s.Sealed(rec))
	wrong = rec
	wrong.ID = record.ID{1}
	wants(t, s.Sealed(wrong), ErrConflict)
	has(t, s, append(arts("a", 3), arts("b", 3)...)...)
}

// A bit that flips after the artifact was hashed is met before anything is
// published, wherever it is.
func TestSealFindsEveryFlippedBit(t *testing.T) {
	list := arts("v", 3)
	disk := fsx.NewMem()
	s := openOn(t, disk)
	put(t, s, "main", list...)
	s.Advance("main")
	size := int64(len(content(t, disk, "blocks/open/main-00000000.blk")))
	for bit := range size * 8 {
		flip(t, disk, "blocks/open/main-00000000.blk", bit)
		_, err := s.Seal("main", 0, len(list))
		if err == nil {
			t.Fatalf("bit %d of byte %d was sealed", bit%8, bit/8)
		}
		// A header of another vault or version has its own error.
		if !isAny(err, ErrDamaged, ErrWrongVault, ErrUnknownVersion) {
			t.Fatalf("bit %d: %v", bit, err)
		}
		if !strings.Contains(err.Error(), "blocks/open/main-00000000.blk") {
			t.Fatalf("the error does not name the file: %v", err)
		}
		if exists(t, disk, "blocks/sealed") {
			t.Fatalf("bit %d: something was published", bit)
		}
		flip(t, disk, "blocks/open/main-00000000.blk", bit)
	}
	rec, err := s.Seal("main", 0, len(list))
	must(t, err)
	noDamage(t, s, rec)
}

// What the store is not told about must not be sealed: a frame with a good hash
// that was put in the place of another.
func TestSealFindsASwappedArtifact(t *testing.T) {
	disk := fsx.NewMem()
	s := openOn(t, disk)
	a, b := art("a", 10), art("b", 10)
	put(t, s, "main", a)
	s.Advance("main")
	write(t, disk, "blocks/open/main-00000000.blk", EncodeSection(Header{Vault: testVault, Class: "main"}, 0, []Artifact{b}))
	_, err := s.Seal("main", 0, 1)
	wants(t, err, ErrDamaged)
}

func TestSealMeetsADamagedTwin(t *testing.T) {
	disk := fsx.NewMem()
	s := openOn(t, disk)
	put(t, s, "main", arts("a", 2)...)
	rec, err := s.Seal("main", 0, 2) // a copy: its own inode
	must(t, err)
	name := "blocks/" + sealedName(rec.ID)
	flip(t, disk, name, 8*40)
	_, err = s.Seal("main", 0, 2)
	wants(t, err, ErrDamaged)
	flip(t, disk, name, 8*40)
	_, err = s.Seal("main", 0, 2)
	must(t, err)
}

// Readers, the writer, syncs and seals side by side.
func TestReadsDuringSeal(t *testing.T) {
	s := openOn(t, fsx.NewMem())
	const blocks, each = 12, 40
	var written atomic.Int64
	all := make([]Artifact, blocks*each)
	for i := range all {
		all[i] = art(fmt.Sprint("artifact ", i), 50+i%300)
	}
	var readers, workers sync.WaitGroup
	stop := make(chan struct{})
	defer readers.Wait()
	defer close(stop)
	for r := range 4 {
		readers.Go(func() {
			for i := r; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if n := written.Load(); n > 0 {
					if err := holds(s, all[int64(i*7919)%n]); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	seals := make(chan OpenBlock, blocks)
	sealed := make(chan record.Block, blocks)
	workers.Go(func() {
		defer close(sealed)
		for b := range seals {
			rec, err := s.Seal(b.Class, b.Number, b.Count)
			if err != nil {
				t.Error(err)
				return
			}
			sealed <- rec
		}
	})
	workers.Go(func() {
		for range 50 {
			if err := s.Sync(); err != nil {
				t.Error(err)
			}
		}
	})
	// settle takes the records of sealed blocks up to one of them.
	settle := func(number uint64) {
		for {
			rec := <-sealed
			must(t, s.Sealed(rec))
			if *rec.Number == number {
				return
			}
		}
	}
	for b := range blocks {
		for i := range each {
			put(t, s, "main", all[b*each+i])
			written.Add(1)
			// Some blocks are sealed as copies while the class is still there.
			if i == each/2 && b%3 == 0 {
				n, _, count := s.Tail("main")
				seals <- OpenBlock{"main", n, count}
				settle(n)
			}
		}
		n, _, count := s.Tail("main")
		s.Advance("main")
		seals <- OpenBlock{"main", n, count}
		if b%2 == 1 {
			settle(n)
		}
	}
	close(seals)
	workers.Wait()
	has(t, s, all...)
	if left := s.FullBlocks(); len(left) != 0 {
		t.Fatalf("not sealed: %v", left)
	}
}

func isAny(err error, targets ...error) bool {
	for _, target := range targets {
		if err != nil && errors.Is(err, target) {
			return true
		}
	}
	return false
}

// An artifact that rotted is sealed as it was, from its second copy, and what the
// file would have been without the rot comes out. Other rot is not healed.
func TestSealOfHealedArtifacts(t *testing.T) {
	list := arts("v", 3)
	const open = "blocks/open/main-00000000.blk"
	sound := fsx.NewMem()
	s := openOn(t, sound)
	put(t, s, "main", list...)
	s.Advance("main")
	want, err := s.Seal("main", 0, len(list))
	must(t, err)
	for _, again := range []bool{false, true} { // as after a crash before the record
		disk := fsx.NewMem()
		s = openOn(t, disk)
		put(t, s, "main", list...)
		s.Advance("main")
		at := int64(strings.Index(string(content(t, disk, open)), string(list[1].Bytes)))
		flip(t, disk, open, at*8)
		if _, err = s.Seal("main", 0, len(list)); !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
		must(t, s.WriteHealed(list[1].ID, list[1].Bytes))
		flip(t, disk, open, (at-1)*8) // the newline before the artifact
		if _, err = s.Seal("main", 0, len(list)); !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
		flip(t, disk, open, (at-1)*8)
		got, err := s.Seal("main", 0, len(list))
		must(t, err)
		if again {
			got, err = s.Seal("main", 0, len(list))
			must(t, err)
		}
		if got.ID != want.ID || got.Size != want.Size || got.Count != want.Count {
			t.Errorf("sealed as %+v, wanted %+v", got, want)
		}
		must(t, s.Sealed(got))
		noDamage(t, s, got)
		has(t, s, list...)
		if exists(t, disk, open) {
			t.Error("the open file is still there")
		}
	}
}
