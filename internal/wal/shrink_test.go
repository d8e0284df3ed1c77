package wal

import (
	"testing"

	"graven/internal/fsx"
)

// TestShrink ends a log with several files: one stays, free, at every point where the
// power fails the files have no gap, and the log can be used again.
func TestShrink(t *testing.T) {
	d := fsx.NewMem()
	w := start(t, folder(d), options(8192))
	for h := range uint64(40) {
		mustPut(t, w, makeGroup(h, 2000))
	}
	before := w.Size()
	w.Forget(39)
	d.Record()
	if err := w.Shrink(); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	states := 0
	for state := range d.CrashStates(fsx.CrashOptions{MaxPerPrefix: 20, Seed: 1}) {
		states++
		if _, _, err := read(folder(state.Disk), options(8192)); err != nil {
			t.Errorf("after operation %d (%s): %v", state.Prefix, state.Desc, err)
		}
	}
	if states == 0 {
		t.Error("no crash states")
	}
	w = start(t, folder(d), options(8192))
	if w.Size() >= before/3 {
		t.Errorf("%d bytes are left of %d", w.Size(), before)
	}
	mustPut(t, w, makeGroup(40, 2000))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}
