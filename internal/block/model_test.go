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

// model is what a store must hold, kept naively: the artifacts of each class in
// order of their mention, and the uploaded values.
type model struct {
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
	disk *fsx.Mem
	s    *Store
	m    model
	n    int // makes artifacts distinct
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
	}
	check(t, x.s.Admit(up.Block))
	x.m.admitted = append(x.m.admitted, up)
}

// reopen starts a new process after a clean end. What was sealed and not
// recorded is forgotten: the log does not know it.
func (x *machine) reopen(t *rapid.T) {
	check(t, x.s.Sync())
	check(t, x.s.Close())
	s, err := Open(blocksOf(x.disk), testVault)
	check(t, err)
	x.s = s
	for _, rec := range x.m.recs {
		check(t, s.LoadSealed(rec))
	}
	check(t, s.Settle())
	check(t, s.LoadFound())
	check(t, s.SweepUploads(nil))
	o := NewOrder(s)
	for _, class := range modelClasses {
		for _, a := range x.m.mentioned[class] {
			check(t, o.Mention(class, a.ID))
		}
	}
	check(t, o.Finish())
	check(t, s.CutOpen(nil))
	check(t, s.Sync())
	x.m.pending, x.m.waiting = nil, nil
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
			ref, ok := x.s.Lookup(class, a.ID)
			if !ok {
				t.Fatalf("%v of class %s is gone", a.ID, class)
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
				file = sealedName(sealed.rec.ID)
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
			known: map[string]map[record.ID]bool{"log": {}, "main": {}},
		}}
		defer func() { _ = x.s.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"append":  x.append,
			"advance": func(t *rapid.T) { x.s.Advance(rapid.SampledFrom(modelClasses).Draw(t, "class")) },
			"seal":    x.seal,
			"sealed":  x.sealed,
			"upload":  x.upload,
			"admit":   x.admit,
			"sync":    func(t *rapid.T) { check(t, x.s.Sync()) },
			"reopen":  x.reopen,
			"":        x.agree,
		})
	})
}
