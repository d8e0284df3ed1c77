package graven

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"graven/internal/fsx"
)

// TestOpenAddsNothing: an open for writing that nobody writes through leaves the log as it
// was, also if a snapshot is due.
func TestOpenAddsNothing(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	s.vault.opts.SnapshotCommits, s.vault.opts.SnapshotEvery = -1, -1
	for range 12 {
		s.group(put("a", "b"))
	}
	s.close()
	for i := range 3 {
		store, err := Open(context.Background(), liveHost(mem, 9), Options{walBytes: 4096, SnapshotCommits: 5, SnapshotEvery: -1})
		if err != nil {
			t.Fatal(err)
		}
		v, err := store.Vault(context.Background(), "main")
		if err != nil {
			t.Fatal(err)
		}
		before := v.View().Size()
		time.Sleep(200 * time.Millisecond)
		if after := v.View().Size(); after != before {
			t.Errorf("open %d: %d records became %d although nobody wrote", i, before, after)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStartOverWritesPagesAgain: an open that met damaged pages and built the state from
// the log writes pages of it, and the next open begins there.
func TestStartOverWritesPagesAgain(t *testing.T) {
	mem := fsx.NewMem()
	s := newScript(t, mem, small)
	for i := range 40 {
		s.group(put(fmt.Sprintf("k%02d", i%23), fmt.Sprintf("value %d", i)))
		if i%10 == 9 && i < 35 {
			if err := s.vault.settle(); err != nil {
				t.Fatal(err)
			}
		}
	}
	mem.Kill()
	for _, f := range filesBelow(t, mem, "vaults/main/state") {
		size := int64(len(readAll(mem, f)))
		for off := int64(60); off < size-200 && off < 2800; off += 7 {
			overwrite(t, mem, f, off, []byte{0xff})
		}
	}
	options := Options{walBytes: 4096, stateBytes: 4096, closePuts: 1, SnapshotCommits: -1, SnapshotEvery: -1, PublishEvery: time.Millisecond}
	for open := range 3 {
		store, err := Open(context.Background(), liveHost(mem, 9), options)
		if err != nil {
			t.Fatal(err)
		}
		v, err := store.Vault(context.Background(), "main")
		if err != nil {
			t.Fatal(err)
		}
		began := v.entry.size
		for i := range 60 {
			if _, err := v.Commit(context.Background(), put(fmt.Sprintf("n%02d", i), "x")); err != nil {
				t.Fatal(err)
			}
		}
		switch {
		case open == 0 && (began != 0 || len(v.found) == 0):
			t.Errorf("the open begins at %d and notes %q: no damage was met", began, v.found)
		case open == 0 && v.stateCondemned():
			t.Error("the open built the state again, and still no pages may be written")
		case open > 0 && began == 0:
			t.Errorf("open %d reads the whole log once more", open)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if r := checkAll(t, mem, false); r.Damaged() {
		t.Error(r.Findings)
	}
}

// noPages is a disk that is full for state pages while it is told to be.
type noPages struct {
	fsx.Disk
	full  atomic.Bool
	tries atomic.Int64
}

func (d *noPages) Link(from, to string) error {
	if d.full.Load() && strings.Contains(to, "/state/") {
		d.tries.Add(1)
		return fsx.ErrNoSpace
	}
	return d.Disk.Link(from, to)
}

func (d *noPages) Rename(from, to string) error {
	if d.full.Load() && strings.Contains(to, "/state/") {
		d.tries.Add(1)
		return fsx.ErrNoSpace
	}
	return d.Disk.Rename(from, to)
}

// TestKeeperDoesNotSpin: a set of pages that cannot be written is tried again, and not
// without a pause.
func TestKeeperDoesNotSpin(t *testing.T) {
	d := &noPages{Disk: fsx.NewMem()}
	store, v := liveVault(t, d, Options{PublishEvery: 10 * time.Millisecond, SnapshotCommits: -1, SnapshotEvery: -1, stateBytes: 4096, walBytes: 4096})
	d.full.Store(true)
	for i := range 30 {
		if _, err := v.Commit(context.Background(), put(fmt.Sprint("key", i), "value")); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(50 * time.Millisecond)
	before := d.tries.Load()
	time.Sleep(500 * time.Millisecond)
	if n := d.tries.Load() - before; n > 20 {
		t.Errorf("%d tries in half a second in which nobody wrote", n)
	}
	d.full.Store(false)
	if before == 0 {
		t.Error("no page was ever due: this test tests nothing")
	}
	for tries := 0; len(v.pages.Sets()) == 0; tries++ {
		if tries > 1000 {
			t.Fatal("there is room again, and still no pages")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}
