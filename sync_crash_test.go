package graven

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"graven/internal/fsx"
)

// syncStory is a source, and a mirror that lacks half of it; small enough to be cut
// off everywhere. With no mirror yet, old is 0.
func syncStory(t testing.TB, fresh bool) (from, to *fsx.Mem, old uint64) {
	t.Helper()
	from, to = fsx.NewMem(), fsx.NewMem()
	parts := sourceStory(t, from)
	parts[0]()
	if !fresh {
		old = mustSync(t, from, to).Size
	}
	parts[1]()
	return from, to, old
}

// shown marks the checkpoint that a mirror's disk holds for good. Before the sync of
// the folder a power cut may bring the old one back, and nothing has promised more:
// a mirror signs nothing that would have to extend it.
type shown struct {
	fsx.Disk
	mem *fsx.Mem
}

func (s *shown) SyncDir(name string) error {
	if err := s.Disk.SyncDir(name); err != nil {
		return err
	}
	if size := checkpointSize(fsx.NewDir(fsx.Under(s.Disk, "vaults/main"), fsx.VaultRules())); name == "vaults/main" && size > 0 {
		s.mem.Mark(size)
	}
	return nil
}

// syncGoesOn looks at what an interruption left of a mirror, and syncs again.
func syncGoesOn(from fsx.Disk, want map[string]string, to *fsx.Mem, old, published uint64) error {
	ctx := context.Background()
	if store, err := Open(ctx, scriptHost(to, 3), readingOptions()); err == nil {
		v, err := store.Vault(ctx, "main")
		switch {
		case err == nil:
			if size := v.View().Size(); size < max(old, published) {
				err = fmt.Errorf("readers see size %d, published was %d", size, max(old, published))
			}
		case max(old, published) == 0 && (errors.Is(err, ErrUnfinished) || errors.Is(err, ErrNoVault)):
			err = nil // nobody could read it yet
		}
		if err := errors.Join(err, store.Close()); err != nil {
			return fmt.Errorf("reading: %w", err)
		}
	} else if max(old, published) > 0 {
		return err
	}
	if _, err := syncDisks(from, to, SyncOptions{}); err != nil {
		return fmt.Errorf("a second sync: %w", err)
	}
	got := map[string]string{}
	for name, text := range contentsOf(to) {
		got[name] = text
		if strings.Contains(name, "/.new-") {
			return fmt.Errorf("%s is left over", name)
		}
	}
	for name, text := range want {
		// A pointer for people, which the journal replaces at its next file too.
		if got[name] != text && name != "vaults/main/log/current" {
			return fmt.Errorf("%s differs from the source's", name)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok && equalInMirrors(name) {
			return fmt.Errorf("%s is left over", name)
		}
	}
	return nil
}

// TestSyncCrashStates cuts the power after every disk operation of a sync, in every
// way that the crash model knows: readers keep what was published, and the next sync
// ends with the source's bytes.
func TestSyncCrashStates(t *testing.T) {
	perPrefix := 2
	switch {
	case testing.Short():
		perPrefix = 1
	case os.Getenv("GRAVEN_DEEP") != "":
		perPrefix = 200
	}
	for _, fresh := range []bool{true, false} {
		from, to, old := syncStory(t, fresh)
		want := ledgerOf(t, from)
		to.Record()
		mustSync(t, from, &shown{to, to})
		states, failures := 0, 0
		var mu sync.Mutex // guards failures
		jobs := make(chan *fsx.CrashState)
		var workers sync.WaitGroup
		for range 2 {
			workers.Go(func() {
				for state := range jobs {
					size := uint64(0)
					for _, e := range state.Events {
						size = max(size, e.(uint64))
					}
					err := syncGoesOn(from.Clone(), want, state.Disk, old, size)
					mu.Lock()
					if err != nil {
						if failures++; failures < 5 {
							t.Errorf("new %v, after operation %d (%s): %v", fresh, state.Prefix, state.Desc, err)
						}
					}
					mu.Unlock()
				}
			})
		}
		for state := range to.CrashStates(fsx.CrashOptions{MaxPerPrefix: perPrefix, Seed: 4}) {
			if states++; testing.Short() && states%7 != 0 {
				continue
			}
			jobs <- state
		}
		close(jobs)
		workers.Wait()
		t.Logf("new %v: %d crash states of %d operations, %d failures", fresh, states, len(to.Ops()), failures)
		if states < 100 {
			t.Errorf("%d states are too few", states)
		}
	}
}

// TestEveryCallOfASyncFails lets each call of the target's disk fail, then each of the
// source's: the error is typed, readers keep what they had, and the next sync ends it.
func TestEveryCallOfASyncFails(t *testing.T) {
	step := 7
	switch {
	case testing.Short():
		step = 37
	case os.Getenv("GRAVEN_DEEP") != "":
		step = 1
	}
	from, to, old := syncStory(t, false)
	want := ledgerOf(t, from)
	faults := []error{fsx.ErrIO, fsx.ErrNoSpace, fsx.ErrTooManyFiles, fsx.ErrShort}
	for _, side := range []string{"target", "source"} {
		run := func(trip func(fsx.Call) error) (*fsx.Mem, int, error) {
			a, b := fsx.Disk(from.Clone()), to.Clone()
			on, counting := fsx.Disk(b), fsx.Fault(a, trip)
			if side == "target" {
				counting = fsx.Fault(b, trip)
				on = counting
			} else {
				a = counting
			}
			_, err := syncDisks(a, on, SyncOptions{})
			return b, counting.Calls(), err
		}
		_, calls, err := run(func(fsx.Call) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		failed := 0
		for n := 0; n < calls; n += step {
			fault := faults[n/step%len(faults)]
			onwards := n%2 == 0
			left, _, err := run(fsx.FailCall(n, fault, onwards))
			name := fmt.Sprintf("%s, call %d of %d, %v, onwards %v", side, n, calls, fault, onwards)
			if err != nil {
				failed++
			}
			if err != nil && !isTyped(err) {
				t.Errorf("%s: %v is of no kind that a caller can tell", name, err)
			}
			if errors.Is(err, ErrFork) || errors.Is(err, ErrConflict) {
				t.Errorf("%s: %v", name, err)
			}
			left.Kill()
			if err := syncGoesOn(from.Clone(), want, left, old, old); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		t.Logf("%s: %d calls, %d syncs failed", side, calls, failed)
	}
}
