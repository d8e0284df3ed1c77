package graven

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"graven/internal/fsx"
	"graven/internal/wal"
	"graven/merkle"
	"graven/proof"
	"graven/record"
)

// What the world knows at the moment of a crash. Each is marked in the trace
// of disk operations when it becomes known.
type (
	created      struct{} // Create returned
	acknowledged struct { // a receipt was returned
		seq  uint64
		leaf merkle.Hash // of the record
		head proof.Checkpoint
	}
	published struct{ head proof.Checkpoint } // anybody could read the checkpoint file
)

// watched is a disk that marks what is published, and lies about syncs if told so.
type watched struct {
	fsx.Disk
	mem *fsx.Mem
	lie func(op, name string) bool // op is "sync", "syncdir"; nil: never
}

func (w *watched) lies(op, name string) bool { return w.lie != nil && w.lie(op, name) }

func (w *watched) Rename(old, new string) error {
	var note []byte
	if path.Base(new) == "checkpoint" {
		note = readAll(w.Disk, old)
	}
	if err := w.Disk.Rename(old, new); err != nil {
		return err
	}
	if text, _, ok := bytes.Cut(note, []byte("\n\n")); ok && !strings.Contains(new, ".new-") {
		if head, err := proof.ParseCheckpointText(append(text, '\n')); err == nil {
			w.mem.Mark(published{head})
		}
	}
	return nil
}

func (w *watched) SyncDir(name string) error {
	if w.lies("syncdir", name) {
		return nil
	}
	return w.Disk.SyncDir(name)
}

func (w *watched) Open(name string, mode fsx.Mode) (fsx.File, error) {
	f, err := w.Disk.Open(name, mode)
	if err != nil || w.lie == nil {
		return f, err
	}
	return &watchedFile{f, w, name}, nil
}

type watchedFile struct {
	fsx.File
	w    *watched
	name string
}

func (f *watchedFile) Sync() error {
	if f.w.lies("sync", f.name) {
		return nil
	}
	return f.File.Sync()
}

func readAll(d fsx.Disk, name string) []byte {
	f, err := d.Open(name, fsx.Read)
	if err != nil {
		return nil
	}
	defer f.Close()
	size, _ := f.Size()
	b := make([]byte, size)
	_, _ = f.ReadAt(b, 0)
	return b
}

// story is what happens before the crash: creation, lone and grouped commits,
// a wide transaction, chunked values, deletes, a new policy and a signed
// transaction, settling at several points, log
// rotation, sealed blocks, WAL files used again, a clean end and a second life.
func story(t testing.TB, mem *fsx.Mem, disk fsx.Disk, plant func(*Vault)) {
	mem.Record()
	s := newScript(t, disk, func(g *record.Genesis) {
		small(g)
		g.RunRecords = 2 // enough runs for a segment of level 1
	})
	mem.Mark(created{})
	if plant != nil {
		plant(s.vault)
	}
	acknowledge := func(r *Receipt) {
		line, err := s.vault.View().Record(r.Seq)
		if err != nil {
			t.Fatal(err)
		}
		head := proof.Checkpoint{Origin: s.vault.Origin(), Size: r.Size, Root: r.Root}
		mem.Mark(acknowledged{r.Seq, merkle.LeafHash(line), head})
	}
	commit := func(txs ...*Tx) {
		for _, r := range s.group(txs...) {
			acknowledge(r)
		}
	}
	settle := func() {
		if err := s.vault.settle(); err != nil {
			t.Fatal(err)
		}
	}
	value := strings.Repeat("v", 50)
	commit(put("a", "first"))
	commit(put("a", "second", "b", "first"), put("c", value))
	commit(wide("w", 6))
	settle()
	commit(s.stage("big", strings.Repeat("0123456789", 25)))
	commit(del("b"))
	signer, key := actorKey(t, "signer", proof.TypeEd25519)
	r, err := s.setPolicy(func(p *record.Policy) {
		p.Actors = []record.PolicyActor{{Actor: "signer", Keys: []string{key}}}
	})
	if err != nil {
		t.Fatal(err)
	}
	acknowledge(r)
	commit(signed(put("s", "signed"), "signer", signer))
	for i := range 6 {
		commit(put("fill"+fmt.Sprint(i), value+fmt.Sprint(i)))
	}
	settle()
	commit(put("after", "the seal"))
	settle()
	for i := range 12 {
		commit(put("more"+fmt.Sprint(i), value+"more"+fmt.Sprint(i)))
		if i%8 == 7 {
			settle()
		}
	}
	s.close()
	s.reopen()
	if plant != nil {
		plant(s.vault)
	}
	commit(put("a", "third"))
	commit(s.stage("big2", strings.Repeat("abcdefghij", 21)), put("z", "last"))
	s.close()
}

// examine opens what a crash left and holds it against what the world knew.
func examine(state *fsx.CrashState, deep bool) error {
	ctx := context.Background()
	var knows []any
	born := false
	for _, e := range state.Events {
		if _, ok := e.(created); ok {
			born = true
			continue
		}
		knows = append(knows, e)
	}
	host := scriptHost(state.Disk, 2)
	o := scriptOptions()
	if born {
		// What is published is never torn: others read it without asking us.
		note, _, _ := bytes.Cut(readAll(state.Disk, "vaults/main/checkpoint"), []byte("\n\n"))
		if _, err := proof.ParseCheckpointText(append(note, '\n')); err != nil {
			return fmt.Errorf("the published checkpoint: %w", err)
		}
	}
	store, err := Open(ctx, host, o)
	var v *Vault
	if err == nil {
		v, err = store.Vault(ctx, "main")
	}
	if err != nil {
		if born {
			return fmt.Errorf("does not open: %w", err)
		}
		if store != nil {
			_ = store.Close()
		}
		if store, err = Create(ctx, host, CreateOptions{genesis: small}, o); err != nil {
			return fmt.Errorf("creation cannot be tried again: %w", err)
		}
		if v, err = store.Vault(ctx, "main"); err != nil {
			return err
		}
	}
	if err := remembers(v, knows); err != nil {
		return err
	}
	if _, err := commitGroup(v, put("life", "goes on")); err != nil {
		return fmt.Errorf("cannot commit after recovery: %w", err)
	}
	if err := store.Close(); err != nil {
		return err
	}
	if !deep {
		return nil
	}
	if store, err = Open(ctx, host, o); err != nil {
		return fmt.Errorf("second open: %w", err)
	}
	report, err := store.Check(ctx, "main", CheckOptions{})
	if err != nil {
		return err
	}
	if len(report.Findings) > 0 {
		return fmt.Errorf("check finds %v", report.Findings)
	}
	return store.Close()
}

// remembers says whether a vault holds all that was acknowledged, and extends
// every head that was signed or published.
func remembers(v *Vault, knows []any) error {
	w := v.View()
	extends := func(head proof.Checkpoint) error {
		if head.Size > w.Size() {
			return fmt.Errorf("size %d was signed, the vault has %d", head.Size, w.Size())
		}
		root, err := merkle.RootFrom(head.Size, w.tree)
		if err != nil {
			return err
		}
		if root != head.Root {
			return fmt.Errorf("a second root for size %d", head.Size)
		}
		return nil
	}
	for _, e := range knows {
		switch e := e.(type) {
		case published:
			if err := extends(e.head); err != nil {
				return fmt.Errorf("published: %w", err)
			}
		case acknowledged:
			if err := extends(e.head); err != nil {
				return fmt.Errorf("acknowledged: %w", err)
			}
			line, err := w.Record(e.seq)
			if err != nil {
				return fmt.Errorf("acknowledged record %d cannot be read: %w", e.seq, err)
			}
			if merkle.LeafHash(line) != e.leaf {
				return fmt.Errorf("acknowledged record %d is another", e.seq)
			}
			if p := v.tip.policy; p.seq == e.seq {
				continue // the acknowledged policy is in force
			}
			ops, err := w.Ops(e.seq)
			if err != nil {
				return err
			}
			for _, op := range ops {
				if op.Size == 0 {
					continue
				}
				val, err := v.value(op.Value, op.Size, op.Chunks)
				if err == nil {
					_, err = val.WriteTo(&bytes.Buffer{})
				}
				if err != nil {
					return fmt.Errorf("value of acknowledged record %d is lost: %w", e.seq, err)
				}
			}
		}
	}
	return nil
}

// TestCrashStates cuts the power after every disk operation of the story, in
// every way that the crash model of package fsx knows.
func TestCrashStates(t *testing.T) {
	perPrefix, least := 60, 8_000
	if testing.Short() {
		perPrefix, least = 3, 500
	}
	mem := fsx.NewMem()
	story(t, mem, &watched{Disk: mem, mem: mem}, nil)
	n, failures := examineAll(mem, perPrefix, func(state *fsx.CrashState, err error) bool {
		t.Errorf("after operation %d (%s): %v", state.Prefix, state.Desc, err)
		return true
	})
	t.Logf("%d crash states of %d operations, %d failures", n, len(mem.Ops()), failures)
	files := filesBelow(t, mem, "vaults/main")
	for _, made := range []string{"/index/keys/0-", "/index/keys/1-", "/state/", "/blocks/sealed/"} {
		if !slices.ContainsFunc(files, func(f string) bool { return strings.Contains(f, made) }) {
			t.Errorf("the story makes no %s", made)
		}
	}
	if n < least {
		t.Errorf("%d states are too few to prove anything; wanted %d", n, least)
	}
}

// examineAll examines every crash state of a trace, some of them deeply. It
// tells the first failures, and stops when tell says so.
func examineAll(mem *fsx.Mem, perPrefix int, tell func(*fsx.CrashState, error) bool) (n, failures int) {
	type job struct {
		state *fsx.CrashState
		deep  bool
	}
	jobs := make(chan job)
	var mu sync.Mutex // guards failures, enough and calls of tell
	enough := false
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for j := range jobs {
				err := examine(j.state, j.deep)
				if err == nil {
					continue
				}
				mu.Lock()
				if failures++; failures <= 5 && !enough {
					enough = !tell(j.state, err)
				}
				mu.Unlock()
			}
		})
	}
	for state := range mem.CrashStates(fsx.CrashOptions{MaxPerPrefix: perPrefix, Seed: 1}) {
		n++
		jobs <- job{state, n%64 == 0}
		mu.Lock()
		stop := enough
		mu.Unlock()
		if stop {
			break
		}
	}
	close(jobs)
	workers.Wait()
	return n, failures
}

// lateWAL acknowledges a group before its sync: that comes with the next group.
type lateWAL struct {
	Persist
	late bool
}

func (w *lateWAL) Reserve(n int) error {
	if w.late {
		if err := w.Persist.Sync(); err != nil {
			return err
		}
	}
	w.late = true
	return w.Persist.Reserve(n)
}

func (w *lateWAL) Sync() error { return nil }

func (w *lateWAL) Close() error { return errors.Join(w.Persist.Sync(), w.Persist.Close()) }

// forgetful lets the WAL use files again before their groups are synced elsewhere.
type forgetful struct{ Persist }

func (w *forgetful) Append(g *wal.Group) error {
	if g.Height > 0 {
		w.Persist.Forget(g.Height - 1)
	}
	return w.Persist.Append(g)
}

// TestPlantedBugs breaks one promise at a time; the examination must notice.
func TestPlantedBugs(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped in short mode: bugs are planted in the full run")
	}
	const vault = "vaults/main/"
	in := func(op, prefix string) func(string, string) bool {
		return func(o, name string) bool { return o == op && strings.HasPrefix(name, prefix) }
	}
	for _, bug := range []struct {
		name  string
		lie   func(op, name string) bool
		plant func(*Vault)
	}{
		{name: "the WAL is never synced", lie: in("sync", vault+"wal/")},
		{name: "the WAL's folder is not synced", lie: in("syncdir", vault+"wal")},
		{name: "acknowledged before the WAL's sync", plant: func(v *Vault) { v.wal = &lateWAL{Persist: v.wal} }},
		{name: "the WAL forgets before log and blocks are synced", plant: func(v *Vault) { v.wal = &forgetful{v.wal} }},
		{name: "the log is never synced", lie: in("sync", vault+"log/")},
		{name: "the log's folder is not synced", lie: in("syncdir", vault+"log")},
		{name: "open blocks are never synced", lie: in("sync", vault+"blocks/open/")},
		{name: "the folder of open blocks is not synced", lie: in("syncdir", vault+"blocks/open")},
		{name: "folders of sealed blocks are not synced", lie: in("syncdir", vault+"blocks/sealed")},
		{name: "the checkpoint is replaced unsynced", lie: in("sync", vault+".new-0-checkpoint")},
		{name: "a new vault is named before its files are synced", lie: in("sync", "vaults/.new-0-main/")},
		{name: "a new vault's folders are not synced", lie: in("syncdir", "vaults/.new-0-main")},
		{name: "the folder of vaults is not synced", lie: in("syncdir", "vaults")},
	} {
		t.Run(bug.name, func(t *testing.T) {
			mem := fsx.NewMem()
			story(t, mem, &watched{Disk: mem, mem: mem, lie: bug.lie}, bug.plant)
			n, failures := examineAll(mem, 40, func(state *fsx.CrashState, err error) bool {
				t.Logf("caught: after operation %d (%s): %v", state.Prefix, state.Desc, err)
				return false
			})
			if failures == 0 {
				t.Errorf("%d crash states did not show it", n)
			}
		})
	}
}

// TestCrashesInRecovery cuts the power again while what the first cut left is
// being recovered.
func TestCrashesInRecovery(t *testing.T) {
	every, perPrefix, least := 1009, 6, 3_000 // of the first crashes every so many
	if os.Getenv("GRAVEN_DEEP") != "" {
		every, least = 53, 50_000
	}
	if testing.Short() {
		every, perPrefix, least = 997, 3, 100
	}
	mem := fsx.NewMem()
	story(t, mem, &watched{Disk: mem, mem: mem}, nil)
	first, second, failures := 0, 0, 0
	for state := range mem.CrashStates(fsx.CrashOptions{MaxPerPrefix: 64, Seed: 2}) {
		if first++; first%every != 0 || !slices.Contains(state.Events, any(created{})) {
			continue
		}
		disk := state.Disk
		disk.Record()
		for _, e := range state.Events {
			disk.Mark(e)
		}
		if err := examine(&fsx.CrashState{Events: state.Events, Disk: disk}, false); err != nil {
			t.Fatalf("the first crash, after operation %d (%s): %v", state.Prefix, state.Desc, err)
		}
		n, failed := examineAll(disk, perPrefix, func(again *fsx.CrashState, err error) bool {
			if len(again.Events) < len(state.Events) {
				return true // before the marks were set
			}
			t.Errorf("after operation %d (%s), then after operation %d of the recovery (%s): %v", state.Prefix, state.Desc, again.Prefix, again.Desc, err)
			return true
		})
		second += n
		failures += failed
	}
	t.Logf("%d crash states of recoveries, %d failures", second, failures)
	if second < least {
		t.Errorf("%d states are too few; wanted %d", second, least)
	}
}

// TestKillsThenPowerCuts kills the process at every call that changes something,
// lets a second one recover and commit, and cuts the power at every moment of
// that: what the second reads may be what the first had not synced.
func TestKillsThenPowerCuts(t *testing.T) {
	count := fsx.Fault(fsx.NewMem(), func(fsx.Call) error { return nil })
	live(count)
	perPrefix, stride := 2, 9 // of all calls every ninth, of all in make test-deep
	switch {
	case testing.Short():
		perPrefix, stride = 1, 11
	case os.Getenv("GRAVEN_DEEP") != "":
		perPrefix, stride = 3, 1
	}
	kills, states, failures := 0, 0, 0
	for n := 0; n < count.Calls(); n += stride {
		mem := fsx.NewMem()
		mem.Record()
		changes, dead := false, false
		acks, _ := live(fsx.Fault(&watched{Disk: mem, mem: mem, lie: func(string, string) bool { return false }}, func(c fsx.Call) error {
			if c.N == n {
				changes, dead = c.Mutates() || c.Op == "sync" || c.Op == "syncdir", true
			}
			if dead {
				return fsx.ErrIO
			}
			return nil
		}))
		mem.Kill()
		if !changes || len(acks) == 0 {
			continue
		}
		kills++
		from := len(mem.Ops())
		if err := secondLife(mem); err != nil {
			t.Fatalf("killed at call %d: %v", n, err)
		}
		for state := range mem.CrashStates(fsx.CrashOptions{MaxPerPrefix: perPrefix, Seed: uint64(n), From: from}) {
			states++
			if err := rises(state.Disk, acks); err != nil {
				if failures++; failures < 5 {
					t.Errorf("killed at call %d, power cut after operation %d (%s): %v", n, state.Prefix, state.Desc, err)
				}
			}
		}
	}
	t.Logf("%d kills, %d power cuts behind them, %d failures", kills, states, failures)
	if kills < 280/stride || states < 3000/stride {
		t.Errorf("only %d kills and %d power cuts", kills, states)
	}
}

// secondLife opens what another process left, commits, and settles.
func secondLife(mem *fsx.Mem) error {
	store, err := Open(context.Background(), scriptHost(mem, 7), scriptOptions())
	if err != nil {
		return err
	}
	v, err := store.Vault(context.Background(), "main")
	if err != nil {
		return err
	}
	if _, err := commitGroup(v, put("second", "life")); err != nil {
		return err
	}
	return v.settle()
}
