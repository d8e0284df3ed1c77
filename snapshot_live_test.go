package graven

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"graven/internal/fsx"
)

// liveHost is a host for vaults that have their goroutines.
func liveHost(d fsx.Disk, seed byte) Host {
	host := scriptHost(d, seed)
	var mu sync.Mutex
	tick := host.Now
	host.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return tick() }
	host.After = time.After
	return host
}

// liveVault is a vault with its goroutines.
func liveVault(t *testing.T, d fsx.Disk, o Options) (*Store, *Vault) {
	t.Helper()
	host := liveHost(d, 4)
	store, err := Create(context.Background(), host, CreateOptions{genesis: small}, o)
	if err != nil {
		t.Fatal(err)
	}
	v, err := store.Vault(context.Background(), "main")
	if err != nil {
		t.Fatal(err)
	}
	return store, v
}

// TestSnapshotBesideWriters makes snapshots, by policy and on demand, while others
// write, read the past and drop snapshots; all are good at the end.
func TestSnapshotBesideWriters(t *testing.T) {
	mem := fsx.NewMem()
	store, v := liveVault(t, mem, Options{PublishEvery: time.Millisecond, SnapshotCommits: 25, SnapshotKeep: 3, stateBytes: 4096, BatchOps: 4})
	ctx := context.Background()
	var all sync.WaitGroup
	for writer := range 4 {
		all.Go(func() {
			for i := range 60 {
				tx := put(fmt.Sprint("k", writer, "/", i%9), fmt.Sprint("value ", i), fmt.Sprint("only", writer, "/", i), strings.Repeat("y", 50))
				if _, err := v.Commit(ctx, tx); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Go(func() {
		for range 5 {
			info, err := v.Snapshot(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			if r, err := v.VerifySnapshot(ctx, info.Number, SnapshotOptions{}); err != nil || r.Damaged() {
				t.Errorf("%+v, %v", r, err)
			}
			if err := v.DropSnapshot(ctx, info.Number); err != nil {
				t.Error(err)
			}
		}
	})
	all.Wait()
	if _, err := v.Snapshot(ctx); err != nil {
		t.Fatal(err)
	}
	list, err := v.Snapshots()
	if err != nil || len(list) < 6 {
		t.Fatalf("%d snapshots, %v", len(list), err)
	}
	for i, info := range list {
		if i > 0 && info.Position <= list[i-1].Position {
			t.Errorf("snapshot %d stands at %d, the one before at %d", info.Number, info.Position, list[i-1].Position)
		}
		verified(t, v, info.Number, true)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Snapshot(ctx); !errors.Is(err, ErrClosed) {
		t.Errorf("a snapshot of a closed vault: %v", err)
	}
	if err := v.DropSnapshot(ctx, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("dropped in a closed vault: %v", err)
	}
	if report := rebuild(t, mem); report.Damaged() {
		t.Error(report.Findings)
	}
}

// gated is a disk that can be stopped before a file gets its name.
type gated struct {
	fsx.Disk
	gate atomic.Pointer[func(name string)]
}

func (g *gated) pass(name string) {
	if gate := g.gate.Load(); gate != nil {
		(*gate)(name)
	}
}

func (g *gated) Rename(from, to string) error {
	g.pass(to)
	return g.Disk.Rename(from, to)
}

func (g *gated) Link(from, to string) error {
	g.pass(to)
	return g.Disk.Link(from, to)
}

// TestSnapshotHoldsNobodyUp stops the disk wherever only a snapshot writes, and
// commits meanwhile.
func TestSnapshotHoldsNobodyUp(t *testing.T) {
	for _, place := range []string{"blocks/sealed/", "state/", "snapshots/"} {
		reached, goOn := make(chan struct{}), make(chan struct{})
		disk := &gated{Disk: fsx.NewMem()}
		store, v := liveVault(t, disk, Options{PublishEvery: time.Hour, SnapshotCommits: -1, SnapshotEvery: -1})
		ctx := context.Background()
		if _, err := v.Commit(ctx, put("a", "1")); err != nil {
			t.Fatal(err)
		}
		var once sync.Once
		stop := func(name string) {
			if strings.HasPrefix(name, "vaults/main/"+place) {
				once.Do(func() { close(reached); <-goOn })
			}
		}
		disk.gate.Store(&stop)
		done := make(chan error, 1)
		go func() {
			_, err := v.Snapshot(ctx)
			done <- err
		}()
		<-reached
		for i := range 10 {
			if _, err := v.Commit(ctx, put(fmt.Sprint("b", i), "2")); err != nil {
				t.Errorf("%s: %v", place, err)
			}
		}
		close(goOn)
		if err := <-done; err != nil {
			t.Errorf("%s: %v", place, err)
		}
		if r := verified(t, v, 1, true); r.Position > 8 {
			t.Errorf("%s: the snapshot stands at %d, behind what was written beside it", place, r.Position)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSnapshotDuringAMerge stops the disk in a merge and asks for a snapshot, which waits
// for the merge: writers go on until more runs have ended than may wait.
func TestSnapshotDuringAMerge(t *testing.T) {
	reached, goOn := make(chan struct{}), make(chan struct{})
	disk := &gated{Disk: fsx.NewMem()}
	store, v := liveVault(t, disk, Options{PublishEvery: time.Millisecond, SnapshotCommits: -1, SnapshotEvery: -1})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var once sync.Once
	stop := func(name string) {
		if strings.HasPrefix(name, "vaults/main/index/") && strings.Contains(name, "/1-") {
			once.Do(func() { close(reached) })
			<-goOn
		}
	}
	disk.gate.Store(&stop)
	write := func() {
		t.Helper()
		if _, err := v.Commit(ctx, put("k", "1")); err != nil {
			t.Fatal(err)
		}
	}
	for merging := false; !merging; {
		write()
		select {
		case <-reached:
			merging = true
		default:
		}
	}
	before := v.View().Size()
	done := make(chan error, 1)
	go func() {
		_, err := v.Snapshot(ctx)
		done <- err
	}()
	for v.View().Size() < before+300 { // 100 runs
		write()
	}
	close(goOn)
	if err := <-done; err != nil {
		t.Error(err)
	}
	verified(t, v, 1, true)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestSnapshotEveryCallFails lets each call of the disk that a snapshot makes fail.
// The error has a kind, and on a sound disk the vault has all that was acknowledged
// and makes the next snapshot.
func TestSnapshotEveryCallFails(t *testing.T) {
	life := func(d fsx.Disk) (acks []any, err error) {
		acks, errs := live(d)
		if errors.Join(errs...) != nil {
			return acks, errors.Join(errs...)
		}
		store, err := Open(context.Background(), scriptHost(d, 2), scriptOptions())
		if err != nil {
			return acks, err
		}
		v, err := store.Vault(context.Background(), "main")
		if err == nil {
			_, err = v.Snapshot(context.Background())
		}
		if err == nil {
			_, err = commitGroup(v, put("after", "all"))
		}
		return acks, errors.Join(err, store.Close())
	}
	before := fsx.Fault(fsx.NewMem(), func(fsx.Call) error { return nil })
	live(before)
	whole := fsx.Fault(fsx.NewMem(), func(fsx.Call) error { return nil })
	if _, err := life(whole); err != nil {
		t.Fatal(err)
	}
	step := 5
	if testing.Short() {
		step = 23
	}
	runs, failed := 0, 0
	for n := before.Calls(); n < whole.Calls(); n += step {
		for i, fault := range []error{fsx.ErrIO, fsx.ErrNoSpace} {
			runs++
			mem := fsx.NewMem()
			acks, err := life(fsx.Fault(mem, fsx.FailCall(n, fault, i == 0)))
			if err != nil {
				failed++
				if !isTyped(err) {
					t.Errorf("call %d, %v: %v is of no kind that a caller can tell", n, fault, err)
				}
			}
			mem.Kill()
			if err := examineSnapshots(&fsx.CrashState{Disk: mem, Events: acks}, false); err != nil {
				t.Errorf("call %d, %v: %v", n, fault, err)
			}
		}
	}
	t.Logf("%d runs, %d failed", runs, failed)
	if failed < runs/4 {
		t.Error("too few fail")
	}
}

// TestSnapshotWaitsWithinItsContext: another one may be under way for long.
func TestSnapshotWaitsWithinItsContext(t *testing.T) {
	s := newScript(t, fsx.NewMem(), small)
	s.group(put("a", "first"))
	s.vault.snapping.Lock()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.vault.Snapshot(ctx); !errors.Is(err, context.Canceled) || s.vault.snapping.TryLock() {
		t.Error(err)
	}
	s.vault.snapping.Unlock()
	s.snap()
	s.close()
}
