package graven

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"graven/internal/fsx"
)

// The crash tests keep both sides on one disk: the store with its vault under
// "s", the backup under "b", the store that is restored into under "r". Each
// story ends with marks of what was done by then.
type (
	backupDone  struct{ size uint64 } // Backup returned
	restoreDone struct{}              // Restore returned
	adoptDone   struct{}              // Adopt returned
)

func folders(t testing.TB, mem *fsx.Mem, names ...string) {
	t.Helper()
	for _, n := range names {
		if err := errors.Join(mem.Mkdir(n, false), mem.SyncDir(".")); err != nil {
			t.Fatal(err)
		}
	}
}

// eachCrash runs a test on what a cut of power after every operation leaves.
func eachCrash(t *testing.T, mem *fsx.Mem, perPrefix int, examine func(d *fsx.Mem, events []any) error) {
	t.Helper()
	every := 1
	if testing.Short() {
		perPrefix, every = 1, 5
	}
	n, failures := 0, 0
	for state := range mem.CrashStates(fsx.CrashOptions{MaxPerPrefix: perPrefix, Seed: 1}) {
		if n++; n%every != 0 {
			continue
		}
		if err := examine(state.Disk, state.Events); err != nil {
			if failures++; failures <= 5 {
				t.Errorf("after operation %d (%s): %v", state.Prefix, state.Desc, err)
			}
		}
	}
	t.Logf("%d crash states of %d operations, %d failures", n, len(mem.Ops()), failures)
	if n < len(mem.Ops())/2 {
		t.Errorf("%d states are too few", n)
	}
}

// TestCrashOfABackup: whatever a cut in an incremental backup leaves, the
// newest that ended can be restored, and the next goes on.
func TestCrashOfABackup(t *testing.T) {
	mem := fsx.NewMem()
	folders(t, mem, "s", "b")
	s := backedUpVault(t, fsx.Under(mem, "s"))
	mem.Record()
	first := s.backup(fsx.Under(mem, "b"), BackupOptions{WithKeys: true})
	mem.Mark(backupDone{first.Size})
	s.grow(2)
	second := s.backup(fsx.Under(mem, "b"), BackupOptions{})
	mem.Mark(backupDone{second.Size})
	n := 0
	eachCrash(t, mem, 2, func(d *fsx.Mem, events []any) error {
		done := uint64(0)
		for _, e := range events {
			done = e.(backupDone).size
		}
		to := fsx.Under(d, "b")
		if done > 0 {
			store, err := OpenForRestore(context.Background(), scriptHost(fsx.NewMem(), 3), scriptOptions())
			if err != nil {
				return err
			}
			r, err := store.Restore(context.Background(), BackupIn(to), RestoreOptions{})
			if err != nil {
				return fmt.Errorf("a backup of size %d had ended and cannot be restored: %w", done, err)
			}
			if r.Size < done {
				return fmt.Errorf("a backup of size %d had ended, one of %d is restored", done, r.Size)
			}
		}
		if n++; n%5 != 0 {
			return nil
		}
		store, err := Open(context.Background(), scriptHost(fsx.Under(d, "s"), 2), scriptOptions())
		if err != nil {
			return err
		}
		if _, err = store.Backup(context.Background(), "main", to, BackupOptions{}); err != nil {
			return fmt.Errorf("the next backup: %w", err)
		}
		if err := leftovers(to, "."); err != nil {
			return err
		}
		_, err = restored(BackupIn(to), false)
		return errors.Join(err, store.Close())
	})
}

// leftovers names what a folder holds that nobody needs: temporary names, and in
// a backup files that the manifest does not list.
func leftovers(d fsx.Disk, folder string) error {
	m, _ := manifestIn(fsx.NewDir(d, nil))
	entries, err := d.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := strings.TrimPrefix(folder+"/"+e.Name, "./")
		if e.Dir {
			if err := leftovers(d, name); err != nil {
				return err
			}
			continue
		}
		_, listed := m.file(name)
		if strings.HasPrefix(e.Name, ".new-") || m != nil && !listed && name != manifestFile && name != backupLock {
			return fmt.Errorf("%s is left over", name)
		}
	}
	return nil
}

// TestCrashOfARestore: a restored vault is there whole and marked, or not at all;
// an adopted one has one epoch more, and never takes a write before.
func TestCrashOfARestore(t *testing.T) {
	mem := fsx.NewMem()
	folders(t, mem, "s", "b", "r")
	s := backedUpVault(t, fsx.Under(mem, "s"))
	first := s.backup(fsx.Under(mem, "b"), BackupOptions{WithKeys: true})
	s.close()
	mem.Record()
	ctx := context.Background()
	store, err := OpenForRestore(ctx, scriptHost(fsx.Under(mem, "r"), 3), scriptOptions())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Restore(ctx, BackupIn(fsx.Under(mem, "b")), RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	mem.Mark(restoreDone{})
	if _, err := store.Adopt(ctx, "main", AdoptOptions{NothingNewer: true}); err != nil {
		t.Fatal(err)
	}
	mem.Mark(adoptDone{})
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	n := 0
	eachCrash(t, mem, 6, func(d *fsx.Mem, events []any) error {
		n++
		return afterRestore(fsx.Under(d, "r"), fsx.Under(d, "b"), first.Size, len(events), n%8 == 0)
	})
}

// afterRestore looks at a store in which a restore (done: 1) and an adoption (2)
// may have ended.
func afterRestore(d, backup fsx.Disk, size uint64, done int, deep bool) error {
	ctx := context.Background()
	store, err := OpenForRestore(ctx, scriptHost(d, 5), scriptOptions())
	if err != nil {
		return err
	}
	v, err := store.Vault(ctx, "main")
	if done == 0 && err != nil {
		if _, err := store.Restore(ctx, BackupIn(backup), RestoreOptions{}); err != nil {
			return fmt.Errorf("the restore cannot be tried again: %w", err)
		}
		v, err = store.Vault(ctx, "main")
	}
	if err != nil {
		return err
	}
	st := v.Status()
	switch {
	case done == 2 && !st.Writable:
		return fmt.Errorf("an adopted vault says %s", st.Why)
	case st.Writable && (st.Epoch != 1 || st.Size <= size):
		return fmt.Errorf("writable in epoch %d at size %d", st.Epoch, st.Size)
	case !st.Writable:
		r, err := store.Adopt(ctx, "main", AdoptOptions{NothingNewer: true})
		if err != nil {
			return fmt.Errorf("the adoption cannot be tried again: %w", err)
		}
		if r.Epoch != 1 || r.Size != size+1 || r.From != size {
			return fmt.Errorf("adopted as %+v", r)
		}
		if v, err = store.Vault(ctx, "main"); err != nil {
			return err
		}
	}
	if _, err := commitGroup(v, put("life", "goes on")); err != nil {
		return err
	}
	if err := store.Close(); err != nil || !deep {
		return err
	}
	if store, err = Open(ctx, scriptHost(d, 6), scriptOptions()); err != nil {
		return err
	}
	report, err := store.Check(ctx, "main", CheckOptions{})
	if err == nil && len(report.Findings) > 0 {
		err = fmt.Errorf("check finds %v", report.Findings)
	}
	return errors.Join(err, leftovers(fsx.Under(d, vaultsName), "."), store.Close())
}

// TestEveryCallOfABackupFails: the error is typed, the earlier backup stays, and
// the next one goes on.
func TestEveryCallOfABackupFails(t *testing.T) {
	ctx := context.Background()
	mem := fsx.NewMem()
	folders(t, mem, "s", "b")
	s := backedUpVault(t, fsx.Under(mem, "s"))
	first := s.backup(fsx.Under(mem, "b"), BackupOptions{})
	s.grow(2)
	s.close()
	step := 2
	if testing.Short() {
		step = 23
	}
	run := func(d, faulty fsx.Disk) error {
		store, err := Open(ctx, scriptHost(fsx.Under(d, "s"), 2), scriptOptions())
		if err != nil {
			return err
		}
		_, err = store.Backup(ctx, "main", faulty, BackupOptions{})
		return errors.Join(err, store.Close())
	}
	counting := fsx.Fault(fsx.Under(mem.Clone(), "b"), nil)
	if err := run(mem.Clone(), counting); err != nil {
		t.Fatal(err)
	}
	failed := 0
	for n := 0; n < counting.Calls(); n += step {
		for _, fault := range []error{fsx.ErrIO, fsx.ErrNoSpace, fsx.ErrShort}[n/step%3 : n/step%3+1] {
			for _, onwards := range []bool{false, true} {
				disk := mem.Clone()
				to := fsx.Under(disk, "b")
				name := fmt.Sprintf("call %d, %v, onwards %v", n, fault, onwards)
				if err := run(disk, fsx.Fault(to, fsx.FailCall(n, fault, onwards))); err != nil {
					failed++
					if !isTyped(err) {
						t.Errorf("%s: %v is of no kind that a caller can tell", name, err)
					}
					if errors.Is(err, fsx.ErrNoSpace) && !errors.Is(err, ErrFull) {
						t.Errorf("%s: a full disk gives %v", name, err)
					}
				}
				disk.Kill()
				if r, err := manifestIn(fsx.NewDir(to, nil)); err != nil || r.head.Size < first.Size {
					t.Errorf("%s: the manifest that is left: %v", name, err)
				}
				if _, err := restored(BackupIn(to), false); err != nil {
					t.Errorf("%s: the earlier backup is gone: %v", name, err)
				}
				if err := run(disk, to); err != nil {
					t.Errorf("%s: the next backup: %v", name, err)
				}
			}
		}
	}
	if failed < counting.Calls()/step {
		t.Errorf("%d calls, %d failed backups", counting.Calls(), failed)
	}
}

// TestEveryCallOfARestoreFails: nothing is there, or all of it; the next goes well.
func TestEveryCallOfARestoreFails(t *testing.T) {
	mem := fsx.NewMem()
	folders(t, mem, "s", "b", "r")
	s := backedUpVault(t, fsx.Under(mem, "s"))
	first := s.backup(fsx.Under(mem, "b"), BackupOptions{WithKeys: true})
	s.close()
	step := 11
	if testing.Short() {
		step = 37
	}
	from := BackupIn(fsx.Under(mem, "b"))
	counting := fsx.Fault(fsx.Under(mem.Clone(), "r"), nil)
	if err := restoreInto(counting, from, true); err != nil {
		t.Fatal(err)
	}
	for n := 0; n < counting.Calls(); n += step {
		fault := []error{fsx.ErrIO, fsx.ErrNoSpace, fsx.ErrShort}[n/step%3]
		for _, onwards := range []bool{false, true} {
			disk := mem.Clone()
			to := fsx.Under(disk, "r")
			err := restoreInto(fsx.Fault(to, fsx.FailCall(n, fault, onwards)), BackupIn(fsx.Under(disk, "b")), true)
			name := fmt.Sprintf("call %d, %v, onwards %v", n, fault, onwards)
			if err != nil && !isTyped(err) {
				t.Errorf("%s: %v is of no kind that a caller can tell", name, err)
			}
			disk.Kill()
			done := 0
			if err == nil {
				done = 2
			}
			if err := afterRestore(to, fsx.Under(disk, "b"), first.Size, done, n%5 == 0); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
