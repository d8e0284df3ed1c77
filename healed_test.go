package graven

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"graven/internal/fsx"
	"graven/record"
)

// rotten is a vault of which one artifact in an open block rotted: k1. A snapshot may
// have been tried then, which fails, and the value may have been put again, which
// heals it.
func rotten(t *testing.T, snapshot, heal bool) *fsx.Mem {
	t.Helper()
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	for i := range 4 {
		s.group(put(fmt.Sprint("k", i), strings.Repeat(fmt.Sprint(i), 40)))
	}
	s.settle()
	const open = "vaults/main/blocks/open/main-00000000.blk"
	at := strings.Index(string(readAll(mem, open)), strings.Repeat("1", 40))
	hurtAt(t, mem, open, int64(at+5))
	if snapshot {
		if _, err := s.vault.Snapshot(context.Background()); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "block 0 of class main cannot be sealed") {
			t.Fatal(err)
		}
	}
	if heal {
		s.group(put("k1", strings.Repeat("1", 40)))
	}
	s.fill("more")
	s.close()
	return mem
}

// fill writes some blocks full.
func (s *script) fill(key string) {
	s.t.Helper()
	for i := range 40 {
		s.group(put(fmt.Sprint(key, i), strings.Repeat("y", 40)+fmt.Sprint(key, i)))
		s.settle()
	}
}

// inOrder demands that the block records of class main come in the order of their
// numbers, and returns how many there are.
func (s *script) inOrder() (n uint64) {
	s.t.Helper()
	w := s.vault.View()
	for seq := range w.Size() {
		line, err := w.Record(seq)
		if err != nil {
			s.t.Fatal(err)
		}
		rec, err := record.Parse(line)
		if err != nil {
			s.t.Fatal(err)
		}
		if b, ok := rec.Body.(*record.Block); ok && b.Class == "main" && b.Number != nil {
			if *b.Number != n {
				s.t.Fatalf("record %d seals block %d of class main, wanted %d", seq, *b.Number, n)
			}
			n++
		}
	}
	return n
}

// TestHealedBlocksAreSealed lets an artifact of an open block rot and be healed: the
// vault makes snapshots again, can be synced, and be backed up and restored.
func TestHealedBlocksAreSealed(t *testing.T) {
	for _, tried := range []bool{false, true} {
		mem, mirror, target := rotten(t, tried, true), fsx.NewMem(), fsx.NewMem()
		mustSync(t, mem, mirror)
		sameBlocks(t, mem, mirror)
		s := &script{t: t, host: scriptHost(mem, 3)}
		s.reopen()
		s.snap()
		if n := s.inOrder(); n < 3 {
			t.Errorf("%d blocks are sealed", n)
		}
		s.backup(target, BackupOptions{WithKeys: true})
		s.close()
		if r := checkAll(t, mem, false); r.Damaged() {
			t.Error(r.Findings)
		}
		disk, err := restored(BackupIn(target), true)
		if err != nil {
			t.Fatal(err)
		}
		s = &script{t: t, host: scriptHost(disk, 4)}
		s.reopen()
		s.fill("again")
		s.snap()
		s.inOrder()
		s.close()
		mustSync(t, disk, mirror)
		sameBlocks(t, disk, mirror)
	}
}

// TestDamagedBlocksHoldSealsUp writes on behind a block that cannot be sealed: later
// ones wait for it, no snapshot begins new ones, and all is well once it is healed.
func TestDamagedBlocksHoldSealsUp(t *testing.T) {
	for _, tried := range []bool{false, true} {
		mem := rotten(t, tried, false)
		s := &script{t: t, host: scriptHost(mem, 3)}
		s.reopen()
		s.group(put("l", "later"))
		s.settle()
		if n := s.inOrder(); n != 0 {
			t.Errorf("%d blocks were sealed", n)
		}
		before, _, _ := s.vault.blocks.Tail("main")
		for range 2 {
			if _, err := s.vault.Snapshot(context.Background()); !errors.Is(err, ErrDamaged) {
				t.Error(err)
			}
		}
		if after, _, _ := s.vault.blocks.Tail("main"); after != before {
			t.Errorf("snapshots that had no hope began blocks %d to %d", before+1, after)
		}
		s.group(put("k1", strings.Repeat("1", 40)))
		s.snap()
		if n := s.inOrder(); n < 3 {
			t.Errorf("%d blocks are sealed", n)
		}
		s.close()
		if r := checkAll(t, mem, false); r.Damaged() {
			t.Error(r.Findings)
		}
	}
}
