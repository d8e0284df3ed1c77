package graven

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"graven/internal/fsx"
)

// TestSyncBetweenTheStepsOfASnapshot syncs when a snapshot has ended blocks of the
// source and the log does not tell yet.
func TestSyncBetweenTheStepsOfASnapshot(t *testing.T) {
	for at := range 4 {
		source, mirror := fsx.NewMem(), fsx.NewMem()
		s := newScript(t, source, small)
		s.group(put("a", "first"), put("b", strings.Repeat("v", 50)))
		s.settle()
		mustSync(t, source, mirror)
		m := &making{v: s.vault, demand: true}
		for i, step := range []func(context.Context) error{m.border, m.cover, m.keep, m.publish} {
			if err := step(context.Background()); err != nil {
				t.Fatal(err)
			}
			s.group(put(fmt.Sprint("between", i), strings.Repeat("n", 40+i)))
			if i == at {
				s.settle() // as a second later, by itself
				mustSync(t, source, mirror)
			}
		}
		if _, err := m.record(); err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			s.group(put(fmt.Sprint("later", i), strings.Repeat("l", 40+i)))
		}
		s.close()
		mustSync(t, source, mirror)
		sameBlocks(t, source, mirror)
		mirrorStands(t, mirror)
	}
}

// settle lets what follows behind the acknowledgements happen.
func (s *script) settle() {
	s.t.Helper()
	if err := s.vault.settle(); err != nil {
		s.t.Fatal(err)
	}
}

// sameBlocks compares the sealed blocks of two vaults.
func sameBlocks(t *testing.T, from, to fsx.Disk) {
	t.Helper()
	const folder = "vaults/main/blocks/sealed"
	if want, got := fmt.Sprint(filesBelow(t, from, folder)), fmt.Sprint(filesBelow(t, to, folder)); want != got {
		t.Errorf("the source has the blocks %s, the mirror %s", want, got)
	}
}

// TestSyncOfASourceThatWasKilledBehindABorder syncs a source whose process ended when
// a snapshot had ended blocks and others had written on.
func TestSyncOfASourceThatWasKilledBehindABorder(t *testing.T) {
	live, mirror := fsx.NewMem(), fsx.NewMem()
	s := newScript(t, live, small)
	s.group(put("a", "first"), put("b", strings.Repeat("v", 50)))
	s.settle()
	mustSync(t, live, mirror)
	s.border()
	s.group(put("c", "behind"))
	source := live.Clone()
	s.close()
	mustSync(t, source, mirror)
	s = &script{t: t, host: scriptHost(source, 2)}
	s.reopen()
	for i := range 3 {
		s.group(put(fmt.Sprint("d", i), strings.Repeat("d", 40+i)))
		s.settle()
		mustSync(t, source, mirror)
	}
	s.close()
	mustSync(t, source, mirror)
	sameBlocks(t, source, mirror)
	mirrorStands(t, mirror)
}

// border ends the blocks as a snapshot does, and goes no further.
func (s *script) border() {
	s.t.Helper()
	if _, err := s.vault.ask(context.Background(), &errand{border: true}); err != nil {
		s.t.Fatal(err)
	}
}

// TestSyncOfAMirrorThatFilledOn goes on with a mirror whose blocks go on where the source
// had ended them. The mirror got there by the same log with its blocks otherwise.
func TestSyncOfAMirrorThatFilledOn(t *testing.T) {
	for _, more := range []int{2, 12} {
		plain, mirror := fsx.NewMem(), fsx.NewMem()
		s := newScript(t, plain, small)
		s.group(put("a", "first"), put("b", strings.Repeat("v", 50)))
		s.close()
		source := plain.Clone()
		write := func(d fsx.Disk, border bool) *script {
			s := &script{t: t, host: scriptHost(d, 3)}
			s.reopen()
			if border {
				s.border()
			}
			for i := range more {
				s.group(put(fmt.Sprint("c", i), strings.Repeat("c", 40+i)))
			}
			return s
		}
		write(plain, false).close()
		mustSync(t, plain, mirror)
		s = write(source, true)
		for i := range 2 {
			s.settle()
			s.group(put(fmt.Sprint("e", i), "e"))
			s.snap()
		}
		s.close()
		if more > 10 { // another block took the place of the next
			if _, err := syncDisks(source, mirror, SyncOptions{}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "sync into a new one") {
				t.Error(err)
			}
			continue
		}
		mustSync(t, source, mirror)
		sameBlocks(t, source, mirror)
		mirrorStands(t, mirror)
		if r := checkAll(t, mirror, false); len(r.Findings) > 0 {
			t.Error(r.Findings)
		}
	}
}

// TestSyncBesideSnapshotsByPolicy syncs from a living vault that makes snapshots by
// its policy.
func TestSyncBesideSnapshotsByPolicy(t *testing.T) {
	source, mirror := fsx.NewMem(), fsx.NewMem()
	store, v := liveVault(t, source, Options{PublishEvery: time.Millisecond, SnapshotCommits: 15, SnapshotKeep: 2})
	ctx, stop := context.WithCancel(context.Background())
	gone := make(chan error)
	go func() {
		for i := 0; ; i++ {
			if _, err := v.Commit(ctx, put(fmt.Sprint("k", i%9), strings.Repeat("v", 30)+fmt.Sprint(i))); err != nil {
				gone <- err
				return
			}
		}
	}()
	for range 15 {
		mustSync(t, source, mirror)
	}
	stop()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	mustSync(t, source, mirror)
	sameBlocks(t, source, mirror)
}
