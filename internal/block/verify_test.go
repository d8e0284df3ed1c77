package block

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"graven/internal/fsx"
	"graven/record"
)

// sealedBytes is a sealed block of these artifacts, its record and header.
func sealedBytes(t testing.TB, list ...Artifact) ([]byte, record.Block, Header) {
	t.Helper()
	disk := fsx.NewMem()
	s := openOn(t, disk)
	put(t, s, "main", list...)
	rec := sealFull(t, s, "main")
	return content(t, disk, "blocks/"+sealedName(rec.ID)), rec, Header{Vault: testVault, Class: "main"}
}

func findings(b []byte, h Header, rec record.Block) []*Damage {
	var list []*Damage
	Verify("f", bytes.NewReader(b), int64(len(b)), h, rec, func(d *Damage) { list = append(list, d) })
	return list
}

// what gives kinds and offsets of findings, without the hash of the file.
func what(list []*Damage) string {
	var s []string
	for _, d := range list {
		if d.What != "file" {
			s = append(s, fmt.Sprintf("%s@%d", d.What, d.Offset))
		}
	}
	return strings.Join(s, " ")
}

// Each single bit of a sealed block, flipped: Verify finds it and says where,
// loading and reading never return a wrong byte and never say "fine" to it.
func TestEveryFlippedBit(t *testing.T) {
	list := []Artifact{art("a", 30), art("", 0), art("c", 12)}
	good, rec, h := sealedBytes(t, list...)
	if got := findings(good, h, rec); len(got) != 0 {
		t.Fatalf("a good block: %v", got)
	}
	end := int64(strings.LastIndex(string(good), "toc 3\n"))
	disk := fsx.NewMem()
	for _, folder := range []string{"blocks", "blocks/sealed", "blocks/sealed/" + rec.ID.Hex()[:2]} {
		must(t, disk.Mkdir(folder, false))
	}
	for bit := range len(good) * 8 {
		bad := bytes.Clone(good)
		at := int64(bit / 8)
		bad[at] ^= 1 << (bit % 8)
		got := findings(bad, h, rec)
		if len(got) < 2 { // the place, and the hash of the file
			t.Fatalf("bit %d of byte %d: found only %v", bit%8, at, got)
		}
		if d := got[0]; at >= end && d.Offset != at {
			t.Fatalf("byte %d of the table: %v", at, d)
		}
		if n := strings.Count(what(got), "@"); n != 1 {
			t.Fatalf("byte %d: one flipped bit is called %s", at, what(got))
		}
		write(t, disk, "blocks/"+sealedName(rec.ID), bad)
		s, err := Open(blocksOf(disk), testVault)
		must(t, err)
		loadErr := s.LoadSealed(rec)
		served := 0
		for _, a := range list {
			ref, ok, _ := s.LookupAny(a.ID)
			if !ok {
				continue
			}
			b, err := s.Read(ref, a.ID)
			if err == nil && !bytes.Equal(b, a.Bytes) {
				t.Fatalf("byte %d: wrong bytes were served", at)
			}
			if err == nil {
				served++
			}
		}
		// Only the two digits of a frame header that the table repeats, and its
		// punctuation, may go unnoticed by loading and reading.
		if isAny(loadErr, ErrWrongVault, ErrUnknownVersion) {
			if served > 0 {
				t.Fatalf("byte %d: %v, but artifacts are served", at, loadErr)
			}
		} else if served < 2 {
			t.Fatalf("byte %d: only %d of 3 artifacts are served: %v", at, served, loadErr)
		}
		must(t, s.Close())
	}
}

func TestEveryTruncationAndExtension(t *testing.T) {
	list := arts("v", 3)
	good, rec, h := sealedBytes(t, list...)
	for size := range good {
		got := findings(good[:size], h, rec)
		if len(got) == 0 || got[0].What != "length" || got[0].Offset != int64(size) {
			t.Fatalf("cut at %d: %v", size, got)
		}
	}
	for _, more := range []string{"x", "\x00", "\n", "end 0000000000000302 0000000003\n"} {
		got := findings(append(bytes.Clone(good), more...), h, rec)
		if len(got) != 2 || got[0].What != "length" || got[0].Offset != int64(len(good)) {
			t.Fatalf("%q behind: %v", more, got)
		}
	}
}

// Much damage at once: all of it is listed, at its place.
func TestVerifyListsEverything(t *testing.T) {
	list := arts("v", 6)
	good, rec, h := sealedBytes(t, list...)
	_, entries, err := parseSection(EncodeSection(h, 0, list), 0)
	must(t, err)
	end := entries[5].end()
	tests := []struct {
		name string
		hurt func(b []byte)
		want string
	}{
		{
			"three artifacts", func(b []byte) { b[entries[0].Offset]++; b[entries[2].Offset+3]++; b[entries[5].Offset]++ },
			fmt.Sprintf("artifact@%d artifact@%d artifact@%d", entries[0].Offset, entries[2].Offset, entries[5].Offset),
		},
		{
			"an id and an artifact", func(b []byte) { b[entries[1].start()+10] ^= 1; b[entries[3].Offset]++ },
			fmt.Sprintf("frame@%d artifact@%d", entries[1].start()+10, entries[3].Offset),
		},
		{"a length", func(b []byte) { b[entries[1].Offset-2] = '9' }, fmt.Sprintf("frame@%d", entries[1].Offset-2)},
		{"a newline behind an artifact", func(b []byte) { b[entries[1].end()-1] = 'x' }, fmt.Sprintf("frame@%d", entries[1].end()-1)},
		{"header and trailer", func(b []byte) { b[3]++; b[len(b)-10]++ }, fmt.Sprintf("header@3 trailer@%d", len(good)-10)},
		{"two lines of the table", func(b []byte) { b[end+8]++; b[end+6+2*70]++ }, ""},
		{"a frame without its line", func(b []byte) {
			b[entries[2].start()] = 'X'
			at := int64(strings.Index(string(b[end:]), fmt.Sprintf("%x", entries[2].ID[:]))) + end
			b[at] = 'X'
		}, ""},
		{"everything", func(b []byte) { clear(b) }, ""},
		{"the trailer gone, a frame broken", func(b []byte) { clear(b[len(b)-TrailerSize:]); b[entries[2].start()] = 'X' }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bad := bytes.Clone(good)
			tt.hurt(bad)
			got := findings(bad, h, rec)
			if w := what(got); tt.want != "" && w != tt.want {
				t.Fatalf("found %s, wanted %s", w, tt.want)
			}
			if len(got) < 2 || len(got) > 20 || got[len(got)-1].What != "file" {
				t.Fatalf("found %v", got)
			}
			for _, d := range got {
				if d.Wanted == "" || d.Got == "" || d.File != "f" || d.Offset > int64(len(bad)) {
					t.Errorf("incomplete: %+v", d)
				}
			}
		})
	}
	// Artifacts behind a frame that is broken together with its line are still checked.
	bad := bytes.Clone(good)
	bad[entries[1].start()] = 'X'
	bad[entries[4].Offset]++
	bad[end+8] ^= 1
	if w := what(findings(bad, h, rec)); !strings.Contains(w, fmt.Sprintf("artifact@%d", entries[4].Offset)) {
		t.Fatalf("found %s", w)
	}
}

func TestVerifyAgainstTheRecord(t *testing.T) {
	good, rec, h := sealedBytes(t, arts("v", 3)...)
	change := func(f func(*record.Block, *Header)) []*Damage {
		r, g := rec, h
		f(&r, &g)
		return findings(good, g, r)
	}
	for name, got := range map[string][]*Damage{
		"id":     change(func(r *record.Block, _ *Header) { r.ID[0] ^= 1 }),
		"count+": change(func(r *record.Block, _ *Header) { r.Count++ }),
		"count-": change(func(r *record.Block, _ *Header) { r.Count-- }),
		"count":  change(func(r *record.Block, _ *Header) { r.Count = record.MaxInt }),
		"size":   change(func(r *record.Block, _ *Header) { r.Size++ }),
		"huge":   change(func(r *record.Block, _ *Header) { r.Size = record.MaxInt }),
		"vault":  change(func(_ *record.Block, h *Header) { h.Vault = otherVault }),
		"class":  change(func(_ *record.Block, h *Header) { h.Class = "log" }),
		"number": change(func(_ *record.Block, h *Header) { h.Number = 1 }),
		"chunks": change(func(_ *record.Block, h *Header) { h.Chunks = true }),
	} {
		if len(got) == 0 {
			t.Errorf("another %s is not noticed", name)
		}
	}
}

// sick fails reads in a range, like a bad sector.
type sick struct {
	io.ReaderAt
	from, to int64
}

func (s sick) ReadAt(p []byte, off int64) (int, error) {
	if off < s.to && off+int64(len(p)) > s.from {
		return 0, fsx.ErrIO
	}
	return s.ReaderAt.ReadAt(p, off)
}

func TestVerifyBadSectors(t *testing.T) {
	list := []Artifact{art("a", 100_000), art("b", 200_000), art("c", 100_000), art("d", 10)}
	good, rec, h := sealedBytes(t, list...)
	_, entries, err := parseSection(EncodeSection(h, 0, list), 0)
	must(t, err)
	bad := bytes.Clone(good)
	bad[entries[3].Offset]++
	mid := entries[1].Offset + 100_000
	var got []string
	Verify("f", sick{bytes.NewReader(bad), mid, mid + 512}, int64(len(bad)), h, rec, func(d *Damage) { got = append(got, fmt.Sprintf("%s@%d %s", d.What, d.Offset, d.Got)) })
	all := strings.Join(got, "\n")
	if !strings.Contains(all, fsx.ErrIO.Error()) || !strings.Contains(all, fmt.Sprintf("artifact@%d", entries[3].Offset)) {
		t.Fatalf("found:\n%s", all)
	}
}

func TestCheckOpen(t *testing.T) {
	list := arts("v", 5)
	disk := oneBlock(t, list...)
	check := func(count int) string {
		s := openOn(t, disk)
		_, err := s.LoadOpen("main", 0, 5)
		if err != nil {
			t.Fatal(err)
		}
		var got []*Damage
		s.CheckOpen("main", 0, count, func(d *Damage) { got = append(got, d) })
		return what(got)
	}
	_, entries, err := parseSection(content(t, disk, openMain0), 0)
	must(t, err)
	if got := check(5) + check(3) + check(0); got != "" {
		t.Fatalf("good: %s", got)
	}
	if got := check(6); got != fmt.Sprintf("frame@%d", entries[4].end()) {
		t.Fatalf("one too many: %s", got)
	}
	flip(t, disk, openMain0, 8*entries[1].Offset)
	flip(t, disk, openMain0, 8*entries[4].Offset)
	if got := check(5); got != fmt.Sprintf("artifact@%d artifact@%d", entries[1].Offset, entries[4].Offset) {
		t.Fatalf("two artifacts: %s", got)
	}
	if got := check(4); got != fmt.Sprintf("artifact@%d", entries[1].Offset) {
		t.Fatalf("the first four: %s", got)
	}
	s := openOn(t, disk)
	_, err = s.LoadOpen("main", 0, 5)
	must(t, err)
	flip(t, disk, openMain0, 8*entries[2].start()) // after it was loaded
	var got []*Damage
	s.CheckOpen("main", 0, 5, func(d *Damage) { got = append(got, d) })
	if w := what(got); w != fmt.Sprintf("artifact@%d frame@%d artifact@%d", entries[1].Offset, entries[2].start(), entries[4].Offset) {
		t.Fatalf("a broken frame as well: %s", w)
	}
	got = nil
	s.CheckOpen("log", 7, 1, func(d *Damage) { got = append(got, d) })
	if len(got) != 1 || got[0].Got != "nothing" {
		t.Fatalf("missing: %v", got)
	}
}

func TestCheckNames(t *testing.T) {
	disk := fsx.NewMem()
	s := openOn(t, disk)
	put(t, s, "main", arts("a", 2)...)
	loaded := sealFull(t, s, "main")
	must(t, s.Sealed(loaded))
	up := upload(t, s, art("value", 100).Bytes, 30)
	must(t, s.Admit(up.Block))
	put(t, s, "main", arts("b", 2)...)
	extra := sealFull(t, s, "main")
	must(t, s.WriteHealed(art("h", 5).ID, art("h", 5).Bytes))
	list := func() (string, string) {
		var bad, more []string
		s.CheckNames(func(d *Damage) { bad = append(bad, d.File) }, func(id record.ID) { more = append(more, id.Hex()) })
		s.CheckHealed(func(d *Damage) { bad = append(bad, d.File) })
		return strings.Join(bad, " "), strings.Join(more, " ")
	}
	if bad, more := list(); bad != "" || more != extra.ID.Hex() {
		t.Fatalf("bad %q, extra %q", bad, more)
	}
	hh := "blocks/sealed/" + loaded.ID.Hex()[:2]
	write(t, disk, hh+"/junk", nil)
	write(t, disk, "blocks/sealed/file", nil)
	must(t, disk.Mkdir("blocks/sealed/zz", false))
	write(t, disk, "blocks/sealed/zz/"+loaded.ID.Hex()+".blk", nil)
	must(t, disk.Mkdir(hh+"/folder.blk", false))
	write(t, disk, "blocks/healed/junk", nil)
	bad, _ := list()
	for _, name := range []string{hh + "/junk", "blocks/sealed/file", "blocks/sealed/zz/" + loaded.ID.Hex() + ".blk", hh + "/folder.blk", "blocks/healed/junk"} {
		if !strings.Contains(bad, name) {
			t.Errorf("%s is not reported, but %s", name, bad)
		}
	}
	var got []*Damage
	missing := loaded
	missing.ID = record.ID{9}
	s.CheckSealed(missing, func(d *Damage) { got = append(got, d) })
	if len(got) != 1 || got[0].Got != "nothing" || !errors.Is(got[0], ErrDamaged) {
		t.Fatalf("missing: %v", got)
	}
}
