package graven

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"graven/internal/fsx"
	"graven/record"
)

// TestOneEffect commits one request under one id from 64 goroutines at once,
// kills the process somewhere in the middle, opens again and repeats until every
// goroutine has its receipt: the request has happened once, and all receipts name
// the same record.
func TestOneEffect(t *testing.T) {
	const writers, rounds, killed = 64, 12, 3
	mem := fsx.NewMem()
	newScript(t, mem, nil).close()
	rng := rand.New(rand.NewPCG(9, 9))
	ctx := context.Background()
	options := Options{Queue: 16, walBytes: 1 << 16}
	kills, replayed := 0, 0
	for round := range rounds {
		id := fmt.Sprint("order-", round)
		seqs := map[uint64]bool{}
		missing := writers
		for try := 0; missing > 0; try++ {
			if try == 100 {
				t.Fatal("it never succeeds")
			}
			store, err := Open(ctx, scriptHost(mem, byte(try)), options)
			if err != nil {
				t.Fatal(err)
			}
			v, err := store.Vault(ctx, "main")
			if err != nil {
				t.Fatal(err)
			}
			var mu sync.Mutex
			var all sync.WaitGroup
			begin := make(chan struct{})
			for range missing {
				all.Go(func() {
					<-begin
					tx := put("orders/"+id, "one effect", "beside/"+id, "x")
					tx.ID = id
					r, err := v.Commit(ctx, tx)
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						seqs[r.Seq] = true
						missing--
						if r.Replayed {
							replayed++
						}
					} else if try >= killed {
						t.Errorf("%s: %v", id, err) // of a dead process any error is fine
					}
				})
			}
			close(begin)
			if try < killed {
				time.Sleep(time.Duration(rng.IntN(300)) * time.Microsecond)
				mem.Kill() // every file that is open is dead now
				kills++
			}
			all.Wait()
			_ = store.Close()
		}
		if len(seqs) != 1 {
			t.Errorf("%s: receipts of records %v", id, seqs)
		}
	}
	store, err := Open(ctx, scriptHost(mem, 1), options)
	if err != nil {
		t.Fatal(err)
	}
	v, err := store.Vault(ctx, "main")
	if err != nil {
		t.Fatal(err)
	}
	for round := range rounds {
		n := 0
		for _, err := range v.View().History(fmt.Appendf(nil, "orders/order-%d", round)) {
			if err != nil {
				t.Error(err)
			}
			n++
		}
		if n != 1 {
			t.Errorf("round %d: %d versions", round, n)
		}
		other := put("orders/other", "x")
		other.ID = fmt.Sprint("order-", round)
		if _, err := v.Commit(ctx, other); !errors.Is(err, ErrConflict) {
			t.Errorf("round %d: another request under the id: %v", round, err)
		}
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	if r := checkAll(t, mem, false); len(r.Findings) > 0 {
		t.Errorf("check finds %v", r.Findings)
	}
	t.Logf("%d kills, %d of %d receipts were those of a retry", kills, replayed, writers*rounds)
}

// TestAskedBefore: what Commit would refuse Admits refuses, and nothing is written.
func TestAskedBefore(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, nil)
	tx := put("a", "1")
	tx.ID = "first"
	if seq, used, err := s.vault.Used("script", "first"); used || err != nil {
		t.Errorf("the id is used before: %d", seq)
	}
	size := s.vault.View().Size()
	if err := s.vault.Admits(tx); err != nil {
		t.Error(err)
	}
	if got := s.vault.View().Size(); got != size {
		t.Errorf("size %d, wanted %d", got, size)
	}
	r := s.group(tx)[0]
	if _, err := s.setPolicy(func(p *record.Policy) { p.Refuse = true }); err != nil {
		t.Fatal(err)
	}
	withID := put("a", "2")
	withID.ID = "id"
	if err := s.vault.Admits(withID); !errors.Is(err, ErrDenied) {
		t.Errorf("with an id: %v", err)
	}
	if err := s.vault.Admits(put("a", "2")); !errors.Is(err, ErrDenied) {
		t.Errorf("a stranger: %v", err)
	}
	s.close()
	o := scriptOptions()
	for _, o.ReadOnly = range []bool{false, true} {
		store, err := Open(context.Background(), scriptHost(mem, 2), o)
		if err != nil {
			t.Fatal(err)
		}
		v, err := store.Vault(context.Background(), "main")
		if err != nil {
			t.Fatal(err)
		}
		if seq, used, err := v.Used("script", "first"); err != nil || !used || seq != r.Seq {
			t.Errorf("read-only %v: %d, %v", o.ReadOnly, seq, used)
		}
		if _, used, err := v.Used("another", "first"); used || err != nil {
			t.Error("an id is another actor's")
		}
		if err := v.Admits(put("a", "2")); !errors.Is(err, ErrDenied) {
			t.Errorf("read-only %v: a stranger: %v", o.ReadOnly, err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
