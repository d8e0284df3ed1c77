package block

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"graven/internal/fsx"
)

func TestRestoreRules(t *testing.T) {
	a, b, c := art("a", 30), art("b", 40), art("c", 50)
	h := Header{Vault: testVault, Class: "main"}
	whole := func(list ...Artifact) string { return string(EncodeSection(h, 0, list)) }
	first := int64(len(whole(a)))
	frame := func(x Artifact) string { return string(AppendFrame(nil, x)) }
	rotten := func(x Artifact) string {
		f := []byte(frame(x))
		f[len(f)-3] ^= 1
		return string(f)
	}
	tests := []struct {
		name   string
		file   string // what stands on the disk; the first artifact is loaded
		offset int64
		put    string
		want   error
		result string // the file afterwards, before anything is cut
	}{
		{"over nothing", whole(a), first, frame(b), nil, whole(a, b)},
		{"over a part", whole(a) + frame(b)[:20], first, frame(b), nil, whole(a, b)},
		{"over the same", whole(a, b), first, frame(b), nil, whole(a, b)},
		{"over the same, more behind", whole(a, b, c), first, frame(b), nil, whole(a, b, c)},
		{"over what is loaded", whole(a), 0, whole(a), nil, whole(a)},
		{"over what is loaded and on", whole(a), 0, whole(a, b), nil, whole(a, b)},
		{"over zeros", whole(a) + strings.Repeat("\x00", 300), first, frame(b), nil, whole(a, b) + strings.Repeat("\x00", 300-len(frame(b)))},
		{"over garbage", whole(a) + strings.Repeat("junk", 50), first, frame(b), nil, whole(a, b) + strings.Repeat("junk", 50)[len(frame(b)):]},
		{"over itself, rotten", whole(a) + rotten(b), first, frame(b), nil, whole(a, b)},
		{"over another, rotten", whole(a) + rotten(c), first, frame(b), nil, whole(a, b) + rotten(c)[len(frame(b)):]},
		{"over another", whole(a, c), first, frame(b), ErrConflict, whole(a, c)},
		{"over another, later", whole(a, b, c), first, frame(b) + frame(art("d", 50)), ErrConflict, whole(a, b, c)},
		{"over another that is loaded", whole(a), 0, whole(c), ErrConflict, whole(a)},
		{"with a gap", whole(a), first + 1, frame(b), ErrDamaged, whole(a)},
		{"in the middle of a frame", whole(a), first - 10, frame(b), ErrConflict, whole(a)},
		{"what stands elsewhere", whole(a), first, frame(a), ErrConflict, whole(a)},
		{"over a torn header", whole(a)[:20], 0, whole(a, b), nil, whole(a, b)},
		{
			"over a header of another vault", string(EncodeSection(Header{Vault: otherVault, Class: "main"}, 0, []Artifact{a})), 0, whole(a), ErrConflict,
			string(EncodeSection(Header{Vault: otherVault, Class: "main"}, 0, []Artifact{a})),
		},
		{"junk", whole(a), first, "junk", ErrInvalid, whole(a)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			disk := fsx.NewMem()
			must(t, disk.Mkdir("blocks", false))
			must(t, disk.Mkdir("blocks/open", false))
			write(t, disk, openMain0, []byte(tt.file))
			s := openOn(t, disk)
			if _, err := s.LoadOpen("main", 0, 1); err != nil && tt.want == nil {
				t.Fatal(err)
			}
			err := s.Restore("main", 0, tt.offset, []byte(tt.put))
			if tt.want == nil {
				must(t, err)
			} else {
				wants(t, err, tt.want)
				if tt.want == ErrConflict && !strings.Contains(err.Error(), openMain0) {
					t.Errorf("the file is not named: %v", err)
				}
			}
			if got := string(content(t, disk, openMain0)); got != tt.result {
				t.Fatalf("the file is\n%q, wanted\n%q", got, tt.result)
			}
			if tt.want == nil {
				has(t, s, a)
				if strings.Contains(tt.put, b.ID.String()) {
					has(t, s, b)
				}
				must(t, s.CutOpen(nil))
				has(t, s, a)
			}
		})
	}
}

// Restoring always writes, also what stands there already: a read after a
// crash may come from memory that never reached the disk.
func TestRestoreAlwaysWrites(t *testing.T) {
	list := arts("v", 3)
	disk := oneBlock(t, list...)
	written := 0
	s, err := Open(blocksOf(fsx.Fault(disk, func(c fsx.Call) error {
		if c.Op == "write" {
			written += c.Len
		}
		return nil
	})), testVault)
	must(t, err)
	_, err = s.LoadOpen("main", 0, 3)
	must(t, err)
	section := EncodeSection(Header{Vault: testVault, Class: "main"}, 0, list)
	must(t, s.Restore("main", 0, 0, section))
	if written != len(section) {
		t.Fatalf("%d bytes were written, wanted %d", written, len(section))
	}
	must(t, s.Restore("main", 0, 0, section))
	must(t, s.Close())
}

// A frame header whose id rotted is structure that loads; restoring mends it.
func TestRestoreMendsARottenID(t *testing.T) {
	list := arts("v", 3)
	disk := oneBlock(t, list...)
	headerLen := int64(len(AppendHeader(nil, Header{Vault: testVault, Class: "main"})))
	flip(t, disk, openMain0, 8*(headerLen+10))
	s := openOn(t, disk)
	got, err := s.LoadOpen("main", 0, 3)
	must(t, err)
	if got.Count != 3 || mentioned(t, s, "main", list[0].ID) {
		t.Fatalf("loaded %+v; the test needs a rotten id that loads", got)
	}
	must(t, s.Restore("main", 0, 0, EncodeSection(Header{Vault: testVault, Class: "main"}, 0, list)))
	must(t, s.CutOpen(nil))
	has(t, s, list...)
	if n, _ := s.Stats(); n != 3 {
		t.Fatalf("%d artifacts are known", n)
	}
	noDamage(t, s, sealFull(t, s, "main"))
}

func TestRestoreIntoNewBlocks(t *testing.T) {
	disk := fsx.NewMem()
	s := openOn(t, disk)
	a, b := arts("a", 3), arts("b", 3)
	must(t, s.Restore("main", 0, 0, EncodeSection(Header{Vault: testVault, Class: "main"}, 0, a)))
	must(t, s.Restore("main", 1, 0, EncodeSection(Header{Vault: testVault, Class: "main", Number: 1}, 0, b)))
	wants(t, s.Restore("main", 3, 0, EncodeSection(Header{Vault: testVault, Class: "main", Number: 3}, 0, b)), ErrInvalid)
	must(t, s.CutOpen(nil))
	has(t, s, append(a, b...)...)
	if got := fmt.Sprint(s.FullBlocks()); got != "[{main 0 3}]" {
		t.Fatalf("full: %v", got)
	}
}

// Sections of the log for a block that is sealed: what the seal covers is
// compared, what stood behind goes to the next blocks, sealed or open.
func TestRestoreForSealedBlocks(t *testing.T) {
	disk := fsx.NewMem()
	s := openOn(t, disk)
	list := arts("v", 9)
	var sections []struct {
		number uint64
		offset int64
		bytes  []byte
	}
	add := func(list ...Artifact) {
		n, off, _ := s.Tail("main")
		b := s.Encode("main", list)
		sections = append(sections, struct {
			number uint64
			offset int64
			bytes  []byte
		}{n, off, b})
		must(t, s.Append("main", n, off, b))
	}
	add(list[0:2]...)
	add(list[2:5]...)
	rec0, err := s.Seal("main", 0, 3) // in the middle of the second section
	must(t, err)
	add(list[5:6]...)
	must(t, s.Sealed(rec0))
	rec1, err := s.Seal("main", 1, 1)
	must(t, err)
	add(list[6:7]...)
	must(t, s.Sealed(rec1))
	add(list[7:9]...)
	must(t, s.Sync())
	want := string(content(t, disk, "blocks/open/main-00000002.blk"))
	must(t, s.Close())

	for _, lost := range []bool{false, true} {
		disk := disk.Clone()
		if lost {
			must(t, disk.Remove("blocks/open/main-00000002.blk"))
		}
		s := openOn(t, disk)
		must(t, s.LoadSealed(rec0))
		must(t, s.LoadSealed(rec1))
		must(t, s.Settle())
		must(t, s.LoadFound())
		for _, sec := range sections {
			must(t, s.Restore("main", sec.number, sec.offset, sec.bytes))
		}
		must(t, s.CutOpen(nil))
		has(t, s, list...)
		if got := string(content(t, disk, "blocks/open/main-00000002.blk")); got != want {
			t.Fatalf("block 2 is\n%q, wanted\n%q", got, want)
		}
		other := EncodeSection(Header{Vault: testVault, Class: "main"}, 0, arts("other", 2))
		wants(t, s.Restore("main", 0, 0, other), ErrConflict)
	}
}

// A crash within Sealed leaves the open file beside the sealed one; at any point
// of moving the rest.
func TestSettle(t *testing.T) {
	disk := fsx.NewMem()
	s := openOn(t, disk)
	list := arts("v", 6)
	put(t, s, "main", list...)
	must(t, s.Sync())
	rec, err := s.Seal("main", 0, 4)
	must(t, err)
	must(t, s.Close())
	next := EncodeSection(Header{Vault: testVault, Class: "main", Number: 1}, 0, list[4:])
	for cut := -1; cut <= len(next); cut++ {
		disk := disk.Clone()
		if cut >= 0 {
			write(t, disk, "blocks/open/main-00000001.blk", next[:cut])
		}
		// Without settling, as when the disk may not be changed.
		look, err := Open(blocksOf(fsx.ReadOnly(disk)), testVault)
		must(t, err)
		must(t, look.LoadSealed(rec))
		must(t, look.LoadFound())
		has(t, look, list...)
		must(t, look.Close())

		s := openOn(t, disk)
		must(t, s.LoadSealed(rec))
		must(t, s.Settle())
		must(t, s.LoadFound())
		must(t, s.CutOpen(nil))
		has(t, s, list...)
		if exists(t, disk, openMain0) {
			t.Fatal("the open file is still there")
		}
		if got := content(t, disk, "blocks/open/main-00000001.blk"); string(got) != string(next) {
			t.Fatalf("block 1 is %q", got)
		}
		put(t, s, "main", arts("w", 1)...)
		has(t, s, arts("w", 1)...)
	}
}

// The open file of a sealed block may come back when later blocks are sealed
// as well: its removal is not synced.
func TestSettleALateLeftover(t *testing.T) {
	disk := fsx.NewMem()
	s := openOn(t, disk)
	list := arts("v", 6)
	put(t, s, "main", list...)
	leftover := content(t, disk, openMain0)
	rec0, err := s.Seal("main", 0, 4)
	must(t, err)
	must(t, s.Sealed(rec0))
	rec1 := sealFull(t, s, "main")
	must(t, s.Sealed(rec1))
	put(t, s, "main", arts("w", 2)...)
	must(t, s.Close())
	write(t, disk, openMain0, leftover)

	s = openOn(t, disk)
	must(t, s.LoadSealed(rec0))
	must(t, s.LoadSealed(rec1))
	must(t, s.Settle())
	must(t, s.LoadFound())
	must(t, s.CutOpen(nil))
	has(t, s, append(list, arts("w", 2)...)...)
	if got := names(t, disk, "blocks/open"); len(got) != 1 || got[0] != "main-00000002.blk" {
		t.Fatalf("open: %v", got)
	}
	write(t, disk, openMain0, EncodeSection(Header{Vault: otherVault, Class: "main"}, 0, list))
	s = openOn(t, disk)
	must(t, s.LoadSealed(rec0))
	wants(t, s.Settle(), ErrWrongVault)
}

func TestOrder(t *testing.T) {
	list := arts("v", 6)
	disk := oneBlock(t, list[:4]...)
	s := openOn(t, disk)
	_, err := s.LoadOpen("main", 0, math.MaxInt)
	must(t, err)
	must(t, s.CutOpen(nil))
	s.Advance("main")
	put(t, s, "main", list[4:]...)
	must(t, s.Close())

	open := func() *Store {
		s := openOn(t, disk.Clone())
		must(t, s.LoadFound())
		return s
	}
	for n := range len(list) + 1 {
		s := open()
		o := NewOrder(s, Mark{})
		for _, a := range list[:n] {
			must(t, o.Mention("main", a.ID))
			must(t, o.Mention("main", a.ID)) // later mentions count for nothing
		}
		must(t, o.Finish())
		must(t, s.CutOpen(nil))
		has(t, s, list[:n]...)
		if stored, _ := s.Stats(); stored != uint64(n) {
			t.Fatalf("%d mentioned, %d kept", n, stored)
		}
	}
	s = open()
	o := NewOrder(s, Mark{})
	wants(t, o.Mention("main", art("none", 3).ID), ErrMissing)
	wants(t, o.Mention("log", list[0].ID), ErrMissing)
	must(t, o.Mention("main", list[1].ID)) // stands behind one that is not mentioned
	wants(t, o.Finish(), ErrDamaged)

	flip(t, disk, openMain0, 8*(int64(len(AppendHeader(nil, Header{Vault: testVault, Class: "main"})))+2))
	s = open()
	err = NewOrder(s, Mark{}).Mention("main", list[0].ID)
	wants(t, err, ErrMissing)
	wants(t, err, ErrDamaged)
	if !strings.Contains(err.Error(), openMain0) {
		t.Fatalf("the broken file is not named: %v", err)
	}
}
