package graven

import (
	"context"
	"fmt"
	"os"
	"path"
	"strings"
	"sync"
	"testing"

	"graven/internal/fsx"
	"graven/merkle"
	"graven/proof"
)

// snapped is known at a crash when Snapshot returned.
type snapped struct{ info SnapshotInfo }

// snapCrashStory is a life with snapshots, on demand and by policy, while others
// write between any two of their steps, with one dropped and a second life.
func snapCrashStory(t testing.TB, mem *fsx.Mem) {
	s := newScript(t, &watched{Disk: mem, mem: mem}, small)
	mem.Record()
	mem.Mark(created{})
	commit := func(tx *Tx) {
		t.Helper()
		r := s.group(tx)[0]
		line, err := s.vault.View().Record(r.Seq)
		if err != nil {
			t.Fatal(err)
		}
		mem.Mark(acknowledged{r.Seq, merkle.LeafHash(line), proof.Checkpoint{Origin: s.vault.Origin(), Size: r.Size, Root: r.Root}})
	}
	commit(put("a", "first"))
	commit(put("b", strings.Repeat("v", 50)))
	mem.Mark(snapped{s.snap()})
	m := &making{v: s.vault, demand: true}
	for i, step := range []func(context.Context) error{m.border, m.cover, m.keep, m.publish} {
		if err := step(context.Background()); err != nil {
			t.Fatal(err)
		}
		commit(put("a", fmt.Sprint("between", i), fmt.Sprint("new", i), strings.Repeat("n", 40+i)))
	}
	seq, err := m.record()
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.vault.snapshotAt(s.vault.View(), seq)
	if err != nil {
		t.Fatal(err)
	}
	mem.Mark(snapped{info})
	commit(s.stage("big", strings.Repeat("0123456789", 25)))
	s.vault.opts.SnapshotKeep = 1
	for i := range 2 {
		commit(wide("w", 6+i))
		s.vault.opts.SnapshotCommits = 1
		if err := s.vault.snapshotIfDue(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.vault.DropSnapshot(context.Background(), 1); err != nil {
		t.Fatal(err)
	}
	s.close()
	s.reopen()
	commit(put("a", "second life"))
	mem.Mark(snapped{s.snap()})
	s.close()
}

// examineSnapshots opens what a crash left: nothing that was told is lost, every
// snapshot that the log records is good, the next one can be made, and then nothing
// is there that no record or pin explains.
func examineSnapshots(at *fsx.CrashState, deep bool) error {
	ctx := context.Background()
	var knows []any
	var snaps []SnapshotInfo
	for _, e := range at.Events {
		switch e := e.(type) {
		case created:
		case snapped:
			snaps = append(snaps, e.info)
		default:
			knows = append(knows, e)
		}
	}
	store, err := Open(ctx, scriptHost(at.Disk, 3), scriptOptions())
	if err != nil {
		return err
	}
	v, err := store.Vault(ctx, "main")
	if err != nil {
		return fmt.Errorf("does not open: %w", err)
	}
	if err := remembers(v, knows); err != nil {
		return err
	}
	list, err := v.Snapshots()
	if err != nil {
		return err
	}
	for _, s := range snaps {
		if uint64(len(list)) < s.Number || list[s.Number-1].Manifest != s.Manifest || list[s.Number-1].Seq != s.Seq {
			return fmt.Errorf("snapshot %+v is lost, there are %v", s, list)
		}
	}
	next, err := v.Snapshot(ctx)
	if err != nil {
		return fmt.Errorf("the next snapshot: %w", err)
	}
	if next.Number != uint64(len(list)+1) {
		return fmt.Errorf("the next snapshot has number %d, %d before it", next.Number, len(list))
	}
	for n := range next.Number {
		r, err := v.VerifySnapshot(ctx, n+1, SnapshotOptions{Replay: true})
		if err != nil || r.Damaged() {
			return fmt.Errorf("snapshot %d: %v, %w", n+1, r, err)
		}
	}
	if err := explained(v, at.Disk, next); err != nil {
		return err
	}
	if err := store.Close(); err != nil || !deep {
		return err
	}
	if store, err = Open(ctx, scriptHost(at.Disk, 3), scriptOptions()); err != nil {
		return err
	}
	report, err := store.Check(ctx, "main", CheckOptions{})
	if err == nil && len(report.Findings) > 0 {
		err = fmt.Errorf("check finds %v", report.Findings)
	}
	if err != nil {
		return err
	}
	return store.Close()
}

// explained says whether all that snapshots leave on a disk is of use.
func explained(v *Vault, d fsx.Disk, newest SnapshotInfo) error {
	const folder = "vaults/main/" + snapshotsName
	entries, err := d.ReadDir(folder)
	if err != nil {
		return err
	}
	if want := int(newest.Number) + 1; len(entries) != want { // and the pins
		return fmt.Errorf("%d entries in %s, wanted %d", len(entries), folder, want)
	}
	pinned := map[uint64]bool{}
	for _, p := range v.pinned() {
		pinned[p.number] = true
	}
	for n := range newest.Number {
		files, err := d.ReadDir(path.Join("vaults/main", snapshotFolder(n+1)))
		if err != nil {
			return err
		}
		// A drop that was cut off has removed lists that still have a pin.
		if most := map[bool]int{true: 3, false: 1}[pinned[n+1]]; len(files) > most {
			return fmt.Errorf("%d files in snapshot %d, wanted at most %d", len(files), n+1, most)
		}
	}
	m, err := parseSnapshotManifest(readAll(d, path.Join("vaults/main", snapshotFolder(newest.Number), manifestName)))
	if err != nil {
		return err
	}
	sealed := 0
	folders, err := d.ReadDir("vaults/main/blocks/sealed")
	if err != nil {
		return err
	}
	for _, f := range folders {
		files, err := d.ReadDir("vaults/main/blocks/sealed/" + f.Name)
		if err != nil {
			return err
		}
		sealed += len(files)
	}
	if uint64(sealed) != m.blocks {
		return fmt.Errorf("%d sealed blocks, %d are recorded", sealed, m.blocks)
	}
	return nil
}

// TestSnapshotCrashStates cuts the power after every disk operation of a life with
// snapshots.
func TestSnapshotCrashStates(t *testing.T) {
	perPrefix, least := 8, 1_200
	switch {
	case testing.Short():
		perPrefix, least = 1, 300
	case os.Getenv("GRAVEN_DEEP") != "":
		perPrefix, least = 500, 15_000
	}
	mem := fsx.NewMem()
	snapCrashStory(t, mem)
	jobs := make(chan func(), 2)
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for job := range jobs {
				job()
			}
		})
	}
	n, failures := 0, 0
	var mu sync.Mutex // guards failures
	for state := range mem.CrashStates(fsx.CrashOptions{MaxPerPrefix: perPrefix, Seed: 5}) {
		if len(state.Events) == 0 {
			continue
		}
		n++
		deep := n%64 == 0
		jobs <- func() {
			if err := examineSnapshots(state, deep); err != nil {
				mu.Lock()
				defer mu.Unlock()
				if failures++; failures < 5 {
					t.Errorf("after operation %d (%s): %v", state.Prefix, state.Desc, err)
				}
			}
		}
	}
	close(jobs)
	workers.Wait()
	t.Logf("%d crash states of %d operations, %d failures", n, len(mem.Ops()), failures)
	if n < least {
		t.Errorf("%d states are too few; wanted %d", n, least)
	}
}
