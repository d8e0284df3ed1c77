package block

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"graven/internal/fsx"
	"graven/record"
)

func bytesReader(b []byte) io.ReaderAt { return bytes.NewReader(b) }

// vectors adds the golden vectors and their beginnings as seeds.
func vectors(f *testing.F) {
	names, err := filepath.Glob(filepath.Join(goldenDir, "*"))
	if err != nil || len(names) == 0 {
		f.Fatalf("no vectors: %v", err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	f.Add([]byte{})
}

// canParse fails unless an error of a codec is one of the two kinds.
func canParse(t *testing.T, err error) bool {
	if err != nil && !errors.Is(err, ErrSyntax) && !errors.Is(err, ErrUnknownVersion) && !errors.Is(err, ErrTooLarge) {
		t.Fatalf("unexpected kind of error: %v", err)
	}
	return err == nil
}

func FuzzHeader(f *testing.F) {
	vectors(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, n, err := ParseHeader(b); canParse(t, err) && !bytes.Equal(AppendHeader(nil, h), b[:n]) {
			t.Fatalf("%q parses and encodes as %q", b[:n], AppendHeader(nil, h))
		}
	})
}

func FuzzSection(f *testing.F) {
	vectors(f)
	f.Add(AppendFrame(nil, art("x", 10)))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, offset := range []int64{0, 100} {
			h, entries, err := parseSection(b, offset)
			if !canParse(t, err) {
				continue
			}
			var again []byte
			if h != nil {
				again = AppendHeader(nil, *h)
			}
			for _, e := range entries {
				again = append(AppendFrameHeader(again, e.ID, e.Size), b[e.Offset-offset:e.end()-offset]...)
			}
			if !bytes.Equal(again, b) {
				t.Fatalf("%q parses and encodes as %q", b, again)
			}
		}
	})
}

func FuzzTOC(f *testing.F) {
	vectors(f)
	toc, _, headerLen := tocOf(arts("v", 3))
	f.Add(toc)
	f.Add(AppendTOC(nil, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if entries, err := ParseTOC(b, headerLen); canParse(t, err) && !bytes.Equal(AppendTOC(nil, entries), b) {
			t.Fatalf("%q parses and encodes as %q", b, AppendTOC(nil, entries))
		}
	})
}

func FuzzTrailer(f *testing.F) {
	f.Add(AppendTrailer(nil, 0, 0))
	f.Add(AppendTrailer(nil, record.MaxInt, maxCount))
	f.Fuzz(func(t *testing.T, b []byte) {
		if toc, count, err := ParseTrailer(b); canParse(t, err) && !bytes.Equal(AppendTrailer(nil, toc, count), b) {
			t.Fatalf("%q parses and encodes differently", b)
		}
	})
}

func FuzzList(f *testing.F) {
	vectors(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := ParseList(b); canParse(t, err) && !bytes.Equal(AppendList(nil, l), b) {
			t.Fatalf("%q parses and encodes as %q", b, AppendList(nil, l))
		}
	})
}

// FuzzSealed takes any bytes for a sealed block: verifying ends, and reports
// nothing only for the one canonical file; loading never lets a wrong byte out.
func FuzzSealed(f *testing.F) {
	names, err := filepath.Glob(filepath.Join(goldenDir, "*.blk"))
	if err != nil || len(names) == 0 {
		f.Fatalf("no vectors: %v", err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint64(3), true)
		f.Add(b, uint64(4), false)
	}
	f.Fuzz(func(t *testing.T, b []byte, count uint64, numbered bool) {
		rec := record.Block{ID: record.IDOf(b), Size: uint64(len(b)), Count: count, Class: "main"}
		h := Header{Vault: testVault, Class: "main", Chunks: !numbered}
		if numbered {
			rec.Number = new(uint64)
		}
		wrong := 0
		Verify("x", bytesReader(b), int64(len(b)), h, rec, func(*Damage) { wrong++ })
		disk := fsx.NewMem()
		for _, folder := range []string{"blocks", "blocks/sealed", "blocks/sealed/" + rec.ID.Hex()[:2]} {
			must(t, disk.Mkdir(folder, false))
		}
		write(t, disk, "blocks/"+sealedName(rec.ID), b)
		s, err := Open(blocksOf(disk), testVault)
		must(t, err)
		if err := s.LoadSealed(rec); err != nil && wrong == 0 {
			t.Fatalf("verified, but does not load: %v", err)
		}
		known := map[record.ID]Ref{}
		for _, c := range s.classes {
			for _, in := range []*catalog{c.artifacts, c.chunks} {
				for _, l := range in.lists {
					for i := range l.n {
						known[l.entry(i).id] = l.ref(i)
					}
				}
			}
		}
		for id, ref := range known {
			got, err := s.Read(ref, id)
			if err == nil && record.IDOf(got) != id {
				t.Fatalf("wrong bytes for %v", id)
			}
			if err != nil && wrong == 0 {
				t.Fatalf("verified, but %v cannot be read: %v", id, err)
			}
		}
		if wrong == 0 && uint64(len(known)) != count {
			t.Fatalf("verified %d artifacts, loaded %d", count, len(known))
		}
		must(t, s.Close())
	})
}

// FuzzOpen takes any bytes for an open block.
func FuzzOpen(f *testing.F) {
	vectors(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		disk := fsx.NewMem()
		must(t, disk.Mkdir("blocks", false))
		must(t, disk.Mkdir("blocks/open", false))
		write(t, disk, openMain0, b)
		s, err := Open(blocksOf(disk), testVault)
		must(t, err)
		got, err := s.LoadOpen("main", 0, 1<<30)
		if err != nil {
			if !isAny(err, ErrDamaged, ErrWrongVault, ErrUnknownVersion) {
				t.Fatal(err)
			}
			return
		}
		wrong := false
		s.CheckOpen("main", 0, got.Count, func(*Damage) { wrong = true })
		must(t, s.CutOpen(nil))
		if got.Count == 0 {
			return
		}
		put(t, s, "main", art("one more that no input has", 33))
		s.Advance("main")
		rec, err := s.Seal("main", 0, got.Count+1)
		if (err == nil) == wrong {
			t.Fatalf("sealing says %v, the check found damage: %t", err, wrong)
		}
		if err == nil {
			noDamage(t, s, rec)
		}
		must(t, s.Close())
	})
}

// FuzzPlace takes anything for what an index says: an artifact is found there
// whole, or not at all.
func FuzzPlace(f *testing.F) {
	disk := fsx.NewMem()
	s, err := Open(blocksOf(disk), testVault)
	must(f, err)
	shelf := newShelf()
	s.SetFinder(shelf)
	list := arts("v", 5)
	put(f, s, "main", list[:3]...)
	first, err := s.Seal("main", 0, 2) // the third moves to the next block
	must(f, err)
	must(f, s.Sealed(first))
	must(f, s.Sealed(sealFull(f, s, "main")))
	up := upload(f, s, art("large", 100).Bytes, 40)
	must(f, s.Admit(up.Block))
	put(f, s, "main", list[3:]...)
	places, err := shelf.take(s, Mark{}, s.Mark())
	must(f, err)
	s.Forget(s.Mark())
	for _, p := range places {
		f.Add(p.Class, p.Number, p.Chunks, p.Block == up.Block.ID, p.Offset, p.Size)
	}
	f.Fuzz(func(t *testing.T, class string, number uint64, chunks, known bool, offset int64, size uint32) {
		p := Place{Class: class, ID: list[0].ID, Number: number, Chunks: chunks, Offset: offset, Size: size}
		if known {
			p.Block = up.Block.ID
		}
		shelf.set(p)
		if err := holds(s, list[0]); err != nil && !isAny(err, ErrDamaged) {
			t.Fatal(err)
		}
	})
}
