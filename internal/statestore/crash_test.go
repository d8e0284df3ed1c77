package statestore

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"graven/internal/fsx"
	"graven/state"
)

// written is an event of the trace: the set of this position is durable.
type written uint64

// life writes sets, and opens the store anew now and then.
func life(t testing.TB, m *fsx.Mem, d fsx.Disk) map[uint64]state.Map {
	t.Helper()
	r := rand.New(rand.NewPCG(8, 8))
	truth := map[uint64]state.Map{}
	var plain, paged state.Map
	s, seq := mustOpen(t, d), uint64(50)
	put(t, first(0, 50), &plain, &paged)
	for i := range 10 {
		position := uint64(i) + 1
		truth[position] = plain
		var err error
		if paged, _, err = s.Write(paged, position); err != nil {
			t.Fatal(err)
		}
		m.Mark(written(position))
		if i%3 == 2 {
			s = mustOpen(t, d)
			paged, _ = newest(t, s)
		}
		put(t, some(r, 20, 50, &seq), &plain, &paged)
	}
	return truth
}

// judge says what is wrong with what a crash left: nothing older than the newest
// set that was durable may be found, and what is found is whole.
func judge(t testing.TB, d fsx.Disk, events []any, truth map[uint64]state.Map) string {
	s, notes, err := Open(stateDir(d), vault, Options{})
	if err != nil || len(notes) > 0 {
		return fmt.Sprintf("Open: %v, %q", err, notes)
	}
	last := uint64(0)
	for _, e := range events {
		last = uint64(e.(written))
	}
	m, position := newest(t, s)
	if position < last || position > last+1 {
		return "an older set, or one that was never written"
	}
	if m.Root() != truth[position].Root() {
		return "another root"
	}
	for _, err := range m.Ascend(nil) {
		if err != nil {
			return err.Error()
		}
	}
	return ""
}

// TestCrash enumerates what a power cut may leave at every moment.
func TestCrash(t *testing.T) {
	m := fsx.NewMem()
	m.Record()
	truth := life(t, m, m)
	states := 0
	for c := range m.CrashStates(fsx.CrashOptions{MaxPerPrefix: 64, Seed: 7}) {
		states++
		if wrong := judge(t, c.Disk, c.Events, truth); wrong != "" {
			t.Fatalf("%s: %s", c.Desc, wrong)
		}
		if states%7 == 0 { // go on from there
			s := mustOpen(t, c.Disk)
			m, position := newest(t, s)
			put(t, first(100, 120), &m)
			want := m
			m = mustWrite(t, s, m, position+1)
			sameLists(t, want, m)
			mustCheck(t, mustOpen(t, c.Disk))
		}
	}
	t.Logf("%d states", states)
	if states < 200 {
		t.Errorf("only %d states", states)
	}
}

// broken is a disk whose files are never synced.
type broken struct{ fsx.Disk }

type brokenFile struct{ fsx.File }

func (b broken) Open(name string, mode fsx.Mode) (fsx.File, error) {
	f, err := b.Disk.Open(name, mode)
	if err != nil {
		return nil, err
	}
	return brokenFile{f}, nil
}

func (brokenFile) Sync() error { return nil }

// TestCrashFindsBugs: without syncs, the test above would fail.
func TestCrashFindsBugs(t *testing.T) {
	m := fsx.NewMem()
	m.Record()
	truth := life(t, m, broken{m})
	for c := range m.CrashStates(fsx.CrashOptions{MaxPerPrefix: 64, Seed: 7}) {
		if judge(t, c.Disk, c.Events, truth) != "" {
			return
		}
	}
	t.Error("a disk that never syncs is taken for sound")
}
