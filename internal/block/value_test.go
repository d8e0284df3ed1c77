package block

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"graven/internal/fsx"
	"graven/record"
)

func TestValueRanges(t *testing.T) {
	const chunk = 16
	s := openOn(t, fsx.NewMem())
	for _, size := range []int{1, 15, 16, 17, 48, 50} {
		value := art("value", size).Bytes
		up := upload(t, s, value, chunk)
		must(t, s.Admit(up.Block))
		v, err := s.OpenValue(up.List, up.Whole, up.Size)
		must(t, err)
		if v.Size() != uint64(size) {
			t.Fatalf("size %d", v.Size())
		}
		want := bytes.NewReader(value)
		for off := range size + 3 {
			for n := range size + 3 {
				a, b := make([]byte, n), make([]byte, n)
				gotN, gotErr := v.ReadAt(a, int64(off))
				wantN, wantErr := want.ReadAt(b, int64(off))
				if n == 0 {
					wantErr = nil // bytes.Reader says EOF behind the end even for nothing
				}
				if gotN != wantN || gotErr != wantErr || !bytes.Equal(a[:gotN], b[:wantN]) {
					t.Fatalf("size %d, range %d+%d: %d, %v, wanted %d, %v", size, off, n, gotN, gotErr, wantN, wantErr)
				}
			}
		}
		_, err = v.ReadAt(make([]byte, 1), -1)
		wants(t, err, ErrInvalid)
	}
}

func TestValueMismatches(t *testing.T) {
	s := openOn(t, fsx.NewMem())
	value := art("value", 100).Bytes
	up := upload(t, s, value, 16)
	must(t, s.Admit(up.Block))
	for _, tt := range []struct {
		list, whole record.ID
		size        uint64
		want        error
	}{
		{up.List, record.ID{}, up.Size, ErrMismatch},
		{up.List, up.Whole, up.Size + 1, ErrMismatch},
		{record.ID{}, up.Whole, up.Size, ErrNotFound},
		{record.IDOf(value[:16]), up.Whole, up.Size, ErrSyntax}, // a chunk is no list
	} {
		_, err := s.OpenValue(tt.list, tt.whole, tt.size)
		wants(t, err, tt.want)
	}
	// Lists of sound chunks that lie about the whole, or a length.
	a, b := art("a", 16), art("b", 16)
	lies := []List{
		{Whole: record.IDOf([]byte("else")), Size: 32, Chunk: 16, Chunks: []record.ID{a.ID, b.ID}},
		{Whole: record.IDOf([]byte("else")), Size: 31, Chunk: 16, Chunks: []record.ID{a.ID, b.ID}},
		{Whole: record.IDOf([]byte("else")), Size: 32, Chunk: 16, Chunks: []record.ID{a.ID, {}}},
	}
	put(t, s, "main", a, b)
	for i, l := range lies {
		text := AppendList(nil, l)
		list := Artifact{ID: record.IDOf(text), Bytes: text}
		put(t, s, "main", list)
		v, err := s.OpenValue(list.ID, l.Whole, l.Size)
		must(t, err)
		var got bytes.Buffer
		_, err = v.WriteTo(&got)
		want := ErrMismatch
		if i == 2 {
			want = ErrNotFound
		}
		wants(t, err, want)
	}
}

// A damaged chunk fails the ranges that touch it, and no others.
func TestValueWithADamagedChunk(t *testing.T) {
	disk := fsx.NewMem()
	s := openOn(t, disk)
	const chunk = 50
	value := art("value", 4*chunk).Bytes
	up := upload(t, s, value, chunk)
	must(t, s.Admit(up.Block))
	list, err := s.ReadList(up.List)
	must(t, err)
	ref, _, _ := s.LookupAny(list.Chunks[2])
	name := "blocks/" + sealedName(up.Block.ID)
	flip(t, disk, name, 8*ref.off)
	v, err := s.OpenValue(up.List, up.Whole, up.Size)
	must(t, err)
	b := make([]byte, 20)
	for i := range 4 {
		n, err := v.ReadAt(b, int64(i)*chunk+5)
		if i != 2 {
			must(t, err)
			if !bytes.Equal(b, value[i*chunk+5:][:20]) {
				t.Fatal("other bytes came back")
			}
			continue
		}
		wants(t, err, ErrDamaged)
		var d *Damage
		if n != 0 || !errors.As(err, &d) || d.File != name || d.Offset != ref.off || d.ID != list.Chunks[2] {
			t.Fatalf("%d bytes, %v", n, err)
		}
	}
	n, err := v.ReadAt(make([]byte, 100), chunk+40) // begins in a good chunk
	if n != 10 || !errors.Is(err, ErrDamaged) {
		t.Fatalf("%d bytes, %v", n, err)
	}
	var out bytes.Buffer
	total, err := v.WriteTo(&out)
	wants(t, err, ErrDamaged)
	if total != 2*chunk || !bytes.Equal(out.Bytes(), value[:2*chunk]) {
		t.Fatalf("%d bytes were written before the damaged chunk", total)
	}
	must(t, s.WriteHealed(list.Chunks[2], value[2*chunk:3*chunk]))
	got, err := readValue(s, up)
	must(t, err)
	if !bytes.Equal(got, value) {
		t.Fatal("other bytes came back")
	}
	_, err = v.WriteTo(io.MultiWriter(failing{}))
	wants(t, err, errFull)
}

var errFull = errors.New("full")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFull }

func TestValueReadersSideBySide(t *testing.T) {
	s := openOn(t, fsx.NewMem())
	value := art("value", 5000).Bytes
	up := upload(t, s, value, 64)
	must(t, s.Admit(up.Block))
	v, err := s.OpenValue(up.List, up.Whole, up.Size)
	must(t, err)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 200 {
				off := (g*997 + i*131) % 4900
				b := make([]byte, 100)
				if _, err := v.ReadAt(b, int64(off)); err != nil || !bytes.Equal(b, value[off:off+100]) {
					t.Errorf("at %d: %v", off, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestHealing(t *testing.T) {
	disk := fsx.NewMem()
	s := openOn(t, disk)
	a, b := art("a", 100), art("b", 100)
	put(t, s, "main", a, b)
	rec := sealFull(t, s, "main")
	must(t, s.Sealed(rec))
	name := "blocks/" + sealedName(rec.ID)
	ref, _, _ := s.LookupAny(a.ID)
	flip(t, disk, name, 8*(ref.off+50))

	_, err := s.Read(ref, a.ID)
	wants(t, err, ErrDamaged)
	var d *Damage
	if !errors.As(err, &d) || d.File != name || d.Offset != ref.off || d.Wanted != a.ID.String() || d.Got == d.Wanted {
		t.Fatalf("damage %+v", d)
	}
	has(t, s, b)
	_, err = s.ReadHealed(a.ID)
	wants(t, err, ErrNotFound)
	wants(t, s.WriteHealed(a.ID, b.Bytes), ErrInvalid)
	must(t, s.WriteHealed(a.ID, a.Bytes))
	must(t, s.WriteHealed(a.ID, a.Bytes))
	has(t, s, a, b)
	has(t, func() *Store { s := openOn(t, disk); must(t, s.LoadSealed(rec)); return s }(), a, b)

	// A second copy that rots as well is not served, and not trusted.
	healed := "blocks/" + healedName(a.ID)
	flip(t, disk, healed, 3)
	_, err = s.Read(ref, a.ID)
	wants(t, err, ErrDamaged)
	wants(t, s.WriteHealed(a.ID, a.Bytes), ErrDamaged)
	var found []string
	s.CheckHealed(func(d *Damage) { found = append(found, fmt.Sprint(d.File, d.ID == a.ID)) })
	if fmt.Sprint(found) != fmt.Sprint([]string{healed + "true"}) {
		t.Fatalf("found %v", found)
	}
	flip(t, disk, healed, 3)
	has(t, s, a)

	// A lost or cut first copy is healed alike.
	write(t, disk, name, content(t, disk, name)[:ref.off+10])
	has(t, s, a)
	_, err = s.Read(ref, b.ID)
	wants(t, err, ErrDamaged)
	must(t, disk.Remove(name))
	s = openOn(t, disk)
	err = s.LoadSealed(rec)
	wants(t, err, ErrMissing)
}
