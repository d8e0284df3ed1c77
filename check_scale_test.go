package graven

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"graven/internal/fsx"
	"graven/internal/fsx/osfs"
	"graven/record"
)

// TestCheckResume cancels a check at each of its looks in turn, and lets it go on: no
// sealed block is read twice, and what is damaged is found all the same.
func TestCheckResume(t *testing.T) {
	mem, _ := settled(t, 40)
	ctx := context.Background()
	step := 3
	if testing.Short() {
		step = 9
	}
	for _, damaged := range []bool{false, true} {
		base := mem.Clone()
		bad := ""
		if damaged {
			for _, f := range walk(t, base, "vaults/main/blocks/sealed") {
				bad = strings.TrimPrefix(f, "vaults/main/")
			}
			content := readAll(base, "vaults/main/"+bad)
			overwrite(t, base, "vaults/main/"+bad, int64(len(content)/2), []byte{content[len(content)/2] ^ 1})
		}
		var whole *Report
		interrupted := 0
		for stop := 1; ; stop += step {
			store, err := Open(ctx, scriptHost(base.Clone(), 4), scriptOptions())
			if err != nil {
				t.Fatal(err)
			}
			cut, cancel := context.WithCancel(ctx)
			looks := 0
			r, err := store.Check(cut, "main", CheckOptions{Progress: func(int64, int64) {
				if looks++; looks == stop {
					cancel()
				}
			}})
			cancel()
			if err == nil {
				whole = r
				_ = store.Close()
				break
			}
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			interrupted++
			again, err := store.Check(ctx, "main", CheckOptions{Resume: true})
			if err != nil {
				t.Fatal(err)
			}
			if again.Damaged() != damaged || damaged && !slices.ContainsFunc(again.Findings, func(f Finding) bool { return f.File == bad }) {
				t.Errorf("stopped at look %d, and went on: %v", stop, again.Findings)
			}
			if !slices.ContainsFunc(again.Notes, func(n string) bool { return strings.Contains(n, "check") }) {
				t.Errorf("the report does not say what it was: %v", again.Notes)
			}
			third, err := store.Check(ctx, "main", CheckOptions{Resume: true})
			if err != nil || third.Bytes < again.Bytes || third.Damaged() != damaged {
				t.Errorf("after its end: %d bytes, before %d, %v", third.Bytes, again.Bytes, err)
			}
			_ = store.Close()
		}
		if interrupted < 60/step || whole == nil {
			t.Errorf("interrupted %d times", interrupted)
		}
	}
}

// TestCheckSkipsVerified counts the bytes of a check that goes on behind the blocks.
func TestCheckSkipsVerified(t *testing.T) {
	mem, _ := settled(t, 40)
	ctx := context.Background()
	store, err := Open(ctx, scriptHost(mem, 4), scriptOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	full, err := store.Check(ctx, "main", CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cut, cancel := context.WithCancel(ctx)
	_, err = store.Check(cut, "main", CheckOptions{Progress: func(done, _ int64) {
		if done >= full.Bytes*9/10 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	rest, err := store.Check(ctx, "main", CheckOptions{Resume: true})
	if err != nil || rest.Bytes >= full.Bytes || rest.Damaged() || rest.Size != full.Size || rest.State != full.State || rest.Blocks != full.Blocks {
		t.Errorf("%v: a whole check reads %d bytes, the rest %d\n%+v", err, full.Bytes, rest.Bytes, rest)
	}
}

// weighing is a disk that calls look whenever a name with a prefix is opened.
type weighing struct {
	fsx.Disk
	prefix string
	look   func()
}

func (w *weighing) Open(name string, mode fsx.Mode) (fsx.File, error) {
	if w.look != nil && strings.HasPrefix(name, w.prefix) {
		w.look()
	}
	f, err := w.Disk.Open(name, mode)
	return noSync{f}, err
}

// SyncDir does nothing: no power is cut here, and a slow disk is not what is weighed.
func (w *weighing) SyncDir(string) error { return nil }

type noSync struct{ fsx.File }

func (noSync) Sync() error { return nil }

// TestCheckMemory checks a vault of many keys: what lives in memory while the log is
// replayed does not grow with them, as it does where nothing may be written.
func TestCheckMemory(t *testing.T) {
	const keys, perGroup = 60_000, 2000 // with 150,000: 14 MiB and 58 MiB
	root, err := osfs.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	disk := &weighing{Disk: root}
	o := scriptOptions()
	o.stateBytes, o.walBytes = 2<<20, 8<<20
	ctx := context.Background()
	store, err := Create(ctx, scriptHost(disk, 1), CreateOptions{genesis: func(g *record.Genesis) { g.RunOps = 4000 }}, o)
	if err != nil {
		t.Fatal(err)
	}
	v, err := store.Vault(ctx, "main")
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < keys; i += perGroup {
		tx := new(Tx)
		for k := range perGroup {
			tx.Put([]byte(fmt.Sprintf("a key of some length %09d", (i+k)*7919%keys)), Bytes([]byte("v")), PutOptions{})
		}
		if _, err := commitGroup(v, tx); err != nil {
			t.Fatal(err)
		}
		if err := v.settle(); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // what the first one found to have a finalizer goes with the second
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	most := map[bool]uint64{}
	for _, readOnly := range []bool{true, false} {
		o.ReadOnly = readOnly
		disk.look = nil
		store, err := Open(ctx, scriptHost(disk, 2), o)
		if err != nil {
			t.Fatal(err)
		}
		if !readOnly {
			if _, err := store.Vault(ctx, "main"); err != nil {
				t.Fatal(err)
			}
		}
		before := heap()
		disk.prefix = map[bool]string{false: "vaults/main/" + checkFolder, true: "vaults/main/state/"}[readOnly]
		looks := 0
		disk.look = func() {
			if looks++; looks%16 != 1 && !readOnly {
				return
			}
			if now := heap(); now > before+most[readOnly] {
				most[readOnly] = now - before
			}
		}
		r, err := store.Check(ctx, "main", CheckOptions{})
		if err != nil || len(r.Findings) > 0 {
			t.Fatal(err, r)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d keys: %d KiB on disk's side, %d KiB in memory alone", keys, most[false]>>10, most[true]>>10)
	if bound := uint64(14 << 20); most[false] == 0 || most[false] > bound || most[true] < most[false] {
		t.Errorf("the check had %d bytes in memory, wanted at most %d and fewer than %d", most[false], bound, most[true])
	}
}
