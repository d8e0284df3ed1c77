package graven

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"graven/internal/fsx"
	"graven/proof"
	"graven/record"
)

// hooked is a disk that tells of every file that is opened for reading.
type hooked struct {
	fsx.Disk
	open   func(name string) // before, for reading
	opened func(name string) // behind
}

func (h *hooked) Open(name string, mode fsx.Mode) (fsx.File, error) {
	if h.open != nil && mode == fsx.Read {
		h.open(name)
	}
	f, err := h.Disk.Open(name, mode)
	if h.opened != nil {
		h.opened(name)
	}
	return f, err
}

// onceAt lets something happen when a file is opened for the first time.
func (h *hooked) onceAt(name string, do func()) (happened *bool) {
	happened = new(bool)
	h.open = func(opened string) {
		if opened == name && !*happened {
			*happened = true
			do()
		}
	}
	return happened
}

func refuseOthers(p *record.Policy) { p.Refuse = true }

// TestCheckWhileTheWorldGoesOn lets policies change, blocks be sealed and the store
// be closed at the worst moments of a check: it finds no damage where there is none,
// and puts nothing old in the place of something new.
func TestCheckWhileTheWorldGoesOn(t *testing.T) {
	policyCopy := "vaults/main/" + policyFile
	for name, c := range map[string]struct {
		at string
		do func(t *testing.T, s *script, mem *fsx.Mem)
	}{
		"a policy": {"vaults/main/log/log-0000000000000000.jsonl", func(t *testing.T, s *script, _ *fsx.Mem) {
			if _, err := s.setPolicy(refuseOthers); err != nil {
				t.Error(err)
			}
			if err := s.vault.Publish(); err != nil {
				t.Error(err)
			}
		}},
		"blocks are sealed": {"vaults/main/blocks/open/main-00000000.blk", func(t *testing.T, s *script, _ *fsx.Mem) {
			for i := range 3 { // sealed, recorded, and their open files gone
				if err := s.vault.Publish(); err != nil {
					t.Error(err)
				}
				s.group(put(fmt.Sprint("later", i), "v"))
			}
			if err := s.vault.Publish(); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			mem := fsx.NewMem()
			h := &hooked{Disk: mem}
			s := newScript(t, h, small)
			for i := range 12 {
				s.group(put(fmt.Sprint("k", i), fmt.Sprint("value number ", i, strings.Repeat(".", 40))))
			}
			if err := s.vault.syncLog(); err != nil {
				t.Fatal(err)
			}
			var happened *bool
			r, err := s.store.Check(context.Background(), "main", CheckOptions{Quick: true, Progress: func(int64, int64) {
				if happened == nil {
					happened = h.onceAt(c.at, func() { c.do(t, s, mem) })
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			if h.open = nil; happened == nil || !*happened {
				t.Fatal("the moment never came")
			}
			if len(r.Findings) > 0 {
				t.Errorf("a healthy vault has %v", r.Findings)
			}
			_, number := s.vault.Policy()
			s.close()
			if got := string(readAll(mem, policyCopy)); strings.Contains(got, "refuse") != (number == 1) {
				t.Errorf("policy %d is in force, %s is %s", number, policyFile, got)
			}
			if r := checkAll(t, mem, false); len(r.Findings) > 0 {
				t.Errorf("afterwards it has %v", r.Findings)
			}
		})
	}
}

// TestCheckEndsWithTheStore closes the store under a check, and lets another process
// go on: what the check still does leaves that alone.
func TestCheckEndsWithTheStore(t *testing.T) {
	mem := fsx.NewMem()
	h := &hooked{Disk: mem}
	s := newScript(t, h, small)
	s.group(put("a", "1"))
	if err := s.vault.Publish(); err != nil {
		t.Fatal(err)
	}
	var happened *bool
	_, err := s.store.Check(context.Background(), "main", CheckOptions{Progress: func(int64, int64) {
		if happened != nil {
			return
		}
		happened = h.onceAt("vaults/main/blocks/open/log-00000001.blk", func() {})
		if err := s.store.Close(); err != nil {
			t.Error(err)
		}
		another, err := Open(context.Background(), scriptHost(mem, 9), scriptOptions())
		if err != nil {
			t.Fatal(err)
		}
		o := &script{t: t, store: another}
		o.vault = o.main()
		if _, err := o.setPolicy(refuseOthers); err != nil {
			t.Error(err)
		}
		o.close()
	}})
	if happened == nil || !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v, the check ended with %v", happened != nil, err)
	}
	if got := string(readAll(mem, "vaults/main/"+policyFile)); !strings.Contains(got, "refuse") {
		t.Errorf("a store that was closed wrote into another's: %s", got)
	}
}

// looks is a context that ends after so many looks at it.
type looks struct {
	context.Context
	left int
}

func (l *looks) Err() error {
	if l.left--; l.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestTwoRebuilds lets two rebuilds of a vault look at it before either opens it.
func TestTwoRebuilds(t *testing.T) {
	mem := fsx.NewMem()
	derivedStory(t, mem)
	var both sync.WaitGroup
	both.Add(2)
	var looks atomic.Int32
	store, err := Open(context.Background(), scriptHost(&hooked{Disk: mem, opened: func(name string) {
		if name == "vaults/main/checkpoint" && looks.Add(1) <= 2 {
			both.Done()
			both.Wait()
		}
	}}, 3), scriptOptions())
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	for range 2 {
		done.Go(func() {
			r, err := store.Check(context.Background(), "main", CheckOptions{Rebuild: true})
			if err != nil || len(r.Findings) > 0 {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
	done.Wait()
	if err := store.Close(); err != nil {
		t.Error(err)
	}
}

// TestCheckGivenUp gives a check up at every moment: it changes nothing.
func TestCheckGivenUp(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	for i := range 3 {
		s.group(put(fmt.Sprint("a", i), "1"))
	}
	if _, err := s.setPolicy(refuseOthers); err != nil {
		t.Fatal(err)
	}
	if err := s.vault.Publish(); err != nil {
		t.Fatal(err)
	}
	want := string(readAll(mem, "vaults/main/"+policyFile))
	for n := range 400 {
		r, err := s.store.Check(&looks{context.Background(), n}, "main", CheckOptions{})
		if got := string(readAll(mem, "vaults/main/"+policyFile)); got != want {
			t.Fatalf("given up after %d looks, with %v, %v: %s is %s", n, err, r, policyFile, got)
		}
		if err == nil {
			s.close()
			return
		}
	}
	t.Error("it never comes to an end")
}

// TestEverythingAtOnce lets writers, signers, policies, readers, checks and rebuilds
// meet in one vault, and closes it under them.
func TestEverythingAtOnce(t *testing.T) {
	mem := fsx.NewMem()
	host := scriptHost(mem, 1)
	var clock sync.Mutex
	now := host.Now
	host.Now = func() time.Time { clock.Lock(); defer clock.Unlock(); return now() }
	host.After = time.After
	host.Rand = &lockedRand{r: host.Rand.(*rand.ChaCha8)}
	ctx := context.Background()
	store, err := Create(ctx, host, CreateOptions{genesis: small}, Options{PublishEvery: time.Millisecond, walBytes: 4096, Queue: 8})
	if err != nil {
		t.Fatal(err)
	}
	v, err := store.Vault(ctx, "main")
	if err != nil {
		t.Fatal(err)
	}
	alice, key := actorKey(t, "alice", proof.TypeEd25519)
	expect := func(doing string, err error, fine ...error) {
		for _, f := range append(fine, ErrClosed) {
			if err == nil || errors.Is(err, f) {
				return
			}
		}
		t.Errorf("%s: %v", doing, err)
	}
	const commits = 400
	var done atomic.Int64
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; done.Add(1) <= commits; i++ {
				tx := put(fmt.Sprintf("k%d/%d", w, i), fmt.Sprint(i))
				if i%2 == 0 {
					signed(tx, "alice", alice)
				}
				_, err := v.Commit(ctx, tx)
				expect("commit", err, ErrDenied)
			}
		})
	}
	going := func() bool { return done.Load() < commits }
	wg.Go(func() {
		for i := 0; going(); i++ {
			doc, n := v.Policy()
			doc.Actors = nil
			if i%2 == 0 {
				doc.Actors = []record.PolicyActor{{Actor: "alice", Keys: []string{key}}}
			}
			_, err := v.SetPolicy(ctx, doc, n)
			expect("policy", err, ErrConflict)
		}
	})
	wg.Go(func() {
		for i := 0; going(); i++ {
			r, err := store.Check(ctx, "main", CheckOptions{Rebuild: i%2 == 0})
			expect("check", err)
			if err == nil && len(r.Findings) > 0 {
				t.Errorf("check finds %v", r.Findings)
			}
		}
	})
	wg.Go(func() {
		for going() {
			expect("publish", v.Publish())
			_, err := v.View().ProveList(Query{Compact: true, Limit: 3})
			expect("list", err)
		}
	})
	wg.Wait()
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	if r := checkAll(t, mem, false); len(r.Findings) > 0 {
		t.Errorf("afterwards it has %v", r.Findings)
	}
}

// lockedRand is randomness for several goroutines.
type lockedRand struct {
	mu sync.Mutex
	r  *rand.ChaCha8
}

func (l *lockedRand) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Read(p)
}
