package block

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"graven/internal/fsx"
	"graven/record"
)

// event is what the ledger says: that an artifact entered its class, or that a
// chunk block was admitted.
type event struct {
	class string
	art   Artifact
	admit *record.Block
}

// border is a place in the ledger where a replay may begin, and what the store
// said of it when it came by.
type border struct {
	at   int // events before it
	mark Mark
}

// model is what a store must hold, kept naively: the artifacts of each class in
// order of their mention, and the uploaded values.
type model struct {
	events    []event
	borders   []border // in order; the first is the start of the ledger
	mentioned map[string][]Artifact
	known     map[string]map[record.ID]bool
	values    map[record.ID][]byte // by list
	admitted  []Uploaded
	waiting   []Uploaded
	recs      []record.Block // durable, in order
	pending   []record.Block // sealed, not recorded
}

// machine drives a store and its model with random calls.
type machine struct {
	disk    *fsx.Mem
	s       *Store
	m       model
	n       int // makes artifacts distinct
	index   *shelf
	indexed border // the index has all before it
}

var modelClasses = []string{"log", "main"}

func (x *machine) append(t *rapid.T) {
	class := rapid.SampledFrom(modelClasses).Draw(t, "class")
	var list []Artifact
	for range rapid.IntRange(1, 4).Draw(t, "count") {
		x.n++
		a := art(fmt.Sprint("artifact ", x.n), rapid.SampledFrom([]int{5, 6, 40, 300, 70_000}).Draw(t, "size"))
		if !x.m.known[class][a.ID] {
			list = append(list, a)
			x.m.known[class][a.ID] = true
		}
	}
	number, offset, _ := x.s.Tail(class)
	check(t, x.s.Append(class, number, offset, x.s.Encode(class, list)))
	x.m.mentioned[class] = append(x.m.mentioned[class], list...)
	for _, a := range list {
		x.m.events = append(x.m.events, event{class: class, art: a})
	}
	x.border()
}

// border notes the end of a group.
func (x *machine) border() {
	x.m.borders = append(x.m.borders, border{len(x.m.events), x.s.Mark()})
}

// run gives the index what entered up to a border, and lets the store forget it.
func (x *machine) run(t *rapid.T) {
	to := rapid.SampledFrom(x.m.borders).Draw(t, "to")
	if to.at <= x.indexed.at {
		return
	}
	x.entered(t, x.s, x.indexed, to)
	_, err := x.index.take(x.s, x.indexed.mark, to.mark)
	check(t, err)
	x.indexed = to
	if rapid.IntRange(0, 3).Draw(t, "forget") > 0 {
		x.s.Forget(to.mark)
		x.bounded(t, to.mark)
	}
}

// entered compares what a store says that entered between two borders.
func (x *machine) entered(t *rapid.T, s *Store, from, to border) {
	var want []record.ID
	for _, class := range modelClasses {
		for _, e := range x.m.events[from.at:to.at] {
			if e.class == class {
				want = append(want, e.art.ID)
			}
		}
	}
	numbered := len(want)
	chunks := 0
	for _, e := range x.m.events[from.at:to.at] {
		if e.admit != nil {
			chunks += int(e.admit.Count)
		}
	}
	list, err := enteredOf(s, from.mark, to.mark)
	check(t, err)
	if len(list) != numbered+chunks {
		t.Fatalf("%d artifacts entered, wanted %d and %d chunks", len(list), numbered, chunks)
	}
	for i, p := range list {
		if p.Chunks != (i >= numbered) || i < numbered && p.ID != want[i] {
			t.Fatalf("as number %d entered %+v", i, p)
		}
		ref, err := s.resolve(p)
		check(t, err)
		_, err = s.Read(ref, p.ID)
		check(t, err)
	}
}

func (x *machine) seal(t *rapid.T) {
	class := rapid.SampledFrom(modelClasses).Draw(t, "class")
	number, _, count := x.s.Tail(class)
	if count == 0 || len(x.m.pending) > 0 && rapid.Bool().Draw(t, "skip") {
		return
	}
	for _, rec := range x.m.pending {
		if rec.Class == class && *rec.Number == number {
			return
		}
	}
	if rapid.Bool().Draw(t, "whole") {
		x.s.Advance(class)
	} else {
		count = rapid.IntRange(1, count).Draw(t, "of")
	}
	rec, err := x.s.Seal(class, number, count)
	check(t, err)
	again, err := x.s.Seal(class, number, count)
	check(t, err)
	if again.ID != rec.ID || rec.Count != uint64(count) {
		t.Fatalf("sealed as %v, then as %v", rec, again)
	}
	x.m.pending = append(x.m.pending, rec)
}

func (x *machine) sealed(t *rapid.T) {
	if len(x.m.pending) == 0 {
		return
	}
	rec := x.m.pending[0]
	x.m.pending = x.m.pending[1:]
	check(t, x.s.Sealed(rec))
	x.m.recs = append(x.m.recs, rec)
}

func (x *machine) upload(t *rapid.T) {
	value := art(fmt.Sprint("value ", rapid.IntRange(0, 5).Draw(t, "which")), rapid.IntRange(1, 900).Draw(t, "size")).Bytes
	u, err := x.s.NewUpload("main", 64)
	check(t, err)
	_, err = u.Write(value)
	check(t, err)
	if rapid.IntRange(0, 4).Draw(t, "abort") == 0 {
		check(t, u.Abort())
		return
	}
	up, err := u.Finish()
	check(t, err)
	if up.Whole != record.IDOf(value) || up.Known != x.s.Admitted(up.Block.ID) {
		t.Fatalf("uploaded %+v", up)
	}
	x.m.values[up.List] = value
	x.m.waiting = append(x.m.waiting, up)
}

func (x *machine) admit(t *rapid.T) {
	if len(x.m.waiting) == 0 {
		return
	}
	up := x.m.waiting[0]
	x.m.waiting = x.m.waiting[1:]
	if rapid.IntRange(0, 3).Draw(t, "drop") == 0 {
		x.s.DropUpload(up)
		return
	}
	if !up.Known && !x.s.Admitted(up.Block.ID) {
		x.m.recs = append(x.m.recs, up.Block)
		x.m.events = append(x.m.events, event{admit: &up.Block})
	}
	check(t, x.s.Admit(up.Block))
	x.border()
	x.m.admitted = append(x.m.admitted, up)
}

// reopen starts a new process after a clean end, at the border of the index or
// at the start of the ledger. What was sealed and not recorded is forgotten: the
// log does not know it.
func (x *machine) reopen(t *rapid.T) {
	check(t, x.s.Sync())
	check(t, x.s.Close())
	if rapid.IntRange(0, 3).Draw(t, "lose the index") == 0 {
		x.index, x.indexed = newShelf(), border{}
	}
	whole := x.load(t, x.disk.Clone(), nil, border{}) // keeps all in memory
	x.s = x.load(t, x.disk, x.index, x.indexed)
	x.m.pending, x.m.waiting = nil, nil
	for what, of := range map[string]func(s *Store) string{
		"full blocks": func(s *Store) string { return fmt.Sprint(s.FullBlocks()) },
		"open blocks": func(s *Store) string { return fmt.Sprint(s.OpenBlocks()) },
		"mark":        func(s *Store) string { return fmt.Sprint(s.Mark()) },
		"stats":       func(s *Store) string { return fmt.Sprint(s.Stats()) },
		"waiting":     func(s *Store) string { return fmt.Sprint(s.Waiting()) },
		"tails": func(s *Store) (text string) {
			for _, class := range modelClasses {
				text += fmt.Sprintln(s.Tail(class))
			}
			return text
		},
	} {
		if got, want := of(x.s), of(whole); got != want {
			t.Fatalf("opened from a border: %s are %s, wanted %s", what, got, want)
		}
	}
	check(t, whole.Close())
}

// load opens a store as the hall does, and replays the ledger from a border on.
func (x *machine) load(t *rapid.T, disk fsx.Disk, index *shelf, from border) *Store {
	s, err := Open(blocksOf(disk), testVault)
	check(t, err)
	if index != nil {
		s.SetFinder(index)
	}
	for _, rec := range x.m.recs {
		before := false
		for _, e := range x.m.events[:from.at] {
			before = before || e.admit != nil && e.admit.ID == rec.ID
		}
		if before || from.mark.Covers(rec) {
			check(t, s.KnowSealed(rec))
		} else {
			check(t, s.LoadSealed(rec))
		}
	}
	check(t, s.Settle())
	check(t, s.LoadFound())
	check(t, s.SweepUploads(nil))
	o := NewOrder(s, from.mark)
	for i, e := range x.m.events[from.at:] {
		if e.admit != nil {
			o.Admit(e.admit.ID)
		} else {
			check(t, o.Mention(e.class, e.art.ID))
		}
		if again := x.m.events[(i*7+3)%(from.at+i+1)]; again.admit == nil {
			check(t, o.Mention(again.class, again.art.ID)) // counts for nothing
		}
		x.passes(t, s, o.Mark(), from, from.at+i+1)
	}
	check(t, o.Finish())
	check(t, s.CutOpen(nil))
	check(t, s.Sync())
	return s
}

// passes compares the mark of a replay with the one that was taken when the same
// border was written.
func (x *machine) passes(t *rapid.T, s *Store, mark Mark, from border, at int) {
	for _, b := range x.m.borders {
		if b.at != at {
			continue
		}
		then := Mark{Chunks: b.mark.Chunks}
		for _, m := range b.mark.Classes {
			then.Classes = append(then.Classes, s.settled(m))
		}
		if fmt.Sprint(then) != fmt.Sprint(mark) {
			t.Fatalf("the mark of a replay is %v, before it was %v", mark, then)
		}
		x.entered(t, s, from, b)
		return
	}
}

func check(t *rapid.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// agree compares the store with the model.
func (x *machine) agree(t *rapid.T) {
	total := uint64(0)
	for _, class := range modelClasses {
		for _, a := range x.m.mentioned[class] {
			ref, ok, err := x.s.Lookup(class, a.ID)
			if err != nil || !ok {
				t.Fatalf("%v of class %s is gone: %v", a.ID, class, err)
			}
			b, err := x.s.Read(ref, a.ID)
			if err != nil || !bytes.Equal(b, a.Bytes) {
				t.Fatalf("%v of class %s: %v", a.ID, class, err)
			}
		}
		total += uint64(len(x.m.mentioned[class]))
	}
	if n, _ := x.s.Stats(); n != total {
		t.Fatalf("%d artifacts, wanted %d", n, total)
	}
	for _, up := range x.m.admitted {
		got, err := readValue(x.s, up)
		if err != nil || !bytes.Equal(got, x.m.values[up.List]) {
			t.Fatalf("value %v: %v", up.Whole, err)
		}
	}
	var damage []error
	for _, rec := range x.m.recs {
		x.s.CheckSealed(rec, func(d *Damage) { damage = append(damage, d) })
	}
	for _, b := range x.s.OpenBlocks() {
		x.s.CheckOpen(b.Class, b.Number, b.Count, func(d *Damage) { damage = append(damage, d) })
	}
	x.s.CheckNames(func(d *Damage) { damage = append(damage, d) }, nil)
	check(t, errors.Join(damage...))
	x.inOrder(t)
}

// bounded checks that after Forget memory holds open blocks, and what came
// after the mark.
func (x *machine) bounded(t *rapid.T, forgot Mark) {
	most := 0
	for i, b := range x.s.chunks {
		if b.frames != nil && uint64(i) < forgot.Chunks {
			t.Fatalf("chunk block %d is in memory", i)
		} else if b.frames != nil {
			most += b.frames.n
		}
	}
	for _, c := range x.s.classes {
		for _, b := range c.open {
			most += b.count
		}
		for number, b := range c.sealed {
			if at := x.s.settled(forgot.of(c.name)); number > at.Number || number == at.Number && b.count > at.Count {
				most += int(b.count)
			}
		}
	}
	n := 0
	for _, c := range x.s.classes {
		for _, in := range []*catalog{c.artifacts, c.chunks} {
			for _, l := range in.lists {
				if l != nil {
					n += l.n
				}
			}
			if in.size() > n {
				t.Fatalf("%d slots for %d artifacts", in.size(), n)
			}
		}
	}
	if n > most {
		t.Fatalf("%d artifacts are in memory, wanted at most %d", n, most)
	}
}

// inOrder checks docs/format.md §5.1 and §5.2: the blocks of a class, one after
// the other, hold its artifacts in the order of their mention.
func (x *machine) inOrder(t *rapid.T) {
	for _, class := range modelClasses {
		var order []record.ID
		c := x.s.classes[class]
		if c == nil {
			continue
		}
		for n := uint64(0); n <= c.tail; n++ {
			file := openName(class, n)
			if sealed, ok := c.sealed[n]; ok {
				file = sealedName(sealed.id)
			} else if b := c.open[n]; b == nil || b.count == 0 {
				continue
			}
			f, err := x.s.dir.Open(file)
			check(t, err)
			size, err := f.Size()
			check(t, err)
			walk := frames{w: newWindow(f, size), next: x.s.headerLen(class, n)}
			for {
				e, ok, err := walk.read()
				check(t, err)
				if !ok {
					break
				}
				order = append(order, e.ID)
			}
			check(t, f.Close())
		}
		for i, a := range x.m.mentioned[class] {
			if i >= len(order) || order[i] != a.ID {
				t.Fatalf("class %s: artifact %d of %d in the files is not the one mentioned", class, i, len(order))
			}
		}
	}
}

func TestAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		disk := fsx.NewMem()
		s, err := Open(blocksOf(disk), testVault)
		check(t, err)
		x := &machine{disk: disk, s: s, m: model{
			mentioned: map[string][]Artifact{}, values: map[record.ID][]byte{},
			known: map[string]map[record.ID]bool{"log": {}, "main": {}}, borders: []border{{}},
		}, index: newShelf()}
		s.SetFinder(x.index)
		defer func() { _ = x.s.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"append":  x.append,
			"advance": func(t *rapid.T) { x.s.Advance(rapid.SampledFrom(modelClasses).Draw(t, "class")) },
			"seal":    x.seal,
			"sealed":  x.sealed,
			"upload":  x.upload,
			"admit":   x.admit,
			"sync":    func(t *rapid.T) { check(t, x.s.Sync()) },
			"run":     x.run,
			"reopen":  x.reopen,
			"":        x.agree,
		})
	})
}
