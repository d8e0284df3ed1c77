package graven

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"graven/internal/fsx"
	"graven/merkle"
	"graven/proof"
)

// typed are the kinds of error that a caller may meet when the disk fails.
var typed = []error{ErrFull, ErrPoisoned, ErrDamaged, ErrReadOnly, fsx.ErrIO, fsx.ErrNoSpace, fsx.ErrTooManyFiles, fsx.ErrShort, fs.ErrNotExist}

func isTyped(err error) bool {
	for _, t := range typed {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}

// live is a short life of a vault on a disk whose calls may fail: it commits
// as long as it is let, and returns what was acknowledged and the errors met.
func live(d fsx.Disk) (acks []any, errs []error) {
	ctx := context.Background()
	value := strings.Repeat("v", 50)
	store, err := Create(ctx, scriptHost(d, 1), CreateOptions{genesis: small}, scriptOptions())
	if err != nil {
		return nil, []error{err}
	}
	v, err := store.Vault(ctx, "main")
	if err != nil {
		return nil, []error{err, store.Close()}
	}
	step := func(tx func() (*Tx, error)) {
		t, err := tx()
		var receipts []*Receipt
		if err == nil {
			receipts, err = commitGroup(v, t)
		}
		if err != nil {
			errs = append(errs, err)
			return
		}
		r := receipts[0]
		line, err := v.View().Record(r.Seq)
		if err != nil {
			errs = append(errs, err)
			return
		}
		acks = append(acks, acknowledged{r.Seq, merkle.LeafHash(line), proof.Checkpoint{Size: r.Size, Root: r.Root}})
	}
	plain := func(tx *Tx) func() (*Tx, error) { return func() (*Tx, error) { return tx, nil } }
	step(plain(put("a", "first")))
	step(plain(wide("w", 6)))
	errs = append(errs, v.settle())
	for _, value := range []string{"0123456789", "9876543210"} {
		before := len(errs)
		var c Content
		step(func() (tx *Tx, err error) {
			c, err = v.Stage(ctx, strings.NewReader(strings.Repeat(value, 25)))
			tx = &Tx{}
			tx.Put([]byte("big"), c, PutOptions{})
			return tx, err
		})
		if len(errs) > before {
			c.Discard() // as callers do
		}
	}
	for i := range 8 {
		step(plain(put(fmt.Sprint("fill", i), value+fmt.Sprint(i))))
	}
	errs = append(errs, v.settle())
	step(plain(put("z", "last")))
	// Whatever happened, what can be seen is whole.
	errs = append(errs, remembers(v, acks))
	return acks, append(errs, store.Close())
}

// TestEveryCallFails lets each call of the disk fail, once or from then on, in
// four ways. The errors are typed, reads go on, and after a restart on a sound
// disk, also one that lost power, everything acknowledged is there.
func TestEveryCallFails(t *testing.T) {
	step := 1
	if testing.Short() {
		step = 17
	}
	counting := fsx.Fault(fsx.NewMem(), func(fsx.Call) error { return nil })
	acks, errs := live(counting)
	if err := errors.Join(errs...); err != nil || len(acks) < 10 {
		t.Fatalf("without faults: %d acknowledged, %v", len(acks), err)
	}
	calls, runs, refused := counting.Calls(), 0, 0
	for n := 0; n < calls; n += step {
		for i, fault := range []error{fsx.ErrIO, fsx.ErrNoSpace, fsx.ErrTooManyFiles, fsx.ErrShort} {
			if !testing.Short() && (n+i)%2 == 1 {
				continue // every call meets two of the four, its neighbours the others
			}
			for _, onwards := range []bool{false, true} {
				runs++
				mem := fsx.NewMem()
				acks, errs := live(fsx.Fault(mem, fsx.FailCall(n, fault, onwards)))
				name := fmt.Sprintf("call %d, %v, onwards %v", n, fault, onwards)
				for _, err := range errs {
					if err == nil {
						continue
					}
					refused++
					if !isTyped(err) {
						t.Errorf("%s: %v is of no kind that a caller can tell", name, err)
					}
				}
				mem.Kill()
				if err := rises(mem, acks); err != nil {
					t.Errorf("%s: %v", name, err)
				} else if len(acks) > 0 && i == 0 {
					if r := checkAll(t, mem, false); len(r.Findings) > 0 {
						t.Errorf("%s: check finds %v", name, r.Findings)
					}
				}
			}
		}
	}
	t.Logf("%d calls, %d runs, %d errors", calls, runs, refused)
	if refused < runs {
		t.Errorf("%d runs met only %d errors", runs, refused)
	}
}

// TestEveryCallOfARecoveryFails lets each call of the open after a kill fail,
// in a vault whose last group only the WAL holds.
func TestEveryCallOfARecoveryFails(t *testing.T) {
	mem := fsx.NewMem()
	acks, _ := live(mem)
	s := &script{t: t, host: scriptHost(mem, 5)}
	s.reopen()
	s.group(put("only", "in the WAL"))
	mem.Kill()
	open := func(d fsx.Disk) error {
		store, err := Open(context.Background(), scriptHost(d, 6), scriptOptions())
		if err != nil {
			return err
		}
		_, err = store.Vault(context.Background(), "main")
		return errors.Join(err, store.Close())
	}
	counting := fsx.Fault(mem.Clone(), func(fsx.Call) error { return nil })
	if err := open(counting); err != nil {
		t.Fatal(err)
	}
	for n := range counting.Calls() {
		for _, onwards := range []bool{false, true} {
			disk := mem.Clone()
			if err := open(fsx.Fault(disk, fsx.FailCall(n, fsx.ErrIO, onwards))); err != nil && !isTyped(err) {
				t.Errorf("call %d, onwards %v: %v", n, onwards, err)
			}
			disk.Kill()
			if err := rises(disk, acks); err != nil {
				t.Errorf("call %d, onwards %v: %v", n, onwards, err)
			}
		}
	}
}

// rises opens what a process left and looks for what it acknowledged.
func rises(mem *fsx.Mem, acks []any) error {
	ctx := context.Background()
	store, err := Open(ctx, scriptHost(mem, 2), scriptOptions())
	if err != nil && len(acks) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	v, err := store.Vault(ctx, "main")
	if err != nil {
		if len(acks) == 0 {
			return store.Close()
		}
		return errors.Join(err, store.Close())
	}
	return errors.Join(remembers(v, acks), store.Close())
}

// TestFullDiskLifts fills the disk, sees transactions refused whole, frees
// room, and goes on with the same vault.
func TestFullDiskLifts(t *testing.T) {
	full := false
	mem := fsx.NewMem()
	disk := fsx.Fault(mem, func(c fsx.Call) error {
		if full && (c.Op == "reserve" || c.Op == "write" || c.Op == "create") {
			return fsx.ErrNoSpace
		}
		return nil
	})
	s := newScript(t, disk, nil)
	s.group(put("a", "1"))
	full = true
	value := strings.Repeat("x", 2<<20/16)
	refused := 0
	for i := range 64 { // until what was reserved is used up
		if _, err := commitGroup(s.vault, put(fmt.Sprint("b", i), value+fmt.Sprint(i))); err != nil {
			if !errors.Is(err, ErrFull) || errors.Is(err, ErrPoisoned) {
				t.Fatalf("a full disk gives %v", err)
			}
			refused++
		}
	}
	if refused == 0 {
		t.Fatal("the full disk refused nothing")
	}
	before := s.vault.View().Size()
	full = false
	s.group(put("c", "3"))
	if got := s.vault.View().Size(); got != before+2 {
		t.Fatalf("size %d after %d and one more transaction", got, before)
	}
	if _, err := s.vault.View().Get([]byte("a")); err != nil {
		t.Fatal(err)
	}
	s.close()
	s.reopen()
	if _, err := s.vault.View().Get([]byte("c")); err != nil {
		t.Fatal(err)
	}
	s.close()
}
