package block

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"testing"

	"graven/internal/fsx"
	"graven/record"
)

// shelf is a Finder in memory, as an index on disk is one.
type shelf struct {
	mu     sync.Mutex
	places map[record.ID][]Place
	err    error
}

func newShelf() *shelf { return &shelf{places: map[record.ID][]Place{}} }

func (f *shelf) Find(id record.ID) iter.Seq2[Place, error] {
	f.mu.Lock()
	list, err := f.places[id], f.err
	f.mu.Unlock()
	return func(yield func(Place, error) bool) {
		if err != nil {
			yield(Place{}, err)
			return
		}
		for _, p := range list {
			if !yield(p, nil) {
				return
			}
		}
	}
}

// take puts what entered between two marks on the shelf.
func (f *shelf) take(s *Store, from, to Mark) ([]Place, error) {
	list, err := enteredOf(s, from, to)
	f.add(list)
	return list, err
}

func (f *shelf) add(list []Place) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range list {
		f.places[p.ID] = append(f.places[p.ID], p)
	}
}

func (f *shelf) set(p Place) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.places[p.ID] = []Place{p}
}

func enteredOf(s *Store, from, to Mark) (list []Place, err error) {
	for p, err := range s.Entered(from, to) {
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// inCatalogs counts the artifacts in memory, and checks the catalogs.
func inCatalogs(t testing.TB, s *Store) (n int) {
	t.Helper()
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, c := range s.classes {
		n += checkCatalog(t, c.artifacts) + checkCatalog(t, c.chunks)
	}
	return n
}

// indexed is a store of three sealed blocks of class main, an open one, and a
// chunk block, of which all but the open one is on the shelf and not in memory.
func indexed(t *testing.T) (disk *fsx.Mem, s *Store, f *shelf, sealed []record.Block, all []Artifact, up Uploaded, mark Mark) {
	t.Helper()
	disk = fsx.NewMem()
	s = openOn(t, disk)
	f = newShelf()
	s.SetFinder(f)
	for n := range 3 {
		list := arts(fmt.Sprint("block ", n), 4)
		put(t, s, "main", list...)
		all = append(all, list...)
		rec := sealFull(t, s, "main")
		must(t, s.Sealed(rec))
		sealed = append(sealed, rec)
	}
	up = upload(t, s, art("large", 100).Bytes, 40)
	must(t, s.Admit(up.Block))
	list := arts("open", 2)
	put(t, s, "main", list...)
	all = append(all, list...)
	mark = s.Mark()
	_, err := f.take(s, Mark{}, mark)
	must(t, err)
	s.Forget(mark)
	if n := inCatalogs(t, s); n != 2 {
		t.Fatalf("%d artifacts are in memory, wanted the 2 of the open block", n)
	}
	return disk, s, f, sealed, all, up, mark
}

func TestFinderServesWhatIsForgotten(t *testing.T) {
	disk, s, f, sealed, all, up, mark := indexed(t)
	good := func(s *Store) {
		t.Helper()
		has(t, s, all...)
		if got, err := readValue(s, up); err != nil || !slices.Equal(got, art("large", 100).Bytes) {
			t.Fatalf("value: %v", err)
		}
		if !mentioned(t, s, "main", all[0].ID) || mentioned(t, s, "log", all[0].ID) || mentioned(t, s, "main", up.List) {
			t.Fatal("mentioned is wrong")
		}
		if n, _ := s.Stats(); n != uint64(len(all)) || !s.Admitted(up.Block.ID) {
			t.Fatalf("%d artifacts", n)
		}
		if again := s.Mark(); fmt.Sprint(again) != fmt.Sprint(mark) {
			t.Fatalf("mark %v, before %v", again, mark)
		}
	}
	good(s)
	again := upload(t, s, art("large", 100).Bytes, 40)
	if !again.Known {
		t.Fatal("an admitted block is not known")
	}
	must(t, s.Sync())
	must(t, s.Close())

	// A restart opens none of the sealed files.
	opened := 0
	s = openOn(t, fsx.Fault(disk, func(c fsx.Call) error {
		if c.Op == "open" && len(c.Name) > 60 {
			opened++
		}
		return nil
	}))
	s.SetFinder(f)
	for _, rec := range append(sealed, up.Block) {
		if rec.Number != nil && !mark.Covers(rec) {
			t.Fatalf("block %d is not covered", *rec.Number)
		}
		must(t, s.KnowSealed(rec))
	}
	must(t, s.KnowSealed(up.Block)) // fine
	must(t, s.LoadSealed(up.Block))
	wants(t, s.KnowSealed(sealed[1]), ErrInvalid)
	must(t, s.Settle())
	must(t, s.LoadFound())
	must(t, s.SweepUploads(nil))
	o := NewOrder(s, mark)
	for _, a := range all {
		must(t, o.Mention("main", a.ID)) // again, all of them
	}
	o.Admit(up.Block.ID)
	wants(t, o.Mention("main", art("new", 9).ID), ErrMissing)
	must(t, o.Finish())
	must(t, s.CutOpen(nil))
	if opened != 0 {
		t.Fatalf("%d sealed files were opened", opened)
	}
	good(s)
	if opened == 0 || inCatalogs(t, s) != 2 {
		t.Fatalf("%d files opened, %d artifacts in memory", opened, inCatalogs(t, s))
	}
	_, err := enteredOf(s, Mark{}, mark)
	wants(t, err, ErrForgotten)
	put(t, s, "main", arts("more", 2)...)
	list, err := enteredOf(s, mark, s.Mark())
	must(t, err)
	if len(list) != 2 || list[0].ID != arts("more", 2)[0].ID || list[0].Number != 3 {
		t.Fatalf("entered: %v", list)
	}
	must(t, s.Sealed(sealFull(t, s, "main")))
	s.CheckNames(func(d *Damage) { t.Error(d) }, func(id record.ID) { t.Errorf("%v is called extra", id) })
}

// Damage of a block that is not in memory shows when it is read, as of one that is.
func TestDamageOfAForgottenBlock(t *testing.T) {
	disk, s, f, sealed, all, up, mark := indexed(t)
	must(t, s.Sync())
	must(t, s.Close())
	flip(t, disk, "blocks/"+sealedName(sealed[0].ID), 8*f.places[all[1].ID][0].Offset)
	must(t, disk.Remove("blocks/"+sealedName(sealed[1].ID)))
	must(t, disk.Remove("blocks/"+sealedName(up.Block.ID)))
	s = openOn(t, disk)
	s.SetFinder(f)
	for _, rec := range append(sealed, up.Block) {
		must(t, s.KnowSealed(rec))
	}
	must(t, s.LoadFound())
	o := NewOrder(s, mark)
	must(t, o.Finish())
	must(t, s.CutOpen(nil))
	bad := 0
	for i, a := range all {
		err := holds(s, a)
		switch {
		case i < 4 && err != nil:
			wants(t, err, ErrDamaged)
			bad++
		case i >= 4 && i < 8:
			wants(t, err, ErrMissing)
			if !mentioned(t, s, "main", a.ID) {
				t.Fatal("an artifact of a missing block is no longer mentioned")
			}
		case i >= 8:
			must(t, err)
		}
	}
	if bad != 1 {
		t.Fatalf("%d artifacts are damaged, one bit was flipped", bad)
	}
	_, err := readValue(s, up)
	wants(t, err, ErrMissing)
	must(t, s.WriteHealed(all[5].ID, all[5].Bytes))
	has(t, s, all[5])
	// The upload of the same value heals what is missing.
	if again := upload(t, s, art("large", 100).Bytes, 40); !again.Known {
		t.Fatal("not known")
	}
	_, err = readValue(s, up)
	must(t, err)
}

// A Finder that fails or is wrong gives errors, never other bytes.
func TestWrongFinder(t *testing.T) {
	_, s, f, sealed, all, up, _ := indexed(t)
	a := all[5]
	good := f.places[a.ID][0]
	chunk := f.places[up.List][0]
	change := func(p Place, change func(p *Place)) Place { change(&p); return p }
	for name, tt := range map[string]struct {
		p    Place
		want error
	}{
		"unknown block":          {change(good, func(p *Place) { p.Number = 9 }), ErrWrongPlace},
		"another block":          {change(good, func(p *Place) { p.Number = 0 }), ErrDamaged},
		"the open block":         {change(good, func(p *Place) { p.Number = 3 }), ErrDamaged},
		"unknown class":          {change(good, func(p *Place) { p.Class = "log" }), ErrWrongPlace},
		"offset before":          {change(good, func(p *Place) { p.Offset-- }), ErrDamaged},
		"negative offset":        {change(good, func(p *Place) { p.Offset = -1 }), ErrWrongPlace},
		"offset behind the file": {change(good, func(p *Place) { p.Offset = int64(sealed[1].Size) }), ErrDamaged},
		"offset in the table":    {change(good, func(p *Place) { p.Offset = int64(sealed[1].Size) - 200 }), ErrDamaged},
		"great offset":           {change(good, func(p *Place) { p.Offset = 1<<63 - 1 }), ErrWrongPlace},
		"less":                   {change(good, func(p *Place) { p.Size-- }), ErrDamaged},
		"more":                   {change(good, func(p *Place) { p.Size++ }), ErrDamaged},
		"much more":              {change(good, func(p *Place) { p.Size = 1<<32 - 1 }), ErrWrongPlace},
		"another artifact":       {change(good, func(p *Place) { p.ID = all[0].ID }), ErrWrongPlace},
		"a chunk block":          {change(good, func(p *Place) { p.Chunks, p.Block = true, up.Block.ID }), ErrDamaged},
		"unknown chunk block":    {change(good, func(p *Place) { p.Chunks = true }), ErrWrongPlace},
		"behind a chunk block":   {change(chunk, func(p *Place) { p.ID, p.Offset = a.ID, int64(up.Block.Size) }), ErrWrongPlace},
	} {
		t.Run(name, func(t *testing.T) {
			f.mu.Lock()
			f.places[a.ID] = []Place{tt.p}
			f.mu.Unlock()
			err := holds(s, a)
			wants(t, err, tt.want)
			wants(t, err, ErrDamaged)
			if _, err := s.Mentioned("main", a.ID); err != nil {
				wants(t, err, ErrWrongPlace)
			}
		})
	}
	f.set(good)
	has(t, s, all...)
	// The second place is taken if the first is wrong.
	f.places[a.ID] = []Place{change(good, func(p *Place) { p.Number = 9 }), good}
	has(t, s, a)

	f.err = errors.New("a page is damaged")
	for _, err := range []error{
		holds(s, a),
		func() error { _, err := s.Mentioned("main", art("new", 3).ID); return err }(),
		func() error { _, err := readValue(s, up); return err }(),
		func() error { return NewOrder(s, Mark{}).Mention("main", a.ID) }(),
	} {
		wants(t, err, f.err)
	}
	has(t, s, all[12:]...) // what is in memory needs no Finder
}

// What stood behind a seal keeps its old place in the index; reads find it in
// the next block, open or sealed.
func TestPlacesOutlastASealInPart(t *testing.T) {
	disk := fsx.NewMem()
	s := openOn(t, disk)
	f := newShelf()
	s.SetFinder(f)
	list := arts("v", 6)
	put(t, s, "main", list...)
	mark := s.Mark()
	_, err := f.take(s, Mark{}, mark)
	must(t, err)
	first, err := s.Seal("main", 0, 3)
	must(t, err)
	must(t, s.Sealed(first))
	second, err := s.Seal("main", 1, 2)
	must(t, err)
	must(t, s.Sealed(second))
	put(t, s, "main", arts("w", 2)...)
	third := sealFull(t, s, "main")
	must(t, s.Sealed(third))
	must(t, s.Sync())
	ref, _, err := s.Lookup("main", list[5].ID)
	must(t, err)
	must(t, s.Close())

	s = openOn(t, disk)
	s.SetFinder(f)
	for _, rec := range []record.Block{first, second, third} {
		must(t, s.KnowSealed(rec))
	}
	must(t, s.LoadFound())
	o := NewOrder(s, mark)
	must(t, o.Mention("main", list[4].ID))
	if at := o.Mark().of("main"); at.Number != 2 || at.Count != 1 || at.Total != 6 {
		t.Fatalf("the mark leads to %+v", at)
	}
	has(t, s, list...)
	for i, a := range list {
		got, ok, err := s.Lookup("main", a.ID)
		must(t, err)
		if i == 5 && (!ok || got.off != ref.off && s.sources[got.file].name != sealedName(first.ID)) {
			t.Fatalf("artifact %d is found at %+v, wanted %+v", i, got, ref)
		}
	}
}

// An index from which artifacts of an open block are missing, or a block that
// lost some, is noticed although no mention comes by.
func TestOpenFromABorderNoticesLostArtifacts(t *testing.T) {
	disk := fsx.NewMem()
	s := openOn(t, disk)
	f := newShelf()
	list := arts("v", 5)
	put(t, s, "main", list...)
	s.Advance("main")
	put(t, s, "main", arts("w", 3)...)
	must(t, s.Sync())
	mark := s.Mark()
	_, err := f.take(s, Mark{}, mark)
	must(t, err)
	must(t, s.Close())
	whole := content(t, disk, openMain0)
	for name, tt := range map[string]struct {
		change func(disk *fsx.Mem)
		mark   func(m *ClassMark)
	}{
		"missing":            {change: func(disk *fsx.Mem) { must(t, disk.Remove(openMain0)) }},
		"short":              {change: func(disk *fsx.Mem) { write(t, disk, openMain0, whole[:len(whole)-1]) }},
		"empty":              {change: func(disk *fsx.Mem) { write(t, disk, openMain0, nil) }},
		"the last missing":   {change: func(disk *fsx.Mem) { must(t, disk.Remove("blocks/open/main-00000001.blk")) }},
		"too many mentioned": {mark: func(m *ClassMark) { m.Total++ }},
		"too few mentioned":  {mark: func(m *ClassMark) { m.Count-- }},
		"behind the block":   {mark: func(m *ClassMark) { m.Count++; m.Total++ }},
		"another block":      {mark: func(m *ClassMark) { m.Number++ }},
		"a far block":        {mark: func(m *ClassMark) { m.Number = 1 << 60 }},
	} {
		t.Run(name, func(t *testing.T) {
			disk, mark := disk.Clone(), Mark{Classes: slices.Clone(mark.Classes)}
			if tt.change != nil {
				tt.change(disk)
			}
			if tt.mark != nil {
				tt.mark(&mark.Classes[0])
			}
			s := openOn(t, disk)
			s.SetFinder(f)
			must(t, s.LoadFound())
			wants(t, NewOrder(s, mark).Finish(), ErrMissing)
		})
	}
	s = openOn(t, disk)
	s.SetFinder(f)
	must(t, s.LoadFound())
	must(t, NewOrder(s, mark).Finish())
}

// Entered tells nothing of a store that does not know all.
func TestEnteredAfterDamage(t *testing.T) {
	disk, s, _, sealed, all, up, mark := indexed(t)
	must(t, s.Close())
	load := func(disk *fsx.Mem) (*Store, *Order) {
		s := openOn(t, disk)
		for _, rec := range append(slices.Clone(sealed), up.Block) {
			if err := s.LoadSealed(rec); err != nil && !isAny(err, ErrDamaged, ErrMissing) {
				t.Fatal(err)
			}
		}
		must(t, s.LoadFound())
		o := NewOrder(s, Mark{})
		for _, a := range all {
			_ = o.Mention("main", a.ID)
		}
		o.Admit(up.Block.ID)
		return s, o
	}
	s, o := load(disk)
	list, err := enteredOf(s, Mark{}, o.Mark())
	must(t, err)
	if len(list) != len(all)+4 || fmt.Sprint(o.Mark()) != fmt.Sprint(mark) {
		t.Fatalf("%d places up to %v, wanted up to %v", len(list), o.Mark(), mark)
	}
	name := "blocks/" + sealedName(sealed[1].ID)
	whole := content(t, disk, name)

	// A table that is damaged keeps nothing back: the frames say the same.
	clone := disk.Clone()
	write(t, clone, name, whole[:len(whole)-1])
	s, o = load(clone)
	again, err := enteredOf(s, Mark{}, o.Mark())
	must(t, err)
	if !slices.Equal(again, list) {
		t.Fatalf("by the frames: %v, by the table: %v", again, list)
	}
	for _, change := range []func(*fsx.Mem){
		func(d *fsx.Mem) { must(t, d.Remove(name)) },
		func(d *fsx.Mem) { write(t, d, name, whole[:150]) },
		func(d *fsx.Mem) { must(t, d.Remove("blocks/"+sealedName(up.Block.ID))) },
	} {
		clone := disk.Clone()
		change(clone)
		s, o := load(clone)
		_, err := enteredOf(s, Mark{}, o.Mark())
		if !isAny(err, ErrMissing, ErrDamaged) {
			t.Fatalf("entered: %v", err)
		}
	}
}

// Readers go on while blocks are sealed, given to the index and forgotten.
func TestForgetBesideReaders(t *testing.T) {
	s := openOn(t, fsx.NewMem())
	f := newShelf()
	s.SetFinder(f)
	var mu sync.Mutex
	var all []Artifact
	stop := make(chan struct{})
	failed := make(chan error, 4)
	var readers sync.WaitGroup
	for range cap(failed) {
		readers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				mu.Lock()
				list := all
				mu.Unlock()
				if len(list) == 0 {
					continue
				}
				if err := holds(s, list[n*31%len(list)]); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	last := Mark{}
	for n := range 40 {
		list := arts(fmt.Sprint("round ", n), 60)
		put(t, s, "main", list...)
		mu.Lock()
		all = append(all, list...)
		mu.Unlock()
		mark := s.Mark()
		number, _, count := s.Tail("main")
		if n%3 == 0 { // in part: the rest moves
			count -= 7
		} else {
			s.Advance("main")
		}
		rec, err := s.Seal("main", number, count)
		must(t, err)
		must(t, s.Sealed(rec))
		_, err = f.take(s, last, mark)
		must(t, err)
		s.Forget(mark)
		last = mark
		if in := inCatalogs(t, s); in > 2*60 {
			t.Fatalf("%d artifacts are in memory", in)
		}
	}
	close(stop)
	readers.Wait()
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
	has(t, s, all...)
}

// TestMentionedSince: who looked in vain need not ask the Finder again, until something
// has left memory for it.
func TestMentionedSince(t *testing.T) {
	s := openOn(t, fsx.NewMem())
	f := newShelf()
	s.SetFinder(f)
	a, b := art("a", 3), art("b", 3)
	before := s.Forgotten()
	mentioned := func(since uint64, a Artifact, want bool) {
		t.Helper()
		if got, err := s.MentionedSince(since, "main", a.ID); got != want || err != nil {
			t.Errorf("mentioned is %v, %v; wanted %v", got, err, want)
		}
	}
	f.err = errors.New("the Finder was asked")
	mentioned(before, a, false)
	put(t, s, "main", a)
	mentioned(before, a, true)
	mentioned(before, b, false)
	if _, err := s.MentionedSince(0, "main", b.ID); !errors.Is(err, f.err) {
		t.Errorf("nobody has looked: %v, wanted %v", err, f.err)
	}

	f.err = nil
	mark := s.Mark()
	_, err := f.take(s, Mark{}, mark)
	must(t, err)
	rec, err := s.Seal("main", 0, 1)
	must(t, err)
	must(t, s.Sealed(rec))
	s.Forget(mark)
	if n := inCatalogs(t, s); n != 0 || s.Forgotten() == before {
		t.Fatalf("%d artifacts are in memory, of which none was to be left", n)
	}
	mentioned(before, a, true)
	mentioned(before, b, false)
	now := s.Forgotten()
	s.Forget(mark) // nothing goes
	if s.Forgotten() != now {
		t.Error("nothing was forgotten, and it counts")
	}
}
