package statestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"graven/internal/fsx"
	"graven/record"
	"graven/state"
)

// small returns a disk with some sets of few keys, and the maps at their
// positions, never paged.
func small(t testing.TB) (*fsx.Mem, map[uint64]state.Map) {
	t.Helper()
	disk := fsx.NewMem()
	s := mustOpen(t, disk)
	var plain, paged state.Map
	truth := map[uint64]state.Map{}
	for i, n := range []int{40, 48, 50} {
		put(t, first(len(truth)*40, len(truth)*40+n-40+i), &plain, &paged)
		if i < 2 { // all of it again, so that nothing stands on the first file
			put(t, first(0, 40), &plain, &paged)
		}
		put(t, []state.Leaf{leafOf([]byte("sx"), uint64(i)+1, 1, true)}, &plain, &paged)
		paged = mustWrite(t, s, paged, uint64(i))
		truth[uint64(i)] = plain
	}
	if err := mustOpen(t, disk).Collect(); err != nil { // no map pins anything here
		t.Fatal(err)
	}
	return disk, truth
}

// neverWrong opens what is on a disk and asks all sets for all keys: an error is
// fine, another answer is not. It returns how many sets there are, and whether
// anything was refused.
func neverWrong(t testing.TB, what string, d fsx.Disk, truth map[uint64]state.Map) (sets int, refused bool) {
	t.Helper()
	s, notes, err := Open(stateDir(d), vault, Options{})
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	refused = len(notes) > 0
	for _, set := range s.Sets() {
		sets++
		want, ok := truth[set.Position]
		m, err := s.Map(set)
		if !ok || err != nil || m.Root() != want.Root() || set.Root != want.Root() {
			t.Fatalf("%s: a set of position %d with root %v: %v", what, set.Position, set.Root, err)
		}
		var leaves []state.Leaf
		for l, err := range m.Ascend(nil) {
			if err != nil {
				refused = true
				break
			}
			leaves = append(leaves, l)
		}
		i := 0
		for l := range want.Ascend(nil) {
			if i < len(leaves) && !bytes.Equal(l.Bytes(), leaves[i].Bytes()) {
				t.Fatalf("%s: leaf %v, wanted %v", what, leaves[i], l)
			}
			i++
		}
		if len(leaves) > i || len(leaves) < i && !refused {
			t.Fatalf("%s: %d leaves, wanted %d", what, len(leaves), i)
		}
		refused = refused || len(leaves) < i
	}
	refused = refused || s.Check(context.Background()) != nil
	return sets, refused
}

func TestEveryByteFlipped(t *testing.T) {
	disk, truth := small(t)
	if n, refused := neverWrong(t, "sound", disk, truth); n != 2 || refused {
		t.Fatalf("%d sets, refused: %t", n, refused)
	}
	for _, number := range []uint32{2, 3} {
		good := data(t, disk, number)
		for at := range good {
			bad := bytes.Clone(good)
			bad[at] ^= 1 << (at % 8)
			d := disk.Clone()
			replace(t, d, number, bad)
			if _, refused := neverWrong(t, fmt.Sprintf("file %d, byte %d", number, at), d, truth); !refused {
				t.Fatalf("file %d, byte %d: nobody noticed", number, at)
			}
		}
		for n := 0; n < len(good); n += 1 + n/20 {
			d := disk.Clone()
			replace(t, d, number, good[:n])
			if _, refused := neverWrong(t, fmt.Sprintf("file %d cut to %d", number, n), d, truth); !refused {
				t.Fatalf("file %d cut to %d: nobody noticed", number, n)
			}
		}
	}
}

func TestForeignFiles(t *testing.T) {
	disk, truth := small(t)
	text := func(number uint32) string { return string(data(t, disk, number)) }
	other := fsx.NewMem()
	s, _, err := Open(stateDir(other), record.VaultID{9}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var m state.Map
	put(t, first(0, 20), &m)
	mustWrite(t, s, m, 1)
	for name, c := range map[string]struct {
		put  map[uint32]string
		sets int
		note string
	}{
		"exchanged":          {map[uint32]string{2: text(3), 3: text(2)}, 0, "header"},
		"of another vault":   {map[uint32]string{4: string(data(t, other, 1))}, 2, "is of vault"},
		"of another version": {map[uint32]string{3: strings.Replace(text(3), "state 2", "state 1", 1)}, 1, `version "1", which is unknown`},
		"no file of pages":   {map[uint32]string{3: strings.Repeat("graven is a word. ", 20)}, 1, "no file of pages"},
		"empty":              {map[uint32]string{4: ""}, 2, "0 bytes"},
	} {
		d := disk.Clone()
		for number, b := range c.put {
			if ok, _ := stateDir(d).Exists(fileName(number)); ok {
				replace(t, d, number, []byte(b))
			} else if err := stateDir(d).PublishBytes(fileName(number), []byte(b)); err != nil {
				t.Fatal(err)
			}
		}
		if n, _ := neverWrong(t, name, d, truth); n != c.sets {
			t.Errorf("%s: %d sets, wanted %d", name, n, c.sets)
		}
		s, notes, err := Open(stateDir(d), vault, Options{})
		if err != nil || !strings.Contains(strings.Join(notes, "\n"), c.note) {
			t.Errorf("%s: notes %q, wanted %q; %v", name, notes, c.note, err)
		}
		// A writer goes on, with a number of its own, and sweeps.
		m, _ := newest(t, s)
		mustWrite(t, s, m, 50)
		mustWrite(t, s, m, 51)
		if _, position := newest(t, mustOpen(t, d)); position != 51 {
			t.Errorf("%s: position %d after two sets were written", name, position)
		}
	}
}

// TestOlderFileOfAnotherHistory: a set does not stand on a file that it does not
// know, even if that is sound, of this vault and of the right number.
func TestOlderFileOfAnotherHistory(t *testing.T) {
	disk, _ := small(t)
	twin := fsx.NewMem()
	s := mustOpen(t, twin)
	var m state.Map
	put(t, first(7, 90), &m)
	m = mustWrite(t, s, m, 0)
	put(t, first(0, 90), &m)
	mustWrite(t, s, m, 1)
	replace(t, disk, 2, data(t, twin, 2))
	s, notes, err := Open(stateDir(disk), vault, Options{})
	if err != nil || len(notes) != 1 || !strings.Contains(notes[0], "00000003.pages: it needs state/00000002.pages") {
		t.Errorf("notes %q, %v", notes, err)
	}
	for _, set := range s.Sets() {
		if set.Number == 3 {
			t.Error("a set stands on a file of another history")
		}
	}
}

// TestExchangedPage: a page in the place of another of the same length, checksum
// and all, is seen.
func TestExchangedPage(t *testing.T) {
	disk := fsx.NewMem()
	s := mustOpen(t, disk)
	var plain state.Map
	for i := range 400 {
		put(t, []state.Leaf{leafOf(fmt.Appendf(nil, "k%04d", i), 100+uint64(i), 100+uint64(i), true)}, &plain)
	}
	m := mustWrite(t, s, plain, 0)
	good := data(t, disk, 1)
	var refs []state.Ref
	spy := &spySource{m.Source(), func(r state.Ref) { refs = append(refs, r) }}
	spied, err := state.Open(s.sets[0].root, spy, nil)
	if err != nil {
		t.Fatal(err)
	}
	sameLists(t, plain, spied)
	tried := 0
	for i, a := range refs {
		for _, b := range refs[i+1:] {
			if a.Len != b.Len {
				continue
			}
			tried++
			bad := bytes.Clone(good)
			n := uint64(a.Len) + pageSumSize
			copy(bad[a.Off:a.Off+n], good[b.Off:])
			d := disk.Clone()
			replace(t, d, 1, bad)
			if _, refused := neverWrong(t, "exchanged pages", d, map[uint64]state.Map{0: plain}); !refused {
				t.Errorf("%v in the place of %v: nobody noticed", b, a)
			}
		}
	}
	if tried < 20 {
		t.Errorf("only %d pairs of the %d pages have one length", tried, len(refs))
	}
}

type spySource struct {
	state.Source
	seen func(state.Ref)
}

func (s *spySource) ReadPage(r state.Ref, buf []byte) ([]byte, error) {
	s.seen(r)
	return s.Source.ReadPage(r, buf)
}

// TestFileChangedWhileOpen: a file that is not the one that Open found is
// refused when it is opened again.
func TestFileChangedWhileOpen(t *testing.T) {
	disk, truth := small(t)
	s := mustOpen(t, disk)
	m, position := newest(t, s)
	good := data(t, disk, 3)
	replace(t, disk, 3, good[:len(good)-1])
	if _, _, err := m.Get(keyOf(1)); !errors.Is(err, ErrDamaged) {
		t.Errorf("a file that was cut: %v", err)
	}
	if err := stateDir(disk).Discard(fileName(3)); err != nil {
		t.Fatal(err)
	}
	var damage *DamageError
	if _, _, err := m.Get(keyOf(1)); !errors.As(err, &damage) || damage.File != "state/00000003.pages" {
		t.Errorf("a file that has gone: %v", err)
	}
	if found := s.Check(context.Background()); len(found) == 0 {
		t.Error("Check finds nothing")
	}
	replace(t, disk, 3, good)
	sameLists(t, truth[position], m)
	mustCheck(t, s)
}

// TestFailingDisk lets each call of a write fail: the store goes on from the set
// before.
func TestFailingDisk(t *testing.T) {
	for _, short := range []bool{false, true} {
		failed := 0
		for n := 0; ; n++ {
			disk := fsx.NewMem()
			var fail func(fsx.Call) error
			faults := fsx.Fault(disk, func(c fsx.Call) error {
				if fail == nil {
					return nil
				}
				return fail(c)
			})
			s := mustOpen(t, faults)
			var plain, paged state.Map
			put(t, first(0, 60), &plain, &paged)
			paged = mustWrite(t, s, paged, 60)
			before := plain
			put(t, first(60, 90), &plain, &paged)
			calls, hit := 0, false
			fail = func(c fsx.Call) error {
				calls++
				if calls-1 != n {
					return nil
				}
				hit = true
				if short && c.Op == "write" {
					return fsx.ErrShort
				}
				return fsx.ErrIO
			}
			next, _, err := s.Write(paged, 90)
			fail = nil
			if !hit {
				if err != nil {
					t.Fatal(err)
				}
				break
			}
			if err != nil {
				failed++
				if len(s.Sets()) != 1 || s.Sets()[0].Position != 60 {
					t.Fatalf("call %d: sets %v after %v", n, s.Sets(), err)
				}
				next = paged
			}
			sameLists(t, plain, next)
			sameLists(t, before, mustMap(t, s, s.Sets()[0]))
			put(t, first(90, 95), &plain, &next)
			next = mustWrite(t, s, next, 95)
			sameLists(t, plain, next)
			if _, position := newest(t, mustOpen(t, disk)); position != 95 {
				t.Fatalf("call %d: position %d", n, position)
			}
		}
		if failed < 5 {
			t.Errorf("only %d calls failed", failed)
		}
	}
}

// TestFailingReads: an error of the disk is not damage, and goes by.
func TestFailingReads(t *testing.T) {
	disk, truth := small(t)
	for n := 0; ; n++ {
		hit, over := false, false
		decide := fsx.FailCall(n, fsx.ErrIO, false)
		faults := fsx.Fault(disk, func(c fsx.Call) error {
			if over {
				return nil
			}
			err := decide(c)
			hit = hit || err != nil
			return err
		})
		s, _, err := Open(stateDir(faults), vault, Options{})
		if err != nil {
			if !errors.Is(err, fsx.ErrIO) {
				t.Fatal(err)
			}
			continue
		}
		m, position := newest(t, s)
		for range 2 {
			got, _, err := m.Get(keyOf(1))
			if err == nil {
				want, _, _ := truth[position].Get(keyOf(1))
				if !bytes.Equal(got.Bytes(), want.Bytes()) {
					t.Fatal("a wrong answer")
				}
			} else if !errors.Is(err, fsx.ErrIO) || errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
		}
		over = true
		sameLists(t, truth[position], m)
		if !hit {
			break
		}
	}
}

func FuzzText(f *testing.F) {
	disk, _ := small(f)
	for n := uint32(2); n <= 3; n++ {
		b := data(f, disk, n)
		offset, _, err := parseTrailer(b[len(b)-trailerSize:])
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[offset : len(b)-trailerSize])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := parseText(b); err == nil && !bytes.Equal(c.text(), b) {
			t.Fatalf("%q parses, and is written as %q", b, c.text())
		}
		if offset, sum, err := parseTrailer(b); err == nil && trailer(offset, sum) != string(b) {
			t.Fatalf("%q is taken for a trailer", b)
		}
	})
}
