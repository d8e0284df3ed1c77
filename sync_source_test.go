package graven

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"graven/internal/fsx"
	"graven/proof"
)

// TestBadSource lets a source be damaged or forged, one bit or one file at a time. A
// sync from it fails with a typed error, or moves what is true all the same; readers
// of the mirror see the one or the other, and a good source brings it to its end.
func TestBadSource(t *testing.T) {
	from, to := fsx.NewMem(), fsx.NewMem()
	parts := sourceStory(t, from)
	parts[0]()
	old := mustSync(t, from, to).Size
	parts[1]()
	parts[2]()
	want := ledgerOf(t, from)
	flips, every := 2, 1
	if testing.Short() {
		flips, every = 1, 3
	}
	random := rand.New(rand.NewPCG(1, 2))
	refused, moved := 0, 0
	try := func(name string, spoil func(d fsx.Disk) error) {
		t.Helper()
		bad, mirror := from.Clone(), to.Clone()
		if err := spoil(bad); err != nil {
			t.Fatal(err)
		}
		_, err := syncDisks(bad, mirror, SyncOptions{})
		shown := old
		switch {
		case err == nil:
			moved++
			if got := ledgerOf(t, mirror); !equalTruth(want, got) {
				t.Errorf("%s: the sync says nothing, and the mirror is not the source as it was", name)
			}
			shown = 0
		case errors.Is(err, ErrFork) || !isTyped(err) && !errors.Is(err, ErrUnsupported):
			t.Errorf("%s: %v", name, err)
		default:
			refused++
		}
		if err := syncGoesOn(from.Clone(), want, mirror, shown, 0); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i, file := range filesBelow(t, from, "vaults/main") {
		if i%every != 0 {
			continue
		}
		if strings.Contains(file, "/wal/") || strings.Contains(file, "/priv/") || strings.Contains(file, "/state/") || strings.Contains(file, "/index/") {
			continue // not read, or only to find the way
		}
		if strings.Count(file, "/") == 2 && !strings.HasSuffix(file, "checkpoint") {
			continue // for people
		}
		try("without "+file, func(d fsx.Disk) error { return d.Remove(file) })
		content := readAll(from, file)
		for range flips {
			at := random.IntN(len(content))
			try(fmt.Sprintf("a bit of %s at %d", file, at), func(d fsx.Disk) error {
				overwrite(t, d, file, int64(at), []byte{content[at] ^ 1<<random.IntN(8)})
				return nil
			})
		}
	}
	t.Logf("%d syncs were refused, %d moved what is true", refused, moved)
	if refused < 20/every || moved < 5/every {
		t.Error("the damage did not meet what it should")
	}
}

// equalTruth reports whether all that a checkpoint covers is equal.
func equalTruth(want, got map[string]string) bool {
	for name, text := range want {
		if strings.Contains(name, "/log/log-") || strings.Contains(name, "/blocks/") {
			if got[name] != text {
				return false
			}
		}
	}
	return true
}

// TestCheckpointOfAnotherKey: whoever may write in the source's folder can exchange
// the key there, but not the one that genesis names.
func TestCheckpointOfAnotherKey(t *testing.T) {
	from, to := fsx.NewMem(), fsx.NewMem()
	parts := sourceStory(t, from)
	parts[0]()
	old := mustSync(t, from, to).Size
	parts[1]()
	store, v := openMain(t, from.Clone(), readingOptions())
	head := v.View().Head()
	keys, err := proof.GenerateKeys(v.Origin(), scriptHost(from, 99).Rand)
	if err := errors.Join(err, store.Close()); err != nil {
		t.Fatal(err)
	}
	signer, err := proof.NewSigner(keys.Log.SKey)
	if err != nil {
		t.Fatal(err)
	}
	note, err := signer.SignCheckpoint(head)
	if err != nil {
		t.Fatal(err)
	}
	bad := from.Clone()
	setFile(t, bad, "vaults/main/checkpoint", note)
	for _, also := range []bool{false, true} {
		if also {
			setFile(t, bad, "vaults/main/"+logPub, []byte(keys.Log.VKey+"\n"))
		}
		for _, fresh := range []bool{false, true} {
			mirror := to.Clone()
			if fresh {
				mirror = fsx.NewMem()
			}
			_, err := syncDisks(bad, mirror, SyncOptions{})
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, proof.ErrSignature) {
				t.Errorf("key file exchanged: %v, new mirror: %v: %v", also, fresh, err)
			}
			if files := filesBelow(t, mirror, "vaults"); fresh && len(files) > 0 {
				t.Errorf("the new mirror was begun: %v", files)
			}
			if !fresh && checkpointSize(fsx.NewDir(fsx.Under(mirror, "vaults/main"), fsx.VaultRules())) != old {
				t.Error("the mirror's checkpoint was replaced")
			}
		}
	}
}

// TestFullDiskOfAMirror: no room, found at any moment, is said as such, and with room
// the next sync ends it.
func TestFullDiskOfAMirror(t *testing.T) {
	from, to, old := syncStory(t, false)
	want := ledgerOf(t, from)
	needs := []string{"reserve", "write", "create", "mkdir", "link"}
	total := 0
	count := func(full int) (fsx.Disk, *fsx.Mem) {
		mem, n := to.Clone(), 0
		return fsx.Fault(mem, func(c fsx.Call) error {
			if !slices.Contains(needs, c.Op) {
				return nil
			}
			if n++; n > full {
				return fsx.ErrNoSpace
			}
			total = max(total, n)
			return nil
		}), mem
	}
	disk, _ := count(1 << 30)
	mustSync(t, from, disk)
	most := total
	for full := 0; full < most; full += 1 + most/40 {
		disk, mem := count(full)
		_, err := syncDisks(from, disk, SyncOptions{})
		if !errors.Is(err, ErrFull) && !errors.Is(err, fsx.ErrNoSpace) {
			t.Errorf("full after %d of %d: %v", full, most, err)
		}
		if err := syncGoesOn(from.Clone(), want, mem, old, old); err != nil {
			t.Errorf("full after %d of %d: %v", full, most, err)
		}
	}
}

// TestSyncBesideAWriter: a source that is written and settled while a sync reads it.
func TestSyncBesideAWriter(t *testing.T) {
	from, to := fsx.NewMem(), fsx.NewMem()
	parts := sourceStory(t, from)
	parts[0]()
	parts[1]()
	s := &script{t: t, host: scriptHost(from, 8)}
	s.reopen()
	n := 0
	for range 3 {
		_, err := syncDisks(from, to, SyncOptions{Progress: func(int64, int64) {
			if n++; n%3 == 0 {
				s.group(put(fmt.Sprint("beside", n), strings.Repeat("x", 40)+fmt.Sprint(n)))
				if n%2 == 0 {
					if err := s.vault.settle(); err != nil {
						t.Fatal(err)
					}
				}
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	s.close()
	mustSync(t, from, to)
	sameLedger(t, from, to)
}
