package index

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"graven/internal/fsx"
)

// put makes a file of the index hold these bytes.
func put(t testing.TB, d fsx.Disk, name string, data []byte) {
	t.Helper()
	must(t, fsx.NewDir(d, fsx.VaultRules()).Replace(name, data))
}

// askEverything asks all there is to ask. It returns the first error; a wrong
// answer fails the test.
func askEverything(t *testing.T, h *history, x *Index) error {
	t.Helper()
	err := h.asks(t, x, rand.New(rand.NewPCG(9, 9)), 4)
	if rest := h.asksRest(t, x); err == nil {
		err = rest
	}
	return err
}

// A byte of any file changes. Either the open says so and the border is before
// the segment, or answers are errors that name the file, or they are right. The
// next seals make all as it was.
func TestEveryByte(t *testing.T) {
	h := makeHistory(18, 6, 10)
	disk := fsx.NewMem()
	must(t, h.sealed(t, disk).Close())
	good := contents(t, disk)
	atOpen, atRead := 0, 0
	for name, data := range good {
		if strings.Contains(name, "0-00000017") {
			continue // as 16
		}
		step := 1 + len(data)/150
		for at := len(name) % step; at < len(data); at += step {
			bad := []byte(data)
			bad[at] ^= 1 << (at % 8)
			d := disk.Clone()
			put(t, d, name, bad)
			x, notes, err := Open(folder(d), testVault, h.opts)
			must(t, err)
			last := Border{}
			if b := x.Borders(); len(b) > 0 {
				last = b[len(b)-1]
			}
			if (last.Runs < 18) != (len(notes) > 0) {
				t.Fatalf("%s, byte %d: %d runs, notes %q", name, at, last.Runs, notes)
			}
			must(t, x.Begin(last.Runs))
			h.replay(t, x, last.To)
			err = askEverything(t, h, x)
			var damage *DamageError
			switch {
			case err != nil && (!errors.As(err, &damage) || damage.File != name || last.Runs < 18):
				t.Fatalf("%s, byte %d: %v", name, at, err)
			case last.Runs < 18:
				atOpen++
			case err != nil:
				atRead++
			}
			if at%(5*step) == 0 {
				mend(t, h, d, x, name, good)
			}
			must(t, x.Close())
		}
	}
	if atOpen < 50 || atRead < 50 {
		t.Fatalf("%d damages were found at open, %d at reads", atOpen, atRead)
	}
}

// mend finds the damage, makes the segment again, and wants all as it was.
func mend(t *testing.T, h *history, d *fsx.Mem, x *Index, name string, good map[string]string) {
	t.Helper()
	must(t, x.Check(context.Background(), func(err error) error {
		var damage *DamageError
		if !errors.As(err, &damage) || damage.File != name {
			t.Fatalf("%s: finding %v", name, err)
		}
		return x.Discard(damage.File)
	}))
	x = mustOpen(t, d, h.opts)
	runs := uint64(0)
	for _, b := range x.Borders() {
		runs = max(runs, b.Runs)
	}
	must(t, x.Begin(runs))
	h.sealRest(t, x)
	_, err := x.Merge(context.Background())
	must(t, err)
	must(t, x.Sweep())
	wantContents(t, d, good)
	must(t, x.Close())
}

func wantContents(t testing.TB, d fsx.Disk, want map[string]string) {
	t.Helper()
	got := contents(t, d)
	for name, data := range want {
		if got[name] != data {
			t.Fatalf("%s: %d bytes, wanted %d, or others", name, len(got[name]), len(data))
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Fatalf("%s should not be there", name)
		}
	}
}

func TestUnusableFiles(t *testing.T) {
	h := makeHistory(3, 6, 10)
	disk := fsx.NewMem()
	must(t, h.sealed(t, disk).Close())
	all := contents(t, disk)
	const name = "index/keys/0-00000001.seg"
	good := []byte(all[name])
	otherVault := bytes.Replace(good, []byte(testVault.String()), []byte(strings.Repeat("1", 32)), 1)
	for what, tt := range map[string]struct {
		data []byte
		note string
	}{
		"cut":             {good[:len(good)-1], "damaged"},
		"empty":           {nil, "damaged"},
		"longer":          {append(bytes.Clone(good), 0), "damaged"},
		"other vault":     {otherVault, "another place"},
		"other number":    {[]byte(all["index/keys/0-00000002.seg"]), "another place"},
		"other table":     {[]byte(all["index/log/0-00000001.seg"]), "another place"},
		"next version":    {bytes.Replace(good, []byte("index 1"), []byte("index 2"), 1), "unknown version"},
		"another history": {[]byte(contents(t, another(t))[name]), "wanted records"},
	} {
		d := disk.Clone()
		put(t, d, name, tt.data)
		x, notes, err := Open(folder(d), testVault, h.opts)
		must(t, err)
		text := strings.Join(notes, "\n")
		if b := x.Borders(); len(b) != 1 || b[0].Runs != 1 || !strings.Contains(text, tt.note) || !strings.Contains(text, "segment 0/2") {
			t.Errorf("%s: borders %v, notes %q", what, b, notes)
		}
		if strings.Contains(text, "damaged") && tt.note == "unknown version" {
			t.Errorf("%s is called damage: %q", what, notes)
		}
	}
	d := disk.Clone()
	must(t, folder(d).Discard("log/0-00000000.seg"))
	x, notes, err := Open(folder(d), testVault, h.opts)
	must(t, err)
	if len(x.Borders()) != 0 || len(notes) != 3 || !strings.Contains(notes[0], "index/log/0-00000000.seg") {
		t.Errorf("missing: borders %v, notes %q", x.Borders(), notes)
	}
}

// another is a disk with other runs.
func another(t *testing.T) fsx.Disk {
	d := fsx.NewMem()
	must(t, makeHistory(3, 7, 10).sealed(t, d).Close())
	return d
}

// A failing disk is an error, and not damage.
func TestReadErrors(t *testing.T) {
	h := makeHistory(18, 6, 10)
	disk := fsx.NewMem()
	must(t, h.sealed(t, disk).Close())
	fail := false
	x := mustOpen(t, fsx.Fault(disk, func(c fsx.Call) error {
		if fail && c.Op == "read" {
			return fsx.ErrIO
		}
		return nil
	}), h.opts)
	must(t, x.Begin(18))
	fail = true
	err := askEverything(t, h, x)
	if !errors.Is(err, fsx.ErrIO) || errors.Is(err, ErrDamaged) {
		t.Fatalf("got %v, want ErrIO only", err)
	}
	fail = false
	must(t, askEverything(t, h, x))
	for n := 0; ; n++ {
		f := fsx.Fault(disk, fsx.FailCall(n, fsx.ErrIO, false))
		if _, _, err := Open(folder(f), testVault, h.opts); err == nil {
			if n < 10 {
				t.Fatalf("no error at call %d", n)
			}
			break
		} else if !errors.Is(err, fsx.ErrIO) {
			t.Fatalf("call %d: %v", n, err)
		}
	}
}

// life is what a writer does behind its commits, from 15 runs on: it seals two,
// merges in between, and sweeps.
func life(h *history, x *Index, mark func(event string)) error {
	for _, run := range h.runs[15:17] {
		if _, runs := x.Border(); runs <= run.Number {
			if _, err := x.Seal(run); err != nil {
				return err
			}
		}
		mark(fmt.Sprint("sealed ", run.Number))
		if _, err := x.Merge(context.Background()); err != nil {
			return err
		}
	}
	err := x.Sweep()
	mark("swept")
	return err
}

// prepared is a disk with 15 runs of the history, and the index behind them.
func prepared(t *testing.T, h *history, wrap func(*fsx.Mem) fsx.Disk) (*fsx.Mem, *Index) {
	t.Helper()
	disk := fsx.NewMem()
	first := *h
	first.runs = h.runs[:15]
	must(t, first.sealed(t, disk).Close())
	x := mustOpen(t, wrap(disk), h.opts)
	must(t, x.Begin(15))
	to, _ := x.Border()
	h.replay(t, x, to)
	return disk, x
}

func same(m *fsx.Mem) fsx.Disk { return m }

func TestCrash(t *testing.T) {
	h := makeHistory(17, 4, 10)
	disk, x := prepared(t, h, same)
	disk.Record()
	must(t, life(h, x, func(e string) { disk.Mark(e) }))
	must(t, askEverything(t, h, x))
	want := contents(t, disk)
	states, late := 0, 0
	for state := range disk.CrashStates(fsx.CrashOptions{MaxPerPrefix: 24}) {
		states++
		fail := recovered(t, h, state.Disk, state.Events, want)
		if fail != "" {
			t.Fatalf("after %d operations, %v, %s: %s", state.Prefix, state.Events, state.Desc, fail)
		}
		if len(state.Events) > 2 {
			late++
		}
	}
	if states < 300 || late == 0 {
		t.Fatalf("%d states, %d after the end", states, late)
	}
}

// recovered opens what a crash left, goes on to the end, and says what is wrong.
func recovered(t *testing.T, h *history, d *fsx.Mem, events []any, want map[string]string) string {
	x := mustOpen(t, d, h.opts)
	defer x.Close()
	last := uint64(0)
	for _, b := range x.Borders() {
		last = max(last, b.Runs)
	}
	if least := uint64(15 + min(len(events), 2)); last < least {
		return fmt.Sprintf("%d runs, %d were sealed", last, least)
	}
	must(t, x.Begin(last))
	if err := x.Sweep(); err != nil {
		return err.Error()
	}
	h.sealRest(t, x)
	if _, err := x.Merge(context.Background()); err != nil {
		return err.Error()
	}
	must(t, h.asks(t, x, rand.New(rand.NewPCG(4, 4)), 1))
	if err := x.Sweep(); err != nil {
		return err.Error()
	}
	wantContents(t, d, want)
	return ""
}

// A crash in what follows after the process was killed in the middle of a merge.
func TestCrashTwice(t *testing.T) {
	h := makeHistory(17, 4, 10)
	disk, x := prepared(t, h, same)
	must(t, life(h, x, func(string) {}))
	want := contents(t, disk)
	must(t, x.Close())
	// Where the second life begins: everything is there, the merged and the new.
	disk, x = prepared(t, h, same)
	_, err := x.Seal(h.runs[15])
	must(t, err)
	must(t, x.Close())
	disk.Record()
	for _, name := range []string{"log", "ids", "shard-000", "keys"} {
		// Linked, but the folder was not synced.
		file := "index/" + name + "/1-00000000.seg"
		f, err := disk.Open(file, fsx.Create)
		must(t, err)
		_, err = f.WriteAt([]byte(want[file]), 0)
		must(t, errors.Join(err, f.Sync(), f.Close()))
	}
	if fail := recovered(t, h, disk, nil, want); fail != "" {
		t.Fatal(fail)
	}
	states := 0
	for state := range disk.CrashStates(fsx.CrashOptions{MaxPerPrefix: 12, Seed: 1}) {
		states++
		if fail := recovered(t, h, state.Disk, nil, want); fail != "" {
			t.Fatalf("after %d operations, %s: %s", state.Prefix, state.Desc, fail)
		}
	}
	if states < 100 {
		t.Fatalf("%d states", states)
	}
}

// A killed process left a file of the next segment that is whole to a reader and
// yet not durable. A seal that returns has made it so.
func TestCrashAfterKill(t *testing.T) {
	h := makeHistory(17, 4, 10)
	disk, x := prepared(t, h, same)
	_, err := x.Seal(h.runs[15])
	must(t, err)
	made := contents(t, disk)
	must(t, life(h, x, func(string) {}))
	want := contents(t, disk)

	disk, x = prepared(t, h, same)
	disk.Record()
	for _, name := range []string{"index/log/0-00000015.seg", "index/ids/0-00000015.seg"} {
		f, err := disk.Open(name, fsx.Create)
		must(t, err)
		_, err = f.WriteAt([]byte(made[name]), 0)
		must(t, errors.Join(err, f.Close()))
	}
	_, err = x.Seal(h.runs[15])
	must(t, err)
	disk.Mark("sealed")
	sealed := 0
	for state := range disk.CrashStates(fsx.CrashOptions{MaxPerPrefix: 24}) {
		sealed += len(state.Events)
		if fail := recovered(t, h, state.Disk, state.Events, want); fail != "" {
			t.Fatalf("after %d operations, %v, %s: %s", state.Prefix, state.Events, state.Desc, fail)
		}
	}
	if sealed == 0 {
		t.Fatal("no state after the seal")
	}
}

// Whatever call fails, nothing changes for readers, and the same again succeeds.
func TestWriteErrors(t *testing.T) {
	h := makeHistory(17, 4, 10)
	disk, x := prepared(t, h, same)
	must(t, life(h, x, func(string) {}))
	want := contents(t, disk)
	for n, calls := 0, -1; calls < 0 || n < calls; n++ {
		armed, count := false, 0
		disk, x := prepared(t, h, func(m *fsx.Mem) fsx.Disk {
			return fsx.Fault(m, func(fsx.Call) error {
				if armed {
					count++
				}
				if armed && count == n+1 {
					return fsx.ErrNoSpace
				}
				return nil
			})
		})
		armed = true
		err := life(h, x, func(string) {})
		armed = false
		if count < n+1 {
			calls = count
		} else if err == nil && n%7 == 0 {
			t.Logf("call %d: no error", n) // as removing a temporary name, which a sweep does too
		}
		must(t, askEverything(t, h, x))
		must(t, life(h, x, func(string) {}))
		must(t, askEverything(t, h, x))
		wantContents(t, disk, want)
		must(t, x.Close())
		if n < 40 && calls >= 0 {
			t.Fatalf("only %d calls", calls)
		}
	}
}

func TestMergeIsCancelled(t *testing.T) {
	h := makeHistory(16, 200, 3000)
	disk := fsx.NewMem()
	x := mustOpen(t, disk, h.opts)
	must(t, x.Begin(0))
	h.sealRest(t, x)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if made, err := x.Merge(ctx); !errors.Is(err, context.Canceled) || len(made) > 0 {
		t.Fatalf("%v, %v", made, err)
	}
	must(t, askEverything(t, h, x))
	made, err := x.Merge(context.Background())
	if err != nil || len(made) != 1 || made[0].Level != 1 {
		t.Fatalf("%v, %v", made, err)
	}
	must(t, askEverything(t, h, x))
}
